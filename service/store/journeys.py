"""Journeys that no answer to a start of ours told of: a contact names the template of its newest one
("journey.template_id"), and neither its id nor when it began."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, or_, select

from service.store import mirror
from service.store import tables as t
from service.store.mirror import Row
from service.store.outbox import Operation

_NAMESPACE = uuid.UUID("b1c9d2f0-6a57-4b0e-8a1e-2f4f6f0f9c33")
_J, _O = t.digital_onboarding_journeys.c, t.outbox.c
_KNOWN = select(_J.unique_id, _J.template_id).where(_J.unique_id.in_(bindparam("ids", expanding=True)))
# Whether these have begun is found out, and told, by what looks for their outcome.
_OURS = (
    select(_O.target, _O.payload)
    .where(_O.target.in_(bindparam("ids", expanding=True)), _O.operation == Operation.START_JOURNEY.value)
    .where(or_(_O.status.in_(["sending", "unknown"]), and_(_O.status == "pending", _O.attempts > 0)))
)


def templates_in(raw: Mapping[str, Any] | None) -> set[str]:
    """Those that a contact names, in either spelling."""
    raw = raw or {}
    nested = raw.get("journey")
    named = (nested.get("template_id") if isinstance(nested, dict) else None, raw.get("journey.template_id"))
    return {each for each in named if isinstance(each, str) and each}


def seen(conn: Connection, contacts: Sequence[tuple[Row | None, Row]], now: datetime) -> None:
    """`contacts`: rows as they were (None: unknown) and as they are now. A journey that the platform's last answer did
    not show has begun since; of any other nobody knows when, and it is told to nobody."""
    named = [(before, row, template) for before, row in contacts for template in sorted(templates_in(row["raw"]))]
    if not named:
        return
    ids = {"ids": sorted({row["unique_id"] for _, row, _ in named})}
    known = {tuple(each) for each in conn.execute(_KNOWN, ids)}
    known |= {(each.target, each.payload.get("template_id")) for each in conn.execute(_OURS, ids)}
    rows = [
        {
            "id": str(uuid.uuid5(_NAMESPACE, f"{row['unique_id']}\x1f{template}")), "unique_id": row["unique_id"],
            "template_id": template, "started_at": _began(before, row, template, now), "raw": {},
        }
        for before, row, template in named if (row["unique_id"], template) not in known
    ]  # fmt: skip
    mirror.save_records(conn, t.digital_onboarding_journeys, rows)


def _began(before: Row | None, row: Row, template: str, now: datetime) -> datetime | None:
    if before is None or before["refreshed_at"] is None or template in templates_in(before["raw"]):
        return None
    return mirror.moved_at(before, row, now)
