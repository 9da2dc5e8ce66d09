"""What a run has overwritten, given back: where nobody has edited it since, and never a consent (law 4)."""

from __future__ import annotations

from typing import Any

from service.bridge import Bridge
from service.core.mapping import FieldMap
from service.core.records import Native, Platform
from service.errors import PlanMoved
from service.load.settle import native
from service.plans import PUSH, Plan, entry, tally
from service.store import ledger, outbox, people
from service.store.database import Connection
from service.store.outbox import Lane, Operation

Row = dict[str, Any]


async def undo(bridge: Bridge, run_id: int) -> Plan:
    """A plan that gives back the values that a run has overwritten, where nobody has edited them since. An opt-out
    stays, and so does whoever was created."""
    return await bridge.db.run(lambda conn: _undo_plan(conn, bridge, run_id))


def _undo_plan(conn: Connection, bridge: Bridge, run_id: int) -> Plan:
    plan, skipped = Plan("undo"), 0
    for row in outbox.done_in(conn, run_id):
        platform = Platform(row["platform"])
        shows = _columns_now(conn, bridge.mapping, row["person_id"], platform)
        left = ledger.written(conn, row["id"])
        details = row["details"] or ()
        back = [d for d in details if "before" in d and shows.get(d["field"]) == (left.get(d["field"]) or "")]
        skipped += len(details) - len(back)
        if back:
            plan.pushes.append(_back(row, back, bridge.mapping, platform))
    for push in plan.pushes:
        plan.changes += [entry(push, detail) for detail in push["details"]]
    plan.summary = {"changes": len(plan.changes), "left_alone": skipped, "pushes": tally(plan.pushes)}
    return plan


def _back(row: Row, details: list[Row], mapping: FieldMap, platform: Platform) -> Row:
    before = native({d["of"]: d["before"] for d in details})
    return {
        **{key: row[key] for key in PUSH},
        "payload": _payload(platform, row["target"], before, mapping),
        "restores": before,
        "details": [
            {"field": d["field"], "old": d["new"], "new": d["old"], "why": f"undoes run {row['run_id']}", "of": d["of"]}
            for d in details
        ],
        "basis": {},
    }


def _payload(platform: Platform, target: str, values: dict[str, Native], mapping: FieldMap) -> Row:
    keyed = {"unique_id": target} if platform is Platform.DIGITAL_ONBOARDING else {}
    return {**keyed, **mapping.payload(platform, values)}


def _fields_now(conn: Connection, mapping: FieldMap, person_id: int, platform: Platform) -> dict[str, Native] | None:
    """What a person's contact on a platform shows, by canonical name; None where there is none any more."""
    pairs = people.load_pairs(conn, [person_id])
    if not pairs:
        return None
    _, onvoard, digital, _ = pairs[0]
    if platform is Platform.ONVOARD:
        return mapping.read_onvoard(onvoard["raw"] or {})
    return mapping.read_digital_onboarding(digital["raw"] or {})


def stage(conn: Connection, bridge: Bridge, plan: Plan, run_id: int) -> None:
    """The pushes of an undo plan into the outbox; what somebody has edited since it was made is left alone.

    Raises PlanMoved where that is all of it.
    """
    staged = sum(_stage_one(conn, bridge, push, run_id) for push in plan.pushes)
    if plan.pushes and not staged:
        raise PlanMoved("all that this plan would restore has been edited since: nothing was pushed")


def _stage_one(conn: Connection, bridge: Bridge, push: Row, run_id: int) -> bool:
    mapping, platform = bridge.mapping, Platform(push["platform"])
    shows = _columns_now(conn, mapping, push["person_id"], platform)
    left = [detail for detail in push["details"] if shows.get(detail["field"]) == (detail["old"] or "")]
    names = {detail["of"] for detail in left}
    restores = {name: value for name, value in native(push["restores"]).items() if name in names}
    if not restores:
        return False
    # The other side keeps what it has: its base is what it shows now, so nothing bounces back.
    others = _fields_now(conn, mapping, push["person_id"], platform.other) or {}
    return outbox.stage(
        conn, person_id=push["person_id"], platform=platform, operation=Operation(push["operation"]),
        lane=Lane(push["lane"]), target=push["target"],
        payload=_payload(platform, push["target"], restores, mapping), details=left,
        basis={"fields": {name: others[name] for name in names if name in others}}, run_id=run_id, now=bridge.now(),
    )  # fmt: skip


def _columns_now(conn: Connection, mapping: FieldMap, person_id: int, platform: Platform) -> dict[str, str]:
    """What a person's contact on a platform shows, by the platform's own names."""
    shows: dict[str, str] = {}
    for name, value in (_fields_now(conn, mapping, person_id, platform) or {}).items():
        shows |= mapping.by_name[name].by_column(platform, value)
    return shows
