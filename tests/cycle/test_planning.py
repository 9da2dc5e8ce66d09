"""Plans: right, without a write; done exactly so, or refused; and undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from service import planning, plans, undoing
from service.core.records import shown
from service.errors import PlanMoved
from service.plans import Plan
from tests.cycle.world import World, show

Change = tuple[str, str, Any, Any]


async def _plan(world: World, *, full: bool = True) -> Plan:
    return await planning.plan(world.bridge, full=full)


def _changes(plan: Plan) -> set[Change]:
    return {(entry["platform"], entry["field"], entry["old"], entry["new"]) for entry in plan.changes}


async def _known_edits(world: World) -> None:
    """Edits of both sides, all of them in the mirror: those over there by an import."""
    await world.linked("ann", "bob", "cat")
    world.ov.edit_contact("ann@example.com", city="Oslo", name="Ann Long")
    world.do.edit_contact("crm-bob", phone_mobile="+14155550222")
    world.ov.unsubscribe("cat@example.com")
    world.ov.add_contact("new@example.com", name="Nora New", city="Lima")
    await world.import_export()


EXPECTED: set[Change] = {
    ("digital_onboarding", "city", "Rome", "Oslo"),
    ("digital_onboarding", "name_last", "Lee", "Long"),
    ("onvoard", "phone", "+14155550101", "+14155550222"),
    ("digital_onboarding", "unsubscribe_email", False, True),
    ("digital_onboarding", "unique_id", None, "new@example.com"),
    ("digital_onboarding", "email", None, "new@example.com"),
    ("digital_onboarding", "name_first", None, "Nora"),
    ("digital_onboarding", "name_last", None, "New"),
    ("digital_onboarding", "city", None, "Lima"),
}


async def test_a_plan_writes_nothing_and_shows_the_right_changes(both: World) -> None:
    await _known_edits(both)
    mark = both.mark()
    plan = await _plan(both)
    assert both.journal.writes(mark) == []
    assert _changes(plan) == EXPECTED and plan.held == []
    assert {entry["email"] for entry in plan.changes} == {f"{n}@example.com" for n in ("ann", "bob", "cat", "new")}
    assert all(entry["why"] and entry["person_id"] for entry in plan.changes)
    assert both.rows("SELECT id FROM outbox WHERE status <> 'done'") == []
    again = await _plan(both, full=False)
    assert _changes(again) == EXPECTED, "what was seen once and not pushed is not forgotten"


async def test_a_sync_does_what_the_plan_said(world: World) -> None:
    await _known_edits(world)
    plan = await _plan(world)
    await world.sync()
    done = {
        (row["platform"], row["field"], row["old_value"], row["new_value"])
        for row in world.rows("SELECT * FROM changes WHERE run_id = (SELECT max(id) FROM runs)")
    }
    assert {(p, f, shown(n)) for p, f, _, n in _changes(plan)} == {(p, f, n) for p, f, _, n in done}
    assert (await _plan(world)).changes == []


async def test_a_plan_names_held_changes(world: World) -> None:
    world.configure(limits__max_changed_count=0, limits__max_changed_share=0.0)
    await world.linked("ann")
    world.ov.edit_contact("ann@example.com", city="Oslo")
    plan = await _plan(world)
    assert plan.changes == [] and [entry["new"] for entry in plan.held] == ["Oslo"]
    assert plan.held[0]["reason"]


async def test_a_plan_before_the_first_sync(world: World) -> None:
    world.ov.add_contact("ann@example.com", city="Oslo")
    world.do.add_contact(unique_id="crm-ann", email="ann@example.com", name_first="Ann")
    await world.import_export()
    plan = await _plan(world)
    assert _changes(plan) == {("digital_onboarding", "city", "", "Oslo"), ("onvoard", "name", "", "Ann")}
    assert world.journal.writes() == []


async def test_apply_does_exactly_the_plan(both: World, tmp_path: Path) -> None:
    await _known_edits(both)
    plan = await _plan(both)
    plan.save(tmp_path / "plan.json")
    both.clock.advance(60)
    both.ov.add_contact("later@example.com", name="Too Late")
    both.do.add_contact(unique_id="crm-later", email="later2@example.com")
    await both.import_export()
    mark = both.mark()
    await planning.apply(both.bridge, plans.load(tmp_path / "plan.json"))
    assert not any("later" in show(entry) for entry in both.writes(mark))
    assert both.do.contact("crm-ann")["city"] == "Oslo" and both.do.contact("crm-cat")["unsubscribe_email"]
    assert both.do.contact("new@example.com")["name_first"] == "Nora"
    assert both.ov.contact("bob@example.com")["phone"] == "+14155550222"
    await both.sync()
    assert both.unequal() == [] and len(both.do.contacts) == 6
    await both.quiet()


@pytest.mark.parametrize("moved", ["source", "target", "deleted", "opted out", "another field"])
async def test_apply_is_refused_after_a_move_and_pushes_nothing(world: World, moved: str) -> None:
    await world.linked("ann", "bob")
    world.ov.edit_contact("ann@example.com", city="Oslo")
    world.ov.edit_contact("bob@example.com", city="Lima")
    plan = await _plan(world)
    world.clock.advance(60)
    if moved == "source":
        world.ov.edit_contact("ann@example.com", city="Bern")
    elif moved == "target":
        world.do.edit_contact("crm-ann", city="Bern")
    elif moved == "deleted":
        world.ov.delete_contact("ann@example.com")
    elif moved == "opted out":
        world.ov.edit_contact("ann@example.com", city="Rome")
        world.ov.unsubscribe("ann@example.com")
    else:
        world.ov.edit_contact("ann@example.com", name="Ann Other")
    world.clock.advance(2)
    mark = world.mark()
    with pytest.raises(PlanMoved):
        await planning.apply(world.bridge, plan)
    assert world.writes(mark) == []
    await world.sync()
    assert world.unequal() == []
    await world.quiet()


async def test_undo_restores_and_leaves_later_edits_alone(world: World) -> None:
    await world.linked("ann", "bob")
    world.ov.edit_contact("ann@example.com", city="Oslo", region="OS")
    world.do.edit_contact("crm-bob", name_last="Long")
    world.ov.unsubscribe("bob@example.com")
    report = await world.sync()
    world.clock.advance(60)
    world.do.edit_contact("crm-ann", state="edited later")
    await world.sync()
    world.clock.advance(60)
    plan = await undoing.undo(world.bridge, report.run_id)
    assert _changes(plan) == {
        ("digital_onboarding", "city", "Oslo", "Rome"), ("onvoard", "name", "Bob Long", "Bob Lee"),
    }  # fmt: skip
    await planning.apply(world.bridge, plan)
    there = world.do.contact("crm-ann")
    assert (there["city"], there["state"]) == ("Rome", "edited later")
    assert world.ov.contact("bob@example.com")["name"] == "Bob Lee"
    assert world.do.contact("crm-bob")["unsubscribe_email"], "consent is never raised"
    mark = world.mark()
    await world.sync()
    assert world.writes(mark) == [], "what was restored does not bounce back"
    assert world.ov.contact("ann@example.com")["properties"]["city"] == "Oslo"


async def test_undo_is_refused_if_somebody_edits_meanwhile(world: World) -> None:
    await world.linked("ann")
    world.ov.edit_contact("ann@example.com", city="Oslo")
    report = await world.sync()
    plan = await undoing.undo(world.bridge, report.run_id)
    world.clock.advance(60)
    world.do.edit_contact("crm-ann", city="Bern")
    world.clock.advance(2)
    mark = world.mark()
    with pytest.raises(PlanMoved):
        await planning.apply(world.bridge, plan)
    assert world.writes(mark) == [] and world.do.contact("crm-ann")["city"] == "Bern"
