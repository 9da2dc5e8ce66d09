"""The real command against the real sandbox, killed at random moments while people are edited on both sides (law 8):
in the end both sides are equal, nothing is there twice, and no edit is lost.

`KILLS_SEED=1 pytest tests/reliability/test_kills.py` throws the same dice again: the same commands end at the same
shares of a run. What they have reached by then is up to the machine.
"""

from __future__ import annotations

import json
import math
import os
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from service.core.records import Platform
from service.sandbox.journal import Entry
from service.settings.models import Schedule
from service.store import outbox
from service.store import tables as t
from service.store.database import Database
from service.store.outbox import Lane, Operation
from tests.cycle.world import check_journal
from tests.reliability.outside import SECRET, SIGKILL, SIGTERM, Command, Platforms, free_port
from tests.reliability.people import People, Person

IMPORT = "import export.csv"
KILLED = {"sync": 3, "sync --full": 2, "run": 3, "backfill": 1, IMPORT: 1}
"""Ten on each database, by SIGKILL; two more are ended by SIGTERM."""
START_UP = 0.2
"""The share of kills before a run's first request."""
MOST_TRIES = 10
OFTEN = {f"BRIDGE_SCHEDULE__{name.upper()}": "1s" for name in (*Schedule().intervals(), "refresh_within")}
SLOW = (
    {"kind": "delay", "method": "P*", "seconds": 0.1, "after_effect": True, "probability": 0.5},
    {"kind": "delay", "seconds": 0.04, "probability": 0.5},
)
LOST = {"kind": "reset_after", "method": "P*", "probability": 0.08}


class Bank:
    """One mirror, the command on it, both platforms and their people."""

    def __init__(self, folder: Path, url: str, dice: random.Random) -> None:
        self.folder, self.url, self.dice = folder, url, dice
        self.platforms = Platforms(folder)
        self.people = People(self.platforms, dice)
        port = free_port()
        web = {"BRIDGE_WEB__PORT": str(port), "BRIDGE_WEB__PUBLIC_URL": f"http://127.0.0.1:{port}"}
        secrets = {f"BRIDGE_{name}__WEBHOOK_SECRET": SECRET for name in ("ONVOARD", "DIGITAL_ONBOARDING")}
        where = {"BRIDGE_DATABASE_URL": url, "BRIDGE_STATE_DIR": str(folder / "state"), "BRIDGE_LOG__FORMAT": "json"}
        self.command = Command(folder, self.platforms.environment | web | secrets | where)
        self.platforms.digital("configure_webhook", f"http://127.0.0.1:{port}/webhooks/digital-onboarding", SECRET)
        self.template = self.platforms.digital("add_template", "Thank you")
        self.spans = {"sync": 1.0, "start-up": 1.0}
        p = self.people
        self.once = [
            p.opts_out_here, p.opts_out_here, p.opts_out_there, p.opts_out_there, p.arrives_here, p.arrives_here,
            p.arrives_there, p.arrives_there, p.completes, p.completes, p.completes, p.is_suppressed, p.is_deleted,
        ]  # fmt: skip
        dice.shuffle(self.once)

    def begin(self) -> None:
        """Everybody is linked. How long a run takes that is left alone says what to kill the others within."""
        self.command.run("db upgrade")
        for _ in range(6):
            self.people.arrive()
        self.export()
        self.spans[IMPORT] = self.command.run(IMPORT)
        self.command.run("setup")
        self.platforms.trouble(*SLOW)
        self._ends_before("sync", math.inf, edits=False)
        self.spans |= dict.fromkeys(("sync --full", "backfill"), self.spans["sync"]) | {"run": 2.5}

    def export(self) -> None:
        self.people.export(self.folder / "export.csv")

    def happens(self) -> None:
        if self.once and self.dice.random() < 0.2:
            self.once.pop()()
        else:
            self.people.edit()

    def killed(self, line: str, share: float, number: int = SIGKILL) -> None:
        """At that share of a run; one that ends sooner is no kill, and tried again."""
        for _ in range(MOST_TRIES):
            self.happens()
            if line == IMPORT:
                self.export()
            if not self._ends_before(line, share, number):
                return
        raise AssertionError(f"{line} is never there to be killed")

    def _ends_before(self, line: str, share: float, number: int = SIGKILL, *, edits: bool = True) -> bool:
        """Of the time that it took until the first request the last time, or of what followed; where there are no
        requests, of all of it."""
        mark = self.platforms.journal()["mark"]
        first = edits_at = 0.0

        def is_time(age: float) -> bool:
            nonlocal first, edits_at
            if not first and self.platforms.journal(mark)["entries"]:
                first = age
            if edits and age > edits_at:
                self.happens()
                edits_at = age + self.dice.uniform(0.1, 0.3)
            if line == IMPORT:
                return age > share * self.spans[line]
            if share < START_UP:
                return age > share / START_UP * self.spans["start-up"]
            return bool(first) and age - first > (share - START_UP) / (1 - START_UP) * self.spans[line]

        took = self.command.end(line, number, is_time, **OFTEN)
        time.sleep(0.15)  # what was on its way may still take effect, and belongs to this run
        asked = self.platforms.journal(mark)["counts"]
        self.people.note(f"{line}: {took or 'killed'}")
        print(f"{line}: {took or 'killed'} {share:.2f}, {first:.2f}, {asked['reads']} + {asked['writes']} requests")
        if took and first:
            self.spans["start-up"] = first
        if took:
            self.spans[line] = took - first
        return took is not None

    def acts(self) -> None:
        """What rules will ask for: a journey and a completion, each once."""
        able = [p for p in self.people.living() if p.is_linked and not p.happened["journey_started", self.template]]
        if not able:
            return
        person = self.dice.choice(able)
        person.happened["journey_started", self.template] += 1
        self._stage(person, Operation.START_JOURNEY, {"template_id": self.template})
        if not person.happened["objective_completed", "remote-deposit"]:
            person.happened["objective_completed", "remote-deposit"] += 1
            self._stage(person, Operation.COMPLETE_OBJECTIVE, {"remote-deposit": datetime.now(UTC).isoformat()})

    def _stage(self, person: Person, operation: Operation, payload: dict[str, Any]) -> None:
        with closing(Database(self.url)) as db, db.begin() as conn:
            query = select(t.persons.c.id).where(t.persons.c.unique_id == person.unique_id)
            outbox.stage(
                conn, person_id=conn.execute(query).scalar_one(), platform=Platform.DIGITAL_ONBOARDING,
                operation=operation, lane=Lane.ACTION, target=person.unique_id, details=[], run_id=1,
                payload={"unique_id": person.unique_id, **payload}, now=datetime.now(UTC),
                sync_id=f"{person.unique_id} {operation}",
            )  # fmt: skip

    def comes_to_rest(self) -> None:
        """Nobody edits, nothing fails: three syncs at most, and all is as it has to be."""
        self.platforms.trouble()
        self.export()
        for line in (IMPORT, "sync --full"):
            self.command.run(line, **OFTEN)
        for _ in range(2):
            if self.people.problems():
                self.command.run("sync", **OFTEN)
        assert not (problems := self.people.problems()), "\n".join(problems)

    def rows(self, table: Any) -> list[Any]:
        with closing(Database(self.url)) as db, db.begin(write=False) as conn:
            return [dict(row) for row in conn.execute(select(table)).mappings()]


