"""What only this process knows of its requests to the platforms: counted where they are made, read by `/metrics`."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds: the upper ends of the buckets of `Requests.lasted`, which has one more for what takes longer."""


@dataclass(slots=True)
class Requests:
    """One platform's, since this process began. Times are in seconds."""

    attempts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By call, and status code or kind of failure."""
    retries: int = 0
    lasted: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    lasted_sum: float = 0.0
    queued: float = 0.0
    """Spent by requests in the queue before they left, all of them together."""
    paused: float = 0.0
    """For which the platform has asked to be left alone."""

    def attempted(self, call: str, outcome: int | str, seconds: float, *, again: bool) -> None:
        self.attempts[call, str(outcome)] += 1
        self.retries += again
        self.lasted[bisect_left(BOUNDS, seconds)] += 1
        self.lasted_sum += seconds
