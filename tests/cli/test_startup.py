"""What a short command costs is its imports: none imports what it has no use for, or looks for garbage in them."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.cli.context import Context
from service.cli.sandbox import running
from service.sandbox.server import Sandbox

CSV = "unique_id,email,name_first,name_last\nu-1,jane@example.com,Jane,Doe\n"
# What reaches Postgres, moves the schema, serves, or talks to a platform.
POSTGRES = {"psycopg", "psycopg_binary"}
MIGRATING = {"alembic", "mako"}
DAEMON = {"apscheduler", "tzlocal", "uvicorn", "starlette", "prometheus_client"}
HTTP = {"aiohttp", "httpx", "httpcore", "h11", "anyio", "stamina", "oauthlib"}
EMULATED = {"service.sandbox"}
LOCAL = POSTGRES | MIGRATING | DAEMON | HTTP | EMULATED

_RUN = """
import atexit, gc, sys
from service.cli.main import main

atexit.register(lambda: print("IMPORTED", *sys.modules, *["collecting"] * gc.isenabled(), file=sys.stderr))
main()
"""


@pytest.fixture
def folder(_filled: Path, tmp_path: Path) -> Path:
    """A folder with a filled mirror of the default name."""
    shutil.copy(_filled, tmp_path / "bridge.db")
    (tmp_path / "export.csv").write_text(CSV, encoding="utf-8")
    return tmp_path


def imported(folder: Path, *args: str, code: int = 0) -> set[str]:
    """The modules that are there when the command ends."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *args], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code, done.stderr
    return set(done.stderr.rpartition("IMPORTED ")[2].split())


@pytest.mark.parametrize(
    "args",
    [
        ("--help",), ("demo", "--help"), ("run", "--help"), ("status",), ("query", "SELECT count(*) FROM people"),
        ("explain", "ann@example.com"), ("conflicts", "show", "1"), ("consent",), ("import", "export.csv"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_command_that_stays_in_the_mirror_imports_nothing_for_the_rest(folder: Path, args: tuple[str, ...]) -> None:
    assert imported(folder, *args) & LOCAL == set()


@pytest.mark.parametrize(
    "args", [("status",), ("query", "SELECT 1 AS one"), ("explain", "ann@example.com")], ids=" ".join
)
def test_a_command_that_only_looks_keeps_no_log_and_knows_one_dialect(folder: Path, args: tuple[str, ...]) -> None:
    assert imported(folder, *args) & {"structlog", "sqlalchemy.dialects.postgresql"} == set()


def test_a_migration_of_sqlite_needs_nothing_of_postgres(tmp_path: Path) -> None:
    modules = imported(tmp_path, "db", "upgrade")
    assert "alembic" in modules
    assert modules & (LOCAL - MIGRATING) == set()


def test_a_sync_on_sqlite_neither_serves_nor_knows_postgres(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is there to answer it: what it needs, it has imported by then."""
    for name in ("ONVOARD", "DIGITAL_ONBOARDING"):
        monkeypatch.setenv(f"BRIDGE_{name}__BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("BRIDGE_ONVOARD__API_KEY", "key")
    monkeypatch.setenv("BRIDGE_DIGITAL_ONBOARDING__CLIENT_ID", "id")
    monkeypatch.setenv("BRIDGE_DIGITAL_ONBOARDING__CLIENT_SECRET", "secret")
    monkeypatch.setenv("BRIDGE_LIMITS__MAX_WAIT", "0s")
    modules = imported(folder, "sync", code=1)
    assert "aiohttp" in modules
    assert modules & (POSTGRES | MIGRATING | DAEMON | EMULATED) == set()


def test_a_short_command_looks_for_no_garbage(folder: Path) -> None:
    assert "collecting" not in imported(folder, "status")


@pytest.fixture
def not_collecting() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


@pytest.mark.usefixtures("not_collecting")
def test_work_that_lasts_does() -> None:
    async def work() -> bool:
        return gc.isenabled()

    assert Context().run(work())


@pytest.mark.usefixtures("not_collecting")
def test_the_sandbox_does() -> None:
    with running(Sandbox()):
        assert gc.isenabled()