@pytest.fixture
def bank(tmp_path: Path, database_url: str) -> Iterator[Bank]:
    seed = int(os.environ.get("KILLS_SEED") or random.SystemRandom().randrange(10**9))
    print(f"KILLS_SEED={seed}")
    made = Bank(tmp_path, database_url, random.Random(seed))
    yield made
    (tmp_path / "journal.json").write_text(json.dumps(made.platforms.journal(), indent=1))
    (tmp_path / "edits.txt").write_text("\n".join(made.people.history))
    made.platforms.stop()


def test_killed_at_any_moment_it_goes_on(bank: Bank) -> None:
    bank.begin()
    dice = bank.dice
    rounds = [(line, (n + dice.random()) / times, SIGKILL) for line, times in KILLED.items() for n in range(times)]
    rounds += [(line, dice.random(), SIGTERM) for line in ("sync --full", "run")]
    dice.shuffle(rounds)
    for half, left in ((rounds[::2], 6), (rounds[1::2], 0)):
        bank.platforms.trouble(LOST, *SLOW)
        for number, (line, share, by) in enumerate(half):
            if number % 3 == 0:
                bank.acts()
            bank.killed(line, share, by)
        while len(bank.once) > left:
            bank.once.pop()()
        bank.comes_to_rest()
        bank.people.turn()
    _check(bank)


def _check(bank: Bank) -> None:
    bank.command.run("backfill")  # one may have been begun
    mark = bank.platforms.journal()["mark"]
    bank.command.run("sync")
    assert bank.platforms.journal(mark, writes=True)["entries"] == [], "a further sync writes nothing"
    bank.command.run("status")
    assert "In sync." in bank.command.said(), bank.command.said()
    assert {row["status"] for row in bank.rows(t.outbox)} <= {"done", "cancelled"}
    assert bank.rows(t.conflicts) == [], "no field was edited on both sides"
    if bank.url.startswith("sqlite"):
        with closing(sqlite3.connect(bank.folder / "mirror.db")) as file:
            assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    check_journal(Entry(**each) for each in bank.platforms.journal()["entries"])
