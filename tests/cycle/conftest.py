"""`world` is on SQLite, `both_worlds` makes the test run on Postgres as well. After each test the whole journal is looked at."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from service.sandbox import Sandbox
from service.store import migrate
from service.store.database import Database
from tests.cycle.world import World, check_journal, open_world


@asynccontextmanager
async def _world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        sandbox = stack.enter_context(Sandbox())
        yield await open_world(stack, sandbox, database_url, str(tmp_path / "state"))
        check_journal(sandbox.journal.entries())


@pytest.fixture(scope="session")
def _migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty mirror to copy: migrating takes longer than most tests."""
    file = tmp_path_factory.mktemp("migrated") / "mirror.db"
    db = Database(f"sqlite:///{file}")
    migrate.upgrade(db)
    db.close()  # the last connection to close empties the write-ahead log
    return file


@pytest.fixture
async def world(_migrated: Path, tmp_path: Path) -> AsyncIterator[World]:
    file = tmp_path / "mirror.db"
    shutil.copy(_migrated, file)
    async with _world(f"sqlite:///{file}", tmp_path) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
async def both(request: pytest.FixtureRequest, _migrated: Path, tmp_path: Path) -> AsyncIterator[World]:
    """The same, once on SQLite and once on Postgres."""
    if request.param == "sqlite":
        file = tmp_path / "mirror.db"
        shutil.copy(_migrated, file)
        url = f"sqlite:///{file}"
    else:
        url = request.getfixturevalue("postgres_database")
        db = Database(url)
        migrate.upgrade(db)
        db.close()
    async with _world(url, tmp_path) as made:
        yield made
