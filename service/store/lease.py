"""A lease in the database: one process at a time does a thing, and a dead one stands in nobody's way for long."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from service.errors import Busy, DatabaseError
from service.store import cursors
from service.store.database import Database

TTL = timedelta(seconds=120)
RENEW = 15.0
"""Seconds between two renewals."""


@asynccontextmanager
async def lease(db: Database, name: str, *, wait: float = 0.0) -> AsyncIterator[None]:
    """Hold `name` for as long as the block runs; `Busy` if somebody else still has it after `wait` seconds."""
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    patience = asyncio.get_running_loop().time() + wait
    while not await db.run(lambda conn: _take(conn, name, owner)):
        if asyncio.get_running_loop().time() >= patience:
            raise Busy(f"another process is at work on this mirror ({name})", hint="contact-bridge status")
        await asyncio.sleep(0.5)
    lost: list[str] = []
    renewal = asyncio.create_task(_renew(db, name, owner, asyncio.current_task(), lost))
    try:
        yield
    except asyncio.CancelledError:
        if not lost:
            raise
        raise Busy(f"the lease on this mirror ran out meanwhile ({name}), and {lost[0]}: stopped") from None
    finally:
        renewal.cancel()
        await db.run(lambda conn: cursors.drop_lease(conn, name, owner))


async def _renew(db: Database, name: str, owner: str, holder: asyncio.Task[object] | None, lost: list[str]) -> None:
    """On a connection of its own, so that long work of the holder does not stand in the way; the holder is stopped
    where somebody else has taken over."""

    def renew() -> bool:
        with db.begin() as conn:
            return cursors.take_lease(conn, name, owner, datetime.now(UTC), TTL)

    while True:
        await asyncio.sleep(RENEW)
        with suppress(DatabaseError):  # the work itself will say so, and the next renewal may get through
            if not await asyncio.to_thread(renew):
                lost.append("another process has taken over")
                if holder is not None:
                    holder.cancel()
                return


def _take(conn: Connection, name: str, owner: str) -> bool:
    holder = cursors.lease_owner(conn, name)
    if holder is not None and _died_here(holder):
        cursors.drop_lease(conn, name, holder)
    return cursors.take_lease(conn, name, owner, datetime.now(UTC), TTL)


def _died_here(owner: str) -> bool:
    """Whether the holder was a process of this machine that is no more: no need to wait for its lease to run out."""
    host, pid, _ = owner.rsplit(":", 2)
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
