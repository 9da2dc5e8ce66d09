"""Edits of linked people: both ways, both at once, cleared, and those that are nobody's."""

from __future__ import annotations

from typing import Any

import pytest

from service import planning
from tests.cycle.world import World, members, show

ANN = "ann@example.com"


def _fields(world: World, *names: str) -> tuple[Any, ...]:
    """As OnVoard shows them."""
    contact = world.ov.contact(ANN)
    return tuple(contact[name] if name in contact else contact["properties"].get(name) for name in names)


async def test_edits_travel_both_ways_and_write_nothing_else(both: World) -> None:
    await both.linked("ann", "bob")
    mark = both.mark()
    both.ov.edit_contact(ANN, name="Ann de Vries", phone="+14155550199", street_address="1 Main St", country="NL")
    both.do.edit_contact("crm-bob", name_first="Rob", city="Oslo", state="OS", timezone="Europe/Oslo")
    await both.sync()
    (there,) = both.writes(mark, "digital_onboarding")
    assert members(there) == [
        {
            "unique_id": "crm-ann", "name_first": "Ann", "name_last": "de Vries", "phone_mobile": "+14155550199",
            "address": "1 Main St", "country": "NL",
        }
    ]  # fmt: skip
    (here,) = both.writes(mark, "onvoard")
    assert here.method == "PATCH" and here.body == {
        "name": "Rob Lee",
        "properties": {"city": "Oslo", "region": "OS", "timezone": "Europe/Oslo"},
    }
    history = both.rows("SELECT field, old_value, new_value FROM changes WHERE platform = 'digital_onboarding'")
    assert {"field": "country", "old_value": "", "new_value": "NL"} in history
    await both.quiet()


async def test_different_fields_of_one_person_travel_in_both_directions(world: World) -> None:
    await world.linked("ann")
    world.ov.edit_contact(ANN, city="Oslo")
    world.do.edit_contact("crm-ann", name_last="Long")
    await world.sync()
    assert world.do.contact("crm-ann")["city"] == "Oslo" and world.ov.contact(ANN)["name"] == "Ann Long"
    assert world.conflicts(status="resolved") == []
    await world.quiet()


@pytest.mark.parametrize("newer", ["onvoard", "digital_onboarding"])
async def test_of_two_edits_the_newer_record_wins_and_the_loser_is_kept(world: World, newer: str) -> None:
    await world.linked("ann")
    edits = [lambda: world.ov.edit_contact(ANN, city="Oslo"), lambda: world.do.edit_contact("crm-ann", city="Bern")]
    for edit in edits if newer == "digital_onboarding" else reversed(edits):
        edit()
        world.clock.advance(30)
    await world.sync()
    won = "Oslo" if newer == "onvoard" else "Bern"
    assert _fields(world, "city") == (won,) and world.do.contact("crm-ann")["city"] == won
    (lost,) = world.conflicts("both_changed", "resolved")
    assert (lost["onvoard_value"], lost["digital_onboarding_value"], lost["kept"]) == ("Oslo", "Bern", newer)
    await world.quiet()


async def test_on_a_tie_digital_onboarding_wins(world: World) -> None:
    await world.linked("ann")
    at = world.clock.now()
    world.ov.edit_contact(ANN, city="Oslo", at=at)
    world.do.edit_contact("crm-ann", city="Bern", at=at)
    await world.sync()
    assert _fields(world, "city") == ("Bern",)
    await world.quiet()


async def test_the_same_edit_on_both_sides_is_nothing(world: World) -> None:
    await world.linked("ann")
    world.ov.edit_contact(ANN, city="Oslo", phone="+14155550188")
    world.do.edit_contact("crm-ann", city="Oslo", phone_mobile="(415) 555-0188", country="US")
    world.ov.edit_contact(ANN, country="US")
    mark = world.mark()
    await world.sync()
    assert [show(e) for e in world.writes(mark)] == [] and world.conflicts(status="resolved") == []
    await world.quiet()


async def test_a_time_that_a_probe_moved_is_nobodys_edit(world: World) -> None:
    """OnVoard was edited first, then a probe touched the other side: OnVoard's value still is the newer one."""
    world.do.settings.touch_on_probe = True
    await world.linked("ann")
    world.do.edit_contact("crm-ann", city="Bern")
    world.sandbox.fail("onvoard", "status", method="PATCH", times=None, status=500)
    with pytest.raises(Exception, match="onvoard"):
        await world.sync()
    world.sandbox.clear_faults()
    world.clock.advance(30)
    world.ov.edit_contact(ANN, city="Oslo")
    world.clock.advance(30)
    await world.sync()
    assert _fields(world, "city") == ("Oslo",) and world.do.contact("crm-ann")["city"] == "Oslo"
    await world.quiet()


