"""Plans: what a sync would do, saved; done exactly so, or refused; and what a run did, undone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.bridge import Bridge, Report
from service.core.consent import FLAGS
from service.core.mapping import CannotTake, FieldMap
from service.core.records import Native, Platform, blank, shown
from service.cycle import Cycle
from service.errors import PlanMoved, UsageError
from service.load.settle import native
from service.progress import Progress
from service.runs import run
from service.store import ledger, mirror, outbox, people
from service.store.database import Connection
from service.store.outbox import Lane, Operation

Row = dict[str, Any]
FORMAT = 1
_PUSH = ("person_id", "platform", "operation", "lane", "target", "payload", "details", "basis", "sync_id")


@dataclass(slots=True)
class Plan:
    """`changes` and `held` are one entry per person and field; `pushes` is what would be sent, for `apply`."""

    kind: str
    changes: list[Row] = field(default_factory=list)
    held: list[Row] = field(default_factory=list)
    summary: Row = field(default_factory=dict)
    pushes: list[Row] = field(default_factory=list)

    def shown(self) -> Row:
        return {"changes": self.changes, "held": self.held, "summary": self.summary}

    def save(self, path: Path) -> None:
        """It names people, so nobody else may read it."""
        document = {"format": FORMAT, "kind": self.kind, **self.shown(), "pushes": self.pushes}
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file, ensure_ascii=False, indent=1)


def load(path: Path) -> Plan:
    try:
        document = json.loads(path.read_text("utf-8"))
        if document["format"] != FORMAT:
            raise UsageError(f"{path}: a plan of another version", hint="contact-bridge plan -o FILE")
        return Plan(document["kind"], document["changes"], document["held"], document["summary"], document["pushes"])
    except (ValueError, KeyError, TypeError, OSError):
        raise UsageError(f"{path}: not a saved plan", hint="contact-bridge plan -o FILE") from None


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
        entries = [_entry(row, detail) for detail in [*row["details"], *_filling(row, mapping)]]
        if row["status"] == "held":
            reason = report.held.get(Platform(row["platform"]), "")
            plan.held += [entry | {"reason": reason} for entry in entries]
        else:
            plan.changes += entries
            plan.pushes.append({key: row[key] for key in _PUSH})
    plan.summary = {
        "people": len({entry["person_id"] for entry in plan.changes}),
        "changes": len(plan.changes),
        "held": len(plan.held),
        "new_conflicts": new_conflicts,
        "pushes": _tally(plan.pushes),
    }
    return plan


def _entry(row: Row, detail: Row) -> Row:
    head = {"person_id": row["person_id"], "email": row.get("email"), "platform": row["platform"]}
    said = {key: detail[key] for key in ("field", "old", "new", "why")}
    return {**head, "operation": row["operation"], **said}


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
            new = shown(mapping.translate(rule, value, Platform.DIGITAL_ONBOARDING))
        except CannotTake:
            continue
        field_name = rule.named(Platform.DIGITAL_ONBOARDING)
        found.append({"field": field_name, "old": None, "new": new, "why": "fills the new contact"})
    return found


def _tally(pushes: Iterable[Row]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for push in pushes:
        key = f"{push['platform']}.{push['operation']}"
        counts[key] = counts.get(key, 0) + 1
    return counts


async def apply(bridge: Bridge, plan: Plan, progress: Progress | None = None) -> Report:
    """Exactly what the plan says; `PlanMoved`, before anything is pushed, where what it rests on has moved."""

    async def work(cycle: Cycle) -> None:
        await cycle.take_up()
        await _read_again(bridge, cycle, plan)
        if plan.kind == "undo":
            await bridge.db.run(lambda conn: _stage_undo(conn, bridge, plan, cycle.report.run_id))
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
    return json.dumps([push["platform"], push["operation"], push["target"], push["payload"]], sort_keys=True)


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
        size = cycle.digital.batch_size
        for start in range(0, len(known), size):
            await cycle.digital.probe(known[start : start + size])


async def undo(bridge: Bridge, run_id: int) -> Plan:
    """A plan that gives back the values that a run has overwritten, where nobody has edited them since. An opt-out
    stays, and so does whoever was created."""
    return await bridge.db.run(lambda conn: _undo_plan(conn, bridge, run_id))


def _undo_plan(conn: Connection, bridge: Bridge, run_id: int) -> Plan:
    plan, skipped = Plan("undo"), 0
    for row in outbox.done_in(conn, run_id):
        platform = Platform(row["platform"])
        details = [d for d in row["details"] or () if "before" in d and d["field"] not in FLAGS[platform]]
        skipped += len(row["details"] or ()) - len(details)
        now = _fields_now(conn, bridge.mapping, row["person_id"], platform)
        by_field = {rule.named(platform): rule.name for rule in bridge.mapping.rules}
        left = ledger.written(conn, row["id"])
        back = [
            detail
            for detail in details
            if now is not None and shown(now.get(by_field[detail["field"]], "")) == left.get(detail["field"])
        ]
        skipped += len(details) - len(back)
        if back:
            plan.pushes.append(_back(row, back, by_field, bridge.mapping, platform))
    for push in plan.pushes:
        plan.changes += [_entry(push, detail) for detail in push["details"]]
    plan.summary = {"changes": len(plan.changes), "left_alone": skipped, "pushes": _tally(plan.pushes)}
    return plan


def _back(row: Row, details: list[Row], by_field: dict[str, str], mapping: FieldMap, platform: Platform) -> Row:
    before = native({by_field[d["field"]]: d["before"] for d in details})
    payload = mapping.payload(platform, before)
    keyed = {"unique_id": row["target"]} if platform is Platform.DIGITAL_ONBOARDING else {}
    return {
        **{key: row[key] for key in _PUSH},
        "payload": {**keyed, **payload},
        "details": [
            {"field": d["field"], "old": d["new"], "new": d["old"], "why": f"undoes run {row['run_id']}"}
            for d in details
        ],
        "basis": {},
    }


def _fields_now(conn: Connection, mapping: FieldMap, person_id: int, platform: Platform) -> dict[str, Native] | None:
    """What a person's contact on a platform shows, by canonical name; None where there is none any more."""
    pairs = people.load_pairs(conn, [person_id])
    if not pairs:
        return None
    _, onvoard, digital, _ = pairs[0]
    if platform is Platform.ONVOARD:
        return mapping.read_onvoard(onvoard["raw"] or {})
    return mapping.read_digital_onboarding(digital["raw"] or {})


