"""The e-mail itself: carried to the same contact, never a reason to merge or to create anybody."""

from __future__ import annotations

from tests.cycle.world import World


async def test_a_changed_email_goes_to_the_same_contact_both_ways(world: World) -> None:
    await world.linked("ann", "bob")
    world.ov.edit_contact("ann@example.com", email="ann.new@example.com")
    world.do.edit_contact("crm-bob", email="bob.new@example.com")
    await world.sync()
    assert world.do.contact("crm-ann")["email"] == "ann.new@example.com"
    assert world.ov.contact("bob.new@example.com")["name"] == "Bob Lee"
    assert (len(world.ov.contacts), len(world.do.contacts)) == (2, 2)
    assert world.status("ann.new@example.com") == ("linked", "email")
    await world.quiet()


async def test_a_change_of_case_alone_is_none(world: World) -> None:
    await world.linked("ann")
    world.do.edit_contact("crm-ann", email="ANN@Example.com")
    mark = world.mark()
    await world.sync()
    assert world.writes(mark) == [] and world.ov.contact("ann@example.com")["email"] == "ann@example.com"
    await world.quiet()


async def test_a_cleared_email_does_not_travel(world: World) -> None:
    await world.linked("ann")
    world.do.edit_contact("crm-ann", email="", city="Bern")
    await world.sync()
    assert world.ov.contact("ann@example.com")["properties"]["city"] == "Bern"
    assert world.status("ann@example.com") == ("linked", "email")
    await world.quiet()


async def test_an_email_that_somebody_else_was_given_unread_is_a_conflict_and_no_dead_letter(world: World) -> None:
    """A plain sync has not read that bob has moved there; OnVoard's refusal says so."""
    await world.linked("ann", "bob")
    world.clock.advance(600)
    await world.sync(full=False)
    world.ov.edit_contact("bob@example.com", email="new@example.com")
    world.do.edit_contact("crm-ann", email="new@example.com")
    world.clock.advance(7 * 3600)
    await world.sync(full=False)
    assert [conflict["kind"] for conflict in world.conflicts()] == ["email_taken"]
    assert world.rows("SELECT id FROM outbox WHERE status = 'dead'") == []
    assert world.ov.contact("ann@example.com") and world.ov.contact("new@example.com")["name"] == "Bob Lee"


async def test_a_new_email_that_belongs_to_somebody_else_is_a_conflict(world: World) -> None:
    await world.linked("ann", "bob", "cat")
    world.do.edit_contact("crm-ann", email="bob@example.com", city="Bern")
    world.do.edit_contact("crm-cat", city="Oslo")
    mark = world.mark()
    report = await world.sync()
    assert report.new_conflicts == 1 and world.conflicts("email_taken")
    assert world.ov.contact("ann@example.com")["properties"]["city"] == "Rome"
    assert world.ov.contact("cat@example.com")["properties"]["city"] == "Oslo"
    assert len(world.writes(mark)) == 1 and len(world.ov.contacts) == 3
    assert sorted(row["status"] for row in world.people().values()) == ["conflict", "conflict", "linked"]
    assert (await world.sync()).new_conflicts == 0
    await world.quiet()


async def test_a_merge_by_an_edit_on_onvoard_is_refused_too(world: World) -> None:
    await world.linked("ann")
    world.do.add_contact(unique_id="crm-late", email="late@example.com", name_first="Late")
    world.configure(identity__create_on_onvoard=False)
    await world.import_export()
    await world.sync()
    world.ov.edit_contact("ann@example.com", email="late@example.com")
    await world.sync()
    assert world.do.contact("crm-ann")["email"] == "ann@example.com"
    assert world.do.contact("crm-late")["name_first"] == "Late" and len(world.conflicts()) == 1
    await world.quiet()


async def test_two_people_who_swap_their_addresses_are_not_mixed_up(world: World) -> None:
    await world.linked("ann", "bob")
    world.do.edit_contact("crm-ann", email="bob@example.com")
    world.do.edit_contact("crm-bob", email="ann@example.com")
    await world.sync()
    await world.sync()
    names = {contact["name"] for contact in world.ov.contact_list()}
    assert names == {"Ann Lee", "Bob Lee"} and len(world.conflicts("email_taken")) == 1
    assert {c["name_first"] for c in world.do.contact_list()} == {"Ann", "Bob"}
    await world.quiet()


