"""Plans: what a sync would do, looked at without doing it; and a saved plan done exactly so, or refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from service import undoing
from service.bridge import Bridge, Report
from service.core.mapping import CannotTake, FieldMap
from service.core.records import Platform, blank
from service.cycle import Cycle
from service.errors import PlanMoved
from service.plans import PUSH, Plan, entry, tally
from service.progress import Progress
from service.runs import run
from service.store import ledger, mirror, outbox, people
from service.store.database import Connection
from service.store.outbox import Operation

Row = dict[str, Any]


class _RolledBack(Exception):
    """Carries the plan out of a transaction that must not stay."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan


async def plan(bridge: Bridge, *, full: bool = False, progress: Progress | None = None) -> Plan:
    """Pull, and look at what a sync would push. Nothing is pushed or probed; only the mirror's news stay."""
    made: list[Plan] = []

    async def work(cycle: Cycle) -> None:
        await cycle.pull(full=full)
        await bridge.db.run(lambda conn: people.adopt(conn, bridge.now()))
        made.append(await foresee(bridge, cycle))

    await run(bridge, "plan", work, progress)
    return made[0]


async def foresee(bridge: Bridge, cycle: Cycle) -> Plan:
    def look(conn: Connection) -> None:
        cycle.decide_at_once(conn)
        new_conflicts = ledger.new_conflicts(conn, cycle.report.run_id)
        raise _RolledBack(_plan_of(outbox.to_be_said(conn), cycle.report, new_conflicts, bridge.mapping))

    try:
        await bridge.db.run(look)
    except _RolledBack as rolled_back:
        cycle.report.held = {}
        return rolled_back.plan
    raise AssertionError("unreachable")


def _plan_of(rows: Sequence[Row], report: Report, new_conflicts: int, mapping: FieldMap) -> Plan:
    plan = Plan("sync")
    for row in rows:
        entries = [entry(row, detail) for detail in [*row["details"], *_filling(row, mapping)]]
        if row["status"] == "held":
            reason = report.held.get(Platform(row["platform"]), "")
            plan.held += [entry | {"reason": reason} for entry in entries]
        else:
            plan.changes += entries
            plan.pushes.append({key: row[key] for key in PUSH})
    plan.summary = {
        "people": len({entry["person_id"] for entry in plan.changes}),
        "changes": len(plan.changes),
        "held": len(plan.held),
        "new_conflicts": new_conflicts,
        "pushes": tally(plan.pushes),
    }
    return plan


def _filling(row: Row, mapping: FieldMap) -> list[Row]:
    """What a creation on Digital Onboarding would be filled with, if the platform says that it is new."""
    if row["operation"] != Operation.CREATE_CONTACT or row["platform"] != Platform.DIGITAL_ONBOARDING:
        return []
    found = []
    for name, value in mapping.read_onvoard(row.get("onvoard_raw") or {}).items():
        rule = mapping.by_name[name]
        if name == "email" or blank(value):
            continue
        try:
            new = mapping.translate(rule, value, Platform.DIGITAL_ONBOARDING)
        except CannotTake:
            continue
        for column, part in rule.by_column(Platform.DIGITAL_ONBOARDING, new).items():
            found.append({"field": column, "old": None, "new": part, "why": "fills the new contact"})
    return found


async def apply(bridge: Bridge, plan: Plan, progress: Progress | None = None) -> Report:
    """Exactly what the plan says; `PlanMoved`, before anything is pushed, where what it rests on has moved."""

    async def work(cycle: Cycle) -> None:
        await cycle.take_up()
        await _read_again(bridge, cycle, plan)
        if plan.kind == "undo":
            await bridge.db.run(lambda conn: undoing.stage(conn, bridge, plan, cycle.report.run_id))
            await cycle.push()
            return
        wanted = {_key(push) for push in plan.pushes}
        if not wanted <= {_key(push) for push in (await foresee(bridge, cycle)).pushes}:
            raise PlanMoved(
                "what this plan rests on has moved since it was made: nothing was pushed",
                hint="contact-bridge plan -o FILE",
            )
        await _carry_out(bridge, cycle, wanted)

    return await run(bridge, "apply", work, progress)


def _key(push: Row) -> str:
    """What is sent, and what it is sent over: a plan rests on both."""
    over = [[detail["field"], detail["old"], detail["new"]] for detail in push["details"]]
    return json.dumps([push["platform"], push["operation"], push["target"], push["payload"], over], sort_keys=True)


async def _carry_out(bridge: Bridge, cycle: Cycle, wanted: set[str]) -> None:
    """The planned pushes, and what their own answers lead to; everybody else waits for the next sync."""
    planned: set[int] = set()

    def keep(conn: Connection, first: bool) -> None:
        rows = outbox.to_be_said(conn)
        if first:
            planned.update(row["person_id"] for row in rows if row["status"] == "pending" and _key(row) in wanted)
        others = [row["id"] for row in rows if (_key(row) not in wanted if first else row["person_id"] not in planned)]
        outbox.take_back(conn, others)

    for number in range(5):
        await cycle.decide()
        await bridge.db.run(lambda conn, first=number == 0: keep(conn, first))  # type: ignore[misc]
        if not await cycle.push():
            break
    cycle.report.held = {}


async def _read_again(bridge: Bridge, cycle: Cycle, plan: Plan) -> None:
    """How the people of a plan look now, on both sides."""
    ids = {push["person_id"] for push in plan.pushes}
    persons = await bridge.db.run(lambda conn: people.persons_by_id(conn, ids))
    contacts = {p.onvoard_contact_id for p in persons} | {
        push["target"] for push in plan.pushes if push["operation"] == Operation.PATCH_CONTACT
    }
    for contact_id in sorted(contacts - {None}):
        await cycle.onvoard.reread(cycle.onvoard.streams["contacts"], contact_id)
    unique_ids = {p.unique_id for p in persons} | {
        push["target"] for push in plan.pushes if push["operation"] == Operation.UPSERT_CONTACT
    }
    known = await bridge.db.run(lambda conn: sorted(mirror.known_digital_contacts(conn, unique_ids - {None})))
    if bridge.settings.digital_onboarding.refresh == "probe":
        await cycle.digital.probe_all(known)
