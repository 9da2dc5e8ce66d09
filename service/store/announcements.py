"""Happenings on Digital Onboarding that OnVoard has not been told of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, delete, exists, func, or_, select, update

from service.core.records import Platform
from service.store import mirror, restoration
from service.store import tables as t
from service.store.bulk import insert_for
from service.store.consents import EMAIL
from service.store.outbox import Lane
from service.store.planner import unindexed

CONTACT_ADDED = "custom.digital_onboarding_contact_added"
JOURNEY_STARTED = "custom.digital_onboarding_journey_started"
OBJECTIVE_COMPLETED = "custom.digital_onboarding_objective_completed"
UNSUBSCRIBED = "custom.digital_onboarding_unsubscribed"

KINDS = frozenset({CONTACT_ADDED, JOURNEY_STARTED, OBJECTIVE_COMPLETED, UNSUBSCRIBED})

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
        {**row, "kind": CONTACT_ADDED, "key": "", "data": {}}
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
            "kind": OBJECTIVE_COMPLETED,
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
            "kind": JOURNEY_STARTED,
            "key": row["id"],
            "data": {
                "journey_id": row["id"],
                "template_id": row["template_id"],
                "journey_name": row["name"] or names.get(row["template_id"]) or row["template_id"],
            },
        }
        for row in rows
    ]


_R, _O = t.opt_outs, t.outbox
_EARLIER = _R.alias("earlier")
_LIFTED = (
    select(func.count())
    .where(_EARLIER.c.contact == _R.c.contact, _EARLIER.c.platform == _R.c.platform, _EARLIER.c.id < _R.c.id)
    .where(_EARLIER.c.channel == _R.c.channel, _EARLIER.c.lifted_at.is_not(None))
    .scalar_subquery()
)
_OURS = exists().where(
    _O.c.platform == _R.c.platform, _O.c.lane == int(Lane.OPT_OUT), _O.c.target == _R.c.contact, _O.c.attempts > 0,
    _O.c.person_id == _P.c.id,
)  # fmt: skip


def opted_out(conn: Connection, since: datetime, limit: int) -> list[Row]:
    """What the consent lane did not tell: of other channels, and what began before the two sides had agreed."""
    query = (
        select(
            _P.c.id.label("person_id"), _OV.c.id.label("contact_id"), _R.c.contact.label("unique_id"),
            _R.c.tell_at.label("at"), _R.c.id, _R.c.channel, _LIFTED.label("falls"),
        )
        .select_from(_R)
        .join(_P, and_(_P.c.unique_id == _R.c.contact, _P.c.state == "active", unindexed(_P.c.conflict_id).is_(None)))
        .join(_OV, and_(_OV.c.id == _P.c.onvoard_contact_id, _OV.c.deleted_at.is_(None)))
        .where(_R.c.platform == Platform.DIGITAL_ONBOARDING.value, _R.c.lifted_at.is_(None))
        .where(_R.c.tell_at.is_not(None), _R.c.tell_at >= since, or_(_R.c.channel != EMAIL, ~_OURS))
        .limit(limit)
    )  # fmt: skip
    return [
        {
            **row,
            "kind": UNSUBSCRIBED,
            "key": str(row["falls"]) if row["channel"] == EMAIL else f"{row['channel']} {row['falls']}",
            "data": {"channel": row["channel"]},
        }
        for row in conn.execute(query).mappings()
    ]


def _names(conn: Connection, key: Any, keys: Set[str]) -> dict[str, str | None]:
    """Of objectives or templates, by what they are called by."""
    return dict(conn.execute(select(key, key.table.c.name).where(key.in_(keys))).all()) if keys else {}


def heard(conn: Connection, rows: Iterable[Row], now: datetime) -> None:
    """Activities of the bridge's own, as a pull brings them (rows of `onvoard_activities`): what they tell of has been
    told, and has happened. One that this mirror never sent says that it is behind."""
    ours = {row["sync_id"]: row for row in rows if row["sync_id"] and row["type"] in KINDS and row["record_data"]}
    if not ours:
        return
    sent = mirror.known(conn, _O, list(ours), "sync_id")
    for row in (row for sync_id, row in ours.items() if sync_id not in sent):
        _note(conn, row["type"], row["record_data"], row["occurred_at"])
    if ours.keys() - sent:
        restoration.begin(conn, "OnVoard shows activities of the bridge's own that this mirror never sent", now)


def _note(conn: Connection, kind: str, data: Row, at: datetime | None) -> None:
    """On record as told: the contact, journey or completion that it tells of. An opt-out's number says so itself."""
    who = data.get("unique_id")
    if kind == CONTACT_ADDED:
        conn.execute(update(_DO).where(_DO.c.unique_id == who).values(announced=True))
    elif kind == JOURNEY_STARTED:
        journey: Row = {
            "id": data.get("journey_id"), "unique_id": who, "template_id": data.get("template_id"),
            "name": data.get("journey_name"), "started_at": at, "raw": {},
        }  # fmt: skip
        _note_row(conn, t.digital_onboarding_journeys, ["id"], journey)
    elif kind == OBJECTIVE_COMPLETED:
        done: Row = {"unique_id": who, "objective_key": data.get("objective_key"), "completed_at": at}
        _note_row(conn, _COMPLETIONS, ["unique_id", "objective_key"], done | {"origin": "activity"})