async def test_a_time_that_our_own_write_moved_is_nobodys_edit(world: World) -> None:
    """The bridge writes OnVoard's city; that must not make OnVoard's older name the newer one."""
    await world.linked("ann")
    world.ov.edit_contact(ANN, name="Ann Here")
    world.clock.advance(30)
    world.do.edit_contact("crm-ann", name_last="There", city="Bern")
    world.sandbox.fail("onvoard", "reset_after", method="PATCH", times=1)
    world.clock.advance(30)
    for _ in range(2):
        try:
            await world.sync()
        except Exception as error:
            assert "onvoard" in str(error)
    assert _fields(world, "name", "city") == ("Ann There", "Bern")
    assert world.unequal() == []
    await world.quiet()


async def test_a_cleared_field_travels_both_ways(world: World) -> None:
    await world.linked("ann", "bob")
    world.ov.edit_contact(ANN, phone="", city=None)
    world.do.edit_contact("crm-bob", phone_mobile="", city="", name_last="")
    await world.sync()
    there = world.do.contact("crm-ann")
    assert not there["phone_mobile"] and not there["city"]
    bob = world.ov.contact("bob@example.com")
    assert (bob["phone"], bob["name"], bob["properties"].get("city")) == ("", "Bob", None)
    await world.quiet()


@pytest.mark.parametrize("clear_with", ["empty", "null", "never"])
@pytest.mark.parametrize("blank", ["", None])
@pytest.mark.parametrize("first", [True, False])
async def test_absent_null_and_empty(world: World, clear_with: str, blank: str | None, first: bool) -> None:
    """At first link a blank, however it is written, is filled and clears nothing; later it is an edit, that travels as
    the contract says. What a record does not mention is not known, and nothing happens to it."""
    world.configure(digital_onboarding__clear_with=clear_with)
    if first:
        world.ov.add_contact(ANN, name="Ann Lee", city=blank)
        world.ov.add_contact("bob@example.com", name="", phone="+14155550101", city="Rome")
        full = {"phone_mobile": "+14155550101", "city": "Rome", "name_first": "Ann"}
        world.do.add_contact(unique_id="crm-ann", email=ANN, **full)
        blanks = {"phone_mobile": blank, "city": blank, "name_last": "Lee"}
        world.do.add_contact(unique_id="crm-bob", email="bob@example.com", **blanks)
        await world.import_export()
        await world.sync()
        assert _fields(world, "phone", "city", "name") == ("+14155550101", "Rome", "Ann Lee")
        bob = world.do.contact("crm-bob")
        assert (bob["phone_mobile"], bob["city"]) == ("+14155550101", "Rome")
        assert world.ov.contact("bob@example.com")["name"] == "Lee"
        await world.quiet()
        return
    await world.linked("ann", "bob")
    world.ov.edit_contact(ANN, phone="", city=blank, name="Ann")
    world.do.edit_contact("crm-bob", phone_mobile=blank, city=blank, name_first=blank)
    mark = world.mark()
    await world.sync()
    there, bob = world.do.contact("crm-ann"), world.ov.contact("bob@example.com")
    shows = [there["phone_mobile"] or "", there["city"] or "", there["name_first"], there["name_last"] or ""]
    assert shows == (["+14155550101", "Rome", "Ann", "Lee"] if clear_with == "never" else ["", "", "Ann", ""])
    assert (bob["phone"], bob["properties"].get("city"), bob["name"]) == ("", None, "Lee")
    body = next(each.body for each in world.writes(mark, "onvoard"))
    assert body == {"name": "Lee", "phone": "", "properties": {"city": None}}
    told = {(each["field"], each["onvoard_value"]) for each in world.conflicts("not_transferable", "resolved")}
    assert told == ({("phone", ""), ("city", ""), ("name", "Ann")} if clear_with == "never" else set())
    await world.quiet()


async def test_a_field_that_a_record_does_not_mention_is_not_touched(world: World) -> None:
    world.ov.add_contact(ANN, name="Ann Lee", city="Rome", phone="+14155550101")
    world.do.add_contact(unique_id="crm-ann", email=ANN)
    world.configure(digital_onboarding__refresh="off")
    await world.import_rows({"unique_id": "crm-ann", "email": ANN, "name_first": "Ann"})
    await world.sync()
    assert not world.do.contact("crm-ann")["phone_mobile"] and world.conflicts(status="resolved") == []


