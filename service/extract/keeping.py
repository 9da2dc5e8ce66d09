"""What is read of one stream, kept many pages to a transaction: while these are written, the next ones are read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType
from typing import Any

from service.errors import DatabaseError
from service.store.database import Connection, Database

ENOUGH = 2_000
"""Records of a transaction, about."""
AHEAD = 2
"""Transactions that are handed over: while one is written another one is ready, so that the database does not wait for
an event loop that is busy reading."""
PATIENCE = 2.0
"""Seconds for which a page waits for others, about."""

Then = Callable[[Connection, Mapping[Any, Any]], None]


@dataclass(slots=True)
class _Waiting:
    since: float = inf  # by the event loop's clock
    items: list[Any] = field(default_factory=list)
    then: dict[Then, dict[Any, Any]] = field(default_factory=dict)
    enough: bool = False  # somebody is about to write it
    taken: asyncio.Event = field(default_factory=asyncio.Event)


class Keeper:
    """Pages come in any order; `save(connection, items)` keeps them. What follows from a page, such as how far a window
    is read with it, is on record with it or after it, never before (law 7): once a transaction has failed all later
    ones do, with the same error."""

    def __init__(self, db: Database, lane: str, save: Callable[[Connection, list[Any]], None]) -> None:
        self._db, self._lane, self._save = db, lane, save
        self._slots = asyncio.Semaphore(AHEAD)
        self._waiting = _Waiting()
        self._last: Future[None] | None = None

    async def __aenter__(self) -> Keeper:
        return self

    async def __aexit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """What was read before a failure is kept, or a platform that fails often enough would never be read."""
        if not isinstance(error, DatabaseError):
            await self.flush()

    async def add(
        self, items: Sequence[Any], then: Then | None = None, about: Mapping[Any, Any] = MappingProxyType({})
    ) -> None:
        """Waits only while more has come in than is being written. `then(connection, about)` follows, once for all
        pages that name it: what they are `about` is put together, and the last word about the same key counts."""
        waiting, now = self._waiting, asyncio.get_running_loop().time()
        waiting.since = min(waiting.since, now)
        waiting.items += items
        if then is not None:
            waiting.then.setdefault(then, {}).update(about)
        if waiting.enough:
            await waiting.taken.wait()
        elif len(waiting.items) >= ENOUGH or now - waiting.since >= PATIENCE:
            waiting.enough = True
            try:
                async with self._slots:
                    await self.flush()
            finally:
                waiting.enough = False  # whoever is cancelled before its turn leaves it to the next one

    async def flush(self, then: Callable[[Connection], None] | None = None) -> None:
        """Everything that came in before; and what follows from that."""
        taken, self._waiting = self._waiting, _Waiting()
        taken.taken.set()
        if then is not None:
            taken.then[lambda conn, _: then(conn)] = {}
        if taken.items or taken.then:
            before = self._last
            self._last = self._db.submit(lambda conn: self._keep(conn, taken, before), self._lane)
        if (last := self._last) is not None:
            if not last.done():  # whoever is cancelled meanwhile takes nothing back: it has been handed over
                await asyncio.shield(asyncio.wrap_future(last))
            last.result()

    def _keep(self, conn: Connection, taken: _Waiting, before: Future[None] | None) -> None:
        if before is not None:  # it is done: a lane works in the order of what it is given
            before.result()
        self._save(conn, taken.items)
        for then, about in taken.then.items():
            then(conn, about)
