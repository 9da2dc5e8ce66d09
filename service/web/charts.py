"""Charts as numbers for an SVG that the templates draw: no script, and no picture from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from service.store.health import ENDED_WELL

HOURS = 24
WIDTH, HEIGHT = 480, 120
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    value: int
    x: float
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars from the oldest to the newest hour. `name` is unique on its page."""

    name: str
    title: str
    unit: str
    bars: Sequence[Bar]
    width: float
    most: int


def hourly(runs: Sequence[Mapping[str, Any]], pulls: Iterable[str], now: datetime) -> list[Chart]:
    """Of runs, newest first: records read, pushes done, and the longest time without a good run of the same pull."""
    read, pushed = [0] * HOURS, [0] * HOURS
    for run in runs:
        if (hour := _hour(run["finished_at"], now)) is not None:
            counts = run["counts"] or {}
            read[hour] += _sum(counts.get("pulled"))
            pushed[hour] += _done(counts.get("pushed"))
    return [
        _chart("read", "Records read", "records", read, now),
        _chart("pushed", "Pushes done", "pushes", pushed, now),
        _chart("lag", "Longest wait for a pull that went well", "seconds", _waits(runs, set(pulls), now), now),
    ]


def _hour(at: datetime, now: datetime) -> int | None:
    """The place of a time among the bars."""
    place = HOURS - 1 - int((now - at) / _HOUR)
    return min(place, HOURS - 1) if place >= 0 else None


def _waits(runs: Sequence[Mapping[str, Any]], pulls: set[str], now: datetime) -> list[int]:
    """Each wait belongs to the hour in which it ended; one that lasts, to the last."""
    longest, later = [0] * HOURS, dict[str, datetime]()
    for run in runs:
        if run["kind"] not in pulls or run["outcome"] not in ENDED_WELL:
            continue
        until = later.get(run["kind"], now)
        if (hour := _hour(until, now)) is not None:
            longest[hour] = max(longest[hour], int((until - run["finished_at"]).total_seconds()))
        later[run["kind"]] = run["finished_at"]
    return longest


def _sum(counted: Any) -> int:
    """What a run has counted, by name or in one number."""
    if isinstance(counted, Mapping):
        return sum(_sum(each) for each in counted.values())
    return int(counted) if isinstance(counted, int | float) else 0


def _done(pushed: Any) -> int:
    """Of `platform.operation.status`, those that got through."""
    return _sum({name: n for name, n in pushed.items() if name.endswith(".done")} if isinstance(pushed, dict) else 0)


def _chart(name: str, title: str, unit: str, values: Sequence[int], now: datetime) -> Chart:
    most, step = max(values), WIDTH / len(values)
    bars = []
    for place, value in enumerate(values):
        height = round(HEIGHT * value / most, 1) if most else 0.0
        begins = now - _HOUR * (len(values) - place)
        bars.append(Bar(f"{begins:%H:%M}", value, round(place * step, 1), round(HEIGHT - height, 1), height))
    return Chart(name, title, unit, bars, round(step * 0.8, 1), most)
