"""Two automations that keep overwriting each other: the field is held, everything else goes on."""

from __future__ import annotations

from typing import Any

import pytest

from service.core.oscillation import LIMIT
from service.core.records import Platform
from service.store import ledger, people
from tests.cycle.world import World

ANN = "ann@example.com"


def _city(world: World) -> tuple[str, str]:
    return world.ov.contact(ANN)["properties"].get("city"), world.do.contact("crm-ann")["city"]


async def _turn(world: World, number: int, values: tuple[str, str] = ("Oslo", "Bern")) -> Any:
    """One of two automations resets the city to its own value, and a sync follows."""
    world.clock.advance(60)
    if number % 2 == 0:
        world.ov.edit_contact(ANN, city=values[0])
    else:
        world.do.edit_contact("crm-ann", city=values[1])
    return await world.sync()


async def _until_held(world: World) -> Any:
    """Rome -> Oslo is no flip yet; then LIMIT flips between two values, and one that is held."""
    for number in range(1 + LIMIT):
        report = await _turn(world, number)
        assert not report.needs_person
        assert len(set(_city(world))) == 1
    return await _turn(world, 1 + LIMIT)


async def test_the_field_is_held_after_the_third_time_with_both_writers_named(world: World) -> None:
    await world.linked("ann", "bob")
    mark = world.mark()
    report = await _until_held(world)
    assert report.new_conflicts == 1 and report.needs_person
    assert len(world.writes(mark)) == 1 + LIMIT
    (held,) = world.conflicts("oscillation")
    assert (held["field"], held["onvoard_value"], held["digital_onboarding_value"]) == ("city", "Oslo", "Bern")
    assert "onvoard (last at " in held["reason"] and "digital_onboarding (last at " in held["reason"]
    assert f"{LIMIT} times since" in held["reason"]
    assert _city(world) == ("Oslo", "Bern")
    await world.quiet(plain=True)
    for number in range(4):
        report = await _turn(world, number)
        assert not report.needs_person, "it is asked about once"
    assert len(world.conflicts()) == 1


async def test_only_that_field_of_that_person_is_held(world: World) -> None:
    await world.linked("ann", "bob")
    await _until_held(world)
    world.clock.advance(60)
    world.ov.edit_contact(ANN, phone="+14155550199", city="Lima")
    world.do.edit_contact("crm-ann", name_last="Long", city="Kyiv")
    world.ov.unsubscribe(ANN)
    world.do.edit_contact("crm-bob", city="Kyiv")
    await world.sync()
    there = world.do.contact("crm-ann")
    assert (there["phone_mobile"], there["city"], there["unsubscribe_email"]) == ("+14155550199", "Kyiv", True)
    assert world.conflicts("both_changed", "resolved") == [], "nothing is lost that is not overwritten"
    assert world.ov.contact(ANN)["name"] == "Ann Long" and world.status(ANN)[0] == "linked"
    assert world.ov.contact("bob@example.com")["properties"]["city"] == "Kyiv"
    await world.quiet(plain=True)


async def test_a_name_and_a_phone_are_compared_by_what_they_mean(world: World) -> None:
    await world.linked("ann")
    for number in range(2 + LIMIT):
        world.clock.advance(60)
        if number % 2 == 0:
            world.ov.edit_contact(ANN, name="Ann  de Vries", phone="+14155550102")
        else:
            world.do.edit_contact(
                "crm-ann", name_first="Ann", name_last="Lee", phone_mobile=f"(415) 555-0101{' ' * number}", country="US"
            )
        await world.sync()
    assert [each["field"] for each in world.conflicts("oscillation")] == ["name", "phone"]


async def test_edits_by_people_are_never_held(world: World) -> None:
    await world.linked("ann")
    for number in range(2 * LIMIT):  # ever new values, from both sides
        await _turn(world, number, (f"Oslo {number}", f"Bern {number}"))
    for number in range(2 * LIMIT):  # one side that cannot make up its mind
        await _turn(world, 0, ("Oslo" if number % 2 else "Rome", ""))
    await _turn(world, 1, ("", "Rome"))  # somebody puts it right, once
    await _turn(world, 0, ("Oslo", ""))
    assert world.conflicts() == [] and world.unequal() == []


def _onvoard_decides(world: World, tmp_path: Any) -> None:
    table = tmp_path / "mapping.toml"
    table.write_text(
        '[[fields]]\nname = "city"\nonvoard = "properties.city"\ndigital_onboarding = "city"\nauthority = "onvoard"\n'
    )
    world.configure(paths__mapping=str(table))


async def test_what_is_held_goes_on_once_the_mapping_says_whose_word_counts(world: World, tmp_path: Any) -> None:
    await world.linked("ann")
    await _until_held(world)
    _onvoard_decides(world, tmp_path)
    for _ in range(2):
        await _turn(world, 1)
        assert _city(world) == ("Oslo", "Oslo")
    assert len(world.conflicts()) == 1


async def test_where_the_mapping_says_whose_word_counts_nothing_oscillates(world: World, tmp_path: Any) -> None:
    _onvoard_decides(world, tmp_path)
    await world.linked("ann")
    for _ in range(2 * LIMIT):
        await _turn(world, 1)
    assert _city(world) == ("Rome", "Rome") and world.conflicts() == []
    lost = world.rows("SELECT DISTINCT losing_value, source FROM changes WHERE field = 'city'")
    assert {"losing_value": "Bern", "source": "onvoard"} in lost


@pytest.mark.parametrize("shows", ["Oslo", "Lima"])
async def test_once_decided_the_kept_side_is_carried_over_and_counting_begins_anew(world: World, shows: str) -> None:
    await world.linked("ann")
    await _until_held(world)
    (held,) = world.conflicts("oscillation")
    with world.db.begin() as conn:
        now = world.bridge.now()
        ledger.thaw(conn, held["id"], now, by="somebody", kept=Platform.ONVOARD.value)
        ledger.prefer(conn, held["person_id"], "city", other_shows="Bern", now=now)
        people.touch(conn, [held["person_id"]])
    world.clock.advance(60)
    world.ov.edit_contact(ANN, city=shows)
    await world.sync()
    assert _city(world) == (shows, shows), "what the kept side shows by then"
    await world.quiet()
    for number in range(1, LIMIT):  # the first of the LIMIT was the decision itself
        report = await _turn(world, number, (shows, "Bern"))
        assert not report.needs_person
    report = await _turn(world, LIMIT, (shows, "Bern"))
    assert report.new_conflicts == 1 and len(world.conflicts("oscillation")) == 1
