"""`world` is on SQLite, `both` makes a test run on Postgres as well. After each test the whole journal is checked."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from service.sandbox import Sandbox
from service.store import migrate
from service.store.database import Database
from tests.cycle.world import World, check_journal, open_world


@asynccontextmanager
async def _world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        sandbox = stack.enter_context(Sandbox())
        _only_email_activities(sandbox)
        yield await open_world(stack, sandbox, database_url, str(tmp_path / "state"))
        check_journal(sandbox.journal.entries())


def _only_email_activities(sandbox: Sandbox) -> None:
    """What orders and carts are made of is of no interest here, and reading it takes a sixth of every sync."""
    account = sandbox.onvoard
    kept = {each.id for each in account.resources.values() if each.key.startswith("email_")}
    types = account.resource_property_types
    account.resource_property_types = {key: each for key, each in types.items() if each.resource_id in kept}


def _migrate(url: str) -> None:
    db = Database(url)
    migrate.upgrade(db)
    db.close()


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty mirror to copy: migrating takes longer than most tests."""
    file = tmp_path_factory.mktemp("migrated") / "mirror.db"
    _migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def _postgres_template(postgres_url: str) -> Iterator[str]:
    name = f"template_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        _migrate(urlsplit(postgres_url)._replace(path=f"/{name}").geturl())
        yield name
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def _sqlite_mirror(_sqlite_template: Path, tmp_path: Path) -> str:
    shutil.copy(_sqlite_template, tmp_path / "mirror.db")
    return f"sqlite:///{tmp_path / 'mirror.db'}"


@pytest.fixture
def _postgres_mirror(postgres_url: str, _postgres_template: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {_postgres_template}")
        yield urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def world(_sqlite_mirror: str, tmp_path: Path) -> AsyncIterator[World]:
    async with _world(_sqlite_mirror, tmp_path) as made:
        yield made


@pytest.fixture
async def postgres_world(_postgres_mirror: str, tmp_path: Path) -> AsyncIterator[World]:
    async with _world(_postgres_mirror, tmp_path) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
async def both(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """The same, once on SQLite and once on Postgres."""
    async with _world(request.getfixturevalue(f"_{request.param}_mirror"), tmp_path) as made:
        yield made
