"""Whose value it is, when it was said, which rule chose it and what lost: by the history and by `explain`."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner

from service import planning, undoing
from service.cli.main import cli
from service.store.types import iso
from tests.cycle.world import World

ANN = "ann@example.com"
Row = dict[str, Any]


def _explain(world: World, who: str = ANN) -> Row:
    env = {"BRIDGE_DATABASE_URL": world.bridge.settings.database_url.get_secret_value()}
    result = CliRunner().invoke(cli, ["explain", who, "--format", "json"], env=env)
    assert result.exit_code == 0, result.stderr
    found: Row = json.loads(result.stdout)
    table = CliRunner().invoke(cli, ["explain", who], env=env)
    assert table.exit_code == 0, table.stderr
    return found


def _field(world: World, name: str) -> Row:
    return next(field for field in _explain(world)["fields"] if field["field"] == name)


def _history(world: World, field: str) -> list[Row]:
    sql = "SELECT * FROM field_history WHERE field = :field ORDER BY at, run_id"
    return world.rows(sql, field=field)


async def test_the_history_says_whose_value_it_is_and_when_it_was_said(world: World) -> None:
    await world.linked("ann")
    world.ov.edit_contact(ANN, city="Oslo", phone="+14155550199")
    said = world.ov.contact(ANN)["modified_datetime"]
    world.clock.advance(60)
    world.do.edit_contact("crm-ann", name_last="Long")
    report = await world.sync()
    told = _field(world, "city")["source"]
    (change,) = _history(world, "city")
    assert (change["source"], change["old_value"], change["new_value"]) == ("onvoard", "Rome", "Oslo")
    assert change["losing_value"] is None, "what was agreed on has not lost"
    assert change["run_id"] == report.run_id and change["rule"] == "changed on onvoard"
    assert (told["platform"], told["run_id"], told["rule"]) == ("onvoard", report.run_id, "changed on onvoard")
    assert told["said_at"][:19] == str(said)[:19] and told["at"] > told["said_at"]
    (change,) = _history(world, "name")
    assert change["source"] == _field(world, "name")["source"]["platform"] == "digital_onboarding"


async def test_the_losing_value_is_told_by_the_history_and_by_explain_newest_first(world: World) -> None:
    await world.linked("ann")
    world.ov.edit_contact(ANN, city="Oslo", name="Ann Long")
    world.clock.advance(30)
    world.do.edit_contact("crm-ann", city="Bern", name_last="Short")
    first = await world.sync()
    (change,) = _history(world, "city")
    assert (change["platform"], change["new_value"], change["losing_value"]) == ("onvoard", "Bern", "Oslo")
    world.clock.advance(60)
    world.do.edit_contact("crm-ann", city="Kyiv")
    world.clock.advance(30)
    world.ov.edit_contact(ANN, city="Lima")
    second = await world.sync()
    lost = _field(world, "city")["losing_values"]
    assert [(each["value"], each["platform"], each["run_id"]) for each in lost] == [
        ("Kyiv", "digital_onboarding", second.run_id), ("Oslo", "onvoard", first.run_id),
    ]  # fmt: skip
    assert all(each["rule"] == "newer record" and each["at"] for each in lost)
    assert [each["value"] for each in _field(world, "name")["losing_values"]] == ["Ann Long"], "told once"
    assert _field(world, "phone")["losing_values"] == []


async def test_what_could_not_be_carried_over_is_in_the_history_and_in_explain(both: World) -> None:
    await both.linked("ann", country="IT")
    both.do.edit_contact("crm-ann", country="Atlantis")
    report = await both.sync()
    (row,) = [row for row in _history(both, "country") if row["losing_value"] is not None]
    assert (row["source"], row["losing_value"], row["new_value"]) == ("digital_onboarding", "Atlantis", None)
    field = _field(both, "country")
    (lost,) = field["losing_values"]
    assert (lost["value"], lost["platform"], lost["run_id"]) == ("Atlantis", "digital_onboarding", report.run_id)
    assert (field["onvoard"], field["digital_onboarding"], field["in_step"]) == ("IT", "Atlantis", False)


async def test_creations_links_opt_outs_and_activities_have_a_source(world: World) -> None:
    await world.setup()
    await world.linked("ann")
    world.ov.add_contact("new@example.com", name="Nora New")
    world.do.add_contact(unique_id="crm-eve", email="eve@example.com", name_first="Eve")
    world.do.complete_objective("crm-ann", next(iter(world.do.objectives)))
    world.ov.unsubscribe(ANN)
    await world.import_export()
    await world.sync()
    rows = world.rows("SELECT DISTINCT platform, source, field FROM changes")
    assert {row["platform"] for row in rows} == {"onvoard", "digital_onboarding"}
    assert all(row["source"] not in (None, row["platform"]) for row in rows)
    told = _explain(world)
    assert told["opted_out"] == {"onvoard": True, "digital_onboarding": True}
    assert told["opted_out_source"]["platform"] == "onvoard" and told["opted_out_source"]["run_id"]


async def test_an_edit_after_the_bridge_wrote_it_and_an_undo_are_told_from_it(world: World) -> None:
    await world.linked("ann")
    world.ov.edit_contact(ANN, city="Oslo", region="OS")
    report = await world.sync()
    world.clock.advance(60)
    plan = await undoing.undo(world.bridge, report.run_id)
    await planning.apply(world.bridge, plan)
    assert _field(world, "city")["source"]["text"] == "given back to Digital Onboarding as it was"
    assert _field(world, "city")["source"]["platform"] == "digital_onboarding"
    world.clock.advance(60)
    world.do.edit_contact("crm-ann", state="Zürich")
    edited = world.clock.now()
    world.configure(digital_onboarding__refresh="off")
    await world.import_export()
    source = _field(world, "state")["source"]
    assert source["text"] == "edited on Digital Onboarding after the bridge wrote it"
    assert source["said_at"][:19] == iso(edited)[:19]


async def test_of_an_erased_person_no_losing_value_is_kept(world: World) -> None:
    await world.linked("ann")
    world.ov.edit_contact(ANN, city="Oslo")
    world.clock.advance(30)
    world.do.edit_contact("crm-ann", city="Bern")
    await world.sync()
    contact = world.ov.contact(ANN)["id"]
    assert "Oslo" in world.mirror_text()
    world.ov.suppress(ANN)
    await world.sync()
    assert "Oslo" not in world.mirror_text()
    told = _explain(world, contact)
    assert told["fields"] == [] and told["opted_out_source"] is None
