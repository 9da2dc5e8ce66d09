"""Traps 14 to 22 of traps.md: the forgotten, and what counts as consent.

Also covered elsewhere: 14, 15 and 17 by tests/cycle/test_suppression.py (erasure, races, unsuppressing), 16 by
tests/cycle/test_deletion.py, 18 to 20 by tests/cycle/test_consent.py and tests/core/test_consent.py. After every test
that uses `world`, `check_journal` asserts that no flag was raised, nobody suppressed and nothing deleted.
"""

from __future__ import annotations

from typing import Any

import pytest

from service import errors
from service.platforms.onvoard.client import OnVoard
from service.sandbox import Sandbox
from service.sandbox.journal import Entry
from tests.cycle.world import World, members

FLAGS = {"unsubscribe_email", "unsubscribe_sms"}


def _about(world: World, contact_id: str, since: int) -> list[Entry]:
    return [entry for entry in world.writes(since, "onvoard") if contact_id in entry.path + str(entry.body)]


async def test_trap_14_a_suppressed_contact_is_never_unsuppressed_to_force_a_write_through(
    sandbox: Sandbox, ov: OnVoard
) -> None:
    contact = await ov.contacts.create(email="ann@example.com", name="Ann Lee")
    sandbox.onvoard.suppress(contact.id)
    for refused in (ov.contacts.patch(contact.id, name="x"), ov.contacts.delete(contact.id)):
        with pytest.raises(errors.Rejected):
            await refused
    forgotten = await ov.contacts.retrieve(contact.id)
    mark = sandbox.journal.mark()
    for never_sent in (ov.contacts.patch(forgotten, name="x"), ov.contacts.delete(forgotten)):
        with pytest.raises(errors.RuleBroken):
            await never_sent
    assert sandbox.journal.entries(mark) == [] and sandbox.onvoard.contact(contact.id)["suppressed"] is True
    assert not [entry for entry in sandbox.journal.writes() if "unsuppress" in entry.path]


async def test_trap_14_one_suppressed_just_before_a_write_stays_so(world: World) -> None:
    await world.linked("ann")
    contact_id = world.ov.contact("ann@example.com")["id"]
    world.do.edit_contact("crm-ann", city="Bern", email="new@example.com")
    world.sandbox.when("onvoard", lambda: world.ov.suppress(contact_id), method="PATCH")
    mark = world.mark()
    await world.sync()
    await world.sync()
    assert [(entry.method, entry.status >= 400) for entry in world.writes(mark, "onvoard")] == [("PATCH", True)]
    assert world.ov.contact(contact_id)["suppressed"] is True
    assert world.rows("SELECT id FROM outbox WHERE status NOT IN ('done', 'cancelled')") == []


async def test_trap_15_suppression_stops_upserts_activities_and_onward_sync(world: World) -> None:
    await world.setup()
    await world.linked("ann", "bob")
    contact_id = world.ov.contact("ann@example.com")["id"]
    world.ov.suppress(contact_id)
    for name in ("ann", "bob"):
        world.do.edit_contact(f"crm-{name}", city="Bern")
        world.do.complete_objective(f"crm-{name}", "online-banking")
    await world.import_export()
    mark = world.mark()
    await world.sync()
    await world.sync()
    assert _about(world, contact_id, mark) == [] and len(world.ov.contacts) == 2
    assert world.ov.contact("bob@example.com")["properties"]["city"] == "Bern"
    assert [each["contact"]["email"] for each in world.activities()] == ["bob@example.com"]


async def test_trap_15_what_a_suppressed_person_did_and_said_is_not_taken_over(world: World) -> None:
    world.ov.settings.suppressed_data = "keep"
    await world.linked("ann", "bob")
    for name in ("ann", "bob"):
        world.ov.add_activity(f"{name}@example.com", "email_opened", email_name="hello")
        world.ov.add_review(f"{name}@example.com", 5, "fine", entity="SITE")
    world.ov.suppress("ann@example.com")
    await world.sync()
    await world.sync()
    bob = world.ov.contact("bob@example.com")["id"]
    assert {row["contact_id"] for row in world.rows("SELECT contact_id FROM onvoard_activities")} == {bob}
    assert {row["who"] for row in world.rows("SELECT reviewer_contact_id AS who FROM onvoard_reviews")} == {bob}


async def test_trap_16_a_deleted_contact_does_not_come_back_by_a_push_or_an_activity(world: World) -> None:
    await world.setup()
    await world.linked("ann", "bob")
    world.ov.delete_contact("ann@example.com")
    world.do.edit_contact("crm-ann", city="Bern", name_first="Anna")
    world.do.complete_objective("crm-ann", "online-banking")
    await world.import_export()
    mark = world.mark()
    await world.sync()
    await world.sync()
    assert [contact["email"] for contact in world.ov.contact_list()] == ["bob@example.com"]
    assert "ann@example.com" not in str([entry.body for entry in world.writes(mark, "onvoard")])


@pytest.mark.parametrize("shown", ["erase", "keep"])
async def test_trap_17_the_data_of_the_suppressed_are_no_updates_whether_blank_or_still_there(
    world: World, shown: Any
) -> None:
    world.ov.settings.suppressed_data = shown
    await world.linked("ann")
    world.ov.edit_contact("ann@example.com", city="Bern")
    world.ov.suppress("ann@example.com")
    mark = world.mark()
    await world.sync()
    sent = [member for entry in world.writes(mark, "digital_onboarding") for member in members(entry)]
    assert sent and all(set(member) == {"unique_id", *FLAGS} for member in sent)
    assert world.do.contact("crm-ann")["city"] == "Rome" and world.do.contact("crm-ann")["name_first"] == "Ann"


