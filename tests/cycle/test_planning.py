"""Plans: right, without a write; done exactly so, or refused; and undone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service import planning, plans, undoing
from service.core.records import shown
from service.errors import NobodyFound, PlanMoved, UsageError
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


async def test_undo_leaves_an_edit_alone_that_the_mirror_did_not_know_of(world: World) -> None:
    await world.linked("ann", "bob")
    for name in ("ann", "bob"):
        world.ov.edit_contact(f"{name}@example.com", city="Oslo", region="OS")
    report = await world.sync()
    world.clock.advance(60)
    world.do.edit_contact("crm-ann", city="Bern")
    plan = await undoing.undo(world.bridge, report.run_id)
    await planning.apply(world.bridge, plan)
    ann, bob = (world.do.contact(f"crm-{name}") for name in ("ann", "bob"))
    assert ann["city"] == "Bern" and bob["city"] == "Rome"
    assert ann["state"] == bob["state"] != "OS", "the person's other fields are given back"


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


# What cannot be carried over.


def _staying(plan: Plan) -> set[tuple[str, str, str, str | None]]:
    return {(each["platform"], each["field"], each["value"], each["email"]) for each in plan.not_transferable}


async def test_a_plan_shows_what_cannot_be_carried_over_for_as_long_as_it_stands(world: World) -> None:
    await world.linked("ann", "bob", country="IT")
    world.ov.edit_contact("bob@example.com", phone="12", city="Oslo")
    world.do.edit_contact("crm-ann", country="Atlantis", email="")
    world.ov.add_contact("new@example.com", phone="11")
    world.do.add_contact(unique_id="crm-eve", email="eve@example.com", country="Utopia")
    await world.import_export()
    expected = {
        ("onvoard", "country", "Atlantis", "ann@example.com"), ("onvoard", "email", "", "ann@example.com"),
        ("digital_onboarding", "phone_mobile", "12", "bob@example.com"),
        ("digital_onboarding", "phone_mobile", "11", "new@example.com"),
        ("onvoard", "country", "Utopia", "eve@example.com"),
    }  # fmt: skip
    plan = await _plan(world)
    assert _staying(plan) == expected and plan.summary["not_transferable"] == len(expected)
    assert all(each["why"] and each["person_id"] for each in plan.not_transferable)
    await world.sync()
    assert len(world.conflicts("not_transferable", "resolved")) == 5
    assert _staying(await _plan(world)) == expected
    world.clock.advance(60)
    world.ov.edit_contact("ann@example.com", country="FR")
    plan = await _plan(world)
    assert ("digital_onboarding", "country", "Atlantis", "FR") in _changes(plan)
    assert "Atlantis" not in {each["value"] for each in plan.not_transferable}, "what is overwritten does not stay"
    world.ov.edit_contact("ann@example.com", country="IT")
    world.do.edit_contact("crm-ann", country="Italy", email="ann@example.com")
    world.ov.edit_contact("bob@example.com", phone="")
    await world.sync()
    assert {each[3] for each in _staying(await _plan(world))} == {"new@example.com", "eve@example.com"}
    assert len(world.conflicts("not_transferable", "resolved")) == 5, "each is reported once"


async def test_a_plan_shows_a_clearing_that_is_switched_off(world: World) -> None:
    world.configure(digital_onboarding__clear_with="never")
    await world.linked("ann")
    world.ov.edit_contact("ann@example.com", city=None)
    for _ in range(2):
        plan = await _plan(world)
        assert plan.changes == [] and _staying(plan) == {("digital_onboarding", "city", "", "ann@example.com")}
        await world.sync()


# What a plan rests on.


async def test_a_plan_is_exact_to_the_field_and_leaves_the_rest_to_the_next_sync(world: World) -> None:
    """Others are edited, opt out and do things meanwhile, so many that the brake would hold them."""
    await world.setup()
    await world.linked("ann", "bob", "cat", "dan")
    world.configure(limits__max_changed_count=1, limits__max_changed_share=0.3)
    world.ov.edit_contact("ann@example.com", city="Oslo")
    plan = await _plan(world)
    world.clock.advance(60)
    for name in ("bob", "cat", "dan"):
        world.ov.edit_contact(f"{name}@example.com", city="Lima")
    world.do.unsubscribe("crm-bob")
    world.do.complete_objective("crm-cat", next(iter(world.do.objectives)))
    await world.import_export()
    assert len((await _plan(world)).held) == 4, "the mirror knows of them all"
    mark = world.mark()
    report = await planning.apply(world.bridge, plan)
    assert [(each.platform, each.body) for each in world.writes(mark)] == [
        ("digital_onboarding", {"contacts": [{"unique_id": "crm-ann", "city": "Oslo"}]})
    ]
    assert not report.held
    await world.sync(allow=True)
    assert world.unequal() == [] and world.ov.contact("bob@example.com")["email_unsubscribed"]
    await world.quiet()


async def test_held_changes_of_a_plan_stay_held(world: World) -> None:
    await world.linked("ann", "bob")
    world.configure(limits__max_changed_count=1, limits__max_changed_share=0.0)
    world.ov.edit_contact("ann@example.com", city="Oslo")
    world.ov.edit_contact("bob@example.com", city="Lima")
    world.do.edit_contact("crm-ann", name_last="Long")
    await world.import_export()
    plan = await _plan(world)
    assert [each["new"] for each in plan.changes] == ["Ann Long"] and len(plan.held) == 2
    await planning.apply(world.bridge, plan)
    assert world.ov.contact("ann@example.com")["name"] == "Ann Long"
    assert {world.do.contact(f"crm-{name}")["city"] for name in ("ann", "bob")} == {"Rome"}
    report = await world.sync()
    assert list(report.held) == ["digital_onboarding"]


@pytest.mark.parametrize("moved", ["other side", "opted out", "conflict", "deleted there", "applied", "link"])
async def test_apply_is_refused_whatever_else_has_moved_about_its_people(world: World, moved: str) -> None:
    await world.linked("ann", "bob")
    world.ov.edit_contact("ann@example.com", city="Oslo")
    plan = await _plan(world)
    world.clock.advance(60)
    if moved == "other side":
        world.do.edit_contact("crm-ann", name_last="Long")
    elif moved == "opted out":
        world.ov.unsubscribe("ann@example.com")
    elif moved == "conflict":
        world.do.edit_contact("crm-ann", email="bob@example.com")
    elif moved == "deleted there":
        world.do.remove_contact("crm-ann")
    elif moved == "applied":
        await planning.apply(world.bridge, plan)
    else:
        world.ov.delete_contact("ann@example.com")
        world.ov.add_contact("ann@example.com", name="Ann Lee", phone="+14155550101", city="Oslo")
    world.clock.advance(2)
    mark = world.mark()
    with pytest.raises(PlanMoved):
        await planning.apply(world.bridge, plan)
    assert world.writes(mark) == []


async def test_apply_is_refused_under_another_mapping(world: World, tmp_path: Path) -> None:
    await world.linked("ann")
    world.ov.edit_contact("ann@example.com", city="Oslo")
    plan = await _plan(world)
    table = tmp_path / "mapping.toml"
    table.write_text('[[fields]]\nname = "city"\nonvoard = "properties.city"\ndigital_onboarding = "city"\n')
    world.configure(paths__mapping=str(table))
    mark = world.mark()
    with pytest.raises(PlanMoved, match="mapping"):
        await planning.apply(world.bridge, plan)
    assert world.journal.entries()[mark:] == []


@pytest.mark.parametrize("kind", ["sync", "undo"])
@pytest.mark.parametrize("touched", ["changes", "pushes", "kind", "undoes", "seal"])
async def test_a_plan_that_was_touched_or_is_another_mirrors_is_refused(
    world: World, tmp_path: Path, kind: str, touched: str
) -> None:
    await world.linked("ann", "bob")
    world.ov.edit_contact("ann@example.com", city="Oslo")
    if kind == "undo":
        plan = await undoing.undo(world.bridge, (await world.sync()).run_id)
    else:
        plan = await _plan(world)
    plan.save(tmp_path / "plan.json")
    document = json.loads((tmp_path / "plan.json").read_text("utf-8"))
    assert len(document["pushes"]) == 1
    if touched == "pushes":
        document["pushes"][0]["payload"]["city"] = "Bern"
    elif touched == "changes":
        document["changes"][0]["new"] = "Bern"
    else:
        document[touched] = {"kind": "other", "undoes": 1, "seal": "0" * 64}[touched]
    (tmp_path / "plan.json").write_text(json.dumps(document), "utf-8")
    mark = world.mark()
    with pytest.raises(PlanMoved):
        await planning.apply(world.bridge, plans.load(tmp_path / "plan.json"))
    assert world.journal.entries()[mark:] == []


@pytest.mark.parametrize(
    ("text", "error"), [("", UsageError), ("[]", UsageError), ('{"format": 1, "kind": "sync"}', PlanMoved),
                        ('{"format": 2, "else": 1}', UsageError)],
)  # fmt: skip
def test_what_is_no_plan_or_another_versions_is_refused(tmp_path: Path, text: str, error: type[Exception]) -> None:
    (tmp_path / "plan.json").write_text(text, "utf-8")
    with pytest.raises(error):
        plans.load(tmp_path / "plan.json")


# Undone.


async def _undo(world: World, run_id: int) -> Plan:
    plan = await undoing.undo(world.bridge, run_id)
    world.clock.advance(60)
    await planning.apply(world.bridge, plan)
    return plan


async def test_an_undo_says_what_stays(world: World) -> None:
    await world.setup()
    world.configure(activities__since="2020-01-01")
    await world.linked("ann")
    world.ov.unsubscribe("ann@example.com")
    world.ov.add_contact("new@example.com", name="Nora New")
    world.do.add_contact(unique_id="crm-eve", email="eve@example.com")
    await world.import_export()
    report = await world.sync()
    plan = await undoing.undo(world.bridge, report.run_id)
    stay = {name: plan.summary[f"{name}_stay"] for name in ("opt_outs", "created_contacts", "activities")}
    assert stay == {"opt_outs": 1, "created_contacts": 2, "activities": 1}
    assert not any(change["field"].startswith(("unsub", "email")) for change in plan.changes)
    await planning.apply(world.bridge, plan)
    assert world.do.contact("crm-ann")["unsubscribe_email"] and world.do.contact("new@example.com")
    await world.quiet()


async def test_an_undo_of_an_undo_is_as_it_was(both: World) -> None:
    await both.linked("ann")
    both.ov.edit_contact("ann@example.com", city="Oslo", name="Ann de Vries")
    report = await both.sync()
    await _undo(both, report.run_id)
    there = both.do.contact("crm-ann")
    assert (there["city"], there["name_last"]) == ("Rome", "Lee")
    await both.quiet()
    run_id = both.value("SELECT max(id) FROM runs WHERE kind = 'apply'")
    await _undo(both, run_id)
    there = both.do.contact("crm-ann")
    assert (there["city"], there["name_last"]) == ("Oslo", "de Vries") and both.unequal() == []
    await both.quiet()
    sources = both.rows("SELECT source FROM changes WHERE field = 'city' ORDER BY id")
    assert [row["source"] for row in sources] == ["onvoard", "digital_onboarding", "onvoard"]


async def test_half_a_name_that_somebody_edited_later_is_left_alone_as_a_whole(world: World) -> None:
    await world.linked("ann")
    world.ov.edit_contact("ann@example.com", name="Ann Long")
    report = await world.sync()
    world.clock.advance(60)
    world.do.edit_contact("crm-ann", name_first="Anna")
    await world.sync()
    plan = await undoing.undo(world.bridge, report.run_id)
    assert plan.pushes == [] and plan.summary["left_alone"] == 1


async def test_what_a_run_wrote_twice_is_given_back_as_it_was_before_the_first_time(world: World) -> None:
    await world.linked("ann")
    world.ov.edit_contact("ann@example.com", city="Oslo")
    world.do.edit_contact("crm-ann", name_last="Long")
    world.sandbox.when(
        "onvoard", lambda: world.ov.edit_contact("ann@example.com", city="Lima"), method="PATCH"
    )  # the answer shows one more edit, which the same run carries over
    report = await world.sync()
    assert world.do.contact("crm-ann")["city"] == "Lima"
    plan = await undoing.undo(world.bridge, report.run_id)
    assert ("digital_onboarding", "city", "Lima", "Rome") in _changes(plan)


async def test_an_edit_on_the_other_side_still_comes_after_an_undo(world: World) -> None:
    await world.linked("ann")
    world.ov.edit_contact("ann@example.com", city="Oslo")
    report = await world.sync()
    world.clock.advance(60)
    world.ov.edit_contact("ann@example.com", city="Lima")
    await _plan(world)
    await _undo(world, report.run_id)
    assert world.do.contact("crm-ann")["city"] == "Rome"
    await world.sync()
    assert world.do.contact("crm-ann")["city"] == "Lima" and world.unequal() == []


async def test_an_undo_says_a_fallen_flag_again_and_raises_none(world: World) -> None:
    world.ov.settings.defaults_on_update = True
    await world.linked("ann")
    world.do.edit_contact("crm-ann", city="Oslo")
    report = await world.sync()
    world.clock.advance(60)
    world.ov.unsubscribe("ann@example.com")
    await world.sync()
    await _undo(world, report.run_id)
    here = world.ov.contact("ann@example.com")
    assert (here["properties"]["city"], here["email_unsubscribed"]) == ("Rome", True)


async def test_an_undo_leaves_those_in_conflict_and_what_may_not_be_cleared(world: World) -> None:
    world.configure(digital_onboarding__clear_with="never")
    await world.linked("ann", "bob")
    world.ov.edit_contact("ann@example.com", region="CA")
    world.ov.edit_contact("bob@example.com", city="Lima")
    report = await world.sync()
    world.clock.advance(60)
    world.ov.add_contact("bob2@example.com")
    await world.sync()
    world.do.edit_contact("crm-bob", email="bob2@example.com")
    await world.sync()
    assert world.status("bob@example.com")[0] == "conflict"
    plan = await undoing.undo(world.bridge, report.run_id)
    assert plan.pushes == [] and plan.summary["left_alone"] == 1
    assert _staying(plan) == {("digital_onboarding", "state", "", "ann@example.com")}


async def test_there_is_no_such_run(world: World) -> None:
    await world.linked("ann")
    with pytest.raises(NobodyFound):
        await undoing.undo(world.bridge, 999)
    backfill = await world.backfill("contacts")
    plan = await undoing.undo(world.bridge, backfill.run_id)
    assert plan.changes == []
