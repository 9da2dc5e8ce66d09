"""The simulator bites: each law, broken on purpose, is seen to be broken within a few worlds."""

from __future__ import annotations

import pytest

from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.world import simulate

WORLDS = 12


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: f"{each.law}: {each.what}")
def test_a_broken_law_is_seen(mutation: Mutation) -> None:
    found = []
    for seed in range(mutation.seed, mutation.seed + WORLDS):
        outcome = simulate(seed, mutate=mutation.patch, rough=mutation.rough)
        if outcome.law == mutation.law:
            return
        found.append(outcome.broken)
    raise AssertionError(f"{mutation.what}: not seen in {WORLDS} worlds: {found}")


def test_every_law_has_its_mutation() -> None:
    assert {mutation.law for mutation in MUTATIONS} == set(range(1, 13))
