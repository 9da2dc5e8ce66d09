"""A few whole worlds; those that once found something; and that a seed is all that a world is. Fresh seeds are for
`make simulate`, as long as they still find what is not mended yet (docs/reliability.md)."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.seeds import REGRESSIONS
from tests.simulation.world import simulate


@pytest.mark.parametrize("seed", range(5000, 5004))
def test_a_world_keeps_every_law(seed: int) -> None:
    outcome = simulate(seed)
    assert outcome.broken is None, f"make simulate SEED={seed}: {outcome.broken}"
    assert outcome.figures["hours"] >= 24


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
