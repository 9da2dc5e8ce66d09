"""What the loaders' results were when they were last read, and what came of each row of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, delete, func, null, select, text, update

from service.core.loaders import Key, Loader, Missing, Survey, definition
from service.core.mapping import normal_email
from service.store import bulk, erasure, mirror, traces
from service.store import tables as t
from service.store.bulk import among
from service.store.database import Database
from service.store.outbox import OPEN

Row = dict[str, Any]
_R, _S, _O = t.loader_rows, t.loader_states, t.outbox
_P, _OV, _DO = t.persons, t.onvoard_contacts, t.digital_onboarding_contacts
INTERRUPTED = "its result was not read to the end"
"""Why nothing is staged of a loader whose reading has found a difference and is not over, or was killed."""
PAGE = 5_000
_IS_OPEN = text("status IN ('due', 'staged')")  # as its index says it


# --- The loaders themselves.


def state(conn: Connection, name: str) -> Row | None:
    """Of the columns of `loader_states`; `definition` as the mapping that it holds."""
    row = conn.execute(select(_S).where(_S.c.name == name)).mappings().one_or_none()
    return None if row is None else {**row, "definition": json.loads(row["definition"])}


def survey(conn: Connection, loader: Loader) -> Survey | None:
    """What its result was when it was last read as a whole; None where it never was, or another loader was it."""
    known = state(conn, loader.name)
    if known is None or not _is_same(loader, known) or known["succeeded_at"] is None:
        return None
    return Survey.read(loader, known["definition"])


def _is_same(loader: Loader, known: Row) -> bool:
    return all(known["definition"].get(name) == value for name, value in definition(loader).items())


def begin(conn: Connection, loader: Loader, now: datetime) -> Row | None:
    """-> its state until now. What another loader of this name has done is forgotten, and stays where it is."""
    known = state(conn, loader.name)
    if known is not None and not _is_same(loader, known):
        conn.execute(delete(_R).where(_R.c.loader == loader.name))
        conn.execute(delete(_S).where(_S.c.name == loader.name))
        known = None
    if known is None:
        conn.execute(_S.insert().values(name=loader.name, definition=json.dumps(definition(loader))))
    return known


def put_state(conn: Connection, loader: Loader, **values: Any) -> None:
    conn.execute(update(_S).where(_S.c.name == loader.name).values(values))


def read_whole(
    conn: Connection, loader: Loader, found: Survey, changed: int, seconds: float, run_id: int | None, now: datetime
) -> None:
    put_state(
        conn, loader, definition=json.dumps({**definition(loader), **found.stored()}), stopped=None, ran_at=now,
        succeeded_at=now, rows=found.rows, changed=changed, seconds=round(seconds), run_id=run_id,
    )  # fmt: skip


def stop(conn: Connection, loader: Loader, why: str, run_id: int | None, now: datetime) -> None:
    put_state(conn, loader, stopped=why, ran_at=now, run_id=run_id)


def overview(conn: Connection, loaders: Iterable[Loader]) -> list[Row]:
    """Per loader: name, target, enabled, ran_at, rows, changed, waiting, dead, stopped."""
    states: dict[str, Row] = {row["name"]: dict(row) for row in conn.execute(select(_S)).mappings()}
    open_ = select(_R.c.loader, _R.c.status, func.count()).where(_IS_OPEN).group_by(_R.c.loader, _R.c.status)
    due = {name: n for name, status, n in conn.execute(open_) if status == "due"}
    pushes = select(_O.c.cause, _O.c.status, func.count()).where(_O.c.cause.is_not(None))
    by_cause = {(cause, status): n for cause, status, n in conn.execute(pushes.group_by(_O.c.cause, _O.c.status))}
    return [
        {
            "name": each.name, "target": each.target.value, "enabled": each.enabled,
            **{name: states.get(each.name, {}).get(name) for name in ("ran_at", "rows", "changed")},
            "waiting": due.get(each.name, 0) + sum(by_cause.get((each.cause, status), 0) for status in OPEN),
            "dead": by_cause.get((each.cause, "dead"), 0),
            "stopped": states.get(each.name, {}).get("stopped"),
        }
        for each in loaders
    ]  # fmt: skip



# --- The rows of a result.


class Known(NamedTuple):
    """A row of a result as it is on record."""

    key: str
    found: Row | None
    status: str


@contextmanager
def stored(db: Database, loader: Loader) -> Iterator[Iterator[Known]]:
    """Rows as they are known, in the order of their keys' UTF-8; in a transaction of its own that only reads."""
    with db.begin(write=False) as conn:
        key = _R.c.key if db.dialect == "sqlite" else _R.c.key.collate("C")  # SQLite compares bytes by itself
        query = select(_R.c.key, _R.c.found, _R.c.status).where(_R.c.loader == loader.name).order_by(key)
        rows = conn.execute(query, execution_options={"stream_results": True, "yield_per": PAGE})
        yield (Known(*row) for row in rows)


