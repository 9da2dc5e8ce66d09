"""When it is a job's turn, and when it rests: what the settings say, and what it means on the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from service import jobs
from service.errors import SettingsError
from service.settings import Settings, load
from service.settings.turns import Cron

BERLIN, UTC_ZONE = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")


def loaded(**schedule: object) -> Settings:
    return load({f"schedule.{name}": value for name, value in schedule.items()}, environ={})


def refused(**schedule: object) -> str:
    with pytest.raises(SettingsError) as caught:
        loaded(**schedule)
    [problem] = caught.value.problems
    return problem


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_turn_is_an_interval_or_a_cron() -> None:
    schedule = loaded(contacts="15m", reviews="cron: 0 */2  * * mon-fri").schedule
    assert schedule.contacts == timedelta(minutes=15)
    assert schedule.reviews == Cron("0 */2 * * mon-fri")
    assert str(schedule.reviews) == "cron: 0 */2 * * mon-fri"
    assert schedule.intervals()["reviews"] == schedule.reviews


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("cron: 0 * * *", "five fields"),
        ("cron:", "five fields"),
        ("cron: 0 25 * * *", "is no cron"),
        ("cron: x * * * *", "is no cron"),
        ("cron: 0 9 * * 1-5", "name the days of the week"),
        ("cron: 0 9 31 2 *", "never comes"),
        ("0 9 * * *", "or a cron such as"),
        ("0s", "at least 1s"),
        (True, "must be a duration"),
    ],
)
def test_what_is_no_turn_is_refused_with_what_may_stand_there(value: object, why: str) -> None:
    problem = refused(contacts=value)
    assert problem.startswith("schedule.contacts (command line): ") and why in problem


def test_a_cron_goes_by_the_clock_on_the_wall() -> None:
    night = Cron("30 1 * * *")
    before = at("2026-10-24T12:00")  # the clock goes back on the 25th
    assert [each.astimezone(UTC).isoformat()[5:16] for each in islice(night.after(before, BERLIN), 2)] == [
        "10-24T23:30", "10-26T00:30",
    ]  # fmt: skip
    assert night.longest(at("2026-01-01T00:00"), UTC_ZONE) == timedelta(days=1)
    assert Cron("0 9 * * mon-fri").longest(at("2026-01-01T00:00"), UTC_ZONE) == timedelta(days=3)


@pytest.mark.parametrize(
    ("hours", "now", "end"),
    [
        ("22:00-06:00", "2026-03-01T21:59", None),
        ("22:00-06:00", "2026-03-01T22:00", "2026-03-02T06:00"),
        ("22:00-06:00", "2026-03-02T05:59", "2026-03-02T06:00"),
        ("22:00-06:00", "2026-03-02T06:00", None),
        ("9:00 - 17:30", "2026-03-02T17:29", "2026-03-02T17:30"),
        ("9:00-17:30", "2026-03-02T18:00", None),
    ],
)
def test_quiet_hours(hours: str, now: str, end: str | None) -> None:
    assert loaded(quiet_hours=hours).schedule.quiet_until(at(now)) == (at(end) if end else None)


def test_quiet_hours_are_those_of_their_time_zone_also_when_the_clock_goes_forward() -> None:
    schedule = loaded(quiet_hours="22:00-06:00", timezone="Europe/Berlin").schedule
    assert schedule.quiet_until(at("2026-03-28T20:59")) is None
    assert schedule.quiet_until(at("2026-03-28T21:00")) == at("2026-03-29T04:00")
    assert schedule.quiet_until(at("2026-03-29T04:00")) is None
    assert loaded(quiet_hours="").schedule.quiet_until(at("2026-03-28T23:00")) is None


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ({"quiet_hours": "22-6"}, "must be hours such as"),
        ({"quiet_hours": "24:00-06:00"}, "must be hours such as"),
        ({"quiet_hours": "06:00-06:00"}, "different times"),
        ({"quiet_hours": "22:00-06:00", "sweep_within": "8h"}, "shorter than schedule.sweep_within"),
        ({"timezone": "Europe/Nowhere"}, "must be a time zone"),
        ({"timezone": "../etc/passwd"}, "must be a time zone"),
        ({"jitter": 1.5}, "less than or equal to 1"),
    ],
)
def test_what_can_be_no_quiet_hours_is_refused(what: dict[str, Any], why: str) -> None:
    assert why in refused(**what)


def test_a_sweep_that_rests_keeps_its_limit_all_the_same() -> None:
    """What was read just before it is due again when the rest begins waits for its end, and for the work."""
    schedule = loaded(quiet_hours="22:00-06:00").schedule
    assert schedule.sweep_after == timedelta(hours=12)
    assert schedule.quiet_hours is not None
    assert schedule.sweep_after + schedule.quiet_hours.length < schedule.sweep_within
    assert schedule.sweep_peak == 3
    assert loaded().schedule.sweep_peak == 1


def passed(name: str, since: str, now: str, **schedule: object) -> int:
    return jobs.passed(loaded(**schedule), jobs.named(name), at(since), at(now))


def test_turns_that_have_passed_are_counted() -> None:
    day = ("2026-03-02T00:00", "2026-03-03T00:00")
    assert passed("contacts", *day, contacts="1h", jitter=0) == 24
    assert passed("contacts", *day, contacts="cron: 0 */6 * * *") == 4
    assert passed("contacts", "2026-03-02T00:00", "2026-03-02T01:05", contacts="1h") == 0, "it is only late"
    assert passed("verify", *day, verify="cron: 0 * * * *", quiet_hours="22:00-06:00") == 16, "in them it rests"
    assert passed("contacts", *day, contacts="cron: 0 * * * *", quiet_hours="22:00-06:00") == 24
    assert passed("verify", *day, verify="6h", jitter=0) == 4, "and not as often as it looks whether it is due"
    assert passed("contacts", "2020-01-01T00:00", *day[1:], contacts="1s") == jobs.MOST