def _note_row(conn: Connection, table: Any, key: list[str], row: Row) -> None:
    """What was known of it stays."""
    if all(isinstance(row[name], str) for name in key):
        told = insert_for(conn.dialect.name, table).values({**row, "announced": True})
        conn.execute(told.on_conflict_do_update(index_elements=key, set_={"announced": True}))


Source = Callable[[Connection, datetime, int], list[Row]]


def done(conn: Connection, source: Source, rows: Sequence[Row]) -> None:
    """These are on their way: in the transaction that stages them."""
    if source is completed:
        for key in sorted({row["objective_key"] for row in rows}):
            theirs = [row["unique_id"] for row in rows if row["objective_key"] == key]
            conn.execute(_TOLD[source], {"ids": theirs, "key": key})
    else:
        conn.execute(_TOLD[source], {"ids": [row[_CALLED[source]] for row in rows]})


def take_back(conn: Connection, person_ids: Sequence[int]) -> None:
    """What waits for these people was meant for another contact: it has not been told, and is once they are linked."""
    unsent = (_O.c.lane == int(Lane.ACTIVITY), _O.c.status == "pending", _O.c.attempts == 0)
    waiting = conn.execute(select(_O.c.id, _O.c.payload).where(_O.c.person_id.in_(person_ids), *unsent)).all()
    for row in waiting:
        _untold(conn, row.payload["type"], row.payload["record_data"], row.payload["timestamp"])
    conn.execute(delete(_O).where(_O.c.id.in_([row.id for row in waiting])))


def _untold(conn: Connection, kind: str, data: Row, timestamp: int) -> None:
    who, journeys = data["unique_id"], t.digital_onboarding_journeys
    if kind == UNSUBSCRIBED:
        here = (_R.c.platform == Platform.DIGITAL_ONBOARDING.value, _R.c.contact == who, _R.c.lifted_at.is_(None))
        began = datetime.fromtimestamp(timestamp, UTC)
        conn.execute(update(_R).where(*here, _R.c.channel == data["channel"]).values(tell_at=began))
        return
    where = {
        CONTACT_ADDED: (_DO, _DO.c.unique_id == who),
        JOURNEY_STARTED: (journeys, journeys.c.id == data.get("journey_id")),
        OBJECTIVE_COMPLETED: (
            _COMPLETIONS,
            and_(_COMPLETIONS.c.unique_id == who, _COMPLETIONS.c.objective_key == data.get("objective_key")),
        ),
    }  # fmt: skip
    table, of_it = where[kind]
    conn.execute(update(table).where(of_it).values(announced=False))


def _told(column: Any) -> Any:
    return update(column.table).where(column.in_(bindparam("ids", expanding=True))).values(announced=True)


_COMPLETIONS = t.digital_onboarding_objective_completions
_TOLD: dict[Source, Any] = {
    added: _told(_DO.c.unique_id),
    completed: _told(_COMPLETIONS.c.unique_id).where(_COMPLETIONS.c.objective_key == bindparam("key")),
    started: _told(t.digital_onboarding_journeys.c.id),
    opted_out: update(_R).where(_R.c.id.in_(bindparam("ids", expanding=True))).values(tell_at=None),
}
_CALLED: dict[Source, str] = {added: "unique_id", started: "key", opted_out: "id"}
SOURCES: tuple[Source, ...] = (added, completed, started, opted_out)
