"""The time that both emulated platforms live by: the real one, shifted."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime


class Clock:
    """Real time plus an offset in seconds. Thread-safe.

    Tests move it to date the edits they make; `Date` headers, token expiry and all stored times follow it.
    """

    def __init__(self) -> None:
        self._offset = timedelta(0)
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The current time of the sandbox: aware, UTC, with microseconds."""
        with self._lock:
            return datetime.now(UTC) + self._offset

    def advance(self, seconds: float) -> None:
        """Move the time forwards (or backwards, for a negative number) by so many seconds."""
        with self._lock:
            self._offset += timedelta(seconds=seconds)

    def set(self, moment: datetime) -> None:
        """Make it `moment` (aware) now; time goes on from there."""
        with self._lock:
            self._offset = moment.astimezone(UTC) - datetime.now(UTC)

    def reset(self) -> None:
        """Back to the real time."""
        with self._lock:
            self._offset = timedelta(0)


def iso_micro(moment: datetime | None) -> str | None:
    """`2021-12-23T03:40:40.495545Z`, or None."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def iso_seconds(moment: datetime) -> str:
    """`2021-12-20T07:56:03Z`."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def http_date(moment: datetime) -> str:
    """`Sun, 06 Nov 1994 08:49:37 GMT`, as HTTP headers want it."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def parse_iso(text: str) -> datetime:
    """An ISO 8601 text as an aware datetime (UTC where it names no zone). Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
