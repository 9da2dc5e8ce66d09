"""Plans: what a sync would do, looked at without doing it; and a saved plan done exactly so, or refused."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import structlog

from service import undoing
from service.bridge import Bridge, Report
from service.core.mapping import CannotTake, FieldMap
from service.core.records import Platform, blank, shown
from service.cycle import Cycle
from service.decide.merging import sides_of
from service.errors import PlanMoved
from service.plans import ANEW, PUSH, Plan, entry, stays, tally
from service.progress import Progress
from service.runs import run
from service.store import cursors, ledger, mirror, outbox, people
from service.store.database import Connection
from service.store.mirror import LINK_PROPERTY, in_parts
from service.store.outbox import Lane, Operation

_log = structlog.get_logger()

Row = dict[str, Any]
_MOVED = "what this plan rests on has moved since it was made: nothing was pushed"


class _RolledBack(Exception):
    """Carries the plan out of a transaction that must not stay."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan


async def plan(bridge: Bridge, *, full: bool = False, progress: Progress | None = None) -> Plan:
    """Pull, and look at what a sync would push. Nothing is pushed or probed; only the mirror's news stay."""
    made: list[Plan] = []

    async def work(cycle: Cycle) -> None:
        if restored := await cycle.is_restored():
            _log.warning("the mirror was restored from a backup: some of this may be done already, sync looks first")
        await cycle.pull(full=full or restored)
        await cycle.read_loaders(told=False)
        made.append(await foresee(bridge, cycle))

    await run(bridge, "plan", work, progress)
    return made[0]


async def foresee(bridge: Bridge, cycle: Cycle, *, brake_on: bool = True) -> Plan:
    def look(conn: Connection) -> None:
        cycle.decide_at_once(conn, brake_on=brake_on)
        raise _RolledBack(_plan_of(conn, cycle.report, bridge.mapping).sealed(cursors.hash_key(conn)))

    try:
        await bridge.db.run(look)
    except _RolledBack as rolled_back:
        cycle.report.held = {}
        return rolled_back.plan
    raise AssertionError("unreachable")


def _plan_of(conn: Connection, report: Report, mapping: FieldMap) -> Plan:
    plan = Plan("sync", mapping=mapping.fingerprint())
    for row in outbox.to_be_said(conn):
        filling, left_out = _filling(row, mapping)
        entries = [entry(row, detail) for detail in [*row["details"], *filling]]
        plan.not_transferable += left_out
        if row["status"] == "held":
            reason = report.held.get(Platform(row["platform"]), "")
            plan.held += [entry | {"reason": reason} for entry in entries]
        else:
            plan.changes += entries
            plan.pushes.append({key: row[key] for key in PUSH})
    plan.not_transferable += _still_refused(conn, report.run_id, mapping)
    plan.summary = {
        "people": len({entry["person_id"] for entry in plan.changes}),
        "changes": len(plan.changes),
        "held": len(plan.held),
        "not_transferable": len(plan.not_transferable),
        "new_conflicts": ledger.new_conflicts(conn, report.run_id),
        "pushes": tally(plan.pushes),
    }
    return plan


def _filling(row: Row, mapping: FieldMap) -> tuple[list[Row], list[Row]]:
    """What a creation on Digital Onboarding would be filled with, if the platform says that it is new, and what it
    cannot be."""
    there = Platform.DIGITAL_ONBOARDING
    if row["operation"] != Operation.CREATE_CONTACT or row["platform"] != there:
        return [], []
    found, left_out = [], []
    for name, value in mapping.read_onvoard(row.get("onvoard_raw") or {}).items():
        rule = mapping.by_name[name]
        if name == "email" or blank(value):
            continue
        try:
            new = mapping.translate(rule, value, there)
        except CannotTake as why:
            left_out.append(stays(row["person_id"], row["email"], there, rule.named(there), shown(value), str(why)))
            continue
        for column, part in rule.by_column(there, new).items():
            found.append({"field": column, "old": None, "new": part, "why": "fills the new contact"})
    return found, left_out


def _still_refused(conn: Connection, run_id: int, mapping: FieldMap) -> list[Row]:
    """What is on record as a value that a platform cannot take, and still stands on the other one."""
    known: dict[int, list[Row]] = {}
    for row in ledger.refused(conn):
        if row["field"] in mapping.by_name:
            known.setdefault(row["person_id"], []).append(row)
    found: list[Row] = []
    for part in in_parts(known, 300):
        pairs = {pair[0].id: pair for pair in people.load_pairs(conn, part)}
        for person_id in part:
            if person_id in pairs:
                found += _still_refused_of(known[person_id], pairs[person_id], mapping)
                continue
            found += [  # about somebody who is only going to be created there
                stays(person_id, row["email"], row["platform"], _named(mapping, row), row["value"], row["reason"])
                for row in known[person_id]
                if row["run_id"] == run_id
            ]
    return found


def _still_refused_of(known: Iterable[Row], pair: tuple[Any, Row, Row, Any], mapping: FieldMap) -> list[Row]:
    """Where both sides show what they showed when it was refused, and it is not the same."""
    _, onvoard, digital, agreed = pair
    fields, bases = sides_of(mapping, onvoard, digital), ledger.read_bases(agreed)
    region = next(filter(None, (mapping.region(fields[side]) for side in Platform)), "")
    found = []
    for row in known:
        rule, target = mapping.by_name[row["field"]], row["platform"]
        sides = [(fields[side].get(rule.name), bases.of(side).fields.get(rule.name)) for side in Platform]
        keys = [[mapping.key(rule, value or "", region) for value in side] for side in sides]
        stands = all(now == base for now, base in keys) and keys[0] != keys[1]
        if stands and shown(fields[target.other].get(rule.name)) == row["value"]:
            named = _named(mapping, row)
            found.append(stays(row["person_id"], row["email"], target, named, row["value"], row["reason"]))
    return found


