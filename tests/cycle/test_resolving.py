"""Conflicts that a person resolves: the next sync carries it out, and what is resolved stays resolved."""

from __future__ import annotations

import pytest

from service import resolving
from service.core.records import Platform
from service.errors import NobodyFound, UsageError
from service.store import ledger
from tests.cycle.world import World

LINK = "custom_digital_onboarding_unique_id"
OV, DO = Platform.ONVOARD, Platform.DIGITAL_ONBOARDING


def resolve(world: World, keep: Platform, reason: str | None = None, conflict_id: int | None = None) -> str:
    """The only open one, unless it is named."""
    if conflict_id is None:
        (conflict,) = world.conflicts()
        conflict_id = conflict["id"]
    with world.db.begin() as conn:
        return resolving.resolve(conn, world.mapping, conflict_id, keep, reason, world.clock.now())


def refused(world: World, keep: Platform, conflict_id: int | None = None) -> UsageError:
    before = world.mirror_text()
    with pytest.raises(UsageError) as error:
        resolve(world, keep, conflict_id=conflict_id)
    assert world.mirror_text() == before, "nothing is written before it is clear that it can be done"
    return error.value


def out(world: World) -> tuple[bool, bool]:
    (here,) = [c for c in world.ov.contact_list() if c["name"].startswith("Ann")]
    return here["email_unsubscribed"], world.do.contact("crm-ann")["unsubscribe_email"]


async def stays_resolved(world: World) -> None:
    number = len(world.rows("SELECT id FROM conflicts"))
    await world.quiet()
    await world.sync(full=False)
    assert world.conflicts() == [] and len(world.rows("SELECT id FROM conflicts")) == number
    assert world.rows("SELECT id FROM persons WHERE conflict_id IS NOT NULL") == []


async def test_it_is_on_record_who_resolved_what_and_why(world: World) -> None:
    await resubscribed(world, OV)
    resolve(world, DO, "she called us")
    (conflict,) = world.conflicts(status="resolved")
    assert conflict["resolved_by"] == "person" and conflict["kept"] == "digital_onboarding"
    assert conflict["note"] == "she called us" and conflict["resolved_at"] is not None
    with pytest.raises(UsageError, match="resolved already by person"):
        resolve(world, OV, conflict_id=conflict["id"])
    with pytest.raises(NobodyFound):
        resolve(world, OV, conflict_id=4711)


# Opted in again on one side


async def resubscribed(world: World, side: Platform) -> None:
    await world.setup()
    await world.linked("ann", "bob")
    world.ov.unsubscribe("ann@example.com")
    await world.sync()
    world.clock.advance(60)
    if side is OV:
        world.ov.resubscribe("ann@example.com")
    else:
        world.do.resubscribe("crm-ann")
    await world.sync()
    assert [c["kind"] for c in world.conflicts()] == ["resubscribed"]


async def test_who_is_stopped_by_somebody_elses_conflict_is_asked_about_an_opt_in_too_and_once(world: World) -> None:
    await world.setup()
    await world.linked("ann", "bob")
    world.ov.unsubscribe("bob@example.com")
    await world.sync()
    world.ov.edit_contact("ann@example.com", custom_digital_onboarding_unique_id="crm-bob")
    await world.sync()
    assert [conflict["kind"] for conflict in world.conflicts()] == ["link_edited"]
    world.clock.advance(60)
    world.ov.edit_contact("bob@example.com", email="rob@example.com")
    world.ov.resubscribe("rob@example.com")
    await world.sync()
    (asked,) = world.conflicts("resubscribed")
    resolve(world, OV, conflict_id=asked["id"])
    world.clock.advance(60)
    world.ov.edit_contact("rob@example.com", city="Oslo")
    await world.sync()
    assert [conflict["kind"] for conflict in world.conflicts()] == ["link_edited"]
    assert not world.ov.contact("rob@example.com")["email_unsubscribed"]


@pytest.mark.parametrize("side", [OV, DO])
async def test_the_opt_out_that_is_kept_reaches_the_other_side_once_more(world: World, side: Platform) -> None:
    await resubscribed(world, side)
    activities = len(world.activities("unsubscribed"))
    resolve(world, side.other)
    mark = world.mark()
    await world.sync()
    assert out(world) == (True, True) and len(world.writes(mark)) == 1
    assert len(world.activities("unsubscribed")) == activities, "nobody has opted out a second time"
    await stays_resolved(world)


