"""One run of one contestant, from an empty database to its figures."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import databases
from benchmarks.contestants import BRIDGE, LOAD_LIMIT, Contestant
from benchmarks.databases import POSTGRES
from benchmarks.measure import TOLD, Failed
from benchmarks.peers import load_limit
from benchmarks.place import Place, Served
from benchmarks.scenarios import Scenario

BESIDE = frozenset(
    (
        "accounts", "alerts", "cursors", "facts", "leases", "rates", "runs", "streams", "surprises", "sweep_slices",
        "tallies", "windows", "people_rows", "contact_owners",
    )
)  # fmt: skip
"""Tables in which every run leaves a note of itself, and what triggers keep for the views: beside the mirror, not of
it."""


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds and MB. `rows`: written to the database; `lead`: until the first write left for a platform. From
    `requests` on as the server counted: `read` and `written` are records; `pushing` goes from the first write to the
    last one's answer. `told`: what the command itself found out; whoever sends a burst is not of its memory."""

    scenario: str
    kind: str
    contestant: str
    round: int
    records: int
    wall: float
    cpu: float
    database_cpu: float
    memory: float
    size: float
    rows: int | None
    lead: float
    requests: int
    refused: int
    limited: int
    read: int
    written: int
    pushing: float
    server_cpu: float
    calls: dict[str, int]
    told: dict[str, float] = field(default_factory=dict)


def measured(
    scenario: Scenario, contestant: Contestant, kind: str, served: Served, postgres_url: str, turn: int, limit: float
) -> Result:
    """Failed where a command fails, or has not done all of its work."""
    with databases.fresh(kind, postgres_url) as url, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place = Place(served, kind, url, Path(folder), dict(scenario.settings))
        served.reset()
        for step in scenario.before[contestant]:
            step(place)
        command = scenario.commands[contestant](place)
        counts_rows = kind == POSTGRES or scenario.counts_rows  # in SQLite it slows down whoever finds the tables there
        if counts_rows:
            databases.watch_writes(url)
        rows_before, database_before = databases.writes(url), databases.server_cpu(postgres_url)
        served.pace(scenario.latency_ms, limit)
        cost = place.run(command)
        counted = served.count()
        time.sleep(0.2)  # Postgres tells what an ended connection wrote a moment later
        told = _told(place.folder / TOLD)
        result = Result(
            scenario.name, kind, contestant.name, turn, served.size.records, cost.wall, cost.cpu,
            databases.server_cpu(postgres_url) - database_before, cost.memory - told.get("sender MB", 0.0),
            databases.size(url),
            _rows(rows_before, databases.writes(url)) if counts_rows else None,
            max(0.0, counted.pop("first_write") - cost.began), **counted, told=told,
        )  # fmt: skip
        _check(scenario, contestant, result, place)
        if LOAD_LIMIT in scenario.commands and (contestant, kind) == (BRIDGE, POSTGRES):
            served.rows.mkdir(parents=True, exist_ok=True)
            load_limit.save(url, served.rows)
        return result


def _check(scenario: Scenario, contestant: Contestant, result: Result, place: Place) -> None:
    where, size = f"{scenario.name}, {result.kind}, {contestant.name}", place.served.size
    if scenario.pulls:
        wanted = dict(zip(databases.TABLES, (size.contacts, size.reviews, size.activities), strict=True))
        if (found := databases.counts(place.database)) != wanted:
            raise Failed(f"{where}: {found} arrived, and should have been {wanted}")
    if contestant is BRIDGE and result.written < scenario.expected(size):
        raise Failed(f"{where}: {result.written} were pushed, and should have been {scenario.expected(size)}")


def _told(path: Path) -> dict[str, float]:
    return json.loads(path.read_text()) if path.exists() else {}


def _rows(before: dict[str, int], after: dict[str, int]) -> int:
    return sum(number - before.get(name, 0) for name, number in after.items() if name not in BESIDE)
