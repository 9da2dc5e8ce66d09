"""`contact-bridge setup` against an emulated OnVoard, over HTTP."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from service import setup
from service.cli.main import cli
from service.load import needs
from service.sandbox import Sandbox
from service.store import cursors, mirror, tables
from service.store.announcements import KINDS
from service.store.database import Database

LINK = "custom_digital_onboarding_unique_id"
PARTS = 23  # one link property, four resources and activity types, 14 properties of their records


@pytest.fixture
def sandbox(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sandbox:
    """The folder is empty and there is no database."""
    monkeypatch.chdir(tmp_path)
    return sandbox


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
    assert {name for kind, name in made(sandbox) if kind == "type"} == KINDS
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
    monkeypatch.setattr(needs, "PAUSE", 0)
    sandbox.fail("onvoard", fault, method="POST", path=at)
    result = run()
    assert result.exit_code == 0, result.output
    assert accepted(sandbox) == PARTS
    assert len(sandbox.journal.writes()) == PARTS + (fault == "reset_before")


def changed_by_hand(sandbox: Sandbox) -> dict[str, Any]:
    """One of each kind, with the texts that somebody gave it on OnVoard."""
    ov = sandbox.onvoard
    [link] = [each for each in ov.contact_property_types.values() if each.key == LINK]
    [resource] = [each for each in ov.resources.values() if each.key == "digital_onboarding_unsubscribed"]
    [channel] = [each for each in ov.resource_property_types.values() if each.key == "channel"]
    [kind] = [each for each in ov.activity_types.values() if each.resource_id == resource.id]
    link.label = link.helper_text = resource.name = channel.label = kind.descriptor_template = "as we like it"
    return {"link": link, "resource": resource, "channel": channel, "kind": kind}


def test_what_somebody_has_renamed_is_reported_and_left_alone(sandbox: Sandbox) -> None:
    run()
    changed_by_hand(sandbox)
    mark = sandbox.journal.mark()
    result = run()
    assert result.exit_code == 0, result.output
    assert sandbox.journal.writes(mark) == []
    for what in ("label, helper_text", "name", "label", "descriptor_template"):
        assert f"already there  {what} changed on OnVoard: left alone" in result.output
    assert result.output.count("left alone") == 4 + 1  # and the mirror


def test_names_come_back_only_where_that_is_asked_for(sandbox: Sandbox) -> None:
    run()
    changed = changed_by_hand(sandbox)
    mark = sandbox.journal.mark()
    assert "4 needs repair" in run("--relabel", "--dry-run").output
    assert sandbox.journal.writes(mark) == []
    result = run("--relabel")
    assert result.exit_code == 0, result.output
    assert f"{PARTS - 4} already there" in result.output and "4 repaired" in result.output
    assert changed["link"].label == "Digital Onboarding unique ID" and "contact-bridge" in changed["link"].helper_text
    assert changed["resource"].name == "Unsubscribed on Digital Onboarding" and changed["channel"].label == "Channel"
    assert changed["kind"].descriptor_template == "Opted out of {{ channel }}"
    mark = sandbox.journal.mark()
    assert run("--relabel").exit_code == 0
    assert sandbox.journal.writes(mark) == []


def test_a_repair_that_is_refused_is_reported_and_stops_nothing_else(sandbox: Sandbox) -> None:
    """By the letter of the document, neither a property of an activity's resource nor an activity type is patched."""
    run()
    changed = changed_by_hand(sandbox)
    sandbox.onvoard.settings.strict_patch_kind = True
    result = run("--relabel")
    assert result.exit_code == 1
    assert "2 refused" in result.output and "2 repaired" in result.output
    assert "PATCH /v2/contact-activity-types/:activity_type_id answered 400" in result.output
    assert changed["resource"].name == "Unsubscribed on Digital Onboarding"


def test_what_somebody_has_deleted_is_made_again(sandbox: Sandbox) -> None:
    run()
    changed = changed_by_hand(sandbox)
    del sandbox.onvoard.activity_types[changed["kind"].id]
    del sandbox.onvoard.resource_property_types[changed["channel"].id]
    del sandbox.onvoard.contact_property_types[changed["link"].id]
    result = run()
    assert result.exit_code == 0, result.output
    assert "3 created" in result.output
    assert len(made(sandbox)) == PARTS


def test_a_key_without_a_right_makes_what_it_may(sandbox: Sandbox) -> None:
    sandbox.fail("onvoard", "status", method="POST", path="/v2/resources", status=403, times=2)
    result = run()
    assert result.exit_code == 1
    assert "POST /v2/resources answered 403" in result.output
    assert "2 refused" in result.output and "BRIDGE_ONVOARD__API_KEY" in result.output
    assert "its resource could not be made" in result.output
    assert len([1 for kind, _ in made(sandbox) if kind == "type"]) == 2, "the others are made all the same"
    assert run().exit_code == 0
    assert len(made(sandbox)) == PARTS


