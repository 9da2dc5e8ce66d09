"""`world` is on SQLite, `both` makes a test run on Postgres as well. After each test the whole journal is checked."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from service.sandbox import Sandbox
from service.store import migrate
from service.store.database import Database
from tests.cycle.world import World, check_journal, open_world


@asynccontextmanager
async def _world(db: Database, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        sandbox = stack.enter_context(Sandbox())
        only_email_activities(sandbox)
        yield await open_world(stack, sandbox, db, database_url, str(tmp_path / "state"))
        check_journal(sandbox.journal.entries())


def only_email_activities(sandbox: Sandbox) -> None:
    """What orders and carts are made of is of no interest here, and reading it takes a sixth of every sync."""
    account = sandbox.onvoard
    kept = {each.id for each in account.resources.values() if each.key.startswith("email_")}
    types = account.resource_property_types
    account.resource_property_types = {key: each for key, each in types.items() if each.resource_id in kept}


def _migrate(url: str) -> None:
    db = Database(url)
    migrate.upgrade(db)
    db.close()


# One engine for all tests, for it keeps the statements that it has compiled: an eighth of the time. What is in its
# database is replaced by an empty mirror before each test; migrating would take longer than most tests.


@pytest.fixture(scope="session")
def _sqlite_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, str, Path]]:
    folder = tmp_path_factory.mktemp("mirror")
    _migrate(f"sqlite:///{folder / 'template.db'}")
    url = f"sqlite:///{folder / 'mirror.db'}"
    db = Database(url, inline=True)  # without the writer thread: another tenth
    yield db, url, folder
    db.close()


@pytest.fixture(scope="session")
def _postgres_engine(postgres_url: str) -> Iterator[tuple[Database, str, Callable[[], None]]]:
    name = f"cycle_{uuid.uuid4().hex}"
    url = urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        _migrate(url)
        db = Database(url)
        with psycopg.connect(url, autocommit=True) as connection:
            yield db, url, lambda: _empty(connection)
        db.close()
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _empty(postgres: psycopg.Connection[Any]) -> None:
    """As a new database is; fifty times faster than to make one."""
    tables = postgres.execute("SELECT relname FROM pg_stat_user_tables WHERE relname <> 'alembic_version'").fetchall()
    deletes = "; ".join(f"DELETE FROM {table}" for (table,) in tables)
    postgres.execute(f"SET session_replication_role = replica; {deletes}; SET session_replication_role = DEFAULT")
    postgres.execute("SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'")


@pytest.fixture
def _sqlite_mirror(_sqlite_engine: tuple[Database, str, Path]) -> tuple[Database, str]:
    db, url, folder = _sqlite_engine
    db.engine.dispose()
    for old in folder.glob("mirror.db*"):
        old.unlink()
    shutil.copy(folder / "template.db", folder / "mirror.db")
    return db, url


@pytest.fixture
def _postgres_mirror(_postgres_engine: tuple[Database, str, Callable[[], None]]) -> tuple[Database, str]:
    db, url, renew = _postgres_engine
    renew()
    return db, url


@pytest.fixture
async def world(_sqlite_mirror: tuple[Database, str], tmp_path: Path) -> AsyncIterator[World]:
    async with _world(*_sqlite_mirror, tmp_path) as made:
        yield made


@pytest.fixture
async def postgres_world(_postgres_mirror: tuple[Database, str], tmp_path: Path) -> AsyncIterator[World]:
    async with _world(*_postgres_mirror, tmp_path) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
async def both(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """The same, once on SQLite and once on Postgres."""
    async with _world(*request.getfixturevalue(f"_{request.param}_mirror"), tmp_path) as made:
        yield made
