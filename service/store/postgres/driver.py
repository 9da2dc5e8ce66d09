"""How Postgres is opened, and what its failures are called: no sentence about a row is kept (`database`)."""

from __future__ import annotations

import logging
from math import inf
from time import monotonic
from typing import Any

import psycopg
from psycopg import Error as Error
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import InvalidatePoolError

from service.errors import DatabaseError, DatabaseUnavailable, RolledBack
from service.store.tables import metadata
from service.store.types import document

# What it says about a pipeline that a failure ends, the failure says too.
logging.getLogger("psycopg").setLevel(logging.ERROR)

_SETTINGS = {
    "timezone": "UTC",
    "lock_timeout": "30s",
    "statement_timeout": "10min",
    "idle_in_transaction_session_timeout": "10min",  # no transaction stays open across the network
}
# Seconds until this end notices that the other one is gone: 25. Of a lease the server notices it later (`lock`).
_CONNECT = {
    "application_name": "contact-bridge",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
AT_REST = 1.0
"""Seconds after which a connection is asked whether it is still there before it is used again; one that has just been
used is taken at its word, as it is within a transaction. (`pool_pre_ping` would ask before each.)"""
_KEPT, _MORE = 10, 5
"""Connections: each lane has one (`Database.submit`), and a new one would plan the triggers' statements anew."""
_FULL = "53100"
_GIVEN_UP = frozenset({"40001", "40P01"})  # serialization failures, deadlocks
_SCHEMA = ("42P", "42703", "42883")  # undefined tables, columns and functions: names, no values
_NOT_OURS = frozenset({"42501", "25006"})  # no permission; a standby that only reads


# See `schema.where`.
for _index in (index for table in metadata.tables.values() for index in table.indexes):
    if "postgresql_where" in _index.info:
        _index.dialect_options["postgresql"]["where"] = _index.info["postgresql_where"]


def engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,
        connect_args=_CONNECT,
        json_serializer=document,
        pool_size=_KEPT,
        max_overflow=_MORE,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: psycopg.Connection[Any], _record: object) -> None:
        for name, value in _SETTINGS.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        connection.commit()

    @event.listens_for(engine, "checkin")
    def rest(_connection: object, record: Any) -> None:
        record.info["at_rest_since"] = monotonic()

    @event.listens_for(engine, "checkout")
    def wake(connection: psycopg.Connection[Any], record: Any, _proxy: object) -> None:
        if monotonic() - record.info.get("at_rest_since", inf) > AT_REST:
            try:
                engine.dialect.do_ping(connection)  # type: ignore[arg-type]
            except Error:
                raise InvalidatePoolError from None

    return engine


def connect_arguments(engine: Engine) -> dict[str, Any]:
    """For a connection of one's own, by psycopg."""
    _, arguments = engine.dialect.create_connect_args(engine.url)
    return {**arguments, **_CONNECT}


def translate(name: str, failure: psycopg.Error) -> DatabaseError:
    if failure.sqlstate in _GIVEN_UP:
        return RolledBack(f"{name}: {type(failure).__name__}, time and again", hint="run it again")
    about_us = isinstance(failure, psycopg.OperationalError | psycopg.InterfaceError)
    if about_us or failure.sqlstate in _NOT_OURS:
        text = failure.diag.message_primary or next(iter(str(failure).splitlines()), "") or type(failure).__name__
        return DatabaseUnavailable(f"{name}: {text.strip()}", hint=_hint(failure.sqlstate) if about_us else "")
    kind = type(failure).__name__
    told = failure.diag.constraint_name or (
        (failure.sqlstate or "").startswith(_SCHEMA) and failure.diag.message_primary
    )
    return DatabaseError(f"{name}: the database refused a statement: {kind}{f' ({told})' if told else ''}")


def _hint(sqlstate: str | None) -> str:
    if sqlstate is None or sqlstate.startswith(("08", "57P")):  # lost, or shut down
        return "run it again when the database is back"
    return DatabaseUnavailable.MAKE_ROOM if sqlstate == _FULL else "run it again"