@pytest.mark.parametrize("side", [OV, DO])
async def test_an_opt_in_that_is_kept_stands_where_it_is(world: World, side: Platform) -> None:
    """The bridge lifts no opt-out; once a person has, both agree, and nothing is asked."""
    await resubscribed(world, side)
    told = resolve(world, side)
    assert "by hand" in told
    mark = world.mark()
    await world.sync()
    assert world.writes(mark) == [] and out(world) == (side is DO, side is OV)
    await stays_resolved(world)
    world.clock.advance(60)
    world.do.resubscribe("crm-ann") if side is OV else world.ov.resubscribe("ann@example.com")
    report = await world.sync()
    assert out(world) == (False, False) and not report.new_conflicts
    await stays_resolved(world)
    world.clock.advance(60)
    world.do.unsubscribe("crm-ann")
    await world.sync()
    assert out(world) == (True, True), "a later opt-out travels as ever"


async def test_an_opt_out_that_is_not_read_yet_is_not_resolved_away(world: World) -> None:
    await resubscribed(world, OV)
    world.clock.advance(60)
    world.ov.unsubscribe("ann@example.com")
    world.do.resubscribe("crm-ann")
    await world.backfill("contacts")
    with world.db.begin() as conn:
        lifted = "UPDATE digital_onboarding_contacts SET unsubscribe_email = false WHERE unique_id = 'crm-ann'"
        conn.exec_driver_sql(lifted)
    assert refused(world, OV).hint == "contact-bridge sync"
    await world.sync()
    assert out(world) == (True, True)


async def test_a_question_about_an_opt_in_is_answered_when_both_sides_agree(world: World) -> None:
    await resubscribed(world, OV)
    world.clock.advance(60)
    world.do.resubscribe("crm-ann")
    await world.sync()
    assert world.conflicts() == [] and out(world) == (False, False)
    (conflict,) = world.conflicts(status="resolved")
    assert conflict["resolved_by"] == "both sides agree"


async def test_two_who_opt_in_at_the_same_time_are_not_asked_about(world: World) -> None:
    await world.linked("ann", "bob")
    world.ov.unsubscribe("ann@example.com")
    await world.sync()
    world.clock.advance(60)
    world.ov.resubscribe("ann@example.com")
    world.do.resubscribe("crm-ann")
    report = await world.sync()
    assert not report.new_conflicts and world.conflicts(status="resolved") == []


# Removed on Digital Onboarding


async def removed(world: World) -> None:
    await world.setup()
    await world.linked("ann", "bob")
    await world.sync()
    world.do.remove_contact("crm-ann")
    await world.sync()
    assert [c["kind"] for c in world.conflicts()] == ["removed_on_digital_onboarding"]
    assert world.do.contact("crm-ann")["name_first"] is None


@pytest.mark.parametrize("full", [True, False])
async def test_a_removed_contact_may_be_filled_again(both: World, full: bool) -> None:
    await removed(both)
    both.ov.unsubscribe("ann@example.com")
    resolve(both, OV)
    await both.sync(full=full)
    await both.sync()
    there = both.do.contact("crm-ann")
    assert (there["name_first"], there["city"], there["email"]) == ("Ann", "Rome", "ann@example.com")
    assert there["unsubscribe_email"] is True and both.unequal() == []
    assert both.people()["ann@example.com"]["status"] == "linked" and both.activities("contact_added") == []
    await stays_resolved(both)


async def test_a_removal_may_be_respected(both: World) -> None:
    await removed(both)
    resolve(both, DO, "asked to be deleted")
    mark = both.mark()
    await both.sync()
    assert [entry.body for entry in both.writes(mark)] == [{"properties": {LINK: None}}]
    assert both.people()["ann@example.com"]["status"] == "onvoard_only"
    assert both.do.contact("crm-ann")["name_first"] is None and len(both.do.contacts) == 2
    await stays_resolved(both)
    both.ov.edit_contact("ann@example.com", city="Oslo", at=both.clock.advance(60))
    await both.import_export()
    mark = both.mark()
    await both.sync()
    assert both.writes(mark) == [] and both.conflicts() == []


