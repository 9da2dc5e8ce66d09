"""How much a platform can take, learned from its answers: pure, every clock is the caller's.

All moments are in seconds, by one clock that never runs backwards. "Of one round trip" means: sent before the last
correction could have any effect, so that a burst of errors counts once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from service.errors import OutcomeUnknown, PlatformError, RateLimited, ServerFailed, Unreachable

FAILURES = 5
"""So many rounds in a row, and of so many requests, open the breaker: five attempts at one record that makes the
platform fail are not five failures of the platform."""
LONGEST = 6
"""The pause before a probe grows up to so many times the first one."""
EASE, HALVE = 0.9, 0.5
SLOW, NOTICEABLE = 3.0, 0.25
"""Answers are slow at three times the shortest time, and a quarter of a second above it: less may be our own doing."""
_SMOOTHING, _FORGETTING = 0.3, 1.01


def is_down(error: PlatformError) -> bool:
    """Whether the platform as a whole may be down; a 4xx, or nonsense with a status, says that somebody is there."""
    if isinstance(error, ServerFailed):
        return error.status not in (408, 425)
    return isinstance(error, Unreachable) or (isinstance(error, OutcomeUnknown) and error.status is None)


def is_overload(error: PlatformError) -> bool:
    """429, 503, 504, or no whole answer in time."""
    if isinstance(error, ServerFailed):
        return error.status in (503, 504)
    return isinstance(error, RateLimited) or (isinstance(error, OutcomeUnknown) and error.status is None)


@dataclass(slots=True)
class _Latency:
    shortest: float  # which is forgotten slowly: a platform may become slower for good
    recent: float


class Concurrency:
    """How many requests may be under way, between 1 and `most`: one more for a round of successes, half for an
    overload, a tenth less where answers become slow."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._corrected_at = float("-inf")
        self._latencies: dict[str, _Latency] = {}

    @property
    def limit(self) -> int:
        return int(self._limit)

    def answered(self, call: str, sent: float, at: float) -> None:
        """A success; calls differ in what they take, so each is measured by itself."""
        if self._is_slow(call, at - sent):
            self._cut(EASE, sent, at)
        else:
            self._limit = min(self._most, self._limit + 1 / self._limit)

    def overloaded(self, sent: float, at: float) -> None:
        self._cut(HALVE, sent, at)

    def begin_anew(self) -> None:
        self._limit = 1.0

    def _cut(self, factor: float, sent: float, at: float) -> None:
        if sent >= self._corrected_at:
            self._limit = max(1.0, self._limit * factor)
            self._corrected_at = at

    def _is_slow(self, call: str, seconds: float) -> bool:
        seen = self._latencies.setdefault(call, _Latency(seconds, seconds))
        seen.recent += (seconds - seen.recent) * _SMOOTHING
        seen.shortest = min(seconds, seen.shortest * _FORGETTING)
        return seen.recent > SLOW * seen.shortest + NOTICEABLE


class Breaker:
    """Opens when the platform is down, lets one request through after a pause, and closes with the first answer.

    `pause` is the first pause in seconds; it doubles with every probe that fails. `since` is when the first of the
    failures in a row was seen, None after an answer.
    """

    def __init__(self, pause: float, now: Callable[[], datetime]) -> None:
        self._first_pause, self._now = pause, now
        self.answered()

    def answered(self) -> None:
        self.since: datetime | None = None
        self._pause = self._first_pause
        self._until: float | None = None
        self._rounds = 0
        self._requests: set[int] = set()
        self._counted_at = float("-inf")

    def failed(self, request: int, sent: float, at: float) -> bool:
        """`request` tells the attempts at one request from those at another. -> whether it has opened now"""
        self.since = self.since or self._now()
        if len(self._requests) < FAILURES:
            self._requests.add(request)
        if sent < self._counted_at:  # of one round trip
            return False
        self._counted_at = at
        self._rounds += 1
        if self._until is not None:  # the probe
            self._pause = min(self._pause * 2, self._first_pause * LONGEST)
        elif self._rounds < FAILURES or len(self._requests) < FAILURES:
            return False
        self._until = at + self._pause
        return True

    def is_open(self, at: float) -> bool:
        """Nobody is let through."""
        return self._until is not None and at < self._until

    def is_half_open(self, at: float) -> bool:
        """One is let through, and the others wait for what becomes of it."""
        return self._until is not None and at >= self._until
