"""No room: a command ends with an error that says what to do, nothing is half-done, and it goes on when there is."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from service.sandbox import Sandbox
from service.store import migrate
from service.store.database import Database
from tests.reliability.outside import Command

PEOPLE = 40
ROOM = "Next: make room on the database's disk, and run it again"


class Bank:
    def __init__(self, sandbox: Sandbox, folder: Path, url: str) -> None:
        self.sandbox, self.url = sandbox, url
        kept = {each.id for each in sandbox.onvoard.resources.values() if each.key.startswith("email_")}
        types = sandbox.onvoard.resource_property_types  # what orders are made of takes long to read
        sandbox.onvoard.resource_property_types = {k: each for k, each in types.items() if each.resource_id in kept}
        for number in range(PEOPLE):
            sandbox.onvoard.add_contact(f"p{number}@example.com", name=f"Person N{number}", city="Rome")
        more = {"BRIDGE_DATABASE_URL": url, "BRIDGE_LOG__FORMAT": "json", "BRIDGE_LOG__LEVEL": "error"}
        self.command = Command(folder, sandbox.environment() | more)
        with closing(Database(url)) as database:
            migrate.upgrade(database)

    def run(self, line: str, **more: str) -> tuple[int, list[str]]:
        process = self.command.start(line, **more)
        return process.wait(timeout=60), self.command.said().splitlines()

    def cities(self) -> list[Any]:
        return [contact["city"] for contact in self.sandbox.digital_onboarding.contact_list()]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """No file may grow beyond so many bytes, in the processes that are started from then on."""
    begin = subprocess.Popen

    def limit(size: int) -> None:
        def low(*args: Any, **kwargs: Any) -> Any:
            set_ = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))  # noqa: E731
            return begin(*args, **kwargs, preexec_fn=set_ if size else None)

        monkeypatch.setattr("tests.reliability.outside.subprocess.Popen", low)

    return limit


def test_sqlite_is_full(sandbox: Sandbox, tmp_path: Path, limited: Callable[[int], None]) -> None:
    bank = Bank(sandbox, tmp_path, f"sqlite:///{tmp_path / 'mirror.db'}")
    for size in (60_000, 350_000, 450_000):
        limited(size)
        code, said = bank.run("sync")
        print(size, code, said, bank.cities())
        assert code == 1, size
        assert said[0].startswith("Error: sqlite:///")
        assert said[1:] == [ROOM]
    limited(0)
    assert bank.run("sync")[0] == 0
    assert bank.cities() == ["Rome"] * PEOPLE


def test_postgres_is_full(sandbox: Sandbox, tmp_path: Path, postgres_database: str) -> None:
    bank = Bank(sandbox, tmp_path, postgres_database)
    full = """CREATE FUNCTION full_() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION USING ERRCODE = '53100', MESSAGE = 'could not extend file: No space left on device'; END $$"""
    with psycopg.connect(postgres_database, autocommit=True) as admin:
        admin.execute(full)
        for table in ("onvoard_contacts", "changes"):
            admin.execute(f"CREATE TRIGGER full_ BEFORE INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION full_()")
            code, said = bank.run("sync")
            assert code == 1, said
            assert said[0].endswith("could not extend file: No space left on device")
            assert said[1:] == [ROOM]
            admin.execute(f"DROP TRIGGER full_ ON {table}")
    assert bank.run("sync")[0] == 0
    assert bank.cities() == ["Rome"] * PEOPLE


def test_a_state_directory_that_cannot_be_written_costs_another_token(sandbox: Sandbox, tmp_path: Path) -> None:
    bank = Bank(sandbox, tmp_path, f"sqlite:///{tmp_path / 'mirror.db'}")
    (tmp_path / "in-the-way").write_text("")
    for _ in range(2):
        assert bank.run("sync", BRIDGE_STATE_DIR=str(tmp_path / "in-the-way" / "state"))[0] == 0
    assert [entry.path for entry in sandbox.journal.entries()].count("/oauth2/token") == 2
    assert bank.cities() == ["Rome"] * PEOPLE
