"""`contact-bridge setup` against an emulated OnVoard, over HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from service import setup
from service.cli.main import cli
from service.cycle import ACTIVITY_TYPES
from service.sandbox import Sandbox
from service.store import cursors, migrate, mirror, tables
from service.store.database import Database

LINK = "custom_digital_onboarding_unique_id"
PARTS = 23  # one link property, four resources and activity types, 14 properties of their records


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    """Both platforms, and the environment pointed at them; the folder is empty and there is no database."""
    monkeypatch.chdir(tmp_path)
    with Sandbox() as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, ["setup", *args])


def made(sandbox: Sandbox) -> set[tuple[str, str]]:
    """What an account has beyond what it came with."""
    ov = sandbox.onvoard
    resources = {each.id: each for each in ov.resources.values()}
    ours = {each.id: each.accessor for each in resources.values() if each.type == "CUSTOM"}
    return (
        {("property", each.key) for each in ov.contact_property_types.values() if each.definition_type == "CUSTOM"}
        | {("resource", accessor) for accessor in ours.values()}
        | {("field", f"{ours[each.resource_id]}.{each.key}") for each in ov.resource_property_types.values()
           if each.resource_id in ours and each.key not in
           ("activity_id", "activity_datetime", "contact_id", "contact_email")}
        | {("type", ours[each.resource_id]) for each in ov.activity_types.values() if each.resource_id in ours}
    )  # fmt: skip


def test_everything_is_created(sandbox: Sandbox) -> None:
    result = run()
    assert result.exit_code == 0, result.output
    assert len(made(sandbox)) == PARTS
    assert ("property", LINK) in made(sandbox)
    assert {name for kind, name in made(sandbox) if kind == "type"} == ACTIVITY_TYPES
    assert f"{PARTS} created" in result.output
    assert "BRIDGE_WEB__PUBLIC_URL and BRIDGE_ONVOARD__WEBHOOK_SECRET" in result.output
    assert not sandbox.onvoard.webhooks
    assert not list(Path().iterdir()), "no database without a migration"


def test_a_second_run_writes_nothing(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    with_webhook(monkeypatch)
    run()
    mark = sandbox.journal.mark()
    result = run()
    assert result.exit_code == 0, result.output
    assert f"{PARTS + 1} already there." in result.output
    assert sandbox.journal.writes(mark) == []


def test_a_dry_run_writes_nothing(sandbox: Sandbox) -> None:
    result = run("--dry-run")
    assert result.exit_code == 0, result.output
    assert f"{PARTS} missing" in result.output
    assert sandbox.journal.writes() == []


@pytest.mark.parametrize("done", [1, 4, 22])
def test_what_a_crash_left_out_is_added(sandbox: Sandbox, done: int) -> None:
    """Killed after `done` creations: OnVoard refuses whatever follows."""
    sandbox.fail("onvoard", "status", method="POST", status=403, skip=done, times=None)
    assert run().exit_code == 1
    assert len(made(sandbox)) == done
    sandbox.clear_faults()
    result = run()
    assert result.exit_code == 0, result.output
    assert f"{PARTS - done} created" in result.output
    assert len(made(sandbox)) == PARTS
    assert accepted(sandbox) == PARTS


def accepted(sandbox: Sandbox) -> int:
    return sum(entry.took_effect for entry in sandbox.journal.writes())


@pytest.mark.parametrize(
    ("at", "fault"),
    [
        ("/v2/contact-property-types", "reset_after"),
        ("/v2/resources", "truncate"),
        ("/v2/resource-property-types", "reset_after"),
        ("/v2/contact-activity-types", "reset_before"),
    ],
)
def test_a_lost_answer_makes_nothing_twice(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, at: str, fault: Any
) -> None:
    monkeypatch.setattr(setup, "PAUSE", 0)
    sandbox.fail("onvoard", fault, method="POST", path=at)
    result = run()
    assert result.exit_code == 0, result.output
    assert accepted(sandbox) == PARTS
    assert len(sandbox.journal.writes()) == PARTS + (fault == "reset_before")


def test_what_exists_is_left_alone(sandbox: Sandbox) -> None:
    run()
    [first] = [each for each in sandbox.onvoard.activity_types.values() if "journey" in each.descriptor_template]
    first.descriptor_template = "{{ journey_name }}, as the operator likes it"
    mark = sandbox.journal.mark()
    assert run().exit_code == 0
    assert sandbox.journal.writes(mark) == []


def test_each_descriptor_names_what_the_record_holds(sandbox: Sandbox) -> None:
    """A misspelt variable would render as nothing, and nobody would notice."""
    for activity in setup.ACTIVITIES:
        named = set(re.findall(r"{{ (\w+) }}", activity.descriptor))
        assert named and named <= {*setup.COMMON, *activity.properties}


def test_a_key_of_another_type_is_reported(sandbox: Sandbox) -> None:
    headers = {"X-API-Key": sandbox.api_key}
    body = {"key": "digital_onboarding_unique_id", "label": "Mine", "value_type": "NUMBER"}
    httpx.post(f"{sandbox.onvoard_url}/v2/contact-property-types", json=body, headers=headers).raise_for_status()
    body = {"key": "digital_onboarding_unsubscribed", "name": "Mine", "kind": "OBJECT", "icon_type": "NATIVE"}
    httpx.post(f"{sandbox.onvoard_url}/v2/resources", json=body | {"icon_class": "add"}, headers=headers)
    result = run()
    assert result.exit_code == 1
    assert f"{LINK} " in result.output
    assert "has value type NUMBER, and STRING is needed" in result.output
    assert "is of kind OBJECT, and ACTIVITY is needed" in result.output
    assert "2 cannot be repaired" in result.output
    assert f"{PARTS - 2 - 4} created" in result.output, "the rest is made all the same, but for what rests on it"
    mark = sandbox.journal.mark()
    assert run().exit_code == 1
    assert sandbox.journal.writes(mark) == []


def with_webhook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_WEB__PUBLIC_URL", "https://bridge.example.com/")
    monkeypatch.setenv("BRIDGE_ONVOARD__WEBHOOK_SECRET", "hook-secret-1")


def test_the_webhook_is_made_and_brought_back(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    with_webhook(monkeypatch)
    assert "hook-secret-1" not in run().output
    [hook] = sandbox.onvoard.webhooks.values()
    assert (hook.url, hook.secret) == ("https://bridge.example.com/webhooks/onvoard", "hook-secret-1")
    assert hook.active and len(hook.event_types) == 7
    hook.active, hook.secret = False, "an older one"
    result = run()
    assert (result.exit_code, hook.active, hook.secret) == (0, True, "hook-secret-1"), result.output
    assert "repaired" in result.output and "switched off" in result.output
    hook.event_types = ["contact.saved"]
    run()
    assert len(hook.event_types) == 7
    assert len(sandbox.onvoard.webhooks) == 1


def test_more_than_a_page_of_other_peoples_schema(sandbox: Sandbox) -> None:
    headers = {"X-API-Key": sandbox.api_key}
    with httpx.Client(base_url=sandbox.onvoard_url, headers=headers) as client:
        for path, body in (
            ("contact-property-types", {"label": "L", "value_type": "STRING"}),
            ("resources", {"name": "N", "kind": "OBJECT", "icon_type": "NATIVE", "icon_class": "add"}),
        ):
            for number in range(101):
                client.post(f"/v2/{path}", json=body | {"key": f"k{number}"}).raise_for_status()
    assert run().exit_code == 0
    mark = sandbox.journal.mark()
    assert run().exit_code == 0
    assert sandbox.journal.writes(mark) == []


def test_a_migrated_mirror_knows_at_once(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("BRIDGE_DATABASE_URL", database_url)
    db = Database(database_url)
    migrate.upgrade(db)
    result = run()
    assert result.exit_code == 0, result.output
    with db.begin(write=False) as conn:
        assert mirror.activity_type_accessors(conn) >= ACTIVITY_TYPES
        assert LINK in mirror.property_type_keys(conn)
        assert cursors.account(conn, "onvoard") is not None
        assert not conn.execute(select(tables.runs)).all()
    db.close()


def test_nothing_is_made_for_an_account_that_the_mirror_is_not_of(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, sqlite_url: str
) -> None:
    """Resources can never be deleted again."""
    monkeypatch.setenv("BRIDGE_DATABASE_URL", sqlite_url)
    db = Database(sqlite_url)
    migrate.upgrade(db)
    db.close()
    assert run().exit_code == 0
    with Sandbox() as other:
        monkeypatch.setenv("BRIDGE_ONVOARD__BASE_URL", other.onvoard_url)
        result = run()
        assert result.exit_code == 1
        assert "another one: its address differ" in result.output
        assert other.journal.writes() == []


def test_a_database_that_is_not_migrated_is_left_alone(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, sqlite_url: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("BRIDGE_DATABASE_URL", sqlite_url)
    result = run()
    assert result.exit_code == 0, result.output
    assert "The mirror was left alone" in result.output
    assert not (tmp_path / "mirror.db").exists()


def test_without_credentials(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BRIDGE_ONVOARD__API_KEY")
    result = run()
    assert result.exit_code == 2
    assert "BRIDGE_ONVOARD__API_KEY" in result.output


def test_a_wrong_key(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_ONVOARD__API_KEY", "not-the-right-key")
    result = run()
    assert result.exit_code == 1
    assert "GET /v2/contact-property-types answered 401" in result.output
    assert "not-the-right-key" not in result.output