def found(conn: Connection, loader: Loader, rows: Mapping[str, Row], run_id: int | None, now: datetime) -> None:
    """New and changed rows, by key: they are due."""
    kept = _living(conn, loader, rows)
    news = [
        {"loader": loader.name, "key": key, "found": rows[key], "status": "due", "reason": None, "run_id": run_id,
         "updated_at": now}
        for key in sorted(kept)
    ]  # fmt: skip
    if news:
        names = tuple(news[0])
        bulk.execute(conn, _upsert(conn.dialect.name, names), names, news)


def _living(conn: Connection, loader: Loader, rows: Mapping[str, Row]) -> list[str]:
    """Without those about somebody suppressed or erased, or that name one: none of that is kept."""
    silent = traces.silent(conn, [{"key": key, "found": row} for key, row in rows.items()])
    named = {row["key"]: str(row["found"][loader.key]) for row in silent}
    if loader.key is Key.PERSON_ID:
        gone = _gone(conn, named.values())
    else:
        gone = set(erasure.erased_among(conn, named.values(), named.values()))
        named = {key: normal_email(text) for key, text in named.items()}
    return [key for key, text in named.items() if text not in gone]


def _gone(conn: Connection, person_ids: Iterable[str]) -> set[str]:
    query = select(_P.c.id).where(_P.c.state != "active", _P.c.id.in_(_numbers(person_ids)))
    return {str(each) for each in conn.execute(query).scalars()}


def _numbers(texts: Iterable[str]) -> list[int]:
    return [int(each) for each in texts if each.isascii() and each.isdecimal() and len(each) < 19]


@cache
def _upsert(dialect: str, names: tuple[str, ...]) -> Any:
    statement = bulk.insert(dialect, _R, names)
    values = {name: statement.excluded[name] for name in names if name not in ("loader", "key")}
    return statement.on_conflict_do_update(index_elements=["loader", "key"], set_=values)


def left(conn: Connection, loader: Loader, keys: Sequence[str], run_id: int | None, now: datetime) -> None:
    """Stored rows that the result no longer has: what was never staged is forgotten, the rest is to be cleared, or
    stays as it was last staged."""
    values: Row = {"run_id": run_id, "updated_at": now, "reason": None}
    if loader.missing is Missing.CLEAR:
        values |= {"found": null(), "status": "due"}
    else:
        values |= {"found": _R.c.sent, "status": "done"}
    for part in mirror.in_parts(keys):
        theirs = (_R.c.loader == loader.name, among(_R.c.key, "keys"))
        conn.execute(delete(_R).where(*theirs, _R.c.sent.is_(None)), {"keys": part})
        conn.execute(update(_R).where(*theirs).values(values), {"keys": part})


# --- What is to be staged, and what came of it.


def open_rows(conn: Connection, loader: Loader, after: str, limit: int) -> list[Row]:
    """The next rows that are due or staged."""
    values = {"of": loader.name, "after": after, "most": limit}
    return [dict(row) for row in conn.execute(_OPEN_ROWS, values).mappings()]


_OPEN_ROWS = (
    select(_R)
    .where(_R.c.loader == bindparam("of"), _R.c.key > bindparam("after"), _IS_OPEN)
    .order_by(_R.c.key)
    .limit(bindparam("most"))
)


_PUSHES = select(_O.c.id, _O.c.sync_id, _O.c.status, _O.c.attempts, _O.c.last_error, _O.c.payload).where(
    among(_O.c.sync_id, "sync_ids")
)


def pushes(conn: Connection, sync_ids: Iterable[str | None]) -> dict[str, Row]:
    """By sync_id."""
    wanted = [each for each in sync_ids if each]
    found = conn.execute(_PUSHES, {"sync_ids": wanted}).mappings() if wanted else ()
    return {row["sync_id"]: dict(row) for row in found}


def withdraw(conn: Connection, push_ids: Sequence[int], now: datetime) -> None:
    """These wait, and are not to be said any longer; one that was tried stays on record."""
    for part in mirror.in_parts(push_ids):
        theirs = (_O.c.id.in_(part), _O.c.status.in_(["pending", "held", "cancelled"]))
        conn.execute(delete(_O).where(*theirs, _O.c.attempts == 0))
        conn.execute(
            update(_O).where(*theirs).values(status="cancelled", updated_at=now, last_error=SUPERSEDED, sync_id=None)
        )


