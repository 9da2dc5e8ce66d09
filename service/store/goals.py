"""What people are led to on Digital Onboarding: its templates and objectives, and who has begun or completed which."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, or_, select

from service.store import tables as t
from service.store.bulk import among
from service.store.outbox import OPEN, Operation

Row = dict[str, Any]
_O = t.outbox.c


def templates(conn: Connection) -> list[Row]:
    """id, name"""
    c = t.digital_onboarding_templates.c
    return [dict(row) for row in conn.execute(select(c.id, c.name).order_by(c.id)).mappings()]


def objectives(conn: Connection) -> list[Row]:
    """id, key, name"""
    c = t.digital_onboarding_objectives.c
    return [dict(row) for row in conn.execute(select(c.id, c.key, c.name).order_by(c.id)).mappings()]


def completed(conn: Connection, unique_ids: Iterable[str]) -> set[tuple[str, str]]:
    """(unique_id, objective key) of completions that are known."""
    c = t.digital_onboarding_objective_completions.c
    query = select(c.unique_id, c.objective_key).where(among(c.unique_id, "ids"))
    return {(row.unique_id, row.objective_key) for row in conn.execute(query, {"ids": list(unique_ids)})}


def started(conn: Connection, unique_ids: Iterable[str]) -> set[tuple[str, str]]:
    """(unique_id, template id) of journeys that are known, or on their way."""
    c, ids = t.digital_onboarding_journeys.c, {"ids": list(unique_ids)}
    known = select(c.unique_id, c.template_id).where(among(c.unique_id, "ids"))
    waiting = select(_O.target, _O.payload).where(_O.operation == Operation.START_JOURNEY.value, _O.status.in_(OPEN))
    return {(row.unique_id, row.template_id) for row in conn.execute(known, ids)} | {
        (row.target, row.payload["template_id"]) for row in conn.execute(waiting.where(among(_O.target, "ids")), ids)
    }


def began_since(conn: Connection, unique_id: str, template_id: str, since: datetime) -> bool:
    """Whether a journey of this template is known that began since then, or nobody knows when."""
    c = t.digital_onboarding_journeys.c
    theirs = (c.unique_id == unique_id, c.template_id == template_id)
    query = select(c.id).where(*theirs, or_(c.started_at.is_(None), c.started_at >= since))
    return conn.execute(query.limit(1)).first() is not None
