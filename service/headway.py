"""How far a run is, told to other processes: what it is at, what it has done, and how fast, in its row of `runs`."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

from service.errors import DatabaseError
from service.progress import Progress, Silent
from service.store import health
from service.store.database import Connection, Database

EVERY = 1.0
"""Seconds between two words, where there is anything to tell."""
AT_LEAST = 15.0
"""Seconds after which it says that it is still there, whatever it is at."""
DEAD_AFTER = timedelta(minutes=2)
"""A run that has said nothing for so long is nobody's any more."""
LATELY = 12
"""So many samples, of ten seconds each, are what a pace is taken from."""
_SAMPLE = 10.0


class Headway:
    """A run's `Progress`; passes on to another one, which may end the run."""

    def __init__(self, passed_on: Progress | None = None) -> None:
        self._passed_on = passed_on or Silent()
        self._at = "beginning"
        self._done: Counter[str] = Counter()
        self._shares: dict[str, float] = {}
        self._samples: deque[tuple[float, dict[str, float]]] = deque(maxlen=LATELY)

    def advance(self, stream: str, records: int) -> None:
        self._at = stream
        self._done[stream] += records
        self._passed_on.advance(stream, records)

    def begin(self, what: str) -> None:
        """A step that counts nothing."""
        self._at = what

    @asynccontextmanager
    async def told(self, db: Database, run_id: int, now: Callable[[], datetime]) -> AsyncIterator[None]:
        """While the block runs. In transactions of its own: what it says decides nothing, and may get lost."""
        telling = asyncio.create_task(self._tell(db, run_id, now))
        try:
            yield
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _tell(self, db: Database, run_id: int, now: Callable[[], datetime]) -> None:
        def tell(conn: Connection) -> None:
            rows = health.backfills(conn)
            self._shares = {row["stream"]: row["share"] for row in rows if row["share"] is not None}
            health.tell_progress(conn, run_id, self.figures(loop.time()), now())

        loop, told, at = asyncio.get_running_loop(), None, float("-inf")
        while True:
            await asyncio.sleep(EVERY)
            if (news := (self._at, self._done.total())) != told or loop.time() - at >= AT_LEAST:
                with suppress(DatabaseError):
                    await db.run(tell)
                told, at = news, loop.time()

    def figures(self, at: float) -> dict[str, Any]:
        """`per_second`: records of a stream, or shares of a backfill, over the last two minutes."""
        so_far = {**self._done, **{f"{name}.share": share for name, share in self._shares.items()}}
        if not self._samples or at - self._samples[-1][0] >= _SAMPLE or so_far.keys() - self._samples[-1][1].keys():
            self._samples.append((at, so_far))
        pace = {}
        for name, number in so_far.items():
            since, before = next((when, counts[name]) for when, counts in self._samples if name in counts)
            if at > since and number > before:
                pace[name] = round((number - before) / (at - since), 6)
        return {"at": self._at, "done": dict(self._done), "per_second": pace}
