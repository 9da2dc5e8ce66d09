"""Contract section 5: the brake."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.guard import Limits, Load, Ruling, rule
from tests.core.making import NOON

LIMITS = Limits(max_changed_share=0.30, max_changed_count=50, hold_opt_outs_for=timedelta(hours=24))
HOUR = timedelta(hours=1)


def ruling(changed: int, linked: int, limits: Limits = LIMITS, **of) -> Ruling:
    return rule(Load(linked, changed, of.pop("opted_out", 0)), limits, held_since=of.get("since"), now=NOON)


@pytest.mark.parametrize(
    ("changed", "linked", "held"),
    [
        (50, 50, False),  # exactly the count, whatever the share
        (50, 100, False),
        (51, 170, False),  # exactly the share
        (51, 169, True),
        (60, 200, False),  # exactly the share
        (61, 200, True),
        (300, 1000, False),
        (301, 1000, True),
        (51, 51, True),
        (0, 0, False),
        (0, 1000, False),
    ],
)
def test_held_is_what_is_more_than_the_share_and_more_than_the_count(changed, linked, held):
    assert ruling(changed, linked).hold is held


@given(st.integers(1, 100), st.integers(1, 40), st.integers(0, 60))
def test_exactly_the_limit_passes_and_one_more_does_not(percent, hundreds, count):
    """No share is rounded to the wrong side."""
    limits = Limits(percent / 100, count, timedelta(0))
    linked, exactly = hundreds * 100, percent * hundreds
    assert not ruling(exactly, linked, limits).hold
    if exactly < linked:
        assert ruling(exactly + 1, linked, limits).hold == (exactly + 1 > count)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500))
def test_more_changes_are_never_treated_more_kindly(changed, more, linked):
    if ruling(changed, linked).hold:
        assert ruling(changed + more, linked).hold


def test_a_limit_of_everything_holds_nothing():
    assert not ruling(1000, 1000, Limits(1.0, 0, HOUR)).hold


def test_a_limit_of_nothing_holds_everything():
    assert ruling(1, 1000, Limits(0.0, 0, HOUR)).hold
    assert not ruling(0, 1000, Limits(0.0, 0, HOUR)).hold


def test_the_reason_names_the_numbers_and_the_limits():
    reason = ruling(80, 200).reason
    assert reason == "80 of 200 linked people would change (limits: 50 people and 30%)"
    assert ruling(80, 200, opted_out=9).reason.startswith("80 of 200 linked people would change, 9 of them by an opt")
    assert ruling(10, 200).reason == ""


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), st.integers(0, 100), st.integers(-9, 9))
def test_an_opt_out_is_a_change_like_any_other_until_it_has_waited(changed, out, linked, percent, hours):
    """Which of the changes are opt-outs decides nothing but when those leave."""
    out, limits = min(out, changed), Limits(percent / 100, 20, 4 * HOUR)
    with_them = ruling(changed, linked, limits, opted_out=out, since=NOON + hours * HOUR)
    assert with_them.hold == ruling(changed, linked, limits).hold
    assert with_them.release_opt_outs == (with_them.hold and hours <= -4)
    assert ("opt-out" in with_them.reason) == (with_them.hold and out > 0)


@pytest.mark.parametrize(
    ("since", "released"),
    [
        (None, False),
        (NOON, False),
        (NOON - 24 * HOUR + timedelta(seconds=1), False),
        (NOON - 24 * HOUR, True),
        (NOON - 99 * HOUR, True),
    ],
)
def test_held_opt_outs_go_out_when_they_have_waited_long_enough(since, released):
    decided = ruling(80, 200, since=since, opted_out=80)
    assert decided.hold, "all else goes on waiting"
    assert decided.release_opt_outs is released


def test_what_passes_has_nothing_to_release():
    assert not ruling(10, 200, since=NOON - 99 * HOUR).release_opt_outs
