"""No room: a command ends with an error that says what to do, nothing is half-done, and it goes on when there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg

from service.sandbox import Sandbox
from tests.databases import migrated
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

    def run(self, line: str, **more: str) -> tuple[int, list[str]]:
        process = self.command.start(line, **more)
        return process.wait(timeout=60), self.command.said().splitlines()

    def cities(self) -> list[Any]:
        return [contact["city"] for contact in self.sandbox.digital_onboarding.contact_list()]


def test_sqlite_is_full(sandbox: Sandbox, sqlite_mirror: str, tmp_path: Path) -> None:
    bank = Bank(sandbox, tmp_path, sqlite_mirror)
    for size in (60_000, 350_000, 450_000):
        bank.command.file_size = size
        code, said = bank.run("sync")
        print(size, code, said, bank.cities())
        assert code == 1, size
        assert said[0].startswith("Error: sqlite:///")
        assert said[1:] == [ROOM]
    bank.command.file_size = 0
    assert bank.run("sync")[0] == 0
    assert bank.cities() == ["Rome"] * PEOPLE


def test_postgres_is_full(sandbox: Sandbox, tmp_path: Path, postgres_database: str) -> None:
    bank = Bank(sandbox, tmp_path, migrated(postgres_database))
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


def test_a_state_directory_that_cannot_be_written_costs_another_token(
    sandbox: Sandbox, sqlite_mirror: str, tmp_path: Path
) -> None:
    bank = Bank(sandbox, tmp_path, sqlite_mirror)
    (tmp_path / "in-the-way").write_text("")
    for _ in range(2):
        assert bank.run("sync", BRIDGE_STATE_DIR=str(tmp_path / "in-the-way" / "state"))[0] == 0
    assert [entry.path for entry in sandbox.journal.entries()].count("/oauth2/token") == 2
    assert bank.cities() == ["Rome"] * PEOPLE
