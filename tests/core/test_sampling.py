"""Shares and their intervals."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.sampling import Share, share


@st.composite
def samples(draw: st.DrawFn) -> tuple[int, int, int]:
    population = draw(st.integers(1, 10_000_000))
    checked = draw(st.integers(1, min(population, 100_000)))
    return draw(st.integers(0, checked)), checked, population


@given(samples())
def test_the_interval_holds_the_share_and_what_is_known_for_certain(sample: tuple[int, int, int]) -> None:
    wrong, checked, population = sample
    found = share(wrong, checked, population)
    assert found.value == wrong / checked
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low >= wrong / population - 1e-12
    assert found.high <= 1 - (checked - wrong) / population + 1e-12


@given(samples(), st.integers(2, 20))
def test_more_of_the_same_narrows_it(sample: tuple[int, int, int], times: int) -> None:
    wrong, checked, population = sample
    population = max(population, checked * times)
    few, many = share(wrong, checked, population), share(wrong * times, checked * times, population)
    assert many.low >= few.low - 1e-12 and many.high <= few.high + 1e-12
    assert many.high - many.low < few.high - few.low


@given(samples(), st.integers(2, 1000))
def test_the_same_sample_says_less_about_a_larger_whole(sample: tuple[int, int, int], times: int) -> None:
    wrong, checked, population = sample
    small, large = share(wrong, checked, population), share(wrong, checked, population * times)
    assert large.low <= small.low + 1e-12 and large.high >= small.high - 1e-12


@given(samples())
def test_it_does_not_matter_which_of_two_shares_is_asked_for(sample: tuple[int, int, int]) -> None:
    wrong, checked, population = sample
    one, other = share(wrong, checked, population), share(checked - wrong, checked, population)
    assert (one.low, one.high) == (pytest.approx(1 - other.high), pytest.approx(1 - other.low))


@given(st.integers(1, 1000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_what_was_looked_at_whole_is_exact(sample: tuple[int, int]) -> None:
    wrong, population = sample
    assert share(wrong, population, population) == Share(wrong / population, wrong / population, wrong / population)


def test_nothing_was_looked_at() -> None:
    assert share(0, 0, 0) == Share(0, 0, 0)
    assert share(0, 0, 10) == Share(0, 0, 1)


def test_wilson() -> None:
    """Known figures: 10 of 100, and 0 of 200, of a whole without end."""
    found, none = share(10, 100, 10**12), share(0, 200, 10**12)
    assert (found.low, found.high) == (pytest.approx(0.0552, abs=1e-4), pytest.approx(0.1744, abs=1e-4))
    assert (none.low, none.high) == (0, pytest.approx(0.0188, abs=1e-4))


def test_a_sample_that_is_most_of_it_says_more() -> None:
    """200 of 250 leave open what the other 50 are."""
    endless, most = share(60, 200, 10**12), share(60, 200, 250)
    assert (most.high - most.low) / (endless.high - endless.low) == pytest.approx((50 / 249) ** 0.5, rel=0.03)


@pytest.mark.parametrize("population", [250, 2_000, 1_000_000])
@pytest.mark.parametrize("truth", [0.01, 0.05, 0.3, 0.9])
def test_it_holds_the_truth_as_often_as_it_says(population: int, truth: float) -> None:
    """A share comes in whole records, so that one figure may lie a little below 95 %."""
    dice = random.Random(17)
    wrong = round(population * truth)
    draws = [sum(each < wrong for each in dice.sample(range(population), 200)) for _ in range(1_000)]
    intervals = [share(found, 200, population) for found in draws]
    held = sum(each.low <= wrong / population <= each.high for each in intervals)
    assert held >= 930