async def test_somebody_removed_there_whose_link_only_the_property_knew(world: World) -> None:
    await world.setup()
    world.ov.add_contact("ann@example.com", name="Ann", city="Rome", **{LINK: "crm-ann"})
    await world.sync()
    assert [c["kind"] for c in world.conflicts()] == ["removed_on_digital_onboarding"]
    resolve(world, OV)
    await world.sync()
    assert world.do.contact("crm-ann")["city"] == "Rome" and world.status("ann@example.com") == ("linked", "property")
    await stays_resolved(world)


async def test_who_was_removed_unlinked_is_not_made_again(world: World) -> None:
    await world.setup()
    world.ov.add_contact("ann@example.com", name="Ann", **{LINK: "crm-ann"})
    await world.sync()
    resolve(world, DO)
    await world.sync()
    assert [c["name_first"] for c in world.do.contact_list()] == [None]
    assert world.rows("SELECT unique_id FROM digital_onboarding_contacts") == [], "nobody asks about it again"
    assert world.people()["ann@example.com"]["status"] == "onvoard_only"
    await stays_resolved(world)


# An address that somebody else has


async def taken(world: World) -> None:
    await world.setup()
    await world.linked("ann", "bob", "cat")
    world.do.edit_contact("crm-ann", email="bob@example.com", city="Bern")
    await world.sync()
    assert [c["kind"] for c in world.conflicts()] == ["email_taken"]
    world.clock.advance(60)


async def test_the_address_that_was_not_edited_comes_back(world: World) -> None:
    await taken(world)
    resolve(world, OV)
    await world.sync()
    assert world.do.contact("crm-ann")["email"] == "ann@example.com"
    assert world.ov.contact("ann@example.com")["properties"]["city"] == "Bern", "other edits travel"
    assert world.ov.contact("bob@example.com")["name"] == "Bob Lee" and world.unequal() == []
    await stays_resolved(world)


async def test_the_edited_address_is_kept_once_it_is_free(world: World) -> None:
    await taken(world)
    error = refused(world, DO)
    assert world.ov.contact("bob@example.com")["id"] in str(error) and "--keep onvoard" in error.hint
    world.ov.edit_contact("bob@example.com", email="bob.new@example.com")
    world.do.edit_contact("crm-bob", email="bob.new@example.com")
    await world.backfill("contacts")
    await world.import_export()
    resolve(world, DO)
    await world.sync()
    assert world.ov.contact("bob@example.com")["name"] == "Ann Lee" and world.unequal() == []
    await stays_resolved(world)


async def test_two_who_swap_their_addresses_are_one_question(both: World) -> None:
    await both.setup()
    await both.linked("ann", "bob", "cat")
    both.do.edit_contact("crm-ann", email="bob@example.com")
    both.do.edit_contact("crm-bob", email="ann@example.com")
    both.do.edit_contact("crm-cat", city="Oslo")
    report = await both.sync()
    assert report.new_conflicts == 1 and both.ov.contact("cat@example.com")["properties"]["city"] == "Oslo"
    assert "waits for this one's" in both.conflicts()[0]["reason"]
    assert sorted(row["status"] for row in both.people().values()) == ["conflict", "conflict", "linked"]
    assert (await both.sync()).new_conflicts == 0
    assert "still has the address" in str(refused(both, DO))
    resolve(both, OV)
    await both.sync()
    assert both.do.contact("crm-ann")["email"] == "ann@example.com"
    assert both.do.contact("crm-bob")["email"] == "bob@example.com" and both.unequal() == []
    await stays_resolved(both)


async def test_three_who_pass_their_addresses_on_in_a_circle(world: World) -> None:
    await world.linked("ann", "bob", "cat")
    for name, to in (("ann", "bob"), ("bob", "cat"), ("cat", "ann")):
        world.do.edit_contact(f"crm-{name}", email=f"{to}@example.com")
    assert (await world.sync()).new_conflicts == 1
    resolve(world, OV)
    await world.sync()
    assert world.unequal() == [] and world.do.contact("crm-cat")["email"] == "cat@example.com"
    await stays_resolved(world)