async def test_an_address_chain_is_followed_to_its_end(world: World) -> None:
    """ann moves to ann.new, and bob takes ann's old address, on the same side at once."""
    await world.linked("ann", "bob")
    world.do.edit_contact("crm-ann", email="ann.new@example.com")
    world.do.edit_contact("crm-bob", email="ann@example.com")
    await world.sync()
    await world.sync()
    assert world.ov.contact("ann.new@example.com")["name"] == "Ann Lee"
    assert world.ov.contact("ann@example.com")["name"] == "Bob Lee"
    assert world.conflicts() == [] and world.unequal() == []
    await world.quiet()


async def test_who_waits_for_an_address_whose_holder_is_stopped_is_asked_about_too(world: World) -> None:
    """ann takes bob's address, and bob cat's, who keeps it: two questions. When cat gives it up, all of them move."""
    await world.linked("ann", "bob", "cat")
    world.do.edit_contact("crm-ann", email="bob@example.com", city="Bern")
    world.do.edit_contact("crm-bob", email="cat@example.com")
    await world.sync()
    await world.sync()
    asked = {row["onvoard_value"]: row["reason"] for row in world.conflicts("email_taken")}
    assert asked.keys() == {"ann@example.com", "bob@example.com"}
    assert world.ov.contact("bob@example.com")["id"] in asked["ann@example.com"]
    assert (await world.sync()).new_conflicts == 0
    await world.quiet()
    world.ov.edit_contact("cat@example.com", email="free@example.com")
    for _ in range(3):
        await world.sync()
    assert world.conflicts() == [] and world.unequal() == []
    assert [world.ov.contact(f"{who}@example.com")["name"] for who in ("free", "cat", "bob")] == [
        "Cat Lee", "Bob Lee", "Ann Lee",
    ]  # fmt: skip
    await world.quiet()


async def test_a_unique_id_that_is_an_old_email_stays(world: World) -> None:
    """It is a key, whatever becomes of the address."""
    await world.setup()
    world.ov.add_contact("old@example.com", name="Ann Lee")
    await world.sync()
    world.ov.edit_contact("old@example.com", email="new@example.com", at=world.clock.advance(60))
    await world.sync()
    (there,) = world.do.contact_list()
    assert (there["unique_id"], there["email"]) == ("old@example.com", "new@example.com")
    world.do.edit_contact("old@example.com", email="newest@example.com", at=world.clock.advance(60))
    await world.sync()
    assert [c["email"] for c in world.ov.contact_list()] == ["newest@example.com"]
    assert world.status("newest@example.com") == ("linked", "created")
    await world.quiet()


async def test_an_old_unique_id_is_nobody_elses(world: World) -> None:
    """Who takes the address that was freed is somebody new, under a unique_id of their own."""
    await world.setup()
    world.ov.add_contact("desk@example.com", name="Ann Lee")
    await world.sync()
    world.ov.edit_contact("desk@example.com", email="ann@example.com", at=world.clock.advance(60))
    await world.sync()
    world.ov.add_contact("desk@example.com", name="Bob Ray")
    await world.sync()
    assert world.do.contact("desk@example.com")["email"] == "ann@example.com"
    assert sorted(c["email"] for c in world.do.contact_list()) == ["ann@example.com", "desk@example.com"]
    assert world.conflicts() == [] and world.unequal() == []
    await world.quiet()


async def test_a_newcomer_with_a_linked_ones_email_is_asked_about_alone(world: World) -> None:
    """Two on Digital Onboarding have one address: nobody guesses who the new one is, and the link goes on."""
    await world.linked("ann", "bob")
    world.do.add_contact(unique_id="crm-new", email="ann@example.com", name_first="New")
    await world.import_export()
    await world.sync()
    assert [c["kind"] for c in world.conflicts()] == ["ambiguous_identity"]
    world.do.edit_contact("crm-ann", city="Bern", at=world.clock.advance(60))
    await world.sync()
    assert world.ov.contact("ann@example.com")["properties"]["city"] == "Bern"
    assert len(world.ov.contacts) == 2 and world.people()["bob@example.com"]["status"] == "linked"
    await world.quiet()
