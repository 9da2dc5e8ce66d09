"""What happened to a person, on both platforms, for the page that shows it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from service.store import tables as t

Row = dict[str, Any]
LIMIT = 100
"""Of each kind, the newest."""


def of_person(conn: Connection, contact_ids: Iterable[str], unique_id: str | None) -> list[Row]:
    """at, kind (review, activity, journey, objective) and what, kind by kind; `at` is None where nobody said when."""
    ids = list(contact_ids)
    found = [*_reviews(conn, ids), *_activities(conn, ids)]
    if unique_id is not None:
        found += [*_journeys(conn, unique_id), *_completions(conn, unique_id)]
    return found


def _row(at: datetime | None, kind: str, *parts: Any) -> Row:
    return {"at": at, "kind": kind, "what": " · ".join(str(part) for part in parts if part not in (None, ""))}


def _reviews(conn: Connection, ids: list[str]) -> Iterable[Row]:
    r = t.onvoard_reviews.c
    query = select(r.created_at, r.rating, r.status, r.product_name, r.title, r.deleted_at)
    query = query.where(r.reviewer_contact_id.in_(ids)).order_by(r.created_at.desc()).limit(LIMIT)
    for row in conn.execute(query):
        rating = None if row.rating is None else f"{row.rating:g} of 5"
        gone = "deleted" if row.deleted_at is not None else None
        yield _row(row.created_at, "review", rating, row.product_name, row.title, row.status, gone)


def _activities(conn: Connection, ids: list[str]) -> Iterable[Row]:
    a = t.onvoard_activities.c
    query = select(a.occurred_at, a.type).where(a.contact_id.in_(ids)).order_by(a.occurred_at.desc()).limit(LIMIT)
    return (_row(row.occurred_at, "activity", row.type) for row in conn.execute(query))


def _journeys(conn: Connection, unique_id: str) -> Iterable[Row]:
    j, template = t.digital_onboarding_journeys.c, t.digital_onboarding_templates
    source = t.digital_onboarding_journeys.outerjoin(template, template.c.id == j.template_id)
    query = select(j.started_at, j.name, template.c.name.label("template")).select_from(source)
    query = query.where(j.unique_id == unique_id).order_by(j.started_at.desc()).limit(LIMIT)
    return (_row(row.started_at, "journey", row.name or row.template or "started") for row in conn.execute(query))


def _completions(conn: Connection, unique_id: str) -> Iterable[Row]:
    c = t.digital_onboarding_objective_completions.c
    query = select(c.completed_at, c.objective_key).where(c.unique_id == unique_id)
    query = query.order_by(c.completed_at.desc()).limit(LIMIT)
    return (_row(row.completed_at, "objective", row.objective_key, "completed") for row in conn.execute(query))
