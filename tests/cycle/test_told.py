"""What a run tells of itself: in the log, and in the figures that every process of a mirror adds to."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from structlog.contextvars import clear_contextvars, merge_contextvars
from structlog.testing import capture_logs

from service import planning, runs
from service.errors import Denied
from service.store import tallies
from tests.cycle.world import World

Lines = list[Any]


@contextmanager
def told(level: int = logging.DEBUG) -> Iterator[Lines]:
    decisions = logging.getLogger("service.decide.decisions")
    before = decisions.level
    decisions.setLevel(level)
    clear_contextvars()
    try:
        with capture_logs(processors=[merge_contextvars]) as lines:
            yield lines
    finally:
        decisions.setLevel(before)
        clear_contextvars()


def of(lines: Lines, event: str) -> Lines:
    return [line for line in lines if line["event"] == event]


def tallied(world: World) -> dict[str, dict[str, float]]:
    with world.db.begin(write=False) as conn:
        return tallies.everything(conn)


async def test_a_line_for_each_batch_with_what_became_of_it(both: World) -> None:
    await both.linked("ann", "bob", "cat")
    both.configure(digital_onboarding__batch_size=2)
    for name in ("ann", "bob", "cat"):
        both.ov.edit_contact(f"{name}@example.com", city="Oslo")
        both.do.edit_contact(f"crm-{name}", name_last="Long")
    both.sandbox.fail("onvoard", "status", method="PATCH", status=422)
    with told() as lines:
        report = await both.sync()
    batches = of(lines, "push batch")
    here = [line for line in batches if line["platform"] == "onvoard"]
    assert [(line["operation"], line["size"], line["done"], line["dead"]) for line in here] == [
        ("patch_contact", 3, 2, 1)
    ]
    there = [line for line in batches if line["platform"] == "digital_onboarding"]
    assert [(line["lane"], line["size"], line["done"]) for line in there] == [("change", 2, 2), ("change", 1, 1)]
    assert {line["run_id"] for line in lines} == {report.run_id}
    assert tallied(both)["pushes"]["onvoard.patch_contact.dead"] == 1


async def test_a_line_for_each_decision_names_fields_and_rules_and_no_value(world: World) -> None:
    await world.linked("ann")
    world.ov.edit_contact("ann@example.com", city="Reykjavik")
    world.do.unsubscribe("crm-ann")
    with told() as lines:
        report = await world.sync()
    found = {(line["platform"], *line["fields"], *line["rules"]) for line in of(lines, "decision")}
    assert found == {
        ("digital_onboarding", "city", "changed on onvoard"),
        ("onvoard", "email_unsubscribed", "opted out on digital_onboarding"),
        ("onvoard", "custom.digital_onboarding_unsubscribed", "happened on digital_onboarding"),
    }
    assert {line["person_id"] for line in of(lines, "decision")} == {1}
    assert {line["run_id"] for line in of(lines, "decision")} == {report.run_id}
    said = json.dumps(lines, default=str).lower()
    assert not [word for word in ("reykjavik", "rome", "@", "ann", "crm-") if word in said]


async def test_a_decision_is_told_once_and_none_without_the_level_debug(world: World) -> None:
    await world.linked("ann")
    world.ov.edit_contact("ann@example.com", city="Oslo")
    with told(logging.INFO) as quiet:
        await world.sync()
    world.ov.edit_contact("ann@example.com", city="Bergen")
    with told() as lines:
        await world.sync()
        await world.sync()
    assert of(quiet, "decision") == [] and len(of(lines, "decision")) == 1


async def test_what_is_planned_is_not_told_as_decided(world: World) -> None:
    await world.linked("ann")
    world.ov.edit_contact("ann@example.com", city="Oslo")
    with told() as lines:
        await planning.plan(world.bridge, full=True)
    assert of(lines, "decision") == []


async def test_a_conflict_is_told_with_its_kind_alone(world: World) -> None:
    world.ov.add_contact("ann@example.com", name="Ann Lee")
    for key in ("crm-1", "crm-2"):
        world.do.add_contact(unique_id=key, email="ann@example.com", name_first="Ann")
    await world.import_export()
    with told() as lines:
        await world.sync()
    assert {(line["kind"], line["status"]) for line in of(lines, "conflict")} == {("ambiguous_identity", "open")}
    assert "ann" not in json.dumps(of(lines, "conflict"), default=str)


async def test_how_long_an_opt_out_took_counts_from_when_it_was_seen(both: World) -> None:
    await both.linked("ann", "bob")
    both.configure(limits__max_changed_count=0, limits__max_changed_share=0.1)
    both.do.unsubscribe("crm-ann")
    both.ov.unsubscribe("bob@example.com")
    await both.sync()  # held by the brake
    assert "opt_outs" not in tallied(both)
    both.clock.advance(700)
    await both.sync(allow=True)
    figures = tallied(both)
    assert figures["opt_outs"] == {"digital_onboarding.1800": 1, "onvoard.1800": 1}
    assert 700 <= figures["opt_out_seconds"]["onvoard"] < 760


async def test_an_opt_out_from_before_the_two_were_known_to_be_one_counts_from_the_link(world: World) -> None:
    world.configure(identity__create_on_digital_onboarding=False)
    world.ov.add_contact("ann@example.com", name="Ann Lee", email_unsubscribed=True)
    await world.sync()
    world.clock.advance(100_000)
    world.do.add_contact(unique_id="crm-ann", email="ann@example.com", name_first="Ann", name_last="Lee")
    await world.import_export()
    await world.sync()
    figures = tallied(world)
    assert sum(figures["opt_outs"].values()) == 1 and figures["opt_out_seconds"]["digital_onboarding"] < 60


async def test_what_runs_have_read_adds_up_whoever_ran_them(both: World) -> None:
    both.ov.add_contact("ann@example.com", name="Ann Lee")
    await both.sync()
    first = tallied(both)
    await both.sync()
    second = tallied(both)
    assert second["runs"] == {"sync.ok": 2}
    assert second["pulled"]["contacts"] == first["pulled"]["contacts"] + 1
    assert second["run_seconds"]["sync"] >= 0


async def test_a_file_that_was_imported_counts_as_read(world: World) -> None:
    await world.import_rows({"unique_id": "crm-1", "email": "ann@example.com"})
    assert tallied(world)["pulled"] == {tallies.IMPORT: 1}


async def test_the_next_run_is_not_told_under_the_number_of_the_last_one(world: World) -> None:
    with told() as lines:
        one = await world.sync()
        two = await runs.backfill(world.bridge, ["templates"], None, None)
    assert [line["run_id"] for line in of(lines, "run")] == [one.run_id, two.run_id]


async def test_a_run_that_could_not_begin_is_told_too(world: World) -> None:
    await world.sync()
    world.configure(onvoard__api_key="another-key")
    world.sandbox.fail("onvoard", "status", status=401, times=None)
    with told() as lines, pytest.raises(Denied):
        await world.sync()
    assert [(line["kind"], line["outcome"]) for line in of(lines, "run")] == [("sync", "denied")]
    assert tallied(world)["runs"]["sync.denied"] == 1
