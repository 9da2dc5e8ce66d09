"""What a run has overwritten, given back: where nobody has edited it since, and never a consent (law 4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from service.bridge import Bridge
from service.core.mapping import CannotTake, FieldMap, FieldRule
from service.core.records import Native, Platform, native, shown
from service.decide.merging import change_payload, sides_of
from service.errors import NobodyFound, PlanMoved
from service.plans import PUSH, Plan, entry, stays, tally
from service.store import cursors, history, ledger, outbox, people, reports, retention
from service.store.database import Connection
from service.store.outbox import Lane, Operation

Row = dict[str, Any]
_STAY = {
    Lane.OPT_OUT: "opt_outs_stay", Lane.CREATION: "created_contacts_stay", Lane.ACTIVITY: "activities_stay",
    Lane.ACTION: "journeys_and_completions_stay",
}  # fmt: skip


async def undo(bridge: Bridge, run_id: int) -> Plan:
    """A plan that gives back the values that a run has overwritten, where the field still shows what the run wrote.

    An opt-out stays, and so do contacts and activities that were made: the summary counts them. Raises NobodyFound
    where there is no such run, or it is older than what the outbox holds.
    """

    def make(conn: Connection) -> Plan:
        if not reports.run_known(conn, run_id):
            raise NobodyFound(
                f"there is no run {run_id}", hint="contact-bridge query 'SELECT id, kind, started_at FROM runs'"
            )
        if retention.forgotten(conn, run_id):
            raise NobodyFound(
                f"run {run_id} is older than what the outbox still holds: what it overwrote is not known",
                hint="retention.outbox says for how long it is",
            )
        return plan_of(conn, bridge, run_id).sealed(cursors.hash_key(conn))

    return await bridge.db.run(make)


@dataclass(slots=True)
class _Overwritten:
    """What a run did to one contact: by field, what it showed before, and what the run's last write left there."""

    target: str
    before: dict[str, Native] = field(default_factory=dict)
    left: dict[str, Native] = field(default_factory=dict)
    details: dict[str, list[Row]] = field(default_factory=dict)


def plan_of(conn: Connection, bridge: Bridge, run_id: int) -> Plan:
    plan = Plan("undo", undoes=run_id, mapping=bridge.mapping.fingerprint())
    plan.summary = {"changes": 0, "left_alone": 0, **dict.fromkeys(_STAY.values(), 0)}
    found: dict[tuple[int, Platform], _Overwritten] = {}
    for row in outbox.done_in(conn, run_id):
        if row["lane"] in _STAY:
            plan.summary[_STAY[row["lane"]]] += 1
        else:
            _note(conn, found, row, bridge.mapping)
    for (person_id, platform), overwritten in found.items():
        _give_back(conn, bridge, plan, person_id, platform, overwritten)
    for push in plan.pushes:
        plan.changes += [entry(push, detail) for detail in push["details"]]
    plan.summary |= {"changes": len(plan.changes), "pushes": tally(plan.pushes)}
    return plan


def _note(conn: Connection, found: dict[tuple[int, Platform], _Overwritten], row: Row, mapping: FieldMap) -> None:
    platform = Platform(row["platform"])
    one = found.setdefault((row["person_id"], platform), _Overwritten(row["target"]))
    written = history.written(conn, row["id"])
    by_field: dict[str, list[Row]] = {}
    for detail in row["details"] or ():
        if "before" in detail and detail["of"] in mapping.by_name:
            by_field.setdefault(detail["of"], []).append(detail)
    for name, details in by_field.items():
        rule, before = mapping.by_name[name], native({name: details[0]["before"]})[name]
        # Of several writes in one run, the first one's `before` counts as long as nobody came between them.
        if name not in one.left or mapping.key(rule, one.left[name]) != mapping.key(rule, before):
            one.before[name] = before
        one.left[name] = _left(rule, platform, before, {d["field"]: written.get(d["field"]) or "" for d in details})
        one.details[name] = details


