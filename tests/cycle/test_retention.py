"""What is over and old leaves the mirror, and no decision changes by it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from service import jobs, planning, retaining, runs, undoing
from service.bridge import Bridge, Report
from service.core import oscillation
from service.core.records import Platform
from service.core.rules import ActivityOf, CompleteObjective, Rule, Ruleset, SetMetaPublic
from service.errors import NobodyFound, SettingsError
from service.progress import Stopped
from service.sandbox import Sandbox
from service.settings import load
from service.store import inbox, migrate, restoration
from service.store.database import Database
from service.store.inbox import Incoming
from tests.cycle.conftest import only_email_activities
from tests.cycle.world import World, open_world

ANN = "ann@example.com"
ORDER = ActivityOf(frozenset({"order_placed"}))
RULES = Ruleset(
    (Rule("ordered", ORDER, CompleteObjective("online-banking")), Rule("buyer", ORDER, SetMetaPublic("buyer", True))),
    frozenset({"buyer"}),
)
RETENTION = jobs.named("retention")


async def prune(bridge: Bridge, progress: Any = None) -> Report:
    return await runs.run(bridge, "retention", RETENTION.work, progress)


async def lived_in(world: World) -> int:
    """A person who was edited, has ordered and opted out, and events that came. -> the run that pushed the edit"""
    await world.setup()
    await world.linked("ann", "bob")
    world.bridge = replace(world.bridge, rules=RULES)
    await world.sync()
    for city in ("Oslo", "Bern"):
        world.clock.advance(60)
        world.ov.edit_contact(ANN, city=city)
        report = await world.sync()
    world.clock.advance(60)
    world.ov.add_activity(ANN, "order_placed")
    await world.sync()
    world.ov.unsubscribe("bob@example.com")
    await world.sync()
    keep_events(world, "processed", "ignored", "failed", "pending")
    return report.run_id


def keep_events(world: World, *statuses: str) -> None:
    now = world.clock.now()
    with world.db.begin() as conn:
        named = [f"evt {status} {now}" for status in statuses]
        one = Incoming("", Platform.ONVOARD, "contact.saved", {"data": {"contact": {"email": ANN}}}, now, "ct_1")
        inbox.keep(conn, [replace(one, id=each) for each in named])
        done = [(each, status, None, "ct_1") for each, status in zip(named, statuses, strict=True)]
        inbox.finish(conn, [each for each in done if each[1] != "pending"], now)


def outbox(world: World) -> list[tuple[str, bool]]:
    rows = world.rows("SELECT operation, payload FROM outbox ORDER BY id")
    return [(row["operation"], row["payload"] not in ({}, "{}")) for row in rows]


async def test_what_is_old_leaves_and_what_is_needed_stays(both: World) -> None:
    world = both
    await lived_in(world)
    assert outbox(world).count(("upsert_contact", True)) >= 3 and ("complete_objective", True) in outbox(world)
    both.clock.advance(10 * 86_400)
    assert (await prune(both.bridge)).counts().get("pruned") is None  # nothing is old yet
    both.clock.advance(120 * 86_400)
    keep_events(world, "processed")
    report = await prune(both.bridge)
    opt_out = [("upsert_contact", True)]  # the proof that it was passed on
    assert [each for each in outbox(world) if each[0] == "upsert_contact"] == opt_out
    assert ("complete_objective", False) in outbox(world)  # once and for all; it says of whom no longer
    assert {kept for what, kept in outbox(world) if what == "create_activity"} == {False}
    statuses = [row["status"] for row in both.rows("SELECT status FROM webhook_events ORDER BY received_at")]
    assert statuses == ["pending", "processed"]
    kinds = [row["kind"] for row in both.rows("SELECT kind FROM runs ORDER BY id")]
    assert kinds[0] in ("import", "sync") and sorted(set(kinds)) == ["import", "retention", "sync"]
    assert kinds.count("sync") <= 2  # the first run of all, and the last sync
    told = both.rows("SELECT new_value FROM changes WHERE field = 'city' AND platform = 'digital_onboarding'")
    assert [row["new_value"] for row in told] == ["Oslo", "Bern"]
    both.clock.advance(730 * 86_400)
    both.configure(retention__runs="never", retention__webhook_events="never")
    await prune(both.bridge)
    told = both.rows("SELECT new_value FROM changes WHERE field = 'city' AND platform = 'digital_onboarding'")
    assert [row["new_value"] for row in told] == ["Bern"]  # where the value comes from stays known
    assert len(both.rows("SELECT id FROM webhook_events")) == 2
    counts = {name: number for name, number in report.pruned.items() if number}
    assert counts.keys() == {"runs", "webhook_events", "outbox", "outbox_said_once"}
    mark = both.mark()
    await both.sync()
    assert both.writes(mark) == []
    with both.db.begin(write=False) as conn:
        assert restoration.read(conn) is None  # OnVoard shows activities of the bridge's own, which are known for such


async def test_what_was_pruned_is_not_undone(world: World) -> None:
    run_id = await lived_in(world)
    assert (await undoing.undo(world.bridge, run_id)).changes
    world.clock.advance(130 * 86_400)
    world.configure(retention__runs="never")
    await prune(world.bridge)
    with pytest.raises(NobodyFound, match=f"run {run_id} is older"):
        await undoing.undo(world.bridge, run_id)


async def test_it_goes_in_small_steps_and_can_end_after_each(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.linked("ann")
    monkeypatch.setattr(retaining, "BATCH", 3)
    for number in range(4):
        world.clock.advance(1)
        keep_events(world, "processed", "ignored" if number % 2 else "failed")
    world.clock.advance(40 * 86_400)
    kept = "SELECT count(*) FROM webhook_events"

    class Ends:
        def advance(self, stream: str, records: int) -> None:
            assert (stream, records) == ("retention", 3)
            raise Stopped

    with pytest.raises(Stopped):
        await prune(world.bridge, Ends())
    assert world.value(kept) == 5
    await prune(world.bridge)
    assert world.value(kept) == 0


async def test_what_was_carried_over_long_ago_is_no_turning_back(world: World) -> None:
    await world.linked("ann")
    for number in range(oscillation.LIMIT + 3):
        world.clock.advance(oscillation.MEMORY.total_seconds() / 2.5)
        edit = (world.ov.edit_contact, ANN) if number % 2 else (world.do.edit_contact, "crm-ann")
        edit[0](edit[1], city="Oslo" if number % 2 else "Bern")
        assert not (await world.sync()).needs_person  # twice within the memory, three times never


async def test_it_is_due_once_a_day_and_rests_in_quiet_hours(world: World) -> None:
    def due() -> bool:
        with world.db.begin(write=False) as conn:
            return jobs.is_due(conn, world.bridge, RETENTION)

    assert due()
    await jobs.work(world.bridge, RETENTION)
    assert not due()
    world.clock.advance(22 * 3_600)
    assert due()
    world.configure(schedule__quiet_hours="00:00-23:59", schedule__sweep_within="48h")
    assert jobs.rests_until(world.bridge.settings, RETENTION, datetime(2026, 1, 1, 12, tzinfo=UTC)) is not None


SHORT = [("runs", "6d"), ("webhook_events", "1h"), ("outbox", "90d"), ("changes", "7d")]


@pytest.mark.parametrize(("key", "short"), SHORT)
def test_too_short_a_term_is_refused(key: str, short: str) -> None:
    with pytest.raises(SettingsError, match=f"retention.{key}.*must be at least"):
        load({f"retention.{key}": short}, environ={})
    assert getattr(load({f"retention.{key}": "never"}, environ={}).retention, key) is None


# --- Pruning changes no decision.

STEP = st.one_of(
    st.tuples(st.sampled_from(["onvoard", "digital_onboarding"]), st.sampled_from(["Oslo", "Bern"])),
    st.tuples(st.sampled_from(["order", "opt out", "cleared", "sync"]), st.just("")),
    st.tuples(st.just("wait"), st.sampled_from(["20", "100"])),
)
TURNING = [("onvoard", "Oslo"), ("sync", ""), ("digital_onboarding", "Bern"), ("sync", "")]


async def _take(world: World, steps: Sequence[tuple[str, str]]) -> None:
    for what, value in steps:
        world.clock.advance(60)
        if what == "wait":
            world.clock.advance(int(value) * 86_400)
        elif what == "sync":
            await world.sync()
        elif what == "order":
            world.ov.add_activity(ANN, "order_placed")
        elif what == "cleared":
            world.do.edit_contact("crm-ann", meta_public={})
        elif what == "opt out":
            world.do.unsubscribe("crm-bob")
        elif what == "onvoard":
            world.ov.edit_contact(ANN, city=value)
        else:
            world.do.edit_contact("crm-ann", city=value)


async def _foreseen(world: World) -> tuple[Any, ...]:
    await world.import_export()  # a plan does not ask Digital Onboarding
    world.clock.advance(2)
    plan = await planning.plan(world.bridge, full=True)
    return plan.changes, plan.held, plan.pushes and [push["payload"] for push in plan.pushes]


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=st.lists(STEP, max_size=8), after=st.lists(STEP, max_size=3))
@example(before=[*TURNING, *TURNING[:2], ("wait", "20")], after=[("digital_onboarding", "Bern")])
@example(before=[("order", ""), ("sync", ""), ("wait", "100"), ("wait", "100")], after=[("cleared", "")])
@example(before=[*TURNING, ("wait", "100"), *TURNING, ("wait", "20")], after=TURNING[:1])
def test_a_pruned_mirror_decides_as_it_would_have(
    before: list[tuple[str, str]], after: list[tuple[str, str]]
) -> None:
    async def compare() -> None:
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            dbs = [Database(f"sqlite:///{folder / name}", inline=True) for name in ("whole.db", "pruned.db")]
            whole, pruned = (stack.enter_context(closing(db)) for db in dbs)
            migrate.upgrade(whole)
            sandbox = stack.enter_context(Sandbox())
            only_email_activities(sandbox)
            world = await open_world(stack, sandbox, whole, "sqlite://", str(folder / "state"))
            await world.linked("ann", "bob")
            world.bridge = replace(world.bridge, rules=RULES)
            await _take(world, [("sync", ""), *before, ("wait", "20")])
            whole.engine.dispose()
            shutil.copy(folder / "whole.db", folder / "pruned.db")
            other = World(sandbox, pruned, replace(world.bridge, db=pruned), {})
            await prune(other.bridge)
            await _take(world, [each for each in after if each[0] != "sync"])
            assert await _foreseen(world) == await _foreseen(other)

    asyncio.run(compare())
