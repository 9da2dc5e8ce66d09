"""This machine's clock steps, between two syncs or in the middle of one: nothing is lost, and nothing done twice."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.cycle.world import World

STEPS = {
    "an hour on": timedelta(hours=1),
    "an hour back": timedelta(hours=-1),
    "a day on": timedelta(days=1),
    "a day back": timedelta(days=-1),
}


@pytest.mark.parametrize("meanwhile", [False, True], ids=["between", "meanwhile"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_step_of_the_clock_loses_and_doubles_nothing(world: World, step: str, meanwhile: bool) -> None:
    off = timedelta()

    def now() -> datetime:
        return world.clock.now() + off

    def steps() -> None:
        nonlocal off
        off = STEPS[step]

    world.use_clock(now)
    await world.setup()
    await world.linked("ann", "bob", "cid", "dan")
    if meanwhile:
        world.sandbox.when("digital_onboarding", steps, method="POST", path="/v1/contacts", skip=1)
    else:
        steps()
    _edit(world, "first", "Oslo", "Kyiv")
    world.do.unsubscribe("crm-cid")
    world.do.complete_objective("crm-dan", "online-banking")
    await world.import_export()
    await world.sync()
    assert off
    _edit(world, "second", "Bern", "Lima")
    await world.import_export()
    await world.sync()
    world.ov.add_contact("plain@example.com", name="Plain Lee")
    await world.sync(full=False)
    assert world.unequal() == []
    assert world.ov.contact("bob@example.com")["properties"]["city"] == "Lima"
    assert world.do.contact("crm-ann")["city"] == "Bern"
    assert world.ov.contact("cid@example.com")["email_unsubscribed"]
    assert len(world.ov.contacts) == len(world.do.contacts) == 4 + 2 * 2 + 1
    told = [(each["type"], each["contact"]["id"]) for each in world.activities()]
    assert len(told) == len(set(told)) == 4, told  # an opt-out, a completion, and who came twice
    assert world.conflicts() == []
    await world.quiet()


def _edit(world: World, when: str, here: str, there: str) -> None:
    world.ov.edit_contact("ann@example.com", city=here)
    world.do.edit_contact("crm-bob", city=there)
    world.ov.add_contact(f"{when}-here@example.com", name="Here Lee", city=here)
    world.do.add_contact(unique_id=f"crm-{when}", email=f"{when}-there@example.com", city=there)
