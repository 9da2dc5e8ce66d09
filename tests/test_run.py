"""`contact-bridge run` as an operator has it: a real process, real HTTP, both platforms, a database on disk."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import select

from service.cli.main import cli
from service.core.records import Platform
from service.sandbox import Sandbox
from service.settings.models import Schedule
from service.store import cursors, inbox
from service.store import tables as t
from service.store.database import Database
from service.store.health import ENDED_WELL
from service.store.inbox import Incoming
from tests.processes import Process
from tests.sandbox.receiver import Receiver, receiving
from tests.web.signing import SECRET

JANE = "jane@example.com"


class Daemon:
    """A running `python -m service run`, with all intervals at one second."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.log, self._out = (folder / f"daemon-{time.monotonic_ns()}.{kind}" for kind in ("log", "out"))
        short = {f"BRIDGE_SCHEDULE__{name.upper()}": "1s" for name in Schedule().intervals()}
        more = {"BRIDGE_WEB__PORT": "0", "BRIDGE_LOG__FORMAT": "json", **short, **environment}
        self.process = Process(["run"], folder, more, self._out, self.log)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    @property
    def address(self) -> str:
        until(lambda: self.process.poll() is not None or "running" in {line["event"] for line in self.lines()})
        return next(str(line["address"]) for line in self.lines() if line["event"] == "running")

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.address + path, trust_env=False)

    def end(self, number: int = signal.SIGTERM) -> float:
        """-> seconds it took; the exit code must be 0"""
        began = time.monotonic()
        self.process.send_signal(number)
        assert self.process.wait(15) == 0, self.log.read_text()
        assert self._out.read_bytes() == b""
        return time.monotonic() - began


Start = Callable[..., Daemon]


@pytest.fixture
def start(sandbox: Sandbox, tmp_path: Path) -> Iterator[Start]:
    started: list[Daemon] = []

    def start(**more: str) -> Daemon:
        started.append(Daemon(tmp_path, {**sandbox.environment(), **more}))
        return started[-1]

    yield start
    for daemon in started:
        daemon.process.kill()
        daemon.process.wait()


def until(what: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.03)


def there(sandbox: Sandbox) -> list[str]:
    return [contact["email"] for contact in sandbox.digital_onboarding.contact_list()]


def rows(url: str, table: Any) -> list[Any]:
    database = Database(url)
    with closing(database), database.begin(write=False) as conn:
        return list(conn.execute(select(table).order_by(table.c.id)))


def ended(url: str, kind: str) -> int:
    return sum(run.kind == kind and run.outcome in ENDED_WELL for run in rows(url, t.runs))


def test_on_the_default_file_it_begins_from_nothing(sandbox: Sandbox, start: Start, tmp_path: Path) -> None:
    sandbox.onvoard.add_contact(JANE, name="Jane Doe")
    daemon = start()
    assert daemon.get("/healthz").json() == {"status": "ok"}
    assert daemon.get("/readyz").json() == {"status": "ready", "reasons": []}
    until(lambda: there(sandbox) == [JANE])
    until(lambda: sandbox.digital_onboarding.contact(JANE)["name_last"] == "Doe")
    assert (tmp_path / "bridge.db").exists()
    until(lambda: 'contact_bridge_last_success_timestamp_seconds{kind="reconcile"}' in daemon.get("/metrics").text)
    assert ">Jobs</h1>" in daemon.get("/jobs").text
    assert daemon.end(signal.SIGINT) < 3
    lines = daemon.lines()
    assert {line["level"] for line in lines} == {"info"}
    assert [line["event"] for line in lines if line["logger"] == "service.run"] == ["running", "stopping", "stopped"]
    text = daemon.log.read_text()
    assert not [word for word in (JANE, sandbox.api_key, sandbox.client_secret, "Jane") if word in text]


def test_on_postgres(sandbox: Sandbox, start: Start, postgres_mirror: str) -> None:
    sandbox.onvoard.add_contact(JANE)
    daemon = start(BRIDGE_DATABASE_URL=postgres_mirror, BRIDGE_SCHEDULE__REFRESH_WITHIN="1s")
    assert daemon.get("/readyz").status_code == 200
    until(lambda: there(sandbox) == [JANE])
    sandbox.digital_onboarding.unsubscribe(JANE)
    until(lambda: sandbox.onvoard.contact(JANE)["email_unsubscribed"])
    assert daemon.end() < 8


SELDOM = {f"BRIDGE_SCHEDULE__{name.upper()}": "1h" for name in Schedule().intervals()}
OFTEN = {"BRIDGE_SCHEDULE__INBOX": "1s"}
SIGNED = {"BRIDGE_ONVOARD__WEBHOOK_SECRET": SECRET, "BRIDGE_DIGITAL_ONBOARDING__WEBHOOK_SECRET": SECRET}


