"""What became of pushes: counted in the transaction that settles them, and told in the log batch by batch."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from service import telemetry
from service.core.records import Platform
from service.load.queue import Row
from service.store import tallies
from service.store.database import Connection
from service.store.outbox import Lane

_log = structlog.get_logger()

LINE = 500
"""So many pushes that leave one by one make a batch."""
Became = Counter[tuple[str, str]]
"""How many pushes, by operation and status."""


class Batches:
    """Those of one lane of one platform, in one run. `size`: so many pushes at least make a batch, but for the last."""

    def __init__(self, platform: Platform, lane: Lane, now: Callable[[], datetime], size: int) -> None:
        self._platform, self._lane, self._now, self._size = platform, lane, now, size
        self._became: Became = Counter()
        self._began: float | None = None

    def begin(self) -> None:
        """A push leaves."""
        if self._began is None:
            self._began = asyncio.get_running_loop().time()

    def count(self, conn: Connection, rows: Sequence[Row]) -> Became:
        """Pushes that were tried, and are settled by now in this transaction."""
        ids = [row["id"] for row in rows]
        if self._lane is Lane.OPT_OUT:
            tallies.opted_out(conn, ids, self._now())
        return tallies.answered(conn, ids)

    def add(self, became: Became) -> None:
        """What `count` has found, once it is on record."""
        self._became.update(became)
        if self._became.total() >= self._size:
            self.tell()

    def tell(self) -> None:
        """One line, unless there is nothing to tell."""
        became, self._became = self._became, Counter()
        began, self._began = self._began, None
        if not became:
            return
        seconds = 0.0 if began is None else asyncio.get_running_loop().time() - began
        by_status: Counter[str] = Counter()
        for (_, status), number in became.items():
            by_status[status] += number
        operations = ", ".join(sorted({operation for operation, _ in became}))
        said: dict[str, str | int] = {
            "platform": self._platform.value, "lane": self._lane.name.lower(), "operation": operations,
            "size": became.total(), **by_status,
        }  # fmt: skip
        _log.info("push batch", **said, seconds=round(seconds, 3))
        telemetry.happened("push batch", seconds, **said)