SUPERSEDED = "superseded by a newer result"


def withdraw_all(conn: Connection, loader: Loader, now: datetime) -> None:
    """Whatever of a loader waits, but for what may have happened and can happen only once."""
    waiting = [_O.c.cause == loader.cause, _O.c.status.in_(["pending", "held"])]
    waiting += [] if loader.target.clears else [_O.c.attempts == 0]
    withdraw(conn, list(conn.execute(select(_O.c.id).where(*waiting)).scalars()), now)


def waits(conn: Connection, loader: Loader) -> bool:
    """Whether something of it is to leave."""
    query = select(_O.c.id).where(_O.c.cause == loader.cause, _O.c.status == "pending").limit(1)
    return conn.execute(query).first() is not None


_SETTLED = ("status", "reason", "sent", "sync_id", "person_id", "run_id", "updated_at")


def settle(conn: Connection, loader: Loader, rows: Sequence[Row]) -> None:
    """What became of rows: key, and all of `_SETTLED`."""
    if rows:
        names = ("loader", "key", *_SETTLED)
        named = [{"loader": loader.name, **{name: row[name] for name in names[1:]}} for row in rows]
        bulk.execute(conn, _upsert(conn.dialect.name, names), names, named)


def drop(conn: Connection, loader: Loader, keys: Sequence[str]) -> None:
    """These rows are over."""
    for part in mirror.in_parts(keys):
        conn.execute(delete(_R).where(_R.c.loader == loader.name, _R.c.key.in_(part)))


# --- Whom a row is about, and what is known of them.

_OF_ONVOARD = ("properties", "email_unsubscribed", "email_marked_as_spam", "email_hard_bounced", "suppressed")
_OF_DIGITAL = ("unsubscribe_email", "meta_public", "removed_at", "refreshed_at")
_PEOPLE: Any = select(
    _P, _OV.c.id.label("contact_id"), _OV.c.email_key.label("onvoard_email"), *(_OV.c[name] for name in _OF_ONVOARD),
    _DO.c.email_key.label("digital_email"), *(_DO.c[name] for name in _OF_DIGITAL),
).select_from(
    _P.outerjoin(_OV, and_(_OV.c.id == _P.c.onvoard_contact_id, _OV.c.deleted_at.is_(None)))
    .outerjoin(_DO, _DO.c.unique_id == _P.c.unique_id)
)  # fmt: skip
_BY_ID = _PEOPLE.where(_P.c.id.in_(bindparam("ids", expanding=True)))
_BY_UNIQUE_ID = _PEOPLE.where(among(_P.c.unique_id, "texts"))
_BY_EMAIL = (
    _PEOPLE.where(among(_OV.c.email_key, "texts"), _P.c.state == "active"),
    _PEOPLE.where(among(_DO.c.email_key, "texts"), _P.c.state == "active"),
)


def people_by(conn: Connection, key: Key, values: Iterable[str]) -> dict[str, list[Row]]:
    """The persons whom these values of a key name: by value (addresses normalised), each person once."""
    wanted = set(values)
    if key is Key.PERSON_ID:
        rows = conn.execute(_BY_ID, {"ids": _numbers(wanted)}).mappings()
        return {str(row["id"]): [dict(row)] for row in rows}
    if key is Key.UNIQUE_ID:
        rows = conn.execute(_BY_UNIQUE_ID, {"texts": list(wanted)}).mappings()
        return {row["unique_id"]: [dict(row)] for row in rows}
    found: dict[str, dict[int, Row]] = {}
    for query in _BY_EMAIL:
        for row in conn.execute(query, {"texts": list(wanted)}).mappings():
            for address in {row["onvoard_email"], row["digital_email"]} & wanted:
                found.setdefault(address, {})[row["id"]] = dict(row)
    return {address: list(each.values()) for address, each in found.items()}


# --- What OnVoard has, as the mirror knows it.


def property_types(conn: Connection) -> dict[str, str | None]:
    """Value types of OnVoard's contact properties, by key."""
    c = t.onvoard_contact_property_types.c
    return dict(conn.execute(select(c.key, c.value_type)).all())


def record_types(conn: Connection) -> dict[tuple[str, str], str | None]:
    """Value types of the records' properties, by accessor and key."""
    types = conn.execute(select(t.onvoard_resource_property_types))
    return {(row.resource_accessor, row.key): row.value_type for row in types}
