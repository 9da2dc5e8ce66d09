"""A few whole worlds; those that once found something; and that a seed is all that a world is."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.simulation.seeds import REGRESSIONS
from tests.simulation.world import simulate

WORLDS = 6


def test_worlds_keep_every_law(record_property: Callable[[str, object], None]) -> None:
    first = secrets.randbelow(10**9)
    record_property("told", f"simulated worlds: make simulate SEEDS={WORLDS} ARGS='--first {first}'")
    for seed in range(first, first + WORLDS):
        outcome = simulate(seed)
        assert outcome.broken is None, f"make simulate SEED={seed}: {outcome.broken}"
        assert outcome.figures["hours"] >= 24


@pytest.mark.parametrize("seed", [19, 105])  # they found something once
def test_worlds_in_which_backups_are_brought_back_keep_every_law(seed: int) -> None:
    for each in (seed, secrets.randbelow(10**9)):
        outcome = simulate(each, restores=True)
        assert outcome.broken is None, f"make simulate SEED={each} ARGS=--restores: {outcome.broken}"


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_what_a_world_once_found_stays_found(seed: int) -> None:
    outcome = simulate(seed)
    assert outcome.broken is None, f"make simulate SEED={seed} ({REGRESSIONS[seed]}): {outcome.broken}"


def test_one_seed_is_one_trace_in_every_process() -> None:
    seed = secrets.randbelow(10**9)
    print(f"seed {seed}")
    code = f"from tests.simulation.world import simulate; print(simulate({seed}).digest)"
    told = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": hash_seed}, text=True, check=True,
            capture_output=True, cwd=Path(__file__).parents[2],
        ).stdout
        for hash_seed in ("1", "2")
    }  # fmt: skip
    assert told == {f"{simulate(seed).digest}\n"}
