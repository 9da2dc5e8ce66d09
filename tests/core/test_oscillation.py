"""What counts as a field that two writers keep turning back, and what never does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from service.core.oscillation import LIMIT, Carry, reason, turns
from service.core.records import Native, Platform
from tests.core.making import DO, MAPPING, NOON, OV

CITY, PHONE = MAPPING.by_name["city"], MAPPING.by_name["phone"]


def carry(source: Platform | None, old: Native, new: Native, minute: int = 0) -> Carry:
    return Carry(source, old, new, None, NOON + timedelta(minutes=minute))


def city(value: Native) -> str:
    return MAPPING.key(CITY, value)


def flips(count: int, first: Platform = OV) -> list[Carry]:
    """Rome -> Oslo, Oslo -> Rome, and so on, each from the other side."""
    sides, values = (first, first.other), ("Rome", "Oslo")
    return [carry(sides[n % 2], values[n % 2], values[(n + 1) % 2], n) for n in range(count)]


@given(st.integers(0, 8), st.sampled_from(Platform))
def test_every_flip_between_two_sides_counts(count, first):
    *history, coming = flips(count + 1, first)
    assert turns(history, coming, city) == tuple(history)


def test_what_came_before_the_flips_does_not_count():
    history = [carry(DO, "", "Bern"), carry(OV, "Bern", "Rome"), *flips(2)]
    assert turns(history, flips(3)[-1], city) == tuple(flips(2))


@given(st.lists(st.sampled_from(Platform), min_size=1, max_size=8))
def test_ever_new_values_never_count(sources):
    history = [carry(source, f"City {n}", f"City {n + 1}", n) for n, source in enumerate(sources)]
    assert turns(history[:-1], history[-1], city) == ()


@given(st.integers(1, 8), st.sampled_from(Platform))
def test_one_side_that_changes_its_mind_never_counts(count, side):
    history = [carry(side, each.old, each.new) for each in flips(count + 1)]
    assert turns(history[:-1], history[-1], city) == ()


@given(st.integers(1, 8), st.data())
def test_an_undo_begins_the_count_anew(count, data):
    *history, coming = flips(count + 1)
    undone = data.draw(st.integers(0, count - 1))
    history[undone] = carry(None, history[undone].old, history[undone].new)
    assert turns(history, coming, city) == tuple(history[undone + 1 :])


def test_values_are_compared_by_what_they_mean():
    def phone(value: Native) -> str:
        return MAPPING.key(PHONE, value, "US")

    history = [
        carry(OV, "(415) 555-0101", "+14155550102"), carry(DO, "415 555 0102", "+14155550101"),
        carry(OV, "4155550101", "(415) 555-0102"),
    ]  # fmt: skip
    assert len(turns(history, carry(DO, "+14155550102", "4155550101"), phone)) == LIMIT
    assert turns(history, carry(DO, "+14155550102", "+14155550103"), phone) == ()


FLIP, FLOP = flips(2)
CARRIES = st.sampled_from(
    [FLIP, FLOP] * 3 + [carry(DO, "Rome", "Oslo"), carry(None, "Rome", "Oslo"), carry(OV, "", "Rome")]
)


def flip(before: Carry, after: Carry) -> bool:
    """Once more, said in another way."""
    return {before.source, after.source} == {OV, DO} and (before.old, before.new) == (after.new, after.old)


@given(st.lists(CARRIES, max_size=8), CARRIES)
def test_a_run_is_the_longest_end_of_the_history_that_alternates(history, coming):
    run = turns(history, coming, city)
    event(f"{len(run)} long")
    start = len(history) - len(run)
    assert list(run) == history[start:]
    assert all(flip(before, after) for before, after in zip(run, (*run, coming)[1:], strict=True))
    if start:
        assert not flip(history[start - 1], (*run, coming)[0])


@pytest.mark.parametrize("first", Platform)
def test_the_reason_names_both_writers_with_times_and_no_value(first):
    *history, coming = flips(LIMIT + 1, first)
    told = reason(history, coming)
    assert "onvoard (last at 2026-01-31T12:0" in told
    assert "digital_onboarding (last at 2026-01-31T12:0" in told
    assert "12:03:00Z" in told
    assert told.endswith("3 times since 2026-01-31T12:00:00Z")
    assert "Rome" not in told
    assert "Oslo" not in told
