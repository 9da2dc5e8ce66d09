"""Leases: one process at a time does a thing, and a dead one stands in nobody's way.

What decides is a lock that ends with its holder and with nothing else, so that no clock is asked: on Postgres an
advisory lock of a session of its own; on SQLite a file lock, and SQLite's own, on an empty database beside the mirror.
The row in `leases` tells `status` who holds it.

A pooler between here and Postgres has to give each client its own session: PgBouncer in transaction mode does not.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Protocol
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine

from service.errors import Busy, DatabaseError, DatabaseUnavailable
from service.store import cursors
from service.store.database import FENCE, Database

TTL = timedelta(seconds=120)
"""After so long without a word the row says that its holder is no more."""
RENEW = 15.0
"""Seconds between two words."""
POLL = 0.5
FENCED = "cycle"
"""Whoever holds this lease writes to the platforms: each of its transactions looks whether it still does."""


@asynccontextmanager
async def lease(db: Database, name: str, *, wait: float = 0.0) -> AsyncIterator[None]:
    """Hold `name` for as long as the block runs; `Busy` if somebody else still has it after `wait` seconds.

    DatabaseUnavailable, in the block as a cancellation, where the lease is lost with the connection that holds it.
    """
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    lock = _lock(db, name)
    try:
        await _take(lock, name, wait)
        await db.run(lambda conn: cursors.take_lease(conn, name, owner, datetime.now(UTC) + TTL))
        renewal = asyncio.create_task(_renew(db, name, owner))
        try:
            lost = f"{db.name}: the connection that held the lease {name} was lost: stopped"
            with _stopped_if_lost(lock, lost), _fenced(db, name, owner):
                yield
        finally:
            renewal.cancel()
            with suppress(DatabaseError):  # the row decides nothing
                await db.run(lambda conn: cursors.drop_lease(conn, name, owner))
    finally:
        await lock.drop()


class _Lock(Protocol):
    async def take(self) -> bool:
        """At once, or not. Raises DatabaseUnavailable."""

    async def drop(self) -> None:
        """Also where it was never taken."""

    def watch(self, on_loss: Callable[[], None]) -> None: ...


def _lock(db: Database, name: str) -> _Lock:
    if db.dialect == "postgresql":
        from service.store.postgres.lock import SessionLock

        return SessionLock(db, name)
    return _FileLock(db, name) if db.file is not None else _MemoryLock(db, name)


class _FileLock:
    """On SQLite: an exclusive transaction on an empty database, in which nothing is ever written."""

    def __init__(self, db: Database, name: str) -> None:
        self._db = db
        self._path = db.beside(f"{name.replace(':', '-')}.db")
        self._connection: sqlite3.Connection | None = None

    async def take(self) -> bool:
        with self._db.translated():
            if self._connection is None:
                self._make_folder()
                self._connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
            try:
                self._connection.execute("PRAGMA journal_mode=OFF")
                self._connection.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                    return False
                raise
            return True

    def _make_folder(self) -> None:
        try:
            self._path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise DatabaseUnavailable(f"{self._path.parent}: {error.strerror}") from None

    def watch(self, on_loss: Callable[[], None]) -> None:
        """It ends with the process."""

    async def drop(self) -> None:
        if self._connection is not None:
            self._connection.close()


class _MemoryLock:
    """A database in memory is one process's own."""

    _held: ClassVar[WeakKeyDictionary[Engine, set[str]]] = WeakKeyDictionary()

    def __init__(self, db: Database, name: str) -> None:
        self._names, self._name = self._held.setdefault(db.engine, set()), name
        self._mine = False

    async def take(self) -> bool:
        self._mine = self._name not in self._names
        self._names.add(self._name)
        return self._mine

    def watch(self, on_loss: Callable[[], None]) -> None:
        """It ends with the process."""

    async def drop(self) -> None:
        if self._mine:
            self._names.discard(self._name)


async def _take(lock: _Lock, name: str, wait: float) -> None:
    loop = asyncio.get_running_loop()
    patience = loop.time() + wait
    while not await lock.take():
        if loop.time() >= patience:
            raise Busy(f"another process is at work on this mirror ({name})", hint="contact-bridge status")
        await asyncio.sleep(POLL)


@contextmanager
def _stopped_if_lost(lock: _Lock, message: str) -> Iterator[None]:
    holder, lost, over = asyncio.current_task(), False, False
    assert holder is not None

    def stop() -> None:
        nonlocal lost
        lost = not over and holder.cancel()

    lock.watch(stop)
    try:
        yield
    except asyncio.CancelledError:
        if not lost or holder.cancelling() > 1:  # somebody else has cancelled it, or another of its leases is lost too
            raise
        raise DatabaseUnavailable(message, hint="run it again") from None
    finally:
        over = True
        if lost:
            holder.uncancel()


@contextmanager
def _fenced(db: Database, name: str, owner: str) -> Iterator[None]:
    """A holder that slept while its connection died may still have transactions to begin: they are refused."""
    if name != FENCED or db.dialect != "postgresql":
        yield
        return
    over = False

    def fence(conn: Connection) -> None:
        if not over and not cursors.has_lease(conn, name, owner):
            raise DatabaseUnavailable(f"{db.name}: another process has taken over ({name}): stopped")

    token = FENCE.set(fence)
    try:
        yield
    finally:
        over = True  # for the tasks that were begun inside, and live on
        FENCE.reset(token)


async def _renew(db: Database, name: str, owner: str) -> None:
    """On a connection of its own, so that long work of the holder does not stand in the way."""

    def renew() -> None:
        with db.begin() as conn:
            cursors.renew_lease(conn, name, owner, datetime.now(UTC) + TTL)

    while True:
        await asyncio.sleep(RENEW)
        with suppress(DatabaseError):  # the next one may get through
            await asyncio.to_thread(renew)
