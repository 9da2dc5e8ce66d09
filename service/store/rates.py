"""What the processes of one mirror share about a platform: its rate, when it wants to be left alone, and how many
records one request may hold."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update

from service.errors import DatabaseUnavailable, OutcomeUnknown, PlatformError, ServerFailed, TooLarge
from service.store import cursors
from service.store import tables as t
from service.store.database import Database
from service.store.mirror import insert

AHEAD = timedelta(seconds=60)
"""A row from further in the future was written by a clock that was wrong, and counts for nothing."""


class SharedBucket:
    """The rate of one account, dealt out to processes in spans of time that never overlap.

    So all of them together stay within the rate, but for one span at either end of any stretch of time. `now` is the
    local clock; those of several machines should agree.
    """

    def __init__(self, db: Database, platform: str, now: Callable[[], datetime]) -> None:
        self.db, self.platform, self.now = db, platform, now

    async def reserve(self, seconds: float) -> tuple[float, bool]:
        """The next `seconds` of the rate. -> (seconds until they begin, False); (seconds until the pause ends, True)
        where the platform wants to be left alone, and nothing was reserved"""
        self._require()
        now = self.now()  # not later: what begins is never earlier than on record
        return await self.db.run(lambda conn: reserve(conn, self.platform, timedelta(seconds=seconds), now))

    async def pause(self, seconds: float) -> None:
        self._require()
        until = self.now() + timedelta(seconds=seconds)
        await self.db.run(lambda conn: pause(conn, self.platform, until, self.now()))

    def _require(self) -> None:
        """A database that is not there yet is not made by asking."""
        if self.db.file is not None and not self.db.file.exists():
            raise DatabaseUnavailable(f"{self.db.name}: not there yet")


def reserve(conn: Connection, platform: str, span: timedelta, now: datetime) -> tuple[float, bool]:
    taken_until, paused_until = _locked(conn, platform, now)
    if paused_until > now:
        return (paused_until - now).total_seconds(), True
    begins = max(now, taken_until)
    _write(conn, platform, begins + span, paused_until, now)
    return (begins - now).total_seconds(), False


def pause(conn: Connection, platform: str, until: datetime, now: datetime) -> None:
    taken_until, paused_until = _locked(conn, platform, now)
    _write(conn, platform, taken_until, max(until, paused_until), now)


def _locked(conn: Connection, platform: str, now: datetime) -> tuple[datetime, datetime]:
    """(taken until, paused until), for this transaction alone."""
    blank = {"platform": platform, "taken_until": now, "updated_at": now}
    conn.execute(insert(conn, t.rates).on_conflict_do_nothing(), blank)
    row = conn.execute(select(t.rates).where(t.rates.c.platform == platform).with_for_update()).mappings().one()
    if row["updated_at"] > now + AHEAD:
        return now, now
    return row["taken_until"], row["paused_until"] or now


def _write(conn: Connection, platform: str, taken_until: datetime, paused_until: datetime, now: datetime) -> None:
    values = {"taken_until": taken_until, "paused_until": paused_until, "updated_at": now}
    conn.execute(update(t.rates).where(t.rates.c.platform == platform).values(values))


def batch_size(conn: Connection, platform: str, most: int) -> int:
    """How many records the next request should hold, at most."""
    kept = cursors.fact(conn, f"{platform}.batch_size")
    return min(most, int(kept)) if kept else most


def batch_failed(conn: Connection, platform: str, records: int, error: PlatformError) -> None:
    """Half of so many `records` from now on, where the request may have been too large or may have taken too long."""
    unclear = isinstance(error, OutcomeUnknown) or (isinstance(error, ServerFailed) and error.status != 503)
    if records > 1 and (unclear or isinstance(error, TooLarge)):
        half = batch_size(conn, platform, records) // 2
        cursors.set_fact(conn, f"{platform}.batch_size", str(max(1, half)))


def batch_passed(conn: Connection, platform: str, records: int, most: int) -> None:
    """A full batch got through: a tenth more, up to `most`, where nothing is on record any longer."""
    size = batch_size(conn, platform, most)
    if size == most or records < size:
        return
    size += max(1, size // 10)
    if size < most:
        cursors.set_fact(conn, f"{platform}.batch_size", str(size))
    else:
        cursors.forget_fact(conn, f"{platform}.batch_size")
