"""What is told, and when: once when it has lasted, and once when it is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.alerts.judging import Row, judge
from service.alerts.problems import Problem

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
AFTER = 5 * MINUTE


class Record:
    """What `look` keeps of it in the mirror."""

    def __init__(self, after: timedelta = AFTER) -> None:
        self.rows: dict[str, Row] = {}
        self.after = after
        self.told: list[tuple[str, str]] = []

    def look(self, minute: float, *problems: Problem) -> list[tuple[str, str]]:
        verdict = judge(self.rows.values(), problems, NOW + minute * MINUTE, self.after)
        self.rows |= {row["key"]: row for row in verdict.keep}
        for key in verdict.forget:
            del self.rows[key]
        told = [("degraded", row["key"]) for row in verdict.begun] + [("recovered", row["key"]) for row in verdict.over]
        self.told += told
        assert verdict.open == sum(row["told_at"] is not None for row in self.rows.values())
        return told


def wrong(minute: float = 0, key: str = "run:contacts", **more: Any) -> Problem:
    return Problem(key, "contacts does not get through", NOW + minute * MINUTE, "contact-bridge status", **more)


def test_what_lasts_is_told_once_and_so_is_its_end() -> None:
    record = Record()
    assert record.look(0, wrong()) == []
    assert record.look(4.9, wrong()) == []
    assert record.look(5, wrong()) == [("degraded", "run:contacts")]
    assert record.look(6, wrong()) == record.look(600, wrong()) == []
    assert record.look(601) == record.look(605) == []
    assert record.look(606) == [("recovered", "run:contacts")]
    assert record.look(607) == [] and not record.rows


def test_what_comes_and_goes_is_not_told() -> None:
    record = Record()
    for minute in range(0, 60, 4):
        assert record.look(minute, wrong(minute)) == []
        assert record.look(minute + 2) == []
    assert not record.rows


def test_what_goes_and_comes_back_at_once_is_not_over() -> None:
    record = Record()
    record.look(5, wrong())
    for minute in range(10, 60, 4):
        assert record.look(minute) == record.look(minute + 2, wrong(minute + 2)) == []


def test_what_is_urgent_is_told_at_once() -> None:
    assert Record().look(0, wrong(urgent=True)) == [("degraded", "run:contacts")]


def test_what_lasted_before_anybody_looked_is_told_at_the_first_look() -> None:
    assert Record().look(0, wrong(-60)) == [("degraded", "run:contacts")]


def test_a_command_that_ends_waits_for_nothing() -> None:
    record = Record(timedelta())
    assert record.look(0, wrong()) == [("degraded", "run:contacts")]
    assert record.look(1, wrong()) == []
    assert record.look(2) == [("recovered", "run:contacts")]


KEYS = st.sets(st.sampled_from(["a", "b", "c"]))


@given(st.lists(st.tuples(st.floats(0.1, 7), KEYS, st.booleans()), max_size=30))
def test_degraded_and_recovered_take_turns(looks: list[tuple[float, set[str], bool]]) -> None:
    record, minute = Record(), 0.0
    for step, keys, urgent in looks:
        minute += step
        record.look(minute, *(wrong(minute, key, urgent=urgent) for key in sorted(keys)))
    for key in "abc":
        events = [event for event, of in record.told if of == key]
        assert events == ["degraded", "recovered"] * (len(events) // 2) + ["degraded"] * (len(events) % 2)
