"""`contact-bridge webhooks` against both emulated platforms, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from service.cli.main import cli
from service.core.records import Platform
from service.sandbox import Sandbox
from service.store import inbox
from service.store.database import Database
from service.store.inbox import Incoming

HERE = "https://bridge.example.com"
JANE = "jane@example.com"
ELSEWHERE = {"url": "https://other.example.com/x", "event_types": ["review.created"]}
CSV = "id,unique_id,email,name_first,name_last,city\n"


@pytest.fixture
def sandbox(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sandbox:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRIDGE_WEB__PUBLIC_URL", HERE)
    monkeypatch.setenv("BRIDGE_ONVOARD__WEBHOOK_SECRET", "the-secret")
    return sandbox


@pytest.fixture
def database(sandbox: Sandbox, mirror_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """On SQLite and on Postgres."""
    monkeypatch.setenv("BRIDGE_DATABASE_URL", mirror_url)
    with closing(Database(mirror_url)) as db:
        yield db


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, args)


def webhooks(*args: str) -> Result:
    return run("webhooks", *args)


def listed() -> Any:
    result = webhooks("--format", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def somebody_elses(sandbox: Sandbox) -> None:
    where, headers = sandbox.onvoard_url + "/v2/webhooks", {"X-API-Key": sandbox.api_key}
    assert httpx.post(where, json=ELSEWHERE, headers=headers, trust_env=False).is_success


def keep(db: Database, platform: Platform, event_id: str, subject: str | None, **more: Any) -> None:
    at = more.pop("received_at", datetime.now(UTC) - timedelta(minutes=5))
    data = {"contact": {"id": subject}} if subject else {}
    payload = {"id": event_id, "type": "contact.saved", "data": data, "contact_id": subject}
    event = Incoming(event_id, platform, "contact.saved", payload, at, subject, **more)
    with db.begin() as conn:
        inbox.keep(conn, [event])


def test_register_makes_the_webhook_alone_and_says_what_to_enter_by_hand(sandbox: Sandbox, database: Database) -> None:
    result = webhooks("register")
    assert result.exit_code == 0, result.output
    assert [entry.path for entry in sandbox.journal.writes()] == ["/v2/webhooks"]
    (hook,) = sandbox.onvoard.webhooks.values()
    assert (hook.url, hook.secret, hook.active) == (f"{HERE}/webhooks/onvoard", "the-secret", True)
    assert f"{HERE}/webhooks/digital-onboarding" in result.output
    assert "BRIDGE_DIGITAL_ONBOARDING__WEBHOOK_SECRET" in result.output
    assert "the-secret" not in result.output
    told = run("query", "SELECT id, active FROM onvoard_webhooks", "--format", "json")
    assert json.loads(told.stdout) == [{"id": hook.id, "active": True}]
    mark = sandbox.journal.mark()
    assert "already there" in webhooks("register").output
    assert sandbox.journal.writes(mark) == []
    hook.active = False
    assert "repaired" in webhooks("register").output
    assert hook.active is True


def test_register_names_what_it_lacks(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BRIDGE_WEB__PUBLIC_URL")
    monkeypatch.delenv("BRIDGE_ONVOARD__WEBHOOK_SECRET")
    result = webhooks("register")
    assert result.exit_code == 2
    assert "BRIDGE_WEB__PUBLIC_URL: missing" in result.stderr
    assert "BRIDGE_ONVOARD__WEBHOOK_SECRET: missing" in result.stderr
    assert sandbox.journal.writes() == []


@pytest.mark.parametrize("path", ["/webhooks/onvoard", "/webhooks/digital-onboarding/"])
def test_a_public_url_that_holds_the_path_already_is_refused(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setenv("BRIDGE_WEB__PUBLIC_URL", HERE + path)
    result = webhooks("register")
    assert result.exit_code == 2
    assert "web.public_url (environment variable BRIDGE_WEB__PUBLIC_URL): must end before /webhooks" in result.stderr
    assert sandbox.journal.writes() == []


def test_list_says_which_are_ours_and_what_came(sandbox: Sandbox, database: Database) -> None:
    assert "Next: contact-bridge webhooks register" in webhooks("list").output
    webhooks("register")
    somebody_elses(sandbox)
    sandbox.onvoard.webhooks[next(iter(sandbox.onvoard.webhooks))].active = False
    now = datetime.now(UTC).replace(microsecond=0)
    keep(database, Platform.ONVOARD, "evt_1", "ct_1", received_at=now - timedelta(hours=1))
    keep(database, Platform.ONVOARD, "evt_2", None, fault="it names no contact", received_at=now)
    found = listed()
    assert {(hook["url"], hook["ours"], hook["active"]) for hook in found["webhooks"]} == {
        (f"{HERE}/webhooks/onvoard", True, False), ("https://other.example.com/x", False, True),
    }  # fmt: skip
    assert {len(hook["event_types"]) for hook in found["webhooks"]} == {7, 1}
    onvoard, digital = found["events"]
    assert onvoard == {
        "platform": "onvoard", "came": 2, "pending": 1, "processed": 0, "ignored": 1, "failed": 0,
        "last_at": now.strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
    }  # fmt: skip
    assert (digital["platform"], digital["came"], digital["last_at"]) == ("digital_onboarding", 0, None)
    assert "None of them tells this bridge anything" in webhooks().output


def test_remove_takes_our_own_or_an_id_and_asks(sandbox: Sandbox, database: Database) -> None:
    webhooks("register")
    (ours,) = sandbox.onvoard.webhooks
    somebody_elses(sandbox)
    (theirs,) = set(sandbox.onvoard.webhooks) - {ours}
    refused = webhooks("remove")
    assert refused.exit_code == 2 and "--yes" in refused.stderr
    missing = webhooks("remove", "wh_none", theirs, "--yes")
    assert missing.exit_code == 1 and "wh_none" in missing.stderr
    assert set(sandbox.onvoard.webhooks) == {ours, theirs}, "nothing is removed where one is not there"
    assert webhooks("remove", "--yes").output == "1 removed.\n"
    assert set(sandbox.onvoard.webhooks) == {theirs}
    assert "no webhook of this bridge" in webhooks("remove", "--yes").output
    assert webhooks("remove", theirs, "--yes").exit_code == 0
    assert not sandbox.onvoard.webhooks


def statuses(db: Database) -> dict[str, tuple[str, str | None]]:
    result = run("query", "SELECT id, status, reason FROM webhook_events ORDER BY id", "--format", "json")
    return {row["id"]: (row["status"], row["reason"]) for row in json.loads(result.stdout)}


def test_what_was_ignored_is_looked_into_again_when_its_contact_is_known(
    sandbox: Sandbox, database: Database, tmp_path: Path
) -> None:
    sandbox.digital_onboarding.add_contact(unique_id="crm-jane", email=JANE, city="Oslo", exported=False)
    contact_id = sandbox.digital_onboarding.contact("crm-jane")["id"]
    keep(database, Platform.DIGITAL_ONBOARDING, "do_1", contact_id)
    keep(database, Platform.ONVOARD, "evt_1", None, fault="it names no contact")
    assert run("sync").exit_code == 0
    assert statuses(database)["do_1"] == ("ignored", inbox.UNKNOWN)
    (tmp_path / "export.csv").write_text(f"{CSV}{contact_id},crm-jane,{JANE},Jane,Doe,Rome\n")
    assert run("import", "export.csv").exit_code == 0
    result = webhooks("replay", "--status", "ignored")
    assert result.exit_code == 0, result.output
    assert "Looked into again: 1 processed." in result.output
    assert "1 name nobody, and were left alone." in result.output
    assert statuses(database) == {"do_1": ("processed", None), "evt_1": ("ignored", "it names no contact")}
    told = run("query", "SELECT city FROM digital_onboarding_contacts", "--format", "json")
    assert json.loads(told.stdout) == [{"city": "Oslo"}], "it was read again"


def test_a_replay_pushes_nothing_twice(sandbox: Sandbox, database: Database) -> None:
    sandbox.onvoard.add_contact(JANE, name="Jane Doe")
    contact_id = sandbox.onvoard.contact(JANE)["id"]
    keep(database, Platform.ONVOARD, "evt_1", contact_id)
    assert run("sync").exit_code == 0
    assert statuses(database) == {"evt_1": ("processed", None)}
    before = json.dumps([sandbox.onvoard.contact_list(), sandbox.digital_onboarding.contact_list()], default=str)
    for how in (("evt_1",), ("--since", "1h"), ("--status", "processed")):
        mark = sandbox.journal.mark()
        result = webhooks("replay", *how, "--format", "json")
        assert result.exit_code == 0, result.output
        assert [(row["id"], row["status"]) for row in json.loads(result.stdout)] == [("evt_1", "processed")]
        read = [entry.path for entry in sandbox.journal.entries(mark) if "/contacts/" in entry.path]
        assert read == [f"/v2/contacts/{contact_id}"], "it was looked into"
        assert run("sync").exit_code == 0
        assert sandbox.journal.writes(mark) == []
    after = json.dumps([sandbox.onvoard.contact_list(), sandbox.digital_onboarding.contact_list()], default=str)
    assert after == before


def test_a_replay_takes_only_what_was_asked_for(sandbox: Sandbox, database: Database) -> None:
    sandbox.onvoard.add_contact(JANE)
    contact_id = sandbox.onvoard.contact(JANE)["id"]
    for number, age in ((1, 1), (2, 50)):
        at = datetime.now(UTC) - timedelta(hours=age)
        keep(database, Platform.ONVOARD, f"evt_{number}", contact_id, received_at=at)
    assert run("sync").exit_code == 0
    result = webhooks("replay", "--since", "2h", "--status", "processed", "--format", "json")
    assert [row["id"] for row in json.loads(result.stdout)] == ["evt_1"]
    assert webhooks("replay", "--status", "failed").output == "There are no such events.\n"
    assert webhooks("replay", "evt_9").exit_code == 1
    assert webhooks("replay").exit_code == 2
    assert webhooks("replay", "evt_1", "--since", "2h").exit_code == 2


def test_a_platform_that_fails_leaves_the_event_for_later(sandbox: Sandbox, database: Database) -> None:
    sandbox.onvoard.add_contact(JANE)
    keep(database, Platform.ONVOARD, "evt_1", sandbox.onvoard.contact(JANE)["id"])
    assert run("sync").exit_code == 0
    sandbox.fail("onvoard", "status", path="/v2/contacts/*", times=None, status=403)
    assert webhooks("replay", "evt_1").exit_code == 1
    assert statuses(database)["evt_1"][0] == "pending"
    sandbox.clear_faults()
    assert webhooks("replay", "evt_1").exit_code == 0
    assert statuses(database)["evt_1"][0] == "processed"
