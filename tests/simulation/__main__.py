"""`make simulate SEEDS=1000 [SEED=17]`: worlds on two cores; the seeds of those in which a law broke, and exit 1.

With SEED, only that world, with its trace. Without, the seeds are fresh ones, and printed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial

from tests.simulation.world import Outcome, simulate

WORKERS = 2
REPLAY = "make simulate SEED={}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many worlds")
    parser.add_argument("--first", type=int, help="the first of their seeds, which follow each other")
    parser.add_argument("--seed", type=int, help="this world alone, with its trace")
    parser.add_argument("--restores", action="store_true", help="backups of the mirror are made, and brought back")
    asked = parser.parse_args()
    if asked.seed is not None:
        return _one(asked.seed, asked.restores)
    first = asked.first if asked.first is not None else secrets.randbelow(10**9)
    seeds = range(first, first + asked.seeds)
    print(f"{asked.seeds} worlds, seeds {seeds[0]} to {seeds[-1]}", flush=True)
    return _many(seeds, asked.restores)


def _one(seed: int, restores: bool) -> int:
    outcome = simulate(seed, keep_trace=True, restores=restores)
    print("\n".join(outcome.trace))
    print(f"seed {seed}: {outcome.broken or 'every law holds'} ({outcome.digest}, {outcome.figures})")
    return 1 if outcome.broken else 0


def _many(seeds: range, restores: bool) -> int:
    began, done, broken = time.monotonic(), 0, 0
    told: Counter[str] = Counter()
    for outcome in _played(seeds, restores):
        done += 1
        told.update(outcome.figures)
        if outcome.broken:
            broken += 1
            _clear()
            how = " ARGS=--restores" if restores else ""
            print(f"seed {outcome.seed}: {outcome.broken}\n    {REPLAY.format(outcome.seed)}{how}", flush=True)
        if sys.stdout.isatty():
            print(f"\r{done} of {len(seeds)} worlds, {broken} broken", end="", flush=True)
    _clear()
    minutes = (time.monotonic() - began) / 60
    print(f"{done} worlds in {minutes:.1f} minutes ({done / minutes / WORKERS:.0f} a minute and core), {broken} broken")
    print(
        f"simulated: {told['hours'] / 24:.0f} days, {told['requests']} requests, {told['runs']} commands,"
        f" {told['kills']} kills, {told['failed']} failed commands"
    )
    return 1 if broken else 0


def _played(seeds: range, restores: bool) -> Iterator[Outcome]:
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        yield from pool.imap_unordered(partial(simulate, restores=restores), seeds, chunksize=4)


def _clear() -> None:
    if sys.stdout.isatty():
        print("\r\x1b[K", end="")


if __name__ == "__main__":
    sys.exit(main())
