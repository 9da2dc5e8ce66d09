"""Databases of the tests' own. To migrate one, or to make one on Postgres, takes longer than most tests do: an empty
mirror is migrated once, and then copied (SQLite) or emptied (Postgres)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg

from service.store import migrate
from service.store.database import Database


def migrated(url: str) -> str:
    with closing(Database(url)) as database:
        migrate.upgrade(database)
    return url


@contextmanager
def on_postgres(server: str) -> Iterator[str]:
    """The URL of a new, empty database; dropped at the end, whoever is still connected."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def empty(postgres: psycopg.Connection[Any]) -> None:
    """As a mirror is that was just migrated; a hundred times faster than to make one."""
    tables = postgres.execute("SELECT relname FROM pg_stat_user_tables WHERE relname <> 'alembic_version'").fetchall()
    deletes = "; ".join(f"DELETE FROM {table}" for (table,) in tables)
    postgres.execute(f"SET session_replication_role = replica; {deletes}; SET session_replication_role = DEFAULT")
    postgres.execute("SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'")


def abandon(postgres: psycopg.Connection[Any]) -> None:
    """Everybody else's connections to this database end."""
    others = "datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    postgres.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {others}")
