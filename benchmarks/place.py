"""Where one run takes place: the platforms' server, an empty database, a folder, and the settings of the bridge."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from benchmarks import measure, world
from benchmarks.environments import CACHE, ROOT
from benchmarks.measure import Cost
from benchmarks.platforms import API_KEY, CLIENT
from benchmarks.world import Size

EDITED_AT = "2026-06-01T00:00:00.000000Z"
"""After everything else in this world."""


@dataclass(frozen=True, slots=True)
class Served:
    """A running server and what it serves."""

    url: str
    size: Size
    files: Path

    @property
    def rows(self) -> Path:
        """The folder of the rows that a mirror of this world holds, for the load limit."""
        return CACHE / "rows" / str(self.size)

    def reset(self) -> None:
        """The world as it was rendered, answers at once."""
        self.post("/bench/reset")
        self.pace(0.0)

    def pace(self, latency_ms: float, requests_per_second: float = 0.0) -> None:
        """From now on; the counts begin anew."""
        self.post(f"/bench/pace?latency_ms={latency_ms}&requests_per_second={requests_per_second}")

    def post(self, path: str) -> None:
        with urllib.request.urlopen(urllib.request.Request(self.url + path, method="POST")):
            pass

    def count(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.url + "/bench/count") as answer:
            return dict(json.load(answer))

    def pages_per_second(self, pages: int) -> float:
        """Of somebody who throws them away."""
        last = max(1, self.size.contacts // 100)
        command = [sys.executable, "-m", "benchmarks.blind", self.url, str(pages), str(last)]
        return float(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


@contextmanager
def served(size: Size) -> Iterator[Served]:
    """The platforms' server, in its own process, until the block ends."""
    files = world.made(size, CACHE)
    command = [sys.executable, "-m", "benchmarks.server", str(files)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise SystemExit("the benchmark's server did not start")
        yield Served(url, size, files)


@dataclass(slots=True)
class Place:
    served: Served
    kind: str
    database: str
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Of the developer's own settings, none. The rate limits, guesses about the real platforms, are lifted."""
        # Nobody is to compile their own modules anew at each start.
        dropped = ("BRIDGE_", "PYTHONDONTWRITEBYTECODE")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
        own = {
            "BRIDGE_DATABASE_URL": self.database,
            "BRIDGE_STATE_DIR": str(self.folder),
            "BRIDGE_ONVOARD__BASE_URL": self.served.url,
            "BRIDGE_ONVOARD__API_KEY": API_KEY,
            "BRIDGE_ONVOARD__REQUESTS_PER_SECOND": "100000",
            "BRIDGE_DIGITAL_ONBOARDING__BASE_URL": self.served.url,
            "BRIDGE_DIGITAL_ONBOARDING__CLIENT_ID": CLIENT[0],
            "BRIDGE_DIGITAL_ONBOARDING__CLIENT_SECRET": CLIENT[1],
            "BRIDGE_DIGITAL_ONBOARDING__REQUESTS_PER_SECOND": "100000",
        }
        return kept | {"PYTHONPATH": str(ROOT)} | own | self.settings

    def run(self, command: Sequence[str]) -> Cost:
        """Exit code 3 of the bridge is no failure: something needs a person."""
        allowed = (0, 3) if "service" in command else (0,)
        return measure.run(command, self.folder, self.environment, allowed=allowed)

    def export(self, changed: int = 0) -> Path:
        """What Digital Onboarding would export of the same people, none of whom needs a push; or of the first `changed`
        of them alone, with another phone. (Not of who has opted out: about them the bridge asks before it pushes.)"""
        path = self.folder / f"export-{changed}.csv"
        columns = (
            *("unique_id", "id", "email", "name_first", "name_last", "phone_mobile", "city", "timezone"),
            *("unsubscribe_email", "inserted_at", "updated_at"),
        )
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(columns)
            everybody: Iterator[tuple[int, dict[str, Any]]] = enumerate(_contacts(self.served.files / "contacts.json"))
            if changed:
                everybody = islice((each for each in everybody if not each[1]["email_unsubscribed"]), changed)
            for number, contact in everybody:
                said, address = contact["properties"], contact["email"]
                phone = f"+1646555{number % 10_000:04d}" if changed else contact["phone"]
                flag = "true" if contact["email_unsubscribed"] else "false"
                at = contact["created_datetime"]
                rows.writerow((
                    address.lower(), f"{number:08x}-0000-4000-8000-{number:012x}", address, said["first_name"],
                    said["last_name"], phone, said["city"], said["timezone"], flag, at, EDITED_AT if changed else at,
                ))  # fmt: skip
        return path


def _contacts(path: Path) -> Iterator[dict[str, Any]]:
    """One by one: a line would be all of them."""
    rest = b""
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            *whole, rest = (rest + chunk).split(b',{"id":"ct_')
            for record in whole:
                yield orjson.loads(_begun(record))
    if rest:
        yield orjson.loads(_begun(rest.removesuffix(b",")))


def _begun(record: bytes) -> bytes:
    return record if record.startswith(b"{") else b'{"id":"ct_' + record
