"""Anybody's SQL on the mirror, which the database itself keeps from writing.

SQLite: the file is opened read-only, and an authorizer refuses what is not reading. Postgres: a session and a
transaction that are read-only, in which the statement is prepared before it is run: the protocol prepares one statement
only, and what would return no rows (COPY ... TO PROGRAM, DO, SET, COMMIT) is not run at all.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from typing import Any

from service.errors import UsageError
from service.store.database import BUSY_SECONDS, Database
from service.store.refusing import HINT, READ_ONLY, no_rows
from service.store.tables import metadata
from service.store.types import JsonDocument, iso

LIMIT_SECONDS = 300
# SQLite can no longer tell that a computed value is JSON: there it goes by the column's name.
_JSONS = {c.name for table in metadata.tables.values() for c in table.c if isinstance(c.type, JsonDocument)}

_READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
_LOOKING = {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list"}


@dataclass(frozen=True)
class Result:
    """`columns` differ from each other; a row's values are str, int, float, bool, None, or what JSON holds.

    Times are text: `2026-01-31T09:30:00.000000Z`.
    """

    columns: list[str]
    rows: list[tuple[Any, ...]]


def query(db: Database, sql: str, *, seconds: float = LIMIT_SECONDS) -> Result:
    """The rows of one SELECT.

    UsageError for SQL that the database does not take, for more than one statement, for an attempt to write, and for
    what takes longer than `seconds`; DatabaseUnavailable as everywhere.
    """
    if db.dialect == "sqlite":
        names, rows = _ask_sqlite(db, sql, seconds)
    else:
        from service.store.postgres import asking

        names, rows = asking.ask(db, sql, seconds)
    plain = converters(db, names)
    return Result(_distinct(names), [tuple(f(value) for f, value in zip(plain, row, strict=True)) for row in rows])


def converters(db: Database, names: Sequence[str]) -> list[Callable[[Any], Any]]:
    """What makes a plain value (`Result`) of each column's."""
    return [_plain_column(name) if db.dialect == "sqlite" else _plain for name in names]


def _ask_sqlite(db: Database, sql: str, seconds: float) -> tuple[list[str], list[tuple[Any, ...]]]:
    until = time.monotonic() + seconds
    with closing(open_sqlite(db)) as connection, sqlite_complaints(db):
        connection.set_progress_handler(lambda: time.monotonic() > until, 100_000)
        cursor = connection.execute(sql)
        return [column[0] for column in cursor.description or no_rows()], cursor.fetchall()


@contextmanager
def sqlite_complaints(db: Database) -> Iterator[None]:
    """What SQLite has against a statement is its author's to hear."""
    try:
        with db.translated():
            try:
                yield
            except (sqlite3.Error, sqlite3.Warning) as failure:
                if told := _sqlite_complaint(failure):
                    raise UsageError(told, hint=HINT) from None
                raise
    except UnicodeError:
        raise UsageError("the statement is not text that a database can read") from None


def open_sqlite(db: Database) -> sqlite3.Connection:
    """A connection that only reads, for one thread at a time; the caller closes it."""
    if db.file is None:
        raise UsageError("a database in memory cannot be queried from outside")
    with db.translated():
        connection = sqlite3.connect(
            f"{db.file.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS, isolation_level=None,
            detect_types=sqlite3.PARSE_DECLTYPES, check_same_thread=False,
        )  # fmt: skip
    connection.execute("PRAGMA query_only=ON")
    connection.set_authorizer(_only_reading)
    return connection


def _only_reading(action: int, name: str | None, argument: str | None, _db: str | None, _by: str | None) -> int:
    allowed = {
        # So SQLite asks about a table-valued function like json_each; a real update is not reading and fails by itself.
        sqlite3.SQLITE_UPDATE: name == "sqlite_master",
        sqlite3.SQLITE_PRAGMA: (name or "").lower() in _LOOKING,
        sqlite3.SQLITE_FUNCTION: argument != "load_extension",
    }
    return sqlite3.SQLITE_OK if allowed.get(action, action in _READING) else sqlite3.SQLITE_DENY


def _sqlite_complaint(failure: Exception) -> str | None:
    """What to tell whoever wrote the statement; None where it is not about the statement."""
    code = getattr(failure, "sqlite_errorcode", None)
    if code is None:
        return str(failure)  # the driver's own: two statements, a null character
    if "not authorized" in str(failure):  # the code of which differs
        return READ_ONLY
    told = {
        sqlite3.SQLITE_ERROR: str(failure),
        sqlite3.SQLITE_AUTH: READ_ONLY,
        sqlite3.SQLITE_READONLY: READ_ONLY,
        sqlite3.SQLITE_INTERRUPT: "the query took too long and was stopped",
    }
    # SQLITE_SCHEMA: what is not there might have come into being meanwhile, and has not.
    about_sql = {
        sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_TOOBIG,
    }  # fmt: skip
    return told.get(code & 0xFF) or (str(failure) if code & 0xFF in about_sql else None)


def _distinct(names: list[str]) -> list[str]:
    """`id, id` -> `id, id_2`: as JSON objects, rows would lose one of them."""
    taken: set[str] = set()
    result = []
    for name in names:
        candidate, count = name, 1
        while candidate in taken:
            count += 1
            candidate = f"{name}_{count}"
        taken.add(candidate)
        result.append(candidate)
    return result


def _plain_column(name: str) -> Callable[[Any], Any]:
    if name in _JSONS:
        return lambda value: (
            _plain(_read_json(value)) if isinstance(value, str) and value[:1] in ("{", "[") else _plain(value)
        )
    return _plain


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case _Decoded():
            return _plain(value.value)
        case float():
            return value if isfinite(value) else None
        case Decimal():
            return _plain(float(value)) if not value.is_finite() or int(value.as_tuple().exponent) < 0 else int(value)
        case datetime():
            return iso(value) if value.tzinfo else value.isoformat()
        case date():
            return value.isoformat()
        case dict():
            return {key: _plain(value[key]) for key in sorted(value)}  # Postgres sorts keys, in its own way
        case list() | tuple():
            return [_plain(item) for item in value]
        case bytes() | memoryview():
            return bytes(value).hex()
        case _:
            return str(value)


@dataclass(frozen=True)
class _Decoded:
    """What a declared column held, so that nobody decodes it again."""

    value: Any


def _read_json(text: str | bytes) -> _Decoded:
    try:
        return _Decoded(json.loads(text))
    except ValueError:
        return _Decoded(text if isinstance(text, str) else text.decode(errors="replace"))


def _read_boolean(text: bytes) -> Any:
    return {b"0": False, b"1": True}.get(text, text.decode(errors="replace"))


# The driver knows converters by declared type, for the whole process; only a connection that asks for it uses them.
sqlite3.register_converter("JSON", _read_json)
sqlite3.register_converter("BOOLEAN", _read_boolean)