def _stage_undo(conn: Connection, bridge: Bridge, plan: Plan, run_id: int) -> None:
    now = bridge.now()
    for push in plan.pushes:
        platform = Platform(push["platform"])
        shows = _fields_now(conn, bridge.mapping, push["person_id"], platform)
        others = _fields_now(conn, bridge.mapping, push["person_id"], platform.other) or {}
        by_field = {rule.named(platform): rule.name for rule in bridge.mapping.rules}
        names = [by_field[detail["field"]] for detail in push["details"]]
        moved = shows is None or any(
            bridge.mapping.key(bridge.mapping.by_name[name], shows.get(name, "")) != _expected(bridge, name, detail)
            for name, detail in zip(names, push["details"], strict=True)
        )
        if moved:
            raise PlanMoved(
                "somebody has edited what this plan would restore: nothing was pushed",
                hint="contact-bridge undo RUN -o FILE",
            )
        outbox.stage(
            conn, person_id=push["person_id"], platform=platform, operation=Operation(push["operation"]),
            lane=Lane(push["lane"]), target=push["target"], payload=push["payload"], details=push["details"],
            # The other side keeps what it has: its base is what it shows now, so nothing bounces back.
            basis={"fields": {name: others[name] for name in names if name in others}}, run_id=run_id, now=now,
        )  # fmt: skip


def _expected(bridge: Bridge, name: str, detail: Row) -> str:
    return bridge.mapping.key(bridge.mapping.by_name[name], detail["old"] or "")
