"""What lies between two rules: clocks that differ, conflicts whose people vanish, the undocumented list."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cycle.world import World

LINK = "custom_digital_onboarding_unique_id"


@pytest.mark.parametrize("hours", [-3, 3])
async def test_the_clock_of_this_machine_may_be_wrong(world: World, hours: int) -> None:
    """Whose edit is the newer one is a matter of the platforms' own times; and a probe stays nobody's edit."""
    world.use_clock(lambda: world.clock.now() + timedelta(hours=hours))
    await world.linked("ann", "bob")
    world.do.edit_contact("crm-ann", city="Bern")
    world.clock.advance(30)
    world.ov.edit_contact("ann@example.com", city="Oslo")
    world.ov.edit_contact("bob@example.com", city="Lima")
    world.clock.advance(30)
    world.do.edit_contact("crm-bob", city="Quito")
    await world.sync()
    assert (world.do.contact("crm-ann")["city"], world.do.contact("crm-bob")["city"]) == ("Oslo", "Quito")
    world.do.settings.touch_on_probe = True
    world.clock.advance(60)
    world.do.edit_contact("crm-ann", city="Rome")
    world.clock.advance(30)
    world.ov.edit_contact("ann@example.com", city="Lima")
    world.clock.advance(30)
    await world.sync()
    assert world.do.contact("crm-ann")["city"] == "Lima", "the probe moved the older edit's time"
    world.ov.add_contact("new@example.com")
    await world.sync(full=False)
    assert world.people()["new@example.com"]["status"] == "linked" and world.unequal() == []
    await world.quiet()


async def test_the_undocumented_list_takes_the_place_of_probes(world: World) -> None:
    world.configure(digital_onboarding__refresh="list")
    world.do.settings.listing = True
    world.do.settings.touch_on_probe = True
    await world.linked("ann", "bob")
    world.do.edit_contact("crm-ann", city="Bern")
    world.do.add_contact(unique_id="crm-new", email="new@example.com", name_first="Nora")
    mark = world.mark()
    await world.sync()
    assert world.ov.contact("ann@example.com")["properties"]["city"] == "Bern"
    assert world.ov.contact("new@example.com")["name"] == "Nora"
    assert world.journal.writes(mark, "digital_onboarding") == []
    mark = world.mark()
    await world.sync()
    assert world.journal.writes(mark) == []


async def test_a_suppression_ends_the_conflict_for_the_others_as_well(world: World) -> None:
    """Two claim one contact; one of them is suppressed, and with her goes what was claimed."""
    await world.setup()
    world.ov.add_contact("one@example.com", **{LINK: "crm-1"})
    world.ov.add_contact("two@example.com", name="Two", **{LINK: "crm-1"})
    world.do.add_contact(unique_id="crm-1", email="one@example.com")
    await world.import_export()
    await world.sync()
    assert len(world.conflicts("ambiguous_identity")) == 1
    world.ov.suppress("one@example.com")
    await world.sync()
    frozen = world.rows("SELECT id FROM persons WHERE conflict_id IS NOT NULL")
    still_open = [conflict["id"] for conflict in world.conflicts()]
    assert not frozen or still_open, "frozen by a conflict that nobody can see"
    assert world.do.contact("crm-1")["unsubscribe_sms"]
    await world.quiet()


async def test_a_deleted_twin_leaves_no_frozen_ghost(world: World) -> None:
    world.ov.add_contact("twin@example.com")
    for number in (1, 2):
        world.do.add_contact(unique_id=f"crm-{number}", email="twin@example.com")
    await world.import_export()
    await world.sync()
    world.ov.delete_contact("twin@example.com")
    world.do.edit_contact("crm-2", email="other@example.com")
    await world.sync()
    await world.sync()
    assert world.conflicts() == [] and world.rows("SELECT id FROM persons WHERE conflict_id IS NOT NULL") == []
    await world.quiet()


async def test_an_opt_out_survives_the_removal_and_return_of_the_contact_over_there(world: World) -> None:
    """Somebody made it anew, without the flag; the person is in conflict, and that stops no opt-out."""
    await world.linked("ann", "bob")
    world.ov.unsubscribe("ann@example.com")
    await world.sync()
    world.clock.advance(60)
    world.do.remove_contact("crm-ann")
    world.do.add_contact(unique_id="crm-ann", email="ann@example.com", name_first="Ann")
    await world.sync()
    assert len(world.conflicts("removed_on_digital_onboarding")) == 1
    assert world.do.contact("crm-ann")["unsubscribe_email"] is True


async def test_a_suppression_while_activities_leave_keeps_nothing_of_them(world: World) -> None:
    await world.setup()
    await world.linked("susan", "bob")
    world.do.complete_objective("crm-susan", "online-banking")
    await world.import_export()
    world.sandbox.when(
        "onvoard", lambda: world.ov.suppress("susan@example.com"), method="POST", path="/v2/contact-activities"
    )
    await world.sync()
    await world.sync()
    assert world.activities() == []
    assert "susan lee" not in world.mirror_text().lower() and "susan@" not in world.mirror_text().lower()
    assert world.do.contact("crm-susan")["unsubscribe_sms"]


async def test_an_email_that_is_edited_and_edited_back_is_no_conflict_for_ever(world: World) -> None:
    await world.linked("ann", "bob")
    world.do.edit_contact("crm-ann", email="bob@example.com")
    await world.sync()
    assert world.people()["ann@example.com"]["status"] == "conflict"
    world.clock.advance(60)
    world.do.edit_contact("crm-ann", email="ann@example.com")
    await world.sync()
    assert world.conflicts() == []
    assert {row["status"] for row in world.people().values()} == {"linked"}
