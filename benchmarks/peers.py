"""The contestants, each as a process of its own, and what the system says that it cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import databases

ROOT = Path(__file__).resolve().parent.parent
BRIDGE, PLAIN = "contact-bridge", "plain script"


@dataclass(frozen=True, slots=True)
class World:
    """A running server and what it serves."""

    url: str
    contacts: int
    reviews: int
    activities: int

    @property
    def records(self) -> int:
        return self.contacts + self.reviews + self.activities

    @property
    def expected(self) -> dict[str, int]:
        return {"contacts": self.contacts, "reviews": self.reviews, "activities": self.activities}


@dataclass(frozen=True, slots=True)
class Cost:
    """One run. Seconds; `cpu` is the contestant's own, `database_cpu` the Postgres server's, `memory` its peak in MB;
    `served` and `server_cpu` are what the platforms' server did for it."""

    peer: str
    kind: str
    records: int
    wall: float
    cpu: float
    database_cpu: float
    memory: float
    served: int
    server_cpu: float

    @property
    def speed(self) -> float:
        return self.records / self.wall


@contextmanager
def world(contacts: int, reviews: int, activities: int, latency_ms: float) -> Iterator[World]:
    """The platforms' server, in its own process, until the block ends."""
    sizes = {"contacts": contacts, "reviews": reviews, "activities": activities, "latency-ms": latency_ms}
    options = [f"--{name}={value}" for name, value in sizes.items()]
    command = [sys.executable, "-m", "benchmarks.server", *options]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise SystemExit("the benchmark's server did not start")
        yield World(url, contacts, reviews, activities)


def run(peer: str, kind: str, served: World, postgres_url: str) -> Cost:
    """One backfill into a fresh database; ends the program where a record is missing afterwards."""
    with databases.fresh(kind, postgres_url) as url, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        environment = _environment(served.url, url, folder)
        if peer == BRIDGE:
            subprocess.run(_bridge("db", "upgrade"), cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
            command = _bridge("backfill")
        else:
            command = [sys.executable, "-m", "benchmarks.plain", served.url, url]
        before, database_before = _count(served.url), databases.server_cpu(postgres_url)
        wall, cpu, memory = _measured(command, folder, environment)
        after, database_after = _count(served.url), databases.server_cpu(postgres_url)
        if (found := databases.counts(url)) != served.expected:
            raise SystemExit(f"{peer} on {kind}: {found} arrived, and should have been {served.expected}")
    return Cost(
        peer, kind, served.records, wall, cpu, database_after - database_before, memory,
        int(after["requests"] - before["requests"]), after["cpu"] - before["cpu"],
    )  # fmt: skip


def _bridge(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "service", *arguments]


def _environment(base_url: str, database_url: str, folder: str) -> dict[str, str]:
    """Of the developer's own settings, none. The rate limit, a guess about a real platform, is lifted."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("BRIDGE_")}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "BRIDGE_DATABASE_URL": database_url,
        "BRIDGE_STATE_DIR": folder,
        "BRIDGE_ONVOARD__BASE_URL": base_url,
        "BRIDGE_ONVOARD__API_KEY": "benchmark",
        "BRIDGE_ONVOARD__REQUESTS_PER_SECOND": "100000",
        "BRIDGE_DIGITAL_ONBOARDING__BASE_URL": base_url,
        "BRIDGE_DIGITAL_ONBOARDING__CLIENT_ID": "benchmark",
        "BRIDGE_DIGITAL_ONBOARDING__CLIENT_SECRET": "benchmark",
    }


def _measured(command: Sequence[str], folder: str, environment: dict[str, str]) -> tuple[float, float, float]:
    """-> (wall seconds, CPU seconds, peak memory in MB) of this one process, its start included.

    The peak that wait4 tells can be no less than our own memory at the fork, so the world lives in another process.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{said.read()}")
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kilobytes elsewhere
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit


def _count(base_url: str) -> dict[str, float]:
    with urllib.request.urlopen(f"{base_url}/count") as answer:
        counted: dict[str, float] = json.load(answer)
    return counted