def test_whoever_is_on_call_is_told_once_of_credentials_that_are_refused(sandbox: Sandbox, start: Start) -> None:
    with receiving(Receiver()) as receiver:
        sandbox.fail("onvoard", "status", path="/v*", status=401, times=None)
        daemon = start(BRIDGE_ALERTS__URL=receiver.url)
        until(lambda: receiver.got)
        address = daemon.address
        page = httpx.get(address + "/", trust_env=False).text
        assert "OnVoard denied " in page and "wrong credentials, or a right that is missing" in page
        assert daemon.end() < 8
        assert start(BRIDGE_ALERTS__URL=receiver.url).address
        time.sleep(1)
    assert [body["event"] for body in receiver.events()] == ["degraded"]
    assert [problem["key"] for problem in receiver.events()[0]["problems"]] == ["denied:onvoard"]


def tell(sandbox: Sandbox, daemon: Daemon) -> None:
    """Both platforms tell this daemon what happens."""
    hook = {"url": daemon.address + "/webhooks/onvoard", "event_types": ["contact.saved"], "secret": SECRET}
    headers = {"X-API-Key": sandbox.api_key}
    made = httpx.post(sandbox.onvoard_url + "/v2/webhooks", json=hook, headers=headers, trust_env=False)
    assert made.is_success
    sandbox.digital_onboarding.configure_webhook(daemon.address + "/webhooks/digital-onboarding", SECRET)


def test_an_edit_that_a_webhook_tells_of_is_there_in_seconds(
    sandbox: Sandbox, start: Start, sqlite_mirror: str
) -> None:
    """Though no job is due for an hour. (On a machine that is busy, some answers without news can come before it, each
    of which doubles the wait for the next question.)"""
    sandbox.onvoard.add_contact(JANE, name="Jane Doe")
    daemon = start(BRIDGE_DATABASE_URL=sqlite_mirror, **SELDOM, **SIGNED)
    until(lambda: there(sandbox) == [JANE])
    tell(sandbox, daemon)
    until(lambda: ended(sqlite_mirror, "reconcile"))
    sandbox.onvoard.edit_contact(JANE, city="Oslo")
    until(lambda: sandbox.digital_onboarding.contact(JANE).get("city") == "Oslo", 120)
    sandbox.digital_onboarding.edit_contact(JANE, city="Bern")
    until(lambda: sandbox.onvoard.contact(JANE)["properties"].get("city") == "Bern", 120)
    sandbox.digital_onboarding.unsubscribe(JANE)
    until(lambda: sandbox.onvoard.contact(JANE)["email_unsubscribed"], 120)
    assert sandbox.wait_for_webhooks()
    until(lambda: {event.status for event in rows(sqlite_mirror, t.webhook_events)} == {"processed"})
    assert daemon.end() < 8
    assert "jane" not in daemon.log.read_text().lower()


def test_events_on_record_survive_a_kill(sandbox: Sandbox, start: Start, postgres_mirror: str) -> None:
    sandbox.onvoard.add_contact(JANE, name="Jane Doe")
    daemon = start(BRIDGE_DATABASE_URL=postgres_mirror, **SELDOM, **SIGNED)
    until(lambda: there(sandbox) == [JANE] and ended(postgres_mirror, "reconcile"))
    tell(sandbox, daemon)
    fault = sandbox.fail("onvoard", "delay", path="/v2/contacts/*", times=None, seconds=30)
    sandbox.onvoard.edit_contact(JANE, city="Oslo")
    assert sandbox.wait_for_webhooks()
    until(lambda: fault.struck)
    daemon.process.kill()
    daemon.process.wait()
    assert [event.status for event in rows(postgres_mirror, t.webhook_events)] == ["pending"]
    sandbox.clear_faults()
    daemon = start(BRIDGE_DATABASE_URL=postgres_mirror, **SELDOM, **SIGNED)
    until(lambda: [event.status for event in rows(postgres_mirror, t.webhook_events)] == ["processed"])
    until(lambda: sandbox.digital_onboarding.contact(JANE).get("city") == "Oslo")
    assert daemon.end() < 8


