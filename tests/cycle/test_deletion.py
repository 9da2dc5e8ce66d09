"""Gone from one side: noticed by proof, never re-created by the bridge."""

from __future__ import annotations

import pytest

from service.errors import PlatformError, SuspiciouslyEmpty
from tests.cycle.world import World, show


async def test_a_contact_gone_from_onvoard_is_not_created_again(both: World) -> None:
    await both.linked("ann", "bob")
    both.ov.delete_contact("ann@example.com")
    both.do.edit_contact("crm-ann", city="Bern")
    mark = both.mark()
    await both.sync()
    assert both.writes(mark) == [] and len(both.ov.contacts) == 1
    gone = both.rows("SELECT email FROM onvoard_contacts WHERE deleted_at IS NOT NULL")
    assert gone == [{"email": "ann@example.com"}]
    assert both.people()["ann@example.com"]["status"] == "digital_onboarding_only"
    both.do.edit_contact("crm-ann", city="Oslo")
    await both.sync()
    assert len(both.ov.contacts) == 1
    await both.quiet()


async def test_the_same_email_under_a_new_id_is_linked_again(world: World) -> None:
    await world.linked("ann", "bob")
    world.ov.delete_contact("ann@example.com")
    await world.sync()
    world.clock.advance(60)
    world.ov.add_contact("ann@example.com", name="Ann Back")
    await world.sync()
    assert world.status("ann@example.com") == ("linked", "email") and len(world.do.contacts) == 2
    assert world.people()["ann@example.com"]["unique_id"] == "crm-ann" and world.unequal() == []
    assert world.do.contact("crm-ann")["name_last"] == "Back"
    await world.quiet()


async def test_deleted_and_made_anew_between_two_syncs(world: World) -> None:
    await world.linked("ann", "bob")
    world.ov.delete_contact("ann@example.com")
    world.ov.add_contact("ann@example.com", name="Ann Back")
    await world.sync()
    await world.sync()
    person = world.people()["ann@example.com"]
    assert person["status"] == "linked" and person["unique_id"] == "crm-ann" and len(world.do.contacts) == 2
    assert world.unequal() == [] and world.conflicts() == []
    await world.quiet()


async def test_only_a_404_on_the_id_proves_a_deletion(world: World) -> None:
    """The list leaves somebody out for a moment."""
    await world.linked("ann", "bob")
    stolen = world.ov.record("ann@example.com")

    def hide() -> None:
        world.ov.contacts.pop(stolen.id)

    def show() -> None:
        world.ov.contacts[stolen.id] = stolen

    world.sandbox.when("onvoard", hide, method="GET", path="/v2/contacts")
    world.sandbox.when("onvoard", show, method="GET", path=f"/v2/contacts/{stolen.id}")
    await world.sync()
    assert world.rows("SELECT id FROM onvoard_contacts WHERE deleted_at IS NOT NULL") == []
    assert world.status("ann@example.com") == ("linked", "email")
    await world.quiet()


async def test_gone_from_onvoard_while_a_push_is_under_way(world: World) -> None:
    await world.linked("ann", "bob")
    world.do.edit_contact("crm-ann", city="Bern")
    world.sandbox.when("onvoard", lambda: world.ov.delete_contact("ann@example.com"), method="PATCH")
    report = await world.sync()
    assert not report.new_dead and len(world.ov.contacts) == 1
    assert world.people()["ann@example.com"]["status"] == "digital_onboarding_only"
    await world.quiet()


async def test_removed_on_digital_onboarding_is_asked_about_once_and_not_filled(world: World) -> None:
    await world.linked("ann", "bob", "cat")
    world.do.remove_contact("crm-ann")
    world.do.edit_contact("crm-bob", city="Oslo")
    report = await world.sync()
    assert report.new_conflicts == 1
    assert [c["kind"] for c in world.conflicts()] == ["removed_on_digital_onboarding"]
    assert world.do.contact("crm-ann")["name_first"] is None, "the probe had to make it anew; nothing was filled in"
    assert world.ov.contact("ann@example.com")["name"] == "Ann Lee"
    assert world.ov.contact("bob@example.com")["properties"]["city"] == "Oslo"
    assert world.people()["ann@example.com"]["status"] == "conflict"
    assert (await world.sync()).new_conflicts == 0
    await world.quiet()


