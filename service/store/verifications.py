"""What a verification asks the mirror, and what it puts on record."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, NestedTransaction, func, insert, select, update

from service.store import cursors
from service.store import tables as t
from service.store.database import Database
from service.store.mirror import Row
from service.store.tables import Table

# Of the SQL surface: not what only the bridge needs, nor the payload itself.
_NOT_COMPARED = {
    "raw", "deleted_at", "email_key", "link_unique_id", "content_hash", "edited_at", "own_modified_at", "seen_at",
    "dirty", "sync_id", "origin", "unique_id_key", "refreshed_at", "removed_at", "created_by_bridge", "announced",
    "unexamined",
}  # fmt: skip


def key_of(table: Table) -> str:
    (column,) = table.primary_key.columns
    return column.name


def _living(table: Table) -> list[ColumnElement[bool]]:
    return [table.c[name].is_(None) for name in ("deleted_at", "removed_at") if name in table.c]


def is_living(row: Mapping[str, Any] | None) -> bool:
    return row is not None and row.get("deleted_at") is None and row.get("removed_at") is None


async def count(db: Database, table: Table) -> int:
    """Living rows; beside the writers, as it takes a look at each of them."""
    return await db.read(lambda conn: cursors.count(conn, table, *_living(table)))


async def at(db: Database, table: Table, places: Collection[int]) -> list[str]:
    """The keys of the living rows at these places (from 1), in whatever order they lie; beside the writers."""
    wanted = set(places)

    def look(conn: Connection) -> list[str]:
        query = select(table.c[key_of(table)]).where(*_living(table))
        keys = conn.execute(query, execution_options={"yield_per": 10_000}).scalars()
        return [key for place, key in enumerate(keys, start=1) if place in wanted]

    return await db.read(look)


def keys_after(conn: Connection, table: Table, after: str, limit: int = 5_000) -> list[str]:
    """The next living rows in the order of keys."""
    key = table.c[key_of(table)]
    return list(conn.execute(select(key).where(key > after, *_living(table)).order_by(key).limit(limit)).scalars())


def rows(conn: Connection, table: Table, keys: Iterable[str]) -> dict[str, Row]:
    key = key_of(table)
    query = select(table).where(table.c[key].in_(list(keys)))
    return {row[key]: dict(row) for row in conn.execute(query).mappings()}


def differing(table: Table, one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, ...]:
    """The compared columns in which two rows differ; one that a row does not have is not compared."""
    compared = [column.name for column in table.c if column.name not in _NOT_COMPARED]
    return tuple(name for name in compared if name in one and name in other and one[name] != other[name])


def is_news(before: Row, after: Row) -> bool:
    """Whether the platform says something else than it did when it was last heard."""
    answer = _answer(before)
    return bool(before[answer] != after[answer])


def is_older(one: Row, other: Row) -> bool:
    """By the time of the last change, where there is one."""
    for name in ("modified_at", "updated_at"):
        if one.get(name) is not None and other.get(name) is not None:
            return bool(one[name] < other[name])
    return False


def was_answered(row: Row) -> bool:
    """Not since `forget_answer`."""
    return row[_answer(row)] is not None


def forget_answer(conn: Connection, table: Table, key: str) -> None:
    """So that the next one is written even if the platform says what it has always said."""
    conn.execute(update(table).where(table.c[key_of(table)] == key).values({_answer(table.c.keys()): None}))


def _answer(columns: Container[str]) -> str:
    """The column by which the mirror tells whether an answer is news."""
    return "content_hash" if "content_hash" in columns else "raw"


@contextmanager
def trial(conn: Connection) -> Iterator[NestedTransaction]:
    """What is done inside is undone, unless it was committed there."""
    with conn.begin_nested() as attempt:
        yield attempt
        if attempt.is_active:
            attempt.rollback()


def last_of_all(conn: Connection, streams: Collection[str]) -> datetime | None:
    """Since when each of these has been verified; None where one never was."""
    v = t.verifications.c
    query = select(func.max(v.at)).where(v.stream.in_(list(streams))).group_by(v.stream)
    found = list(conn.execute(query).scalars())
    return min(found) if len(found) == len(streams) else None


@dataclass(frozen=True, slots=True)
class Verification:
    """A row of `verifications`, without its id."""

    run_id: int
    stream: str
    checked: int
    different: int
    gone: int
    missing: int
    stale: int
    drift: float
    low: float
    high: float
    complete: bool
    repaired: bool
    at: datetime


def record(conn: Connection, row: Verification) -> None:
    conn.execute(insert(t.verifications).values(asdict(row)))
