"""What was carried over from one side to the other, field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from service.core.oscillation import Carry
from service.core.records import Platform, native, shown
from service.store import tables as t
from service.store.planner import unindexed

Line = dict[str, Any]


def lines(row: Mapping[str, Any], new_values: Mapping[str, Any], run_id: int, now: datetime) -> list[Line]:
    """One line of history per field that an outbox row has written: `details` says what it was to be and, where it is
    not simply the other side's, whose value it is; `new_values` by field what the platform made of it."""
    return [
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
            "source": detail.get("source") or Platform(row["platform"]).other.value,
            "said_at": _time(detail.get("said_at")),
            "losing_value": shown(detail["old"]) if detail.get("lost") else None,
        }
        for detail in row["details"] or ()
    ]


def record(conn: Connection, new: Sequence[Line]) -> None:
    if new:
        conn.execute(_RECORD, new)


_RECORD = t.changes.insert()


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def carried(conn: Connection, person_ids: Sequence[int], since: datetime) -> dict[tuple[int, str], list[Carry]]:
    """What was carried over between the sides of these people since then, by person and field, oldest first."""
    o = t.outbox.c
    query = (
        select(o.person_id, o.platform, o.details, o.basis, o.updated_at)
        .where(o.person_id.in_(person_ids), unindexed(o.status) == "done", o.updated_at >= since)
        .where(o.operation.in_(["patch_contact", "upsert_contact"]))
        .order_by(o.id)
    )
    found: dict[tuple[int, str], list[Carry]] = {}
    for row in conn.execute(query):
        values = native((row.basis or {}).get("fields") or {})
        for name, detail in {detail.get("of"): detail for detail in row.details or ()}.items():
            if name not in values:
                continue  # no field of the mapping
            source = None if "undoes" in detail else Platform(row.platform).other
            before = native({name: detail["before"]})[name]
            carry = Carry(source, before, values[name], _time(detail.get("said_at")), row.updated_at)
            found.setdefault((row.person_id, name), []).append(carry)
    return found


def written(conn: Connection, outbox_id: int) -> dict[str, str | None]:
    """What a push left behind, by field as the platform names it."""
    c = t.changes.c
    return dict(conn.execute(select(c.field, c.new_value).where(c.outbox_id == outbox_id)).all())
