"""A mirror restored from a backup: noticed before a run. Each round of pushes leaves a mark by which it is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog

from service.bridge import Bridge
from service.marks import Mark, MarkFile
from service.store import cursors, outbox, restoration
from service.store.database import Connection

_log = structlog.get_logger()

CLOCKS = timedelta(minutes=10)
"""By so much the clocks of the platforms may be ahead of this machine's."""


def _file(conn: Connection, bridge: Bridge) -> MarkFile:
    return MarkFile(bridge.settings.state_dir, cursors.hash_key(conn))


def _write(file: MarkFile, mark: Mark) -> None:
    try:
        file.write(mark)
    except OSError as error:
        _log.warning("a restored backup of the mirror would not be known for one", error=error.strerror)


async def notice(bridge: Bridge) -> None:
    """At the beginning of each run: a mirror that is behind what this machine has pushed was restored. Who was erased
    since leaves it at once."""

    def look(conn: Connection) -> int | None:
        mark, now = _file(conn, bridge).read(), bridge.now()
        if restoration.turn(conn) >= mark.turn:
            return None
        until = mark.until + CLOCKS if mark.until else None
        restoration.begin(conn, "it is behind what this machine has pushed", now, until, mark.turn)
        return restoration.bury_again(conn, mark.erased, now)

    erased = await bridge.db.run(look)
    if erased is not None:
        _log.warning("this mirror was restored from a backup: everything is read anew first", erased_again=erased)


@asynccontextmanager
async def on_record(bridge: Bridge, *, activities: bool) -> AsyncIterator[None]:
    """Around all pushes of a cycle: a backup that was made before, or meanwhile, is known by it. `activities`: whether
    these may leave."""

    def turn(conn: Connection) -> tuple[MarkFile, int]:
        return _file(conn, bridge), restoration.next_turn(conn)

    if not await bridge.db.run(lambda conn: outbox.anything_waits(conn, activities=activities)):
        yield
        return
    file, number = await bridge.db.run(turn)
    _write(file, replace(file.read(), turn=number, until=None))
    yield
    _, number = await bridge.db.run(turn)
    _write(file, replace(file.read(), turn=number, until=bridge.now()))


async def remember_erased(bridge: Bridge) -> None:
    """After an erasure: a backup from before still holds the person."""

    def turn(conn: Connection) -> tuple[MarkFile, int, list[dict[str, Any]]]:
        return _file(conn, bridge), restoration.next_turn(conn), restoration.stones(conn)

    file, number, stones = await bridge.db.run(turn)
    mark = file.read()
    known = {json.dumps(stone, sort_keys=True, default=str): stone for stone in (*mark.erased, *stones)}
    _write(file, Mark(number, bridge.now(), tuple(known.values())))
