"""What is read of one stream, kept many pages to a transaction: while these are written, the next ones are read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from service.errors import DatabaseError
from service.store.database import Connection, Database

ENOUGH = 2_000
"""Records of a transaction, about."""
PATIENCE = 2.0
"""Seconds for which a page waits for others, about."""

Then = Callable[[Connection], None]


@dataclass(slots=True)
class _Waiting:
    since: float = inf  # by the event loop's clock
    items: list[Any] = field(default_factory=list)
    then: dict[object, Then] = field(default_factory=dict)
    enough: bool = False  # somebody is about to write it
    taken: asyncio.Event = field(default_factory=asyncio.Event)


class Keeper:
    """Pages come in any order; `save(connection, items)` keeps them. What follows from a page, such as how far a window
    is read with it, is on record with it or after it, never before (law 7)."""

    def __init__(self, db: Database, save: Callable[[Connection, Sequence[Any]], None]) -> None:
        self._db, self._save = db, save
        self._turn = asyncio.Lock()
        self._waiting = _Waiting()

    async def __aenter__(self) -> Keeper:
        return self

    async def __aexit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """What was read before a failure is kept, or a platform that fails often enough would never be read."""
        if not isinstance(error, DatabaseError):
            await self.flush()

    async def add(self, items: Sequence[Any], then: Then | None = None, subject: object = None) -> None:
        """Waits only while more has come in than is being written. What follows takes the place of what followed from
        an earlier page about the same `subject`."""
        waiting, now = self._waiting, asyncio.get_running_loop().time()
        waiting.since = min(waiting.since, now)
        waiting.items += items
        if then is not None:
            waiting.then[object() if subject is None else subject] = then
        if waiting.enough:
            await waiting.taken.wait()
        elif len(waiting.items) >= ENOUGH or now - waiting.since >= PATIENCE:
            waiting.enough = True
            await self.flush()

    async def flush(self, then: Then | None = None) -> None:
        """Everything that came in before; and what follows from that."""
        async with self._turn:
            taken, self._waiting = self._waiting, _Waiting()
            taken.taken.set()
            if then is not None:
                taken.then[object()] = then
            try:
                if taken.items or taken.then:
                    await self._db.run(lambda conn: self._keep(conn, taken))
            except BaseException:
                self._put_back(taken)
                raise

    def _put_back(self, taken: _Waiting) -> None:
        """Or what follows from a later page would hide that these are lost."""
        later = self._waiting
        since, items, then = min(taken.since, later.since), taken.items + later.items, taken.then | later.then
        self._waiting = _Waiting(since, items, then)
        later.taken.set()

    def _keep(self, conn: Connection, taken: _Waiting) -> None:
        self._save(conn, taken.items)
        for then in taken.then.values():
            then(conn)