def test_two_at_once_make_nothing_twice(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one starts, and ends, right after the first has looked."""
    with_webhook(monkeypatch)
    ended: list[int] = []
    sandbox.when("onvoard", lambda: ended.append(run().exit_code), method="POST", path="/v2/contact-property-types")
    result = run()
    assert (result.exit_code, ended) == (0, [0]), result.output
    assert len(made(sandbox)) == PARTS
    assert accepted(sandbox) == PARTS + 2
    run()  # nothing but an address tells webhooks apart: of two, one is switched off again
    assert sorted(hook.active for hook in sandbox.onvoard.webhooks.values()) == [False, True]


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
    assert result.output.endswith("Next: remove it on OnVoard (its support can), then contact-bridge setup\n")
    assert f"{PARTS - 2 - 4} created" in result.output, "the rest is made all the same, but for what rests on it"
    mark = sandbox.journal.mark()
    assert run().exit_code == 1
    assert sandbox.journal.writes(mark) == []


def test_a_link_property_that_reformats_what_it_is_given_is_reported(sandbox: Sandbox) -> None:
    headers = {"X-API-Key": sandbox.api_key}
    body = {"key": "digital_onboarding_unique_id", "label": "Mine", "value_type": "STRING", "field_type": "PHONE"}
    httpx.post(f"{sandbox.onvoard_url}/v2/contact-property-types", json=body, headers=headers).raise_for_status()
    result = run()
    assert result.exit_code == 1
    assert "has field type PHONE" in result.output and "Next: remove it on OnVoard" in result.output


def test_a_predefined_property_of_the_same_name_is_another_one(sandbox: Sandbox) -> None:
    [predefined] = [each for each in sandbox.onvoard.contact_property_types.values() if each.key == "city"]
    predefined.key = "digital_onboarding_unique_id"
    result = run()
    assert result.exit_code == 0, result.output
    assert f"{PARTS} created" in result.output


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


def test_a_lost_answer_makes_no_second_webhook(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    with_webhook(monkeypatch)
    monkeypatch.setattr(needs, "PAUSE", 0)
    sandbox.fail("onvoard", "reset_after", method="POST", path="/v2/webhooks")
    assert run().exit_code == 0
    assert len(sandbox.onvoard.webhooks) == 1


def test_the_secret_is_given_again_only_where_that_is_asked_for(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing tells a webhook that has it from one that has another, or none."""
    with_webhook(monkeypatch)
    run()
    [hook] = sandbox.onvoard.webhooks.values()
    hook.secret = ""
    mark = sandbox.journal.mark()
    assert "contact-bridge setup --renew-secret" in run().output
    assert "1 needs repair" in run("--renew-secret", "--dry-run").output
    assert sandbox.journal.writes(mark) == []
    result = run("--renew-secret")
    assert (result.exit_code, hook.secret) == (0, "hook-secret-1"), result.output
    assert "1 repaired" in result.output and "hook-secret-1" not in result.output


def test_of_webhooks_at_one_address_one_is_left_switched_on(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    with_webhook(monkeypatch)
    headers, url = {"X-API-Key": sandbox.api_key}, "https://Bridge.example.com:443/webhooks/onvoard/"
    for active in (True, True, False):
        body = {"url": url, "event_types": ["contact.saved"], "active": active}
        httpx.post(f"{sandbox.onvoard_url}/v2/webhooks", json=body, headers=headers).raise_for_status()
    result = run()
    assert result.exit_code == 0, result.output
    assert "1 more at this address, to be switched off" in result.output
    [kept] = [hook for hook in sandbox.onvoard.webhooks.values() if hook.active]
    assert (kept.secret, len(kept.event_types), len(sandbox.onvoard.webhooks)) == ("hook-secret-1", 7, 3)
    mark = sandbox.journal.mark()
    assert f"{PARTS + 1} already there." in run().output
    assert sandbox.journal.writes(mark) == []


def test_a_webhook_at_a_former_address_is_named_and_left_alone(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_webhook(monkeypatch)
    run()
    monkeypatch.setenv("BRIDGE_WEB__PUBLIC_URL", "http://new.example.com")
    result = run()
    assert result.exit_code == 0, result.output
    assert "https://bridge.example.com/webhooks/onvoard" in result.output
    assert "not at BRIDGE_WEB__PUBLIC_URL" in result.output
    assert "over plain http anybody on the way reads about your contacts" in result.output
    assert [hook.active for hook in sandbox.onvoard.webhooks.values()] == [True, True]


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
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, mirror_url: str
) -> None:
    monkeypatch.setenv("BRIDGE_DATABASE_URL", mirror_url)
    result = run()
    assert result.exit_code == 0, result.output
    with closing(Database(mirror_url)) as db, db.begin(write=False) as conn:
        assert mirror.activity_type_accessors(conn) >= KINDS
        assert mirror.link_property_fits(conn)
        assert cursors.account(conn, "onvoard") is not None
        assert not conn.execute(select(tables.runs)).all()


def test_nothing_is_made_for_an_account_that_the_mirror_is_not_of(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, sqlite_mirror: str
) -> None:
    """Resources can never be deleted again."""
    monkeypatch.setenv("BRIDGE_DATABASE_URL", sqlite_mirror)
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
