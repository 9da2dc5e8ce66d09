"""Pushes that leave one by one and are on their way side by side. Answers that arrive during a transaction are settled
together by the next one, which also takes the next pushes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service.load.batches import Batches, Became
from service.load.queue import Row
from service.store import outbox
from service.store.database import Connection, Database

TAKEN = 96
"""So many pushes at most are on record as sent and not settled: a killed process leaves as many unknown outcomes."""
ENOUGH = 32
"""So many answers are worth a transaction; and after so many failures in a row nobody else is tried."""
LINGER = 0.05
"""Seconds; so long an answer waits for others."""

Answered = Sequence[tuple[Row, Any]]
"""Rows, and what was answered to each, or the error."""


@dataclass(slots=True)
class _Settled:
    """What a transaction came to. `failed`: what is to be tried again, by target; `stop`: why nothing more leaves."""

    failed: dict[str, BaseException] = field(default_factory=dict)
    in_vain: int = 0
    stop: BaseException | None = None
    taken: list[Row] = field(default_factory=list)
    became: Became = field(default_factory=Counter)


class Flight:
    """One lane of one platform, for one run. What comes behind a failure of the same target waits with it, and nothing
    more leaves after an error that `stops` everybody.

    `take`: most, behind this row, not of these targets -> rows, on record as sent. `settle` -> what is to be tried
    again, by target.
    """

    def __init__(
        self,
        db: Database,
        now: Callable[[], datetime],
        take: Callable[[Connection, int, int, Collection[str]], list[Row]],
        push: Callable[[Row], Coroutine[Any, Any, Any]],
        settle: Callable[[Connection, Answered], dict[str, BaseException]],
        stops: Callable[[BaseException], bool],
        batches: Batches,
    ) -> None:
        self.db, self.now, self.take, self.push, self.settle, self.stops = db, now, take, push, settle, stops
        self._batches = batches
        self._reached, self._in_vain = 0, 0
        self._failures: dict[str, BaseException] = {}
        self._stop: BaseException | None = None
        self._tasks: dict[asyncio.Task[Any], Row] = {}
        self._answered: list[tuple[Row, Any]] = []
        self._behind: dict[str, list[Row]] = {}  # by target on its way, or answered: what may leave after that
        self._news = asyncio.Event()

    async def run(self, progress: Callable[[int], None]) -> int:
        """-> how many were sent. Raises what kept back some of them, when nothing more can be done."""
        sent = 0
        try:
            while (leaving := await self._turn()) or self._tasks or self._answered:
                progress(len(leaving))
                sent += len(leaving)
                for row in leaving:
                    self._batches.begin()
                    task = asyncio.create_task(self.push(row))
                    self._tasks[task] = row
                    task.add_done_callback(self._landed)
                await self._some_answers()
        finally:
            self._batches.tell()
            await self._break_off()
        if failure := self._stop or next(iter(self._failures.values()), None):
            raise failure
        return sent

    async def _turn(self) -> list[Row]:
        """One transaction. -> what may leave after it"""
        answered, self._answered = self._answered, []
        settled = await self.db.run(lambda conn: self._settle_and_take(conn, answered))
        self._batches.add(settled.became)
        self._failures |= settled.failed
        self._in_vain, self._stop = settled.in_vain, settled.stop
        freed = [row["target"] for row, _ in answered]
        waiting = [row for target in freed for row in self._behind.pop(target) if target not in settled.failed]
        if settled.stop is not None:
            waiting, self._behind = [], {target: [] for target in self._behind}
        leaving = []
        for row in (*waiting, *settled.taken):
            if row["target"] in self._behind:
                self._behind[row["target"]].append(row)
            else:
                self._behind[row["target"]] = []
                leaving.append(row)
        self._reached = settled.taken[-1]["id"] if settled.taken else self._reached
        return leaving

    def _settle_and_take(self, conn: Connection, answered: Answered) -> _Settled:
        settled = _Settled(stop=self._stop)
        if answered:
            settled.failed = self.settle(conn, answered)
            settled.became = self._batches.count(conn, [row for row, _ in answered])
            self._judge(settled, len(answered))
        stuck = self._behind if settled.stop else settled.failed
        back = [row["id"] for target in stuck for row in self._behind[target]]
        if back:
            outbox.put_back(conn, back, self.now())
        if settled.stop is None:
            on_record = sum(1 + len(rows) for rows in self._behind.values())
            room = TAKEN - on_record + len(answered) + len(back)
            settled.taken = self.take(conn, room, self._reached, self._failures.keys() | settled.failed.keys())
        return settled

    def _judge(self, settled: _Settled, answers: int) -> None:
        """Whether anybody else would get through."""
        errors = list(settled.failed.values())
        settled.in_vain = self._in_vain + answers if len(errors) == answers else 0
        if errors and settled.in_vain >= ENOUGH:
            settled.stop = settled.stop or errors[0]
        settled.stop = settled.stop or next(filter(self.stops, errors), None)

    async def _some_answers(self) -> None:
        await self._news.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while self._tasks and len(self._answered) < ENOUGH:
                    self._news.clear()
                    await self._news.wait()
        self._news.clear()

    def _landed(self, task: asyncio.Task[Any]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._answered.append((self._tasks.pop(task), task.result() if error is None else error))
        self._news.set()

    async def _break_off(self) -> None:
        """Where it ends before its time: what is on its way has an unknown outcome, and what is not did not leave."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if left := [row["id"] for rows in self._behind.values() for row in rows]:
            await self.db.run(lambda conn: outbox.put_back(conn, left, self.now()))
