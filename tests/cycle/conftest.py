"""`world` is on SQLite, `both` makes a test run on Postgres as well. After each test the whole journal is checked."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from service.sandbox import Sandbox
from service.store import bulk
from service.store.database import Database
from tests.cycle.world import World, check_journal, open_world
from tests.databases import empty, migrated, on_postgres


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


# One engine for all tests, for it keeps the statements that it has compiled: an eighth of the time. What is in its
# database is replaced by an empty mirror before each test.


@pytest.fixture(scope="session")
def _sqlite_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, str, Path]]:
    file = tmp_path_factory.mktemp("mirror") / "mirror.db"
    url = f"sqlite:///{file}"
    with closing(Database(url, inline=True)) as db:  # without the writer thread: another tenth
        yield db, url, file


@pytest.fixture(scope="session")
def _postgres_engine(postgres_url: str) -> Iterator[tuple[Database, str, psycopg.Connection[Any]]]:
    with (
        on_postgres(postgres_url) as url,
        closing(Database(migrated(url))) as db,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        yield db, url, connection


@pytest.fixture
def _sqlite_mirror(_sqlite_engine: tuple[Database, str, Path], sqlite_template: Path) -> tuple[Database, str]:
    db, url, file = _sqlite_engine
    db.engine.dispose()
    for old in file.parent.glob("mirror.db*"):
        old.unlink()
    shutil.copy(sqlite_template, file)
    return db, url


@pytest.fixture
def _postgres_mirror(_postgres_engine: tuple[Database, str, psycopg.Connection[Any]]) -> tuple[Database, str]:
    db, url, connection = _postgres_engine
    empty(connection)
    return db, url


@pytest.fixture
async def world(_sqlite_mirror: tuple[Database, str], tmp_path: Path) -> AsyncIterator[World]:
    async with _world(*_sqlite_mirror, tmp_path) as made:
        yield made


@pytest.fixture
async def postgres_world(
    _postgres_mirror: tuple[Database, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """On Postgres, where few records enter as many do."""
    monkeypatch.setattr(bulk, "FEW", 1)
    async with _world(*_postgres_mirror, tmp_path) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
async def both(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """The same, once on SQLite and once on Postgres."""
    async with _world(*request.getfixturevalue(f"_{request.param}_mirror"), tmp_path) as made:
        yield made


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a test in `both` that has variants besides, Postgres gets the first."""
    twice = {item for item in items if isinstance(item, pytest.Function) and _is_said_by_another(item)}
    config.hook.pytest_deselected(items=list(twice))
    items[:] = [item for item in items if item not in twice]


def _is_said_by_another(item: pytest.Function) -> bool:
    if not hasattr(item, "callspec") or item.callspec.params.get("both") != "postgres":
        return False
    return any(place > 0 for name, place in item.callspec.indices.items() if name != "both")
