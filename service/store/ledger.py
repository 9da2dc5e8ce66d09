"""What was agreed, and what a person has to decide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, or_, select, update

from service.core.records import BOTH_SIDES, Base, Bases, Loss, Native, Platform, Refusal, native, shown
from service.store import mirror
from service.store import tables as t
from service.store.mirror import in_parts, insert
from service.store.planner import unindexed

OSCILLATION = "oscillation"
"""The kind of conflict that holds one field of a person, and nothing else of them."""
RESTORED = "restored"
"""The same, on a restored mirror: both sides show another value than the backup, and not the same."""
NOT_TRANSFERABLE = "not_transferable"


def read_base(stored: Any) -> Base:
    known = stored or {}
    return Base(native(known.get("fields", {})), known.get("opted_out"), known.get("falls", 0))


def read_bases(row: Any) -> Bases:
    return Bases(read_base(row.onvoard), read_base(row.digital_onboarding)) if row is not None else Bases()


_BASES = select(t.bases).where(t.bases.c.person_id.in_(bindparam("people", expanding=True)))


def bases_of(conn: Connection, person_ids: Iterable[int]) -> dict[int, Bases]:
    """By person; nothing for those who never agreed on anything."""
    parts = in_parts(person_ids)
    return {row.person_id: read_bases(row) for part in parts for row in conn.execute(_BASES, {"people": part})}


def get_bases(conn: Connection, person_id: int) -> Bases:
    return bases_of(conn, [person_id]).get(person_id, Bases())


def put_bases(conn: Connection, person_id: int, bases: Bases, now: datetime) -> None:
    put_all_bases(conn, {person_id: bases}, now)


def put_all_bases(conn: Connection, agreed: Mapping[int, Bases], now: datetime) -> None:
    """By person, in place of what was agreed before."""
    rows = [
        {
            "person_id": person_id,
            "onvoard": _stored(bases.onvoard),
            "digital_onboarding": _stored(bases.digital_onboarding),
            "agreed_at": now,
        }
        for person_id, bases in agreed.items()
    ]
    mirror.put_all(conn, t.bases, "person_id", rows)


def _stored(base: Base) -> dict[str, Any]:
    return {"fields": dict(base.fields), "opted_out": base.opted_out, "falls": base.falls}


def drop_bases(conn: Connection, person_ids: Iterable[int]) -> None:
    """As if the two sides had never agreed: the rules of a first link hold."""
    conn.execute(delete(t.bases).where(t.bases.c.person_id.in_(list(person_ids))))


def advance(
    bases: Bases,
    settled: Mapping[Platform, Mapping[str, Native]],
    consent: Mapping[Platform, bool] | None = None,
) -> Bases:
    """The bases with what has been agreed since; unchanged if nothing has."""
    return Bases(*(bases.of(side).moved(settled.get(side, {}), (consent or {}).get(side)) for side in BOTH_SIDES))


def oscillations(conn: Connection, person_ids: Iterable[int]) -> dict[tuple[int, str], datetime | None]:
    """The fields of these people that were held once because they oscillate -> when the last such conflict was
    resolved; None while it is open."""
    c = t.conflicts.c
    query = select(c.person_id, c.field, c.resolved_at).where(c.person_id.in_(list(person_ids)), c.kind == OSCILLATION)
    return {(row.person_id, row.field): row.resolved_at for row in conn.execute(query.order_by(c.id))}


def open_fields(conn: Connection, person_ids: Iterable[int], kind: str) -> dict[tuple[int, str], int]:
    """(person, field) -> the open conflict of this kind about it"""
    c = t.conflicts.c
    query = select(c.person_id, c.field, c.id).where(c.person_id.in_(list(person_ids)), c.kind == kind)
    return {(row.person_id, row.field): row.id for row in conn.execute(query.where(c.status == "open"))}


def prefer(conn: Connection, person_id: int, field: str, other_shows: Native, now: datetime) -> None:
    """One side of a field is to be carried over, whatever it shows at the next look: both sides count as agreed on
    what the other one shows now."""
    settled = {side: {field: other_shows} for side in Platform}
    put_bases(conn, person_id, advance(get_bases(conn, person_id), settled), now)


def open_conflict(
    conn: Connection, person_id: int, kind: str, reason: str, now: datetime, *,
    run_id: int, field: str | None = None, onvoard: str | None = None, digital_onboarding: str | None = None,
) -> tuple[int, bool]:  # fmt: skip
    """-> (its id, whether it is new): the same question about the same person is asked once."""
    c = t.conflicts.c
    known = conn.execute(
        select(c.id).where(c.person_id == person_id, c.kind == kind, c.field == field, c.status == "open")
        if field is not None
        else select(c.id).where(c.person_id == person_id, c.kind == kind, c.status == "open")
    ).scalar()
    if known is not None:
        return int(known), False
    row = {
        "person_id": person_id, "kind": kind, "field": field, "status": "open", "reason": reason, "created_at": now,
        "onvoard_value": onvoard, "digital_onboarding_value": digital_onboarding, "run_id": run_id,
    }  # fmt: skip
    key = conn.execute(t.conflicts.insert().values(row)).inserted_primary_key
    assert key is not None
    return int(key[0]), True


def conflict_kind(conn: Connection, conflict_id: int) -> str | None:
    return conn.execute(select(t.conflicts.c.kind).where(t.conflicts.c.id == conflict_id)).scalar()


_CONFLICT_OF = (
    select(t.conflicts.c.id)
    .join(t.persons, t.persons.c.conflict_id == t.conflicts.c.id)
    .where(t.persons.c.id.in_(bindparam("people", expanding=True)), t.conflicts.c.kind == bindparam("its_kind"))
    .order_by(t.conflicts.c.id)
    .limit(1)
)


def conflict_of(conn: Connection, person_ids: Sequence[int], kind: str) -> int | None:
    """The open conflict of this kind that freezes one of these people already."""
    return conn.execute(_CONFLICT_OF, {"people": person_ids, "its_kind": kind}).scalar()


def open_of(conn: Connection, person_ids: Iterable[int], kind: str | None = None) -> list[int]:
    """The open conflicts about these persons."""
    c = t.conflicts.c
    query = select(c.id).where(c.person_id.in_(list(person_ids)), c.status == "open").order_by(c.id)
    return list(conn.execute(query if kind is None else query.where(c.kind == kind)).scalars())


def members(conn: Connection, conflict_id: int) -> list[int]:
    """The persons whom a conflict freezes."""
    return list(conn.execute(select(t.persons.c.id).where(t.persons.c.conflict_id == conflict_id)).scalars())


def holds_onvoard_contact(conn: Connection, conflict_id: int | None) -> bool:
    """Whether a conflict freezes somebody on OnVoard."""
    p = t.persons.c
    query = select(p.id).where(p.conflict_id == conflict_id, p.onvoard_contact_id.is_not(None))
    return conflict_id is not None and conn.execute(query).first() is not None


def free_for(conn: Connection, person_ids: Sequence[int], conflict_id: int) -> list[int]:
    """Those of these persons whom no other conflict freezes."""
    p = t.persons.c
    free = or_(p.conflict_id.is_(None), p.conflict_id == conflict_id)
    return list(conn.execute(select(p.id).where(p.id.in_(person_ids), free)).scalars())


_FREEZE = (
    update(t.persons)
    .where(t.persons.c.id.in_(bindparam("people", expanding=True)))
    .values(conflict_id=bindparam("conflict")),
    update(t.outbox)
    .where(t.outbox.c.person_id.in_(bindparam("people", expanding=True)))
    .where(unindexed(t.outbox.c.status).in_(["pending", "held"]), t.outbox.c.lane > 0)
    .values(status="cancelled", last_error="the person is in conflict"),
)


def freeze(conn: Connection, person_ids: Iterable[int], conflict_id: int) -> None:
    """Nothing but opt-outs is pushed for these people until the conflict is resolved."""
    whom = {"people": list(person_ids)}
    person, waiting = _FREEZE
    conn.execute(person, {"conflict": conflict_id, **whom})
    conn.execute(waiting, whom)


def thaw(
    conn: Connection, conflict_id: int, now: datetime, by: str, kept: str | None = None, note: str | None = None
) -> None:
    """Resolve a conflict and let its people go on."""
    values = {"status": "resolved", "resolved_at": now, "resolved_by": by, "kept": kept, "note": note}
    conn.execute(update(t.conflicts).where(t.conflicts.c.id == conflict_id).values(values))
    conn.execute(update(t.persons).where(t.persons.c.conflict_id == conflict_id).values(conflict_id=None))


def record_losses(conn: Connection, person_id: int, losses: Sequence[Loss], run_id: int, now: datetime) -> None:
    """A value that lost is kept; the same one, decided once more because its push did not leave, is kept once."""
    c = t.conflicts.c
    known = {
        (row.field, row.onvoard_value, row.digital_onboarding_value, row.kept)
        for row in conn.execute(
            select(c.field, c.onvoard_value, c.digital_onboarding_value, c.kept).where(
                c.person_id == person_id, c.kind == "both_changed"
            )
        )
    } if losses else set()
    rows = [
        {
            "person_id": person_id, "kind": "both_changed", "field": loss.field, "status": "resolved",
            "reason": loss.reason, "onvoard_value": shown(loss.onvoard),
            "digital_onboarding_value": shown(loss.digital_onboarding), "kept": loss.kept.value,
            "created_at": now, "resolved_at": now, "resolved_by": "rule", "run_id": run_id,
        }
        for loss in losses
        if (loss.field, shown(loss.onvoard), shown(loss.digital_onboarding), loss.kept.value) not in known
    ]  # fmt: skip
    if rows:
        conn.execute(t.conflicts.insert(), rows)


def record_refusals(conn: Connection, person_id: int, refusals: Sequence[Refusal], run_id: int, now: datetime) -> None:
    """A value that cannot be carried over is reported once; no decision is asked for."""
    rows = [
        {
            "person_id": person_id, "kind": NOT_TRANSFERABLE, "field": refusal.field, "status": "resolved",
            "reason": f"{refusal.platform} cannot take it: {refusal.reason}",
            "onvoard_value": None if refusal.platform is Platform.ONVOARD else shown(refusal.value),
            "digital_onboarding_value": shown(refusal.value) if refusal.platform is Platform.ONVOARD else None,
            "kept": None, "created_at": now, "resolved_at": now, "resolved_by": "rule", "run_id": run_id,
        }
        for refusal in refusals
    ]  # fmt: skip
    if rows:
        conn.execute(t.conflicts.insert(), rows)


def refused(conn: Connection) -> list[dict[str, Any]]:
    """The last value of each field of each person that could not be carried over: person_id, email, field, value,
    reason, run_id, and as `platform` the one that cannot take it."""
    c, ov, do = t.conflicts.c, t.onvoard_contacts, t.digital_onboarding_contacts
    last = select(func.max(c.id)).where(c.kind == NOT_TRANSFERABLE).group_by(c.person_id, c.field)
    source = (
        t.conflicts.join(t.persons, t.persons.c.id == c.person_id)
        .outerjoin(ov, ov.c.id == t.persons.c.onvoard_contact_id)
        .outerjoin(do, do.c.unique_id == t.persons.c.unique_id)
    )
    value = func.coalesce(c.onvoard_value, c.digital_onboarding_value)
    query = (
        select(
            c.person_id, func.coalesce(ov.c.email, do.c.email).label("email"), c.field, value.label("value"),
            c.reason, c.run_id, c.onvoard_value.is_(None).label("theirs"),
        )
        .select_from(source)
        .where(c.id.in_(last), t.persons.c.state == "active", value.is_not(None))
        .order_by(c.person_id, c.id)
    )  # fmt: skip
    rows = [dict(row) for row in conn.execute(query).mappings()]
    return [row | {"platform": Platform.ONVOARD if row["theirs"] else Platform.DIGITAL_ONBOARDING} for row in rows]


_NEW = select(t.conflicts.c.id).where(t.conflicts.c.run_id == bindparam("run"), t.conflicts.c.status == "open")


_OPENED = (
    select(*(t.conflicts.c[name] for name in ("id", "person_id", "kind", "field", "status", "kept")))
    .where(t.conflicts.c.run_id == bindparam("run"), t.conflicts.c.id > bindparam("after"))
    .order_by(t.conflicts.c.id)
    .limit(bindparam("most"))
)


def conflicts_of_run(conn: Connection, run_id: int, after: int, limit: int) -> list[dict[str, Any]]:
    """Those behind this one, open or resolved by a rule; no values."""
    return [dict(row) for row in conn.execute(_OPENED, {"run": run_id, "after": after, "most": limit}).mappings()]


def new_conflicts(conn: Connection, run_id: int) -> int:
    """How many of a run's conflicts still wait for a person."""
    return len(conn.execute(_NEW, {"run": run_id}).all())


