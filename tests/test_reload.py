"""SIGHUP to a real daemon: what it reads again, what it keeps, and that no work is dropped."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from service.cli.main import cli
from service.errors import SettingsError
from service.sandbox import Sandbox
from service.settings import load
from service.settings.loading import for_running
from service.store import tables as t
from service.store.health import ENDED_WELL
from tests.test_run import JANE, SELDOM, Daemon, ended, rows, there, until
from tests.web.signing import signed, signed_thin

READ = "settings, mapping, rules and loaders were read again"
REFUSED = "not read again: the daemon goes on with what it had"
OLD, NEW = "the-old-secret", "the-new-secret"


class Running(Daemon):
    """With the settings, beyond the addresses of the platforms, in files that the test writes."""

    def __init__(self, sandbox: Sandbox, folder: Path, **more: str) -> None:
        self.folder, self.url = folder, f"sqlite:///{folder / 'bridge.db'}"
        self.write("bridge.toml", "")
        self.write("key", sandbox.api_key)
        by_file = {"BRIDGE_ONVOARD__API_KEY": "", "BRIDGE_ONVOARD__API_KEY_FILE": "config/key"}
        self.environment = {**sandbox.environment(), **by_file, **more}

    def begin(self) -> Running:
        super().__init__(self.folder, self.environment)
        assert self.address
        return self

    def write(self, name: str, text: str) -> None:
        path = self.folder / "config" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def told(self, *events: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["event"] in events]

    def hang_up(self) -> dict[str, Any]:
        """-> what it says of it"""
        before = len(self.told(READ, REFUSED))
        self.process.send_signal(signal.SIGHUP)
        until(lambda: len(self.told(READ, REFUSED)) > before, 20)
        return self.told(READ, REFUSED)[-1]


@pytest.fixture
def daemon(sandbox: Sandbox, tmp_path: Path) -> Iterator[Running]:
    made = Running(sandbox, tmp_path)
    yield made
    made.process.kill()
    made.process.wait()


def onvoard(daemon: Daemon, number: int, secret: str) -> int:
    event = {"id": f"evt_{number}", "type": "contact.saved", "data": {"contact": {"id": "ct_1"}}}
    body = json.dumps(event).encode()
    return httpx.post(
        daemon.address + "/webhooks/onvoard", content=body, headers=signed(body, secret), trust_env=False
    ).status_code


def digital(daemon: Daemon, number: int, secret: str) -> int:
    body = json.dumps({"contact_id": f"id-{number}", "type": "contact.updated"}).encode()
    where = daemon.address + "/webhooks/digital-onboarding"
    return httpx.post(where, content=body, headers=signed_thin(body, secret), trust_env=False).status_code


def test_settings_and_keys_are_read_again(sandbox: Sandbox, daemon: Running) -> None:
    sandbox.onvoard.add_contact(JANE, name="Jane Doe")
    daemon.write("key", "nobodys-key")
    daemon.write("bridge.toml", "[identity]\ncreate_on_digital_onboarding = false\n[web]\nport = 0\n")
    daemon.environment |= {"BRIDGE_WEB__PORT": ""}
    daemon.begin()
    until(lambda: [run for run in rows(daemon.url, t.runs) if run.kind == "contacts" and run.outcome == "denied"])
    daemon.write("key", sandbox.api_key)
    assert daemon.hang_up()["event"] == READ
    until(lambda: ended(daemon.url, "reconcile"))
    assert there(sandbox) == []
    daemon.write("bridge.toml", '[web]\nport = 1\n[log]\nlevel = "debug"\n[schedule]\nsweep_within = "12h"\n')
    assert daemon.hang_up()["event"] == READ
    until(lambda: there(sandbox) == [JANE])
    [waiting] = daemon.told("some settings wait for the next start")
    assert waiting["settings"] == ["web.port"]
    assert daemon.get("/readyz").status_code == 200
    told = daemon.get("/metrics").text  # which goes on counting
    refusals = 'contact_bridge_requests_total{call="GET /v2/contacts",platform="onvoard",status="401"}'
    assert re.search(re.escape(refusals) + " [1-9]", told)
    assert 'contact_bridge_platform_reachable{platform="onvoard"} 1.0' in told
    assert 'contact_bridge_freshness_limit_seconds{stream="onvoard.contacts"} 43200.0' in told
    daemon.write("key", "nobodys-other-key")
    refused = daemon.hang_up()
    assert refused["event"] == REFUSED and "401" in str(refused["problems"])
    before = ended(daemon.url, "contacts")
    until(lambda: ended(daemon.url, "contacts") > before)
    assert daemon.end() < 8
    text = daemon.log.read_text()
    assert not [word for word in (JANE, sandbox.api_key, "nobodys") if word in text]


BAD = (
    ("bridge.toml", "[limits]\nmax_wiat = 1\n", "limits.max_wiat (config/bridge.toml line 2): unknown setting"),
    ("bridge.toml", "[limits\n", "config/bridge.toml line 1: is not valid TOML"),
    ("key", "\n", "onvoard.api_key (environment variable BRIDGE_ONVOARD__API_KEY_FILE): must not be empty"),
    ("mapping.toml", "fields = 3\n", "mapping.toml"),
    ("rules.toml", "[[rules]]\nname = 3\n", "rules.toml"),
    ("loaders/one.sql", "-- target: nowhere\nSELECT 1\n", "loaders/one.sql"),
)


def test_a_bad_file_keeps_what_was_there(sandbox: Sandbox, daemon: Running) -> None:
    daemon.begin()
    for number, (name, text, problem) in enumerate(BAD):
        daemon.write(name, text)
        said = daemon.hang_up()
        assert (said["event"], said["level"]) == (REFUSED, "error")
        assert problem in str(said["problems"])
        email = f"{number}{JANE}"
        sandbox.onvoard.add_contact(email)
        until(lambda email=email: email in there(sandbox))  # type: ignore[misc]
        (daemon.folder / "config" / name).unlink()
        daemon.write("key", sandbox.api_key)
        daemon.write("bridge.toml", "")
        assert daemon.hang_up()["event"] == READ
    assert daemon.end() < 8


def test_another_account_is_refused(sandbox: Sandbox, daemon: Running) -> None:
    daemon.environment |= {"BRIDGE_DIGITAL_ONBOARDING__CLIENT_ID": ""}
    daemon.write("bridge.toml", f'[digital_onboarding]\nclient_id = "{sandbox.client_id}"\n')
    daemon.begin()
    until(lambda: ended(daemon.url, "reconcile"))
    daemon.write("bridge.toml", '[digital_onboarding]\nclient_id = "another"\n')
    assert "another account" in str(daemon.hang_up()["problems"])
    before = ended(daemon.url, "reconcile")
    until(lambda: ended(daemon.url, "reconcile") > before)


def secrets(secret: str, previous: str | None) -> str:
    former = f'webhook_secret_previous = "{previous}"\n' if previous else ""
    return "".join(f'[{name}]\nwebhook_secret = "{secret}"\n{former}' for name in ("onvoard", "digital_onboarding"))


@pytest.mark.parametrize("send", [onvoard, digital])
def test_a_webhook_secret_is_exchanged_without_an_event_lost(daemon: Running, send: Any) -> None:
    daemon.environment |= SELDOM
    daemon.write("bridge.toml", secrets(OLD, None))
    daemon.begin()
    assert (send(daemon, 1, OLD), send(daemon, 2, NEW)) == (200, 401)
    daemon.write("bridge.toml", secrets(NEW, OLD))
    daemon.hang_up()
    assert (send(daemon, 3, OLD), send(daemon, 4, NEW), send(daemon, 5, "neither")) == (200, 200, 401)
    daemon.write("bridge.toml", secrets(NEW, None))
    daemon.hang_up()
    assert (send(daemon, 6, OLD), send(daemon, 7, NEW)) == (401, 200)
    assert len(rows(daemon.url, t.webhook_events)) == 4
    assert daemon.end() < 8
    assert not [secret for secret in (OLD, NEW) if secret in daemon.log.read_text()]


def test_what_is_under_way_comes_to_its_end(sandbox: Sandbox, daemon: Running) -> None:
    """With the client that it began with, although that has a successor by then."""
    daemon.begin()
    until(lambda: ended(daemon.url, "reconcile"))
    fault = sandbox.fail(
        "digital_onboarding", "delay", method="POST", path="/*contacts*", body_contains=JANE, seconds=2
    )
    sandbox.onvoard.add_contact(JANE, name="Jane Doe")
    until(lambda: fault.struck)
    assert there(sandbox) == [], "it is under way"
    assert daemon.hang_up()["event"] == READ
    assert daemon.hang_up()["event"] == READ
    assert there(sandbox) == []
    until(lambda: there(sandbox) == [JANE] and sandbox.digital_onboarding.contact(JANE)["name_last"] == "Doe")
    until(lambda: {row.status for row in rows(daemon.url, t.outbox)} == {"done"})
    assert max(row.attempts for row in rows(daemon.url, t.outbox)) == 1
    assert {run.outcome for run in rows(daemon.url, t.runs) if run.finished_at} <= set(ENDED_WELL)
    assert daemon.end() < 8
    assert "Unclosed" not in daemon.log.read_text()


def test_a_paused_job_rests_over_restarts_until_it_is_resumed(
    sandbox: Sandbox, daemon: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIDGE_DATABASE_URL", daemon.url)
    assert CliRunner().invoke(cli, ["db", "upgrade"]).exit_code == 0
    daemon.begin()
    until(lambda: ended(daemon.url, "reconcile"))
    assert CliRunner().invoke(cli, ["jobs", "pause", "contacts"]).exit_code == 0
    until(lambda: not [run for run in rows(daemon.url, t.runs) if run.outcome == "running"])
    before = ended(daemon.url, "contacts")
    assert daemon.end() < 8
    daemon.begin()
    sandbox.onvoard.add_contact(JANE)
    for _ in range(2):
        reviews = ended(daemon.url, "reviews")
        until(lambda reviews=reviews: ended(daemon.url, "reviews") > reviews)  # type: ignore[misc]
    assert ended(daemon.url, "contacts") <= before + 1, "one may have been about to begin"
    assert there(sandbox) == []
    assert CliRunner().invoke(cli, ["jobs", "resume", "contacts"]).exit_code == 0
    until(lambda: there(sandbox) == [JANE])


def test_a_daemon_that_is_bound_beyond_loopback_stays_closed() -> None:
    """Its address is the old one, whatever the new settings say of it."""
    old = load({"web.host": "0.0.0.0", "web.token": "a-token"}, environ={})
    with pytest.raises(SettingsError, match=r"because it listens on 0\.0\.0\.0"):
        for_running(load({}, environ={}), old)
    new = load({"web.token": "another", "database_url": "sqlite:///other.db"}, environ={})
    taken, waiting = for_running(new, old)
    assert (taken.web.host, taken.web.token) == ("0.0.0.0", new.web.token)
    assert taken.database_url == old.database_url
    assert waiting == ["database_url", "web.host"]
