"""What was agreed, what was changed, and what a person has to decide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, or_, select, update

from service.core.records import Base, Bases, Loss, Native, Platform, Refusal, shown
from service.store import tables as t
from service.store.mirror import insert


def read_base(stored: Any) -> Base:
    fields = {name: tuple(v) if isinstance(v, list) else v for name, v in (stored or {}).get("fields", {}).items()}
    return Base(fields, (stored or {}).get("opted_out"), (stored or {}).get("falls", 0))


def read_bases(row: Any) -> Bases:
    return Bases(read_base(row.onvoard), read_base(row.digital_onboarding)) if row is not None else Bases()


def get_bases(conn: Connection, person_id: int) -> Bases:
    return read_bases(conn.execute(select(t.bases).where(t.bases.c.person_id == person_id)).one_or_none())


def put_bases(conn: Connection, person_id: int, bases: Bases, now: datetime) -> None:
    row = {
        "person_id": person_id,
        "onvoard": _stored(bases.onvoard),
        "digital_onboarding": _stored(bases.digital_onboarding),
        "agreed_at": now,
    }
    statement = insert(conn, t.bases)
    conn.execute(statement.on_conflict_do_update(index_elements=["person_id"], set_=row), row)


def _stored(base: Base) -> dict[str, Any]:
    return {"fields": dict(base.fields), "opted_out": base.opted_out, "falls": base.falls}


def advance(
    bases: Bases,
    settled: Mapping[Platform, Mapping[str, Native]],
    consent: Mapping[Platform, bool] | None = None,
) -> Bases:
    """The bases with what has been agreed since; unchanged if nothing has."""
    return Bases(*(bases.of(side).moved(settled.get(side, {}), (consent or {}).get(side)) for side in Platform))


def record_changes(
    conn: Connection, row: Mapping[str, Any], new_values: Mapping[str, Any], run_id: int, now: datetime
) -> None:
    """One line of history per field that an outbox row has written: `details` says what it was to be, `new_values` by
    field what the platform made of it."""
    lines = [
        {
            "run_id": run_id,
            "person_id": row["person_id"],
            "platform": row["platform"],
            "field": detail["field"],
            "old_value": shown(detail["old"]),
            "new_value": shown(new_values.get(detail["field"], detail["new"])),
            "rule": detail["why"],
            "at": now,
            "outbox_id": row["id"],
        }
        for detail in row["details"] or ()
    ]
    if lines:
        conn.execute(t.changes.insert(), lines)


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


def conflict_of(conn: Connection, person_ids: Sequence[int], kind: str) -> int | None:
    """The open conflict of this kind that freezes one of these people already."""
    p, c = t.persons.c, t.conflicts.c
    query = select(c.id).join(t.persons, p.conflict_id == c.id).where(p.id.in_(person_ids), c.kind == kind)
    return conn.execute(query.order_by(c.id).limit(1)).scalar()


def members(conn: Connection, conflict_id: int) -> list[int]:
    """The persons whom a conflict freezes."""
    return list(conn.execute(select(t.persons.c.id).where(t.persons.c.conflict_id == conflict_id)).scalars())


def holds_onvoard_contact(conn: Connection, conflict_id: int | None) -> bool:
    """Whether a conflict freezes somebody on OnVoard."""
    p = t.persons.c
    query = select(p.id).where(p.conflict_id == conflict_id, p.onvoard_contact_id.is_not(None))
    return conflict_id is not None and conn.execute(query).first() is not None


def freeze(conn: Connection, person_ids: Iterable[int], conflict_id: int) -> None:
    """Nothing but opt-outs is pushed for these people until the conflict is resolved."""
    ids = list(person_ids)
    conn.execute(update(t.persons).where(t.persons.c.id.in_(ids)).values(conflict_id=conflict_id))
    waiting = (t.outbox.c.person_id.in_(ids), t.outbox.c.status.in_(["pending", "held"]), t.outbox.c.lane > 0)
    conn.execute(update(t.outbox).where(*waiting).values(status="cancelled", last_error="the person is in conflict"))


def thaw(conn: Connection, conflict_id: int, now: datetime, by: str, kept: str | None = None) -> None:
    """Resolve a conflict and let its people go on."""
    values = {"status": "resolved", "resolved_at": now, "resolved_by": by, "kept": kept}
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
            "person_id": person_id, "kind": "not_transferable", "field": refusal.field, "status": "resolved",
            "reason": f"{refusal.platform} cannot take it: {refusal.reason}",
            "onvoard_value": None if refusal.platform is Platform.ONVOARD else shown(refusal.value),
            "digital_onboarding_value": shown(refusal.value) if refusal.platform is Platform.ONVOARD else None,
            "kept": None, "created_at": now, "resolved_at": now, "resolved_by": "rule", "run_id": run_id,
        }
        for refusal in refusals
    ]  # fmt: skip
    if rows:
        conn.execute(t.conflicts.insert(), rows)


def new_conflicts(conn: Connection, run_id: int) -> int:
    """How many of a run's conflicts still wait for a person."""
    query = select(t.conflicts.c.id).where(t.conflicts.c.run_id == run_id, t.conflicts.c.status == "open")
    return len(conn.execute(query).all())


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


def unhold(conn: Connection, platform: Platform) -> None:
    conn.execute(t.holds.delete().where(t.holds.c.platform == platform.value))


def frozen_together(conn: Connection, contact_ids: Sequence[str], unique_ids: Sequence[str]) -> list[int]:
    """The persons of these contacts."""
    p = t.persons.c
    return list(
        conn.execute(
            select(p.id).where(or_(p.onvoard_contact_id.in_(contact_ids), p.unique_id.in_(unique_ids)))
        ).scalars()
    )


def written(conn: Connection, outbox_id: int) -> dict[str, str | None]:
    """What a push left behind, by field as the platform names it."""
    c = t.changes.c
    return dict(conn.execute(select(c.field, c.new_value).where(c.outbox_id == outbox_id)).all())
