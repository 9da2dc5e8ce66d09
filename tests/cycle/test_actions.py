"""Journeys and completions that leave through the outbox happen once, also when an answer is lost (law 5). What asks
for them are rules; here a row is staged by hand."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest

from service.errors import PlatformError
from service.store.outbox import Operation
from tests.cycle.world import World

DONE_AT = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
JOURNEYS = {"method": "POST", "path": "/v1/templates/*/journeys"}


def _start(world: World, who: str, template_id: str, sync_id: str = "") -> bool:
    return world.stage(who, Operation.START_JOURNEY, {"template_id": template_id}, sync_id or f"start {template_id}")


def _complete(world: World, who: str, key: str) -> bool:
    return world.stage(who, Operation.COMPLETE_OBJECTIVE, {key: DONE_AT.isoformat()}, f"{key} {len(who)} {who[-3:]}")


def _statuses(world: World) -> list[str]:
    return [row["status"] for row in world.rows("SELECT status FROM outbox WHERE lane = 4 ORDER BY id")]


async def test_a_journey_is_started_once_and_kept_with_what_the_answer_says(both: World) -> None:
    await both.setup()
    await both.linked("ann", "bob")
    template = both.do.add_template("Thank you")
    assert _start(both, "crm-ann", template) and not _start(both, "crm-ann", template)
    await both.sync()
    (journey,) = both.do.journeys_of("crm-ann")
    (kept,) = both.rows("SELECT * FROM digital_onboarding_journeys")
    assert (kept["id"], kept["slug"], kept["template_id"]) == (journey["id"], journey["slug"], template)
    assert kept["unique_id"] == "crm-ann" and kept["web_client_url"].startswith("http")
    (told,) = both.activities("journey_started")
    assert told["record_data"]["journey_id"] == journey["id"]
    assert told["record_data"]["journey_name"] == "Thank you"
    assert both.do.journeys_of("crm-bob") == [] and _statuses(both) == ["done"]
    await both.quiet()


@pytest.mark.parametrize("fault", ["reset_after", "reset_before"])
async def test_a_journey_whose_answer_is_lost_is_settled_by_a_call_that_may_be_repeated(
    world: World, fault: str
) -> None:
    await world.setup()
    await world.linked("ann")
    template = world.do.add_template("Thank you")
    _start(world, "crm-ann", template)
    world.sandbox.fail("digital_onboarding", fault, **JOURNEYS)
    with contextlib.suppress(PlatformError):
        await world.sync()
    assert _statuses(world) == ["unknown"]
    mark = world.mark()
    await world.sync()
    assert len(world.do.journeys_of("crm-ann")) == 1 and _statuses(world) == ["done"]
    assert [entry.path for entry in world.writes(mark, "digital_onboarding")] == ["/v1/contacts"], "no second start"
    assert world.value("SELECT template_id FROM digital_onboarding_journeys") == template
    assert len(world.activities("journey_started")) == 1
    await world.quiet()


async def test_a_further_journey_whose_answer_is_lost_is_left_to_a_person(world: World) -> None:
    await world.linked("ann")
    template = world.do.add_template("Thank you")
    _start(world, "crm-ann", template)
    await world.sync()
    _start(world, "crm-ann", template, "again")
    world.sandbox.fail("digital_onboarding", "reset_after", **JOURNEYS)
    with contextlib.suppress(PlatformError):
        await world.sync()
    report = await world.sync()
    assert _statuses(world) == ["done", "dead"] and report.new_dead == 1
    assert len(world.do.journeys_of("crm-ann")) == 2
    await world.quiet()


async def test_a_template_that_is_gone_is_a_dead_letter_and_nobody_else_s(world: World) -> None:
    await world.linked("ann", "bob")
    template = world.do.add_template("Thank you")
    _start(world, "crm-ann", "no-such-template")
    _start(world, "crm-bob", template)
    report = await world.sync()
    assert report.new_dead == 1 and _statuses(world) == ["dead", "done"]
    assert len(world.do.journeys_of("crm-bob")) == 1
    await world.quiet()


async def test_completions_bear_their_own_time_however_often_they_are_sent(both: World) -> None:
    await both.setup()
    await both.linked("ann", "bob")
    for key in ("online-banking", "estatements"):
        _complete(both, "crm-ann", key)
    _complete(both, "crm-bob", "estatements")
    lost = {"method": "POST", "path": "/v1/contacts", "body_contains": "estatements"}
    both.sandbox.fail("digital_onboarding", "reset_after", **lost, times=None)
    with contextlib.suppress(PlatformError):
        await both.sync()
    assert "pending" in _statuses(both) or "unknown" in _statuses(both)
    both.sandbox.clear_faults()
    await both.sync()
    assert _statuses(both) == ["done"] * 3
    at = "2026-01-05T09:30:00.000000Z"
    assert both.do.completions_of("crm-ann") == {"online-banking": at, "estatements": at}
    assert both.do.completions_of("crm-bob") == {"estatements": at}
    kept = both.rows("SELECT unique_id, objective_key, origin FROM digital_onboarding_objective_completions")
    assert len(kept) == 3 and {row["origin"] for row in kept} == {"push"}
    await both.quiet()


async def test_what_follows_a_failure_about_the_same_person_waits_with_it(world: World) -> None:
    await world.linked("ann", "bob")
    first, second = world.do.add_template("First"), world.do.add_template("Second")
    for who in ("crm-ann", "crm-bob"):
        for template in (first, second):
            _start(world, who, template, f"{template} {who == 'crm-bob'}")
    broken = {"method": "POST", "path": f"/v1/templates/{first}/journeys", "body_contains": "crm-ann"}
    world.sandbox.fail("digital_onboarding", "rate_limit", **broken, times=None)
    with pytest.raises(PlatformError):
        await world.sync()
    assert world.do.journeys_of("crm-ann") == [] and len(world.do.journeys_of("crm-bob")) == 2
    left = world.rows("SELECT attempts FROM outbox WHERE status = 'pending' ORDER BY id")
    assert left == [{"attempts": 1}, {"attempts": 0}], "what was not sent does not count as tried"
    world.sandbox.clear_faults()
    await world.sync()
    assert [each["template_id"] for each in world.do.journeys_of("crm-ann")] == [first, second]


async def test_who_is_suppressed_meanwhile_starts_nothing(world: World) -> None:
    await world.linked("ann")
    _start(world, "crm-ann", world.do.add_template("Thank you"))
    _complete(world, "crm-ann", "estatements")
    world.ov.suppress("ann@example.com")
    await world.sync()
    assert world.do.journeys_of("crm-ann") == [] and world.do.completions_of("crm-ann") == {}
    assert _statuses(world) == ["cancelled", "cancelled"]
    assert world.rows("SELECT target, payload FROM outbox WHERE lane = 4 AND target IS NOT NULL") == []
    await world.quiet()
