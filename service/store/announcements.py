"""Happenings on Digital Onboarding that OnVoard has not been told of."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, select, update

from service.store import tables as t
from service.store.planner import unindexed

Row = dict[str, Any]
_P, _OV, _DO = t.persons, t.onvoard_contacts, t.digital_onboarding_contacts


@cache
def _to_people(table: Any, at: Any, *columns: Any) -> Select[Any]:
    """Rows of a table that bears a unique_id, with the living, linked, unfrozen person behind them: `most` of those
    that are dated `since`, or later."""
    free = unindexed(_P.c.conflict_id).is_(None)
    partner = and_(_P.c.unique_id == table.c.unique_id, _P.c.state == "active", free)
    alive = and_(_OV.c.id == _P.c.onvoard_contact_id, _OV.c.deleted_at.is_(None))
    source = table.join(_P, partner).join(_OV, alive)
    head = (_P.c.id.label("person_id"), _OV.c.id.label("contact_id"), table.c.unique_id)
    query = select(*head, at.label("at"), *columns).select_from(source).where(~table.c.announced)
    return query.where(at >= bindparam("since")).limit(bindparam("most"))


_ADDED = _to_people(_DO, _DO.c.inserted_at).where(~_DO.c.created_by_bridge, _DO.c.removed_at.is_(None))


def added(conn: Connection, since: datetime, limit: int) -> list[Row]:
    return [
        {**row, "kind": "custom.digital_onboarding_contact_added", "key": "", "data": {}}
        for row in conn.execute(_ADDED, {"since": since, "most": limit}).mappings()
    ]


def completed(conn: Connection, since: datetime, limit: int) -> list[Row]:
    done, objectives = t.digital_onboarding_objective_completions, t.digital_onboarding_objectives
    query = _to_people(done, done.c.completed_at, done.c.objective_key)
    rows = [dict(row) for row in conn.execute(query, {"since": since, "most": limit}).mappings()]
    names = _names(conn, objectives.c.key, {row["objective_key"] for row in rows})
    return [
        {
            **row,
            "kind": "custom.digital_onboarding_objective_completed",
            "key": row["objective_key"],
            "data": {
                "objective_key": row["objective_key"],
                "objective_name": names.get(row["objective_key"]) or row["objective_key"],
            },
        }
        for row in rows
    ]


def started(conn: Connection, since: datetime, limit: int) -> list[Row]:
    journeys, templates = t.digital_onboarding_journeys, t.digital_onboarding_templates
    query = _to_people(journeys, journeys.c.started_at, journeys.c.id, journeys.c.template_id, journeys.c.name)
    rows = [dict(row) for row in conn.execute(query, {"since": since, "most": limit}).mappings()]
    names = _names(conn, templates.c.id, {row["template_id"] for row in rows})
    return [
        {
            **row,
            "kind": "custom.digital_onboarding_journey_started",
            "key": row["id"],
            "data": {
                "journey_id": row["id"],
                "template_id": row["template_id"],
                "journey_name": row["name"] or names.get(row["template_id"]) or row["template_id"],
            },
        }
        for row in rows
    ]


def _names(conn: Connection, key: Any, keys: Set[str]) -> dict[str, str | None]:
    """Of objectives or templates, by what they are called by."""
    return dict(conn.execute(select(key, key.table.c.name).where(key.in_(keys))).all()) if keys else {}


Source = Callable[[Connection, datetime, int], list[Row]]


def done(conn: Connection, source: Source, rows: Sequence[Row]) -> None:
    """These are on their way: in the transaction that stages them."""
    if source is completed:
        for key in sorted({row["objective_key"] for row in rows}):
            theirs = [row["unique_id"] for row in rows if row["objective_key"] == key]
            conn.execute(_TOLD[source], {"ids": theirs, "key": key})
    else:
        conn.execute(_TOLD[source], {"ids": [row["unique_id" if source is added else "key"] for row in rows]})


def _told(column: Any) -> Any:
    return update(column.table).where(column.in_(bindparam("ids", expanding=True))).values(announced=True)


_COMPLETIONS = t.digital_onboarding_objective_completions
_TOLD: dict[Source, Any] = {
    added: _told(_DO.c.unique_id),
    completed: _told(_COMPLETIONS.c.unique_id).where(_COMPLETIONS.c.objective_key == bindparam("key")),
    started: _told(t.digital_onboarding_journeys.c.id),
}
