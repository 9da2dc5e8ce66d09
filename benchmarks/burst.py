"""A burst of webhooks while a backfill runs: how fast each is answered, and whether all are on record and looked into.

    python -m benchmarks.burst PEOPLE [--events N] [--bare] [--own]        by the settings in the environment

`--bare`: the bare receiver in place of the daemon. `--own`: the backfill is the daemon's first pull, not a command
beside it. Leaves its figures in `told.json`; ends with 1 where an event is lost or not answered with 200.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvloop

from benchmarks import databases
from benchmarks.measure import TOLD
from benchmarks.webhooks import SECRET, Event, events, send

RESTING = (
    *("reviews", "activities", "resources", "summaries", "templates", "objectives"),
    *("refresh", "reconcile", "sweep", "verify"),
)
"""What the daemon leaves alone: decisions and pushes are other scenarios'."""
BEGUN = 0.02
"""Such a share of the contacts the backfill has asked for when the burst comes."""
PATIENCE = 900.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=int)
    parser.add_argument("--events", type=int, help="default: one to twenty people")
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--own", action="store_true")
    asked = parser.parse_args()
    port, url = _free_port(), os.environ["BRIDGE_DATABASE_URL"]
    os.environ |= {f"BRIDGE_{name}__WEBHOOK_SECRET": SECRET for name in ("ONVOARD", "DIGITAL_ONBOARDING")}
    os.environ["BRIDGE_WEB__PORT"] = str(port)
    _bridge("jobs", "pause", *RESTING, *(() if asked.own else ("contacts",)))
    burst = events(asked.events or asked.people // 20, asked.people, f"127.0.0.1:{port}")
    with _running("benchmarks.peers.receiver" if asked.bare else "service", "run"):
        _until(lambda: _listens(port))
        with _running("service", "backfill", "contacts", wanted=not asked.own):
            _until(lambda: _pages() > asked.people * BEGUN / 100)
            before = _pages()
            answers = uvloop.run(send("127.0.0.1", port, burst))
            meanwhile = _pages() - before
            told, ended = answers.figures(), time.perf_counter()
            _until(lambda: asked.bare or not _pending(url))
            told["looked into after s"] = round(time.perf_counter() - ended, 1)
            _until(lambda: _contacts(url) >= asked.people)
    refused = sum(times for status, times in answers.statuses.items() if status // 100 != 2)
    told["sender MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    told |= {"lost": _lost(url, burst), "refused": refused, "pages before": before, "pages meanwhile": meanwhile}
    Path(TOLD).write_text(json.dumps(told))
    print(told, dict(answers.statuses))
    return 1 if told["lost"] or told["refused"] else 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _bridge(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "service", *arguments], check=True)


@contextmanager
def _running(module: str, *arguments: str, wanted: bool = True) -> Iterator[None]:
    """Until the block ends; what comes to an end by itself is waited for."""
    if not wanted:
        yield
        return
    process = subprocess.Popen([sys.executable, "-m", module, *arguments])
    try:
        yield
        if "backfill" in arguments:
            process.wait(PATIENCE)
    finally:
        process.terminate()
        process.wait(30)
    if process.returncode not in (0, -15):
        raise SystemExit(f"{module} {' '.join(arguments)} ended with {process.returncode}")


def _until(true: Callable[[], bool]) -> None:
    late = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > late:
            raise SystemExit("it takes too long")
        time.sleep(0.1)


def _listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def _pages() -> int:
    """How many pages of contacts the platform has been asked for."""
    with urllib.request.urlopen(os.environ["BRIDGE_ONVOARD__BASE_URL"] + "/bench/count") as answer:
        return int(json.load(answer)["calls"].get("GET /v2/contacts", 0))


def _contacts(url: str) -> int:
    return databases.counts(url)["contacts"]


def _pending(url: str) -> int:
    return int(str(databases.query(url, "SELECT count(*) FROM webhook_events WHERE status = 'pending'")[0][0]))


def _lost(url: str, burst: Sequence[Event]) -> int:
    """Those of the burst that are not on record."""
    kept = {str(row[0]) for row in databases.query(url, "SELECT id FROM webhook_events")}
    wanted = {event.id for event in burst if event.id}
    thin = {event.request for event in burst if event.id is None}
    return len(wanted - kept) + len(thin) - sum(each.startswith("do_") for each in kept)


if __name__ == "__main__":
    raise SystemExit(main())
