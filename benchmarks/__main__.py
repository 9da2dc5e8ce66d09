"""`make bench`: contact-bridge and a plain script pull the same records from the same server, in turns.

    make bench ARGS="--quick"        a few seconds' worth, to see that it works
    make bench ARGS="--rounds 5"     more rounds, narrower figures

What the figures mean is in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Sequence

from benchmarks import bare, databases, peers, report
from benchmarks.peers import BRIDGE, PLAIN, Cost, World

KINDS = ("sqlite", "postgres")
MEMORY_MB = 250
"""The bridge's peak stays below it, whatever the number of records."""


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--contacts", type=int, default=100_000)
    parser.add_argument("--reviews", type=int, default=50_000)
    parser.add_argument("--activities", type=int, default=200_000)
    parser.add_argument("--latency-ms", type=float, default=0.0, help="how long the server lets each request wait")
    parser.add_argument("--rounds", type=int, default=2, help="how often everybody runs; medians are printed")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the records, one round")
    asked = parser.parse_args(given)
    if asked.quick:
        asked.rounds = 1
        asked.contacts, asked.reviews, asked.activities = (
            asked.contacts // 100, asked.reviews // 100, asked.activities // 100,
        )  # fmt: skip
    return asked


def main(given: Sequence[str] | None = None) -> int:
    """-> 1 where the bridge took more memory than it may, else 0: speed is printed, never judged."""
    asked = arguments(given)
    sizes = (asked.contacts, asked.reviews, asked.activities)
    tenth = (asked.contacts // 10, asked.reviews // 10, asked.activities // 10)
    print(f"Rendering {sum(sizes):,} records; {os.cpu_count()} cores, {asked.latency_ms:g} ms latency.", flush=True)
    with (
        peers.world(*sizes, asked.latency_ms) as world,
        peers.world(*tenth, asked.latency_ms) as small,
        databases.postgres_server() as postgres_url,
    ):
        speed = asyncio.run(bare.pages_per_second(world.url, max(200, asked.contacts // 100)))
        print(f"The server by itself, asked by a bare loop: {speed:,.0f} pages/s.\n", flush=True)
        costs = rounds(asked.rounds, world, postgres_url)
        print("\n" + report.table(costs) + "\n", flush=True)
        scaled = [(kind, peers.run(BRIDGE, kind, small, postgres_url)) for kind in KINDS]
    highest = 0.0
    for kind, little in scaled:
        much = max(cost.memory for cost in costs if (cost.peer, cost.kind) == (BRIDGE, kind))
        highest = max(highest, much, little.memory)
        print(f"{BRIDGE} on {kind}: peak {little.memory:.0f} MB at {little.records:,} records, "
              f"{much:.0f} MB at {world.records:,} ({much / little.memory:.2f} times)")  # fmt: skip
    kept = highest < MEMORY_MB
    print(f"Peak memory below {MEMORY_MB} MB: {'yes' if kept else 'NO'}")
    return 0 if kept else 1


def rounds(number: int, world: World, postgres_url: str) -> list[Cost]:
    """Everybody in turns, and every other round the other way about, so that a noisy minute hits all alike."""
    costs = []
    for turn in range(number):
        for kind in KINDS:
            for peer in (BRIDGE, PLAIN) if turn % 2 == 0 else (PLAIN, BRIDGE):
                cost = peers.run(peer, kind, world, postgres_url)
                costs.append(cost)
                print(f"round {turn + 1}: {kind}, {peer}: {cost.wall:.1f} s, {cost.speed:,.0f} records/s", flush=True)
    return costs


if __name__ == "__main__":
    raise SystemExit(main())