_CHANGED = (
    select(t.changes.c.platform, t.changes.c.field, func.count())
    .where(t.changes.c.run_id == bindparam("run"))
    .group_by(t.changes.c.platform, t.changes.c.field)
)


def changed(conn: Connection, run_id: int) -> dict[str, int]:
    """How many values a run has carried over, by `platform.field`."""
    return {f"{platform}.{field}": n for platform, field, n in conn.execute(_CHANGED, {"run": run_id})}


def hold(
    conn: Connection, platform: Platform, *, changed: int, linked: int, reason: str, run_id: int, now: datetime
) -> None:
    row = {
        "platform": platform.value,
        "since": now,
        "changed": changed,
        "linked": linked,
        "reason": reason,
        "run_id": run_id,
    }
    statement = insert(conn, t.holds)
    again = {"changed": changed, "linked": linked, "reason": reason, "run_id": run_id}
    conn.execute(statement.on_conflict_do_update(index_elements=["platform"], set_=again), row)


def held_since(conn: Connection, platform: Platform) -> datetime | None:
    return conn.execute(select(t.holds.c.since).where(t.holds.c.platform == platform.value)).scalar()


_UNHOLD = delete(t.holds).where(t.holds.c.platform == bindparam("of"))


def unhold(conn: Connection, platform: Platform) -> None:
    conn.execute(_UNHOLD, {"of": platform.value})


_TOGETHER = select(t.persons.c.id).where(
    or_(
        t.persons.c.onvoard_contact_id.in_(bindparam("contacts", expanding=True)),
        t.persons.c.unique_id.in_(bindparam("partners", expanding=True)),
    )
)


def frozen_together(conn: Connection, contact_ids: Sequence[str], unique_ids: Sequence[str]) -> list[int]:
    """The persons of these contacts."""
    return list(conn.execute(_TOGETHER, {"contacts": contact_ids, "partners": unique_ids}).scalars())