async def test_who_waits_for_one_who_is_asked_about_is_answered_in_turn(world: World) -> None:
    await world.linked("ann", "bob", "cat")
    world.do.edit_contact("crm-ann", email="bob@example.com")
    world.do.edit_contact("crm-bob", email="cat@example.com")
    await world.sync()
    await world.sync()
    questions = {row["onvoard_value"]: row["id"] for row in world.conflicts()}
    assert questions.keys() == {"ann@example.com", "bob@example.com"}
    held = world.ov.contact("bob@example.com")["id"]
    assert f"{held} still has the address" in str(refused(world, DO, questions["ann@example.com"]))
    resolve(world, OV, conflict_id=questions["bob@example.com"])
    await world.sync()
    assert [row["id"] for row in world.conflicts()] == [questions["ann@example.com"]], "bob stays, and so does this one"
    resolve(world, OV, conflict_id=questions["ann@example.com"])
    await world.sync()
    assert world.unequal() == [] and world.do.contact("crm-ann")["email"] == "ann@example.com"
    await stays_resolved(world)


# A link that was edited on OnVoard


async def relinked(world: World) -> str:
    """-> ann's contact, whose property now names somebody else"""
    await world.setup()
    await world.linked("ann", "bob", "cat")
    await world.sync()
    world.clock.advance(60)
    world.ov.edit_contact("ann@example.com", **{LINK: "crm-bob"})
    world.do.edit_contact("crm-ann", city="Bern")
    world.do.edit_contact("crm-cat", city="Oslo")
    report = await world.sync()
    assert report.new_conflicts == 1
    return str(world.ov.contact("ann@example.com")["id"])


async def test_an_edited_link_is_asked_about_and_stops_those_involved(world: World) -> None:
    await relinked(world)
    (conflict,) = world.conflicts("link_edited")
    assert (conflict["onvoard_value"], conflict["digital_onboarding_value"]) == ("crm-bob", "crm-ann")
    assert sorted(row["status"] for row in world.people().values()) == ["conflict", "conflict", "linked"]
    assert world.ov.contact("ann@example.com")["properties"]["city"] == "Rome"
    assert world.ov.contact("cat@example.com")["properties"]["city"] == "Oslo"
    assert (await world.sync()).new_conflicts == 0
    await world.quiet()


async def test_an_edited_link_that_is_edited_back_clears_by_itself(world: World) -> None:
    await relinked(world)
    world.ov.edit_contact("ann@example.com", **{LINK: "crm-ann"})
    await world.sync()
    assert world.conflicts() == [] and world.ov.contact("ann@example.com")["properties"]["city"] == "Bern"
    await stays_resolved(world)


async def test_the_link_as_it_stood_is_written_again(world: World) -> None:
    await relinked(world)
    resolve(world, DO)
    await world.sync()
    contact = world.ov.contact("ann@example.com")
    assert contact["properties"][LINK] == "crm-ann" and contact["properties"]["city"] == "Bern"
    await stays_resolved(world)


async def test_the_link_that_was_edited_may_be_followed(both: World) -> None:
    both.configure(identity__create_on_onvoard=False)
    both.do.add_contact(unique_id="crm-real", email="ann.real@example.com", name_first="Ann", name_last="Real")
    await both.setup()
    await both.linked("ann", "bob")
    await both.sync()
    contact_id = str(both.ov.contact("ann@example.com")["id"])
    both.ov.edit_contact("ann@example.com", at=both.clock.advance(60), **{LINK: "crm-real"})
    await both.sync()
    both.do.edit_contact("crm-real", city="Bern", at=both.clock.advance(60))
    resolve(both, OV, "they were mixed up")
    await both.sync()
    (linked,) = both.rows("SELECT * FROM people WHERE onvoard_contact_id = :id", id=contact_id)
    assert (linked["unique_id"], linked["matched_by"]) == ("crm-real", "manual")
    contact = both.ov.contact(contact_id)
    assert (contact["properties"][LINK], contact["properties"]["city"]) == ("crm-real", "Bern")
    assert contact["email"] == "ann.real@example.com"
    (alone,) = both.rows("SELECT * FROM people WHERE unique_id = 'crm-ann'")
    assert alone["status"] == "digital_onboarding_only" and both.do.contact("crm-ann")["city"] == "Rome"
    await stays_resolved(both)