def _named(mapping: FieldMap, row: Row) -> str:
    return mapping.by_name[row["field"]].named(row["platform"])


async def apply(bridge: Bridge, plan: Plan, progress: Progress | None = None) -> Report:
    """Exactly what the plan says; `PlanMoved`, before anything is pushed, where what it rests on has moved. An undo
    leaves alone what was edited since, and is refused where that is everything.

    It rests on its people as they were, on both sides, on what else was decided about them, on the mapping, and on the
    mirror that it was made in. The brake has ruled on it when it was made, and somebody has looked at it since: what
    happens to others meanwhile does not hold it, and waits for the next sync.
    """
    plan.check_seal(await bridge.db.run(cursors.hash_key))
    if plan.mapping != bridge.mapping.fingerprint():
        raise PlanMoved("the mapping has changed since this plan was made: nothing was pushed", hint=ANEW)

    async def work(cycle: Cycle) -> None:
        if await cycle.is_restored():
            raise PlanMoved("the mirror was restored from a backup: nothing was pushed", hint="contact-bridge sync")
        await cycle.take_up()
        await _read_again(bridge, cycle, plan)
        if plan.undoes is not None:
            await cycle.push(only=await bridge.db.run(lambda conn: _stage_undo(conn, bridge, cycle, plan)))
            return
        now = await foresee(bridge, cycle, brake_on=False)
        wanted = {_key(push) for push in plan.pushes}
        if not wanted <= {_key(push) for push in now.pushes} or _about(plan, plan) != _about(now, plan):
            raise PlanMoved(_MOVED, hint=ANEW)
        await _carry_out(bridge, cycle, plan, wanted)

    return await run(bridge, "apply", work, progress)


def _key(push: Row) -> str:
    """What is sent, and what it is sent over: a plan rests on both."""
    said = [push["platform"], push["operation"], push["target"], push["payload"], sorted(_over(push))]
    return json.dumps(said, sort_keys=True)


def _over(push: Row) -> set[str]:
    return {json.dumps([detail[key] for key in ("field", "old", "new")]) for detail in push["details"]}


def _about(plan: Plan, of: Plan) -> set[str]:
    """All that one plan says about the people whom another one would push something about."""
    people_ = {push["person_id"] for push in of.pushes}
    keys = ("person_id", "platform", "operation", "field", "old", "new")
    entries = [each for each in (*plan.changes, *plan.held) if each["person_id"] in people_]
    return {json.dumps([each[key] for key in keys]) for each in entries}


def _stage_undo(conn: Connection, bridge: Bridge, cycle: Cycle, plan: Plan) -> set[int]:
    assert plan.undoes is not None
    now = undoing.plan_of(conn, bridge, plan.undoes)
    pushes = _still_planned(plan, now)
    if plan.pushes and not pushes:
        raise PlanMoved(_MOVED, hint=ANEW)
    left = sum(len(push["details"]) for push in plan.pushes) - sum(len(push["details"]) for push in pushes)
    if left:
        _log.warning("left alone: edited since", fields=left, undoes=plan.undoes)
    undoing.stage(conn, bridge, pushes, cycle.report.run_id)
    rows = outbox.to_be_said(conn)
    return {row["id"] for row in rows if row["run_id"] == cycle.report.run_id and row["lane"] == Lane.CHANGE}


def _still_planned(plan: Plan, now: Plan) -> list[Row]:
    """What an undo plan would give back, without the fields that somebody has edited since the run, also where the
    mirror did not know that when the plan was made: no plan probes."""
    planned = {(push["platform"], push["target"]): _over(push) for push in plan.pushes}
    return [push for push in now.pushes if _over(push) <= planned.get((push["platform"], push["target"]), set())]


async def _carry_out(bridge: Bridge, cycle: Cycle, plan: Plan, wanted: set[str]) -> None:
    """The planned pushes, and what the plan fills a new contact with; all else waits for the next sync."""
    created: set[int] = set()
    said = {json.dumps([each["person_id"], each["platform"], each["field"], each["new"]]) for each in plan.changes}

    def fills(row: Row) -> bool:
        """A new contact's link is no more than what tells that it was made."""
        return row["person_id"] in created and all(
            detail["field"] == LINK_PROPERTY
            or json.dumps([row["person_id"], row["platform"], detail["field"], detail["new"]]) in said
            for detail in row["details"]
        )

    def choose(conn: Connection, first: bool) -> set[int]:
        rows = outbox.to_be_said(conn)
        if first:
            mine = [row for row in rows if _key(row) in wanted]
            created.update(row["person_id"] for row in mine if row["lane"] == Lane.CREATION)
            outbox.mark(conn, [row["id"] for row in mine if row["status"] == "held"], "pending", bridge.now())
        else:
            mine = [row for row in rows if fills(row)]
        ids = {row["id"] for row in mine}
        outbox.take_back(conn, [row["id"] for row in rows if row["id"] not in ids and row["status"] == "pending"])
        return ids

    for number in range(5):
        await cycle.decide()
        if not await cycle.push(only=await bridge.db.run(lambda conn, first=number == 0: choose(conn, first))):  # type: ignore[misc]
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
    elif bridge.settings.digital_onboarding.refresh == "list":
        await cycle.digital.list_all()
