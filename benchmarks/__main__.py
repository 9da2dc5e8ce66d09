"""`make bench`: contact-bridge and its peers do the same work against the same server, in turns.

    make bench                                      everything, at full size: hours
    make bench ARGS="--quick"                       a twentieth of it, one round, to see that it works
    make bench ARGS="backfill --rounds 5"           one scenario

What the figures mean is in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import databases, environments, report, running
from benchmarks.contestants import BRIDGE, PEERS, Contestant
from benchmarks.environments import CACHE, ROOT
from benchmarks.measure import Failed
from benchmarks.place import Served, served
from benchmarks.running import Result
from benchmarks.scenarios import KINDS, MEMORY, SCENARIOS, Scenario

QUICK = 1 / 20


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(names)}; default: all")
    parser.add_argument("--scale", type=float, default=1.0, help="how much of each scenario's records")
    parser.add_argument("--rounds", type=int, default=3, help="how often everybody runs; medians are printed")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the records, one round")
    parser.add_argument("--databases", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS), help="besides contact-bridge")
    parser.add_argument("--requests-per-second", type=float, default=0.0, help="the server's limit; 0: none")
    parser.add_argument("--out", type=Path, help="folder of the figures [docs/benchmarks, or .bench/results]")
    asked = parser.parse_args(given)
    if unknown := set(asked.scenarios) - set(names):
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if asked.quick:
        asked.scale, asked.rounds = asked.scale * QUICK, 1
    asked.out = asked.out or (ROOT / "docs" / "benchmarks" if asked.scale >= 1 else CACHE / "results")
    return asked


def main(given: Sequence[str] | None = None) -> int:
    """-> 1 where contact-bridge failed or took more memory than it may, else 0: speed is printed, never judged."""
    asked = arguments(given)
    taking_part = (BRIDGE, *(PEERS[name] for name in asked.peers))
    for name in dict.fromkeys(need for peer in taking_part for need in peer.needs):
        environments.bin_of(name)
    results: list[Result] = []
    failed: list[str] = []
    with databases.postgres_server() as postgres_url:
        for scenario in SCENARIOS:
            if asked.scenarios and scenario.name not in asked.scenarios:
                continue
            with served(scenario.size.times(asked.scale)) as server:
                about = surroundings(server, scenario, asked)
                told = "; ".join(f"{key}: {value}" for key, value in about.items())
                print(f"\n{scenario.title}: {told}", flush=True)
                own = everybody(scenario, taking_part, server, postgres_url, asked, failed)
            results += own
            report.write(asked.out, scenario, about, own)
    plot = str(ROOT / "benchmarks" / "peers" / "plot.py")
    subprocess.run([environments.python("plot"), plot, str(asked.out / "results.json")], check=True)
    print(f"\nWritten to {asked.out}. Failed: {', '.join(failed) or 'nobody'}.")
    heavy = any(each.memory > MEMORY.wanted for each in results if each.contestant == BRIDGE.name)
    return 1 if heavy or BRIDGE.name in failed else 0


def surroundings(server: Served, scenario: Scenario, asked: argparse.Namespace) -> dict[str, Any]:
    """When, where and on what, and how fast the server is by itself."""
    server.pace(scenario.latency_ms)
    pages, records = (400 if scenario.latency_ms else 4_000), min(100, server.size.contacts)
    speed, cpu = server.pages_per_second(pages), server.count()["server_cpu"] / pages
    return {
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "records": f"{server.size.records:,}",
        "latency": f"{scenario.latency_ms:g} ms",
        "limit": f"{asked.requests_per_second:g} requests/s" if asked.requests_per_second else "none",
        "server alone": f"{speed:,.0f} pages/s, {speed * records:,.0f} records/s, {cpu * 1e6:.0f} µs of its CPU a page",
    }


def everybody(
    scenario: Scenario, taking_part: Sequence[Contestant], server: Served, postgres_url: str,
    asked: argparse.Namespace, failed: list[str],
) -> list[Result]:  # fmt: skip
    """All rounds on all databases. Who fails is told, and named in `failed`."""
    results: list[Result] = []
    for turn in range(min(asked.rounds, scenario.rounds)):
        for kind in asked.databases:
            for contestant in in_turn(scenario, taking_part, kind, turn):
                try:
                    result = running.measured(
                        scenario, contestant, kind, server, postgres_url, turn, asked.requests_per_second
                    )
                except Failed as error:
                    failed.append(contestant.name)
                    print(f"FAILED: {scenario.name}, {kind}, {contestant.name}: {error}", flush=True)
                    continue
                results.append(result)
                told = f"{result.wall:.1f} s, {result.cpu:.1f} s of CPU, {result.memory:.0f} MB"
                print(f"round {turn + 1}: {kind}, {contestant.name}: {told}", flush=True)
    for kind in asked.databases:
        own = [each for each in results if each.kind == kind]
        print("\n".join(["", kind, *report.table(own), *report.bars(scenario, kind, own)]), flush=True)
    return results


def in_turn(scenario: Scenario, taking_part: Sequence[Contestant], kind: str, turn: int) -> list[Contestant]:
    """Everybody, and every other round the other way about, so that a noisy minute hits all alike."""
    present = [each for each in taking_part if each in scenario.commands and kind in each.kinds]
    return present if turn % 2 == 0 else present[::-1]


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no database server is left behind
    raise SystemExit(main())