def stop_at_rest(daemon: Daemon, postgres: str) -> None:
    """SIGSTOP where it holds no lease, which it would keep from everybody else."""
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = ("
    with psycopg.connect(postgres, autocommit=True) as admin:

        def at_rest() -> bool:
            daemon.process.send_signal(signal.SIGSTOP)
            found = admin.execute(f"{locks} SELECT oid FROM pg_database WHERE datname = current_database())").fetchone()
            if found != (0,):
                daemon.process.send_signal(signal.SIGCONT)
            return found == (0,)

        until(at_rest)


def test_another_daemon_looks_into_what_this_one_has_taken(
    sandbox: Sandbox, start: Start, postgres_mirror: str
) -> None:
    """The one that receives cannot reach the platforms."""
    sandbox.onvoard.add_contact(JANE, name="Jane Doe")
    receiver = start(BRIDGE_DATABASE_URL=postgres_mirror, **SELDOM, **SIGNED)
    until(lambda: there(sandbox) == [JANE] and ended(postgres_mirror, "reconcile"))
    stop_at_rest(receiver, postgres_mirror)
    worker = start(BRIDGE_DATABASE_URL=postgres_mirror, **(SELDOM | OFTEN), **SIGNED)
    assert worker.address
    event = {"id": "evt_1", "type": "contact.saved", "data": {"contact": {"id": sandbox.onvoard.contact(JANE)["id"]}}}
    sandbox.onvoard.edit_contact(JANE, city="Oslo")
    incoming = Incoming("evt_1", Platform.ONVOARD, "contact.saved", event, datetime.now(UTC), None)
    with closing(Database(postgres_mirror)) as database, database.begin() as conn:
        inbox.keep(conn, [incoming])
    until(lambda: sandbox.digital_onboarding.contact(JANE).get("city") == "Oslo")
    receiver.process.send_signal(signal.SIGCONT)


def test_two_daemons_share_the_work(sandbox: Sandbox, start: Start, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'bridge.db'}"
    for number in range(20):
        sandbox.onvoard.add_contact(f"person{number}@example.com")
    sandbox.fail("onvoard", "delay", times=None, seconds=0.15)  # long enough for both to want the same job
    first = start()
    assert first.address
    second = start()
    assert second.address
    until(lambda: len(there(sandbox)) == 20)
    until(lambda: all("run" in {line["event"] for line in each.lines()} for each in (first, second)))
    before = ended(url, "reconcile")
    until(lambda: ended(url, "reconcile") >= before + 2)
    first.process.kill()
    first.process.wait()
    killed_at = max(run.started_at for run in rows(url, t.runs))
    for kind in {run.kind for run in rows(url, t.runs)}:
        spans = [(run.started_at, run.finished_at) for run in rows(url, t.runs) if run.kind == kind and run.finished_at]
        overlaps = [(one, two) for one, two in pairwise(spans) if two[0] < one[1]]
        assert not overlaps, kind
    assert len(there(sandbox)) == len(set(there(sandbox))) == 20
    until(lambda: [run for run in rows(url, t.runs) if run.kind == "contacts" and run.started_at > killed_at])
    sandbox.onvoard.add_contact(JANE)
    until(lambda: JANE in there(sandbox))  # the other one takes over at once
    assert second.end() < 8


def test_sigterm_while_a_push_is_not_answered(sandbox: Sandbox, start: Start, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'bridge.db'}"
    daemon = start()
    until(lambda: daemon.address and ended(url, "reconcile"))
    fault = sandbox.fail(
        "digital_onboarding", "delay", method="POST", path="/*contacts*", body_contains=JANE, seconds=30,
        after_effect=True,
    )  # fmt: skip
    sandbox.onvoard.add_contact(JANE, name="Jane Doe")
    until(lambda: fault.struck)
    assert daemon.get("/healthz").status_code == 200
    daemon.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert daemon.get("/readyz").json() == {"status": "unready", "reasons": ["the scheduler is not running"]}
    assert daemon.end() < 10 - 0.5
    assert [run.outcome for run in rows(url, t.runs) if run.kind == "reconcile"][-1] == "interrupted"
    sandbox.clear_faults()
    daemon = start()
    until(lambda: sandbox.digital_onboarding.contact(JANE)["name_last"] == "Doe")
    assert daemon.end() < 8
    assert there(sandbox) == [JANE]
    assert {row.status for row in rows(url, t.outbox)} == {"done"}


@pytest.fixture
def refused(sandbox: Sandbox, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """`refused(2, BRIDGE_…=…)`: the command ends with 2; -> what it says on standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRIDGE_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("BRIDGE_WEB__PORT", "0")

    def refused(code: int, **more: str | None) -> str:
        result = CliRunner().invoke(cli, ["run"], env=more)
        assert result.exit_code == code, result.output
        assert result.stdout == ""
        return result.stderr

    return refused


def test_a_taken_port(refused: Callable[..., str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        said = refused(1, BRIDGE_WEB__PORT=port, BRIDGE_DATABASE_URL=None)
    assert f"web.port: {port} on 127.0.0.1 is taken (environment variable BRIDGE_WEB__PORT)" in said
    assert not (tmp_path / "bridge.db").exists()


def test_credentials_are_required(refused: Callable[..., str]) -> None:
    said = refused(2, BRIDGE_ONVOARD__API_KEY=None, BRIDGE_DIGITAL_ONBOARDING__CLIENT_ID=None)
    assert "BRIDGE_ONVOARD__API_KEY" in said
    assert "BRIDGE_DIGITAL_ONBOARDING__CLIENT_ID" in said


def test_only_the_default_file_is_created(refused: Callable[..., str]) -> None:
    assert "contact-bridge db upgrade" in refused(2)


def test_the_mirror_of_another_account(refused: Callable[..., str], sqlite_mirror: str) -> None:
    with closing(Database(sqlite_mirror)) as database, database.begin() as conn:
        cursors.claim_account(conn, "onvoard", "https://api.onvoard.com", "0" * 16, datetime.now(UTC))
    assert "another account" in refused(1)