def _left(rule: FieldRule, platform: Platform, before: Native, written: dict[str, str]) -> Native:
    """The whole field as a write of some of its columns left it."""
    columns = rule.columns(platform)
    if len(columns) == 1:
        return written[columns[0]]
    return tuple(written.get(column, part) for column, part in zip(columns, before, strict=True))


def _give_back(
    conn: Connection, bridge: Bridge, plan: Plan, person_id: int, platform: Platform, done: _Overwritten
) -> None:
    mapping = bridge.mapping
    pairs = [pair for pair in people.load_pairs(conn, [person_id]) if pair[0].conflict_id is None]
    if not pairs:  # gone, suppressed, or in a conflict about who is who
        plan.summary["left_alone"] += len(done.before)
        return
    person, onvoard, digital, _ = pairs[0]
    fields = sides_of(mapping, onvoard, digital)
    target = onvoard["id"] if platform is Platform.ONVOARD else digital["unique_id"]
    email = onvoard["email"] or digital["email"]
    restores: dict[str, Native] = {}
    details: list[Row] = []
    for name, before in done.before.items():
        rule, now = mapping.by_name[name], fields[platform].get(name, "")
        region = mapping.region(fields[platform]) or mapping.region(fields[platform.other])
        shows, left, gave = (mapping.key(rule, value, region) for value in (now, done.left[name], before))
        if left == gave:
            continue  # the platform had made nothing of it
        if shows != left or target != done.target or person.state != "active":
            plan.summary["left_alone"] += 1
            continue
        try:
            mapping.check_clearing(rule, before, platform, now)
        except CannotTake as why:
            plan.not_transferable.append(
                stays(person_id, email, platform, rule.named(platform), shown(before), str(why))
            )
            continue
        restores[name] = before
        details += _details(rule, platform, now, before, done.details[name][0], plan.undoes)
    if not restores:
        return
    # The other side stays as it was agreed on: what is given back does not bounce, and a later edit there still comes.
    bases = ledger.get_bases(conn, person_id).of(platform.other).fields
    basis = {name: bases.get(name, fields[platform.other].get(name, "")) for name in restores}
    row = {
        "person_id": person_id, "email": email, "platform": platform.value, "lane": int(Lane.CHANGE), "target": target,
        "operation": (
            Operation.PATCH_CONTACT if platform is Platform.ONVOARD else Operation.UPSERT_CONTACT
        ).value,
        "payload": change_payload(mapping, platform, restores, onvoard, digital), "details": details,
        "basis": {"fields": basis}, "sync_id": None,
    }  # fmt: skip
    plan.pushes.append({key: row[key] for key in (*PUSH, "email")})


def _details(
    rule: FieldRule, platform: Platform, now: Native, before: Native, undone: Row, run_id: int | None
) -> list[Row]:
    """`source`: what one side said is undone, so what is given back is the other's."""
    shows, gives = rule.by_column(platform, now), rule.by_column(platform, before)
    source = Platform(undone.get("source") or platform.other).other
    kept = {
        "why": f"undoes run {run_id}", "of": rule.name, "before": now, "source": source.value, "undoes": run_id,
    }  # fmt: skip
    return [
        {"field": column, "old": shows[column], "new": gives[column], **kept}
        for column in gives
        if shows[column] != gives[column]
    ]


def stage(conn: Connection, bridge: Bridge, pushes: Iterable[Row], run_id: int) -> None:
    """The pushes of an undo plan into the outbox. Raises PlanMoved where one of them was refused before."""
    for push in pushes:
        staged = outbox.stage(
            conn, person_id=push["person_id"], platform=Platform(push["platform"]),
            operation=Operation(push["operation"]), lane=Lane(push["lane"]), target=push["target"],
            payload=push["payload"], details=push["details"], basis=push["basis"], run_id=run_id, now=bridge.now(),
        )  # fmt: skip
        if not staged:
            raise PlanMoved(
                "a platform has refused some of what this plan would restore: nothing was pushed",
                hint="contact-bridge outbox list",
            )