async def test_removed_on_digital_onboarding_and_found_out_by_a_push(world: World) -> None:
    """Without a probe: the answer to the change itself says that the contact is new."""
    world.configure(digital_onboarding__refresh="off")
    await world.linked("ann", "bob")
    world.do.remove_contact("crm-ann")
    world.ov.edit_contact("ann@example.com", city="Oslo")
    report = await world.sync()
    assert report.new_conflicts == 1
    assert world.people()["ann@example.com"]["status"] == "conflict"
    await world.quiet()


async def test_removed_and_made_anew_by_somebody_else(world: World) -> None:
    """The unique_id is answered for by another record than the one that we knew."""
    await world.linked("ann", "bob")
    world.do.remove_contact("crm-ann")
    world.do.add_contact(unique_id="crm-ann", email="ann@example.com", name_first="Other")
    await world.sync()
    assert [c["kind"] for c in world.conflicts()] == ["removed_on_digital_onboarding"]
    assert world.ov.contact("ann@example.com")["name"] == "Ann Lee"
    await world.quiet()


async def test_an_onvoard_that_suddenly_lists_nobody_is_an_outage(world: World) -> None:
    await world.linked("ann", "bob", "cat")
    people = dict(world.ov.contacts)
    world.ov.contacts.clear()
    mark = world.mark()
    with pytest.raises(SuspiciouslyEmpty):
        await world.sync()
    assert world.writes(mark) == []
    assert world.rows("SELECT id FROM onvoard_contacts WHERE deleted_at IS NOT NULL") == []
    world.ov.contacts.update(people)
    await world.quiet()
    assert {row["status"] for row in world.people().values()} == {"linked"}


async def test_a_digital_onboarding_that_suddenly_knows_nobody_is_an_outage(world: World) -> None:
    await world.linked("ann", "bob", "cat", "dan")
    for name in ("ann", "bob", "cat", "dan"):
        world.do.remove_contact(f"crm-{name}")
    with pytest.raises(SuspiciouslyEmpty):
        await world.sync()
    assert all(contact["name"].endswith("Lee") for contact in world.ov.contact_list())
    await world.quiet()


async def test_what_waits_for_a_deleted_contact_is_not_sent(world: World) -> None:
    await world.setup()
    await world.linked("ann", "bob")
    world.do.complete_objective("crm-ann", "online-banking")
    world.do.edit_contact("crm-ann", city="Bern")
    await world.import_export()
    world.sandbox.fail("onvoard", "status", method="P*", times=None, status=503)
    for _ in range(2):
        with pytest.raises(PlatformError):
            await world.sync()
    world.sandbox.clear_faults()
    world.ov.delete_contact("ann@example.com")
    mark = world.mark()
    report = await world.sync()
    assert [show(entry) for entry in world.writes(mark, "onvoard")] == [] and not report.new_dead
    assert world.rows("SELECT id FROM outbox WHERE status NOT IN ('done', 'cancelled')") == []
    await world.quiet()


async def test_the_last_activities_may_go_with_their_contact(world: World) -> None:
    """It is a side without people that is taken for an outage."""
    await world.linked("ann", "bob")
    for name in ("one", "two", "three"):
        world.ov.add_activity("ann@example.com", "email_opened", email_name=name)
    await world.sync()
    world.ov.delete_contact("ann@example.com")
    await world.sync()
    assert world.people()["ann@example.com"]["status"] == "digital_onboarding_only"
    await world.quiet()


async def test_nothing_is_left_to_look_at_of_somebody_deleted(world: World) -> None:
    await world.linked("ann", "bob")
    world.ov.delete_contact("ann@example.com")
    await world.sync()
    assert world.rows("SELECT id FROM onvoard_contacts WHERE dirty") == []
    assert world.rows("SELECT unique_id FROM digital_onboarding_contacts WHERE dirty") == []
