"""What a sample says about the whole: a share, with the interval that holds it 95 times out of 100."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True, slots=True)
class Share:
    """`value` of what was looked at; of the whole it lies between `low` and `high`."""

    value: float
    low: float
    high: float


def share(wrong: int, checked: int, population: int) -> Share:
    """The share that is wrong, where `wrong` of `checked` are, drawn evenly and without repetition from `population`.

    Wilson's interval, which also holds near 0 and 1; for a finite population as if its sample were larger, up to
    infinitely large where everything was looked at. It never says less than is known for certain.
    """
    population = max(population, checked)
    if not checked:
        return Share(0.0, 0.0, 1.0 if population else 0.0)
    value = wrong / checked
    if checked == population:
        return Share(value, value, value)
    size = checked * (population - 1) / (population - checked)
    middle = (value + _Z**2 / (2 * size)) / (1 + _Z**2 / size)
    half = _Z / (1 + _Z**2 / size) * sqrt(value * (1 - value) / size + _Z**2 / (4 * size**2))
    found, right = wrong / population, (checked - wrong) / population
    low, high = max(found, middle - half), min(1 - right, middle + half)
    return Share(value, min(low, value), max(high, value))
