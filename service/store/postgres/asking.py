"""Anybody's SQL on Postgres: in a read-only session and transaction, prepared before it is run (`readonly`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import ExecStatus

from service.errors import UsageError
from service.store.refusing import HINT, READ_ONLY, no_rows

if TYPE_CHECKING:
    from service.store.database import Database

# 25001: `transaction_read_only` set back; 25006: a write.
_REFUSALS = {"25001", "25006"}


def ask(db: Database, sql: str, seconds: float) -> tuple[list[str], list[tuple[Any, ...]]]:
    with reading(db, seconds) as connection:
        text = prepare(connection, sql)
        cursor = connection.execute(text, prepare=True)
        return [column.name for column in cursor.description or no_rows()], cursor.fetchall()


@contextmanager
def reading(db: Database, seconds: float) -> Iterator[psycopg.Connection[Any]]:
    """A session and a transaction that only read, each statement for so long; rolled back and closed at the end."""
    with db.translated(), db.engine.connect() as pooled:
        pooled.detach()  # what a query does to its session ends with it
        connection: psycopg.Connection[Any] = pooled.connection.dbapi_connection  # type: ignore[assignment]
        connection.rollback()
        connection.read_only = True
        try:
            with complaints():
                set_config(connection, "default_transaction_read_only", "on")
                set_config(connection, "statement_timeout", f"{seconds * 1000:.0f}")
                yield connection
        finally:
            connection.rollback()


@contextmanager
def complaints(*, quoting: bool = True) -> Iterator[None]:
    """What Postgres has against a statement is its author's to hear; `quoting`: with the values that it is about."""
    try:
        yield
    except (psycopg.Error, UnicodeError) as failure:
        if told := _complaint(failure):
            about_a_value = isinstance(failure, psycopg.DataError) and not quoting
            raise UsageError(type(failure).__name__ if about_a_value else told, hint=HINT) from None
        raise


def set_config(connection: psycopg.Connection[Any], name: str, value: str) -> None:
    connection.execute("SELECT set_config(%s, %s, false)", (name, value))


def prepare(connection: psycopg.Connection[Any], sql: str) -> bytes:
    """The text of what is one statement, asks for no parameters and returns rows."""
    text = sql.encode()
    if b"\0" in text:
        raise UsageError("the statement is not text that a database can read")
    prepared = connection.pgconn.prepare(b"", text)
    if prepared.status != ExecStatus.COMMAND_OK:
        raise psycopg.errors.error_from_result(prepared, encoding="utf-8")
    asked = connection.pgconn.describe_prepared(b"")
    if asked.nparams:
        raise UsageError("the statement has parameters ($1), and nobody gives them", hint=HINT)
    if asked.nfields == 0:
        no_rows()
    return text


def _complaint(failure: Exception) -> str | None:
    if isinstance(failure, UnicodeError):
        return "the statement is not text that a database can read"
    assert isinstance(failure, psycopg.Error)
    if failure.sqlstate in _REFUSALS:
        return READ_ONLY
    if failure.sqlstate == "57014":
        return "the query took too long and was stopped"
    if failure.sqlstate is None or isinstance(failure, psycopg.OperationalError):
        return None
    return failure.diag.message_primary or type(failure).__name__