@pytest.mark.parametrize("clear_with", ["empty", "null"])
async def test_a_clearing_that_is_accepted_and_ignored_is_shown_as_such(world: World, clear_with: str) -> None:
    world.configure(digital_onboarding__clear_with=clear_with)
    world.do.settings.on_empty = world.do.settings.on_null = "ignore"
    await world.linked("ann")
    world.ov.edit_contact(ANN, city=None, region="CA")
    await world.sync()
    (told,) = world.conflicts("not_transferable", "resolved")
    assert (told["field"], told["onvoard_value"], "answer" in told["reason"]) == ("city", "", True)
    await world.quiet()
    (stays,) = (await planning.plan(world.bridge)).not_transferable
    assert (stays["platform"], stays["field"], stays["value"]) == ("digital_onboarding", "city", "")


@pytest.mark.parametrize(("clear_with", "left"), [("empty", None), ("null", None), ("never", "Rome")])
async def test_how_a_field_is_cleared_is_a_setting(world: World, clear_with: str, left: str | None) -> None:
    world.configure(digital_onboarding__clear_with=clear_with)
    world.do.settings.on_null = "clear" if clear_with == "null" else "reject"
    world.do.settings.on_empty = "clear" if clear_with == "empty" else "reject"
    await world.linked("ann")
    world.ov.edit_contact(ANN, city=None, region="CA")
    report = await world.sync()
    there = world.do.contact("crm-ann")
    assert (there["city"], there["state"]) == (left, "CA") and not report.new_dead
    await world.quiet()


async def test_what_the_other_side_cannot_take_is_reported_once_and_left_alone(world: World) -> None:
    await world.linked("ann", country="IT", timezone="Europe/Rome")
    world.do.edit_contact("crm-ann", country="Atlantis", timezone="Mars/Olympus", city="Bern")
    await world.sync()
    assert _fields(world, "country", "timezone", "city") == ("IT", "Europe/Rome", "Bern")
    told = world.conflicts("not_transferable", "resolved")
    assert sorted(c["field"] for c in told) == ["country", "timezone"] and world.conflicts() == []
    await world.quiet()
    world.clock.advance(60)
    world.do.edit_contact("crm-ann", country="USA", timezone="america/new_york")
    await world.sync()
    assert _fields(world, "country", "timezone") == ("US", "America/New_York")
    assert world.do.contact("crm-ann")["country"] == "USA"
    assert len(world.conflicts("not_transferable", "resolved")) == 2
    await world.quiet()


async def test_what_a_platform_makes_of_a_pushed_value_does_not_bounce_back(world: World) -> None:
    await world.linked("ann")
    world.do.edit_contact("crm-ann", name_first="Ann  Maria", name_last="van der  Berg", phone_mobile="+39 06 123 4567")
    await world.sync()
    there = world.do.contact("crm-ann")
    assert (there["name_first"], there["name_last"], there["phone_mobile"]) == (
        "Ann  Maria", "van der  Berg", "+39 06 123 4567",
    )  # fmt: skip
    assert _fields(world, "name", "phone") == ("Ann Maria van der Berg", "+39061234567")
    await world.quiet()
    world.clock.advance(60)
    world.ov.edit_contact(ANN, city="Oslo")
    await world.sync()
    assert world.do.contact("crm-ann")["name_first"] == "Ann  Maria"
    await world.quiet()


async def test_an_edit_that_comes_while_we_push_is_not_lost(world: World) -> None:
    await world.linked("ann")
    world.ov.edit_contact(ANN, city="Oslo")
    world.sandbox.when(
        "digital_onboarding", lambda: world.do.edit_contact("crm-ann", name_last="Long", city="Bern"),
        method="POST", path="/v1/contacts", skip=1,
    )  # fmt: skip
    await world.sync()
    world.clock.advance(10)
    await world.sync()
    assert _fields(world, "name") == ("Ann Long",) and world.unequal() == []
    assert _fields(world, "city")[0] in ("Oslo", "Bern")
    await world.quiet()


async def test_an_edit_on_onvoard_that_comes_while_we_push_is_not_lost(world: World) -> None:
    await world.linked("ann")
    world.do.edit_contact("crm-ann", city="Bern")
    world.sandbox.when("onvoard", lambda: world.ov.edit_contact(ANN, name="Ann Long"), method="PATCH")
    await world.sync()
    await world.sync()
    assert world.do.contact("crm-ann")["name_last"] == "Long" and world.unequal() == []
    await world.quiet()