async def test_trap_18_no_flag_is_taken_for_another_or_for_its_opposite(world: World) -> None:
    await world.linked("ann", "bob", "cat", "dan")
    assert not any(contact["accepts_marketing_emails"] for contact in world.ov.contact_list())
    assert not any(contact["unsubscribe_email"] for contact in world.do.contact_list())
    world.ov.edit_contact("ann@example.com", accepts_marketing_emails=False)
    world.ov.edit_contact("dan@example.com", accepts_marketing_emails=True)
    world.do.unsubscribe("crm-bob", email=False, sms=True)
    mark = world.mark()
    await world.sync()
    assert world.writes(mark) == []
    world.ov.edit_contact("cat@example.com", email_unsubscribed=True, accepts_marketing_emails=True)
    await world.sync()
    there = world.do.contact("crm-cat")
    assert there["unsubscribe_email"] is True and not there["unsubscribe_sms"]


@pytest.mark.parametrize("unset", [False, None])
async def test_trap_19_a_default_is_no_consent_and_the_opt_out_wins(world: World, unset: Any) -> None:
    world.do.settings.unset_flag = unset
    world.ov.add_contact("ann@example.com", email_unsubscribed=True)
    world.do.add_contact(unique_id="crm-ann", email="ann@example.com", unsubscribe_email=False)
    world.do.add_contact(unique_id="crm-bob", email="bob@example.com", unsubscribe_email=True)
    world.ov.add_contact("bob@example.com")
    world.ov.add_contact("cat@example.com", email_unsubscribed=True)
    await world.import_export()
    await world.sync()
    assert [each["email_unsubscribed"] for each in world.ov.contact_list()] == [True] * 3
    assert [each["unsubscribe_email"] for each in world.do.contact_list()] == [True] * 3
    assert world.conflicts() == []


@pytest.mark.parametrize("defaults", [False, True])
async def test_trap_19_opting_in_again_is_for_a_person_to_decide_and_never_our_own_doing(
    world: World, defaults: bool
) -> None:
    world.ov.settings.defaults_on_update = defaults
    await world.linked("ann", "bob")
    for name in ("ann", "bob"):
        world.ov.unsubscribe(f"{name}@example.com")
    await world.sync()
    world.clock.advance(60)
    world.do.edit_contact("crm-ann", city="Bern")  # a write of ours follows, which leaves the flag out or says it
    world.ov.resubscribe("bob@example.com")
    await world.sync()
    assert world.do.contact("crm-bob")["unsubscribe_email"] is True
    assert world.ov.contact("ann@example.com")["email_unsubscribed"] is True
    (asked,) = world.conflicts("resubscribed")
    assert asked["person_id"] == world.people()["bob@example.com"]["person_id"]


async def test_trap_20_not_sendable_is_not_unsubscribed(world: World) -> None:
    world.ov.add_contact("new@example.com", email_double_optin_status="NOT_CONFIRMED")
    await world.linked("ann", email_double_optin_status="NOT_CONFIRMED")
    assert not any(contact["email_sendable"] for contact in world.ov.contact_list())
    assert not any(contact["unsubscribe_email"] for contact in world.do.contact_list())
    assert len(world.do.contacts) == 2
    assert {row["email_opted_out"] for row in world.people().values()} in ({0}, {False})


async def test_trap_21_no_creation_or_change_asks_for_a_confirmation_mail(world: World) -> None:
    for number in range(5):
        world.do.add_contact(unique_id=f"crm-{number}", email=f"p{number}@example.com", name_first="Pat")
    await world.import_export()
    await world.sync()
    for number in range(5):
        world.do.edit_contact(f"crm-{number}", city="Bern")
    await world.sync()
    writes = world.writes(platform="onvoard")
    assert len(writes) == 10 and not [entry for entry in writes if "send_email_optin_confirmation" in entry.body]
    assert all(contact["email_sendable"] for contact in world.ov.contact_list())


async def test_trap_21_a_confirmation_mail_is_not_asked_for_twice(sandbox: Sandbox, ov: OnVoard) -> None:
    contact = await ov.contacts.create(email="ann@example.com")
    mark = sandbox.journal.mark()
    sandbox.fail("onvoard", "status", method="PATCH", status=502, after_effect=True)
    with pytest.raises(errors.ServerFailed) as caught:
        await ov.contacts.patch(contact.id, send_email_optin_confirmation=True)
    assert caught.value.verdict is errors.Verdict.LOOK and len(sandbox.journal.writes(mark)) == 1


@pytest.mark.parametrize("status", ["NOT_CONFIRMED", "CONFIRMED", None])
async def test_trap_22_the_confirmation_is_left_as_it_was(world: World, status: Any) -> None:
    await world.linked("ann", **({"email_double_optin_status": status} if status else {}))
    before = world.ov.contact("ann@example.com")["email_double_optin_status"]
    world.do.edit_contact("crm-ann", city="Bern", email="ann2@example.com", name_first="Anna")
    world.do.unsubscribe("crm-ann")
    await world.sync()
    after = world.ov.contact("ann2@example.com")
    assert after["email_double_optin_status"] == before and after["properties"]["city"] == "Bern"
    world.do.add_contact(unique_id="crm-new", email="new@example.com", name_first="New")
    await world.import_export()
    await world.sync()
    assert world.ov.contact("new@example.com")["email_double_optin_status"] != "CONFIRMED"
    assert "double_optin" not in str([entry.body for entry in world.writes()])
