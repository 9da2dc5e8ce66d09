"""Several processes on one mirror: they wait for each other, or say that another one is at work; nothing is made,
linked or told twice."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from service.sandbox import Sandbox
from service.sandbox.export import export_csv
from service.settings.models import Schedule
from service.store import tables as t
from service.store.database import Database
from tests.processes import Process
from tests.reliability.outside import SIGTERM, Command, until

PEOPLE = 6
OFTEN = {f"BRIDGE_SCHEDULE__{name.upper()}": "2s" for name in (*Schedule().intervals(), "refresh_within")}
NEVER = re.compile("locked|[Dd]eadlock|database refused|unexpected|Traceback|timeout")
AT_WORK = "another process is at work on this mirror"


class Bank:
    def __init__(self, sandbox: Sandbox, folder: Path, url: str) -> None:
        self.sandbox, self.folder, self.url = sandbox, folder, url
        kept = {each.id for each in sandbox.onvoard.resources.values() if each.key.startswith("email_")}
        types = sandbox.onvoard.resource_property_types  # what orders are made of takes long to read
        sandbox.onvoard.resource_property_types = {k: each for k, each in types.items() if each.resource_id in kept}
        self.numbers = 0
        more = {
            "BRIDGE_DATABASE_URL": url, "BRIDGE_LOG__FORMAT": "json", "BRIDGE_ACTIVITIES__SINCE": "2020-01-01",
            "BRIDGE_WEB__PORT": "0",
        }  # fmt: skip
        self.environment = sandbox.environment() | more
        self.command("setup").run("setup")

    def command(self, name: str) -> Command:
        """With what it says in a folder of its own."""
        (self.folder / name).mkdir(exist_ok=True)
        (self.folder / name / "export.csv").write_text(export_csv(self.sandbox.digital_onboarding))
        return Command(self.folder / name, self.environment)

    def arrive(self) -> None:
        """As many on either side."""
        for _ in range(PEOPLE):
            n = self.numbers = self.numbers + 1
            here, there = self.sandbox.onvoard, self.sandbox.digital_onboarding
            here.add_contact(f"here{n}@example.com", name=f"Person N{n}")
            there.add_contact(unique_id=f"there{n}", email=f"there{n}@example.com", name_first="Person")

    def rows(self, table: Any) -> list[Any]:
        with closing(Database(self.url)) as database, database.begin(write=False) as conn:
            return list(conn.execute(select(table)))

    def check(self) -> None:
        wanted = {f"{kind}{n + 1}@example.com" for kind in ("here", "there") for n in range(self.numbers)}
        for contacts in (self.sandbox.onvoard.contact_list(), self.sandbox.digital_onboarding.contact_list()):
            assert Counter(contact["email"] for contact in contacts) == Counter(wanted)
        told = [each for each in self.sandbox.onvoard.activity_list() if "digital_onboarding" in each["type"]]
        assert Counter(each["contact"]["id"] for each in told).most_common(1)[0][1] == 1
        assert len(told) == self.numbers  # those who came from Digital Onboarding
        persons = [row for row in self.rows(t.persons) if row.state == "active"]
        assert len(persons) == len(wanted)
        assert all(row.onvoard_contact_id and row.unique_id for row in persons)
        assert [row.kind for row in self.rows(t.conflicts)] == []


@pytest.fixture
def bank(sandbox: Sandbox, mirror_url: str, tmp_path: Path) -> Bank:
    return Bank(sandbox, tmp_path, mirror_url)


def ended_well(process: Process, command: Command) -> int:
    code, said = process.wait(timeout=120), command.said()
    lines = said.splitlines()
    assert not [line for line in lines if NEVER.search(line)]
    assert code == 0 or (code == 1 and AT_WORK in said), lines[-5:]
    return code


def test_everything_at_once(bank: Bank) -> None:
    daemons = [bank.command(f"daemon{number}") for number in range(2)]
    running = [daemon.start("run", **OFTEN) for daemon in daemons]
    until(lambda: all('"running"' in daemon.said() for daemon in daemons))
    lines = ("import export.csv", "sync", "sync", "backfill", "sync --full")
    bank.arrive()
    commands = [bank.command(line.split()[0] + str(number)) for number, line in enumerate(lines)]
    processes = [command.start(line) for command, line in zip(commands, lines, strict=True)]
    codes = [ended_well(*each) for each in zip(processes, commands, strict=True)]
    assert codes[0] == 0
    for process, daemon in zip(running, daemons, strict=True):
        process.send_signal(SIGTERM)
        assert ended_well(process, daemon) == 0
    bank.command("last").run("sync --full")
    bank.check()