async def test_an_edited_link_is_not_followed_to_somebody_who_has_a_partner(world: World) -> None:
    await relinked(world)
    assert "contact-bridge people unlink crm-bob" in refused(world, OV).hint


async def test_a_link_that_is_edited_to_nobody_known_asks_nobody_there(world: World) -> None:
    """To ask is to make that contact."""
    await world.setup()
    await world.linked("ann", "bob")
    await world.sync()
    world.ov.edit_contact("ann@example.com", **{LINK: "crm-typo"})
    await world.sync()
    assert [c["kind"] for c in world.conflicts()] == ["link_edited"] and len(world.do.contacts) == 2
    with pytest.raises(NobodyFound):
        resolve(world, OV)
    resolve(world, DO)
    await world.sync()
    assert world.ov.contact("ann@example.com")["properties"][LINK] == "crm-ann"
    await stays_resolved(world)


async def test_a_link_property_that_was_removed_is_written_again(world: World) -> None:
    """The link stands: it comes first."""
    await world.setup()
    await world.linked("ann", "bob")
    await world.sync()
    world.ov.edit_contact("ann@example.com", **{LINK: None})
    await world.sync()
    assert world.ov.contact("ann@example.com")["properties"][LINK] == "crm-ann" and world.conflicts() == []
    await world.quiet()


# Who is who


async def test_a_side_is_no_answer_to_who_is_who(world: World) -> None:
    contact = world.ov.add_contact("twin@example.com")
    for number in (1, 2):
        world.do.add_contact(unique_id=f"crm-{number}", email="twin@example.com")
    await world.import_export()
    await world.sync()
    told = str(refused(world, OV))
    for verb in ("link", "unlink"):
        for number in (1, 2):
            assert f"contact-bridge people {verb} {contact['id']} crm-{number}" in told


async def test_where_one_has_a_partner_the_pair_in_question_is_named(world: World) -> None:
    await world.linked("ann")
    world.do.add_contact(unique_id="crm-late", email="ann@example.com")
    await world.import_export()
    await world.sync()
    told = str(refused(world, OV))
    assert f"contact-bridge people unlink {world.ov.contact('ann@example.com')['id']} crm-late" in told
    assert "crm-ann" not in told


# One field


@pytest.mark.parametrize("keep", [OV, DO])
async def test_a_field_that_stands_still_takes_the_kept_side(both: World, keep: Platform) -> None:
    await both.linked("ann", "bob")
    both.ov.edit_contact("ann@example.com", city="Oslo")
    with both.db.begin() as conn:
        (person,) = [row["id"] for row in both.rows("SELECT id FROM persons WHERE unique_id = 'crm-ann'")]
        ledger.open_conflict(
            conn, person, ledger.OSCILLATION, "back and forth", both.clock.now(), run_id=1, field="city",
            onvoard="Oslo", digital_onboarding="Rome",
        )  # fmt: skip
    await both.backfill("contacts")
    resolve(both, keep)
    await both.sync()
    wanted = "Oslo" if keep is OV else "Rome"
    assert both.ov.contact("ann@example.com")["properties"]["city"] == both.do.contact("crm-ann")["city"] == wanted
    await stays_resolved(both)


async def test_the_authority_over_a_field_is_not_resolved_away(world: World, tmp_path) -> None:
    from service import resources

    text = (resources.config_dir() / "mapping.toml").read_text()
    file = tmp_path / "mapping.toml"
    field = next(line for line in text.splitlines() if "properties.city" in line)
    file.write_text(text.replace(field, f'{field}\nauthority = "onvoard"'))
    await world.linked("ann")
    world.configure(paths__mapping=file)
    with world.db.begin() as conn:
        ledger.open_conflict(conn, 1, ledger.OSCILLATION, "back and forth", world.clock.now(), run_id=1, field="city")
    assert "--keep onvoard" in refused(world, DO).hint
