"""A filled mirror, and the command line pointed at it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from service.cli.main import cli
from service.store.database import Database
from tests.cli.filled import fill

Run = Callable[..., Result]


@pytest.fixture
def mirror(mirror_url: str) -> Iterator[Database]:
    """On SQLite and on Postgres."""
    with closing(Database(mirror_url)) as database:
        with database.begin() as conn:
            fill(conn)
        yield database


@pytest.fixture(scope="session")
def _filled(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(shutil.copy(sqlite_template, tmp_path_factory.mktemp("filled")))
    with closing(Database(f"sqlite:///{path}")) as database, database.begin() as conn:
        fill(conn)
    return path


@pytest.fixture
def run(_filled: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """`run("status", ...)` on a filled SQLite mirror, in an empty folder."""
    shutil.copy(_filled, tmp_path / "mirror.db")
    monkeypatch.setenv("BRIDGE_DATABASE_URL", sqlite_url)
    monkeypatch.chdir(tmp_path)
    return lambda *args: CliRunner().invoke(cli, args)


@pytest.fixture
def run_json(run: Run) -> Callable[..., Any]:
    """The one document on standard output."""

    def run_json(*args: str) -> Any:
        result = run(*args, "--format", "json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return run_json
