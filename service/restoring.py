"""Backups of the mirror: what is kept outside of it, so that a restored one knows that it was.

In the state directory, one small file for each mirror: how many turns its pushes have taken, until when, and who was
erased, by ids and keyed hashes. Where the file is missing, this help is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from service.bridge import Bridge
from service.settings import Settings
from service.store import cursors, outbox, restoration
from service.store.database import Connection
from service.store.types import iso

_log = structlog.get_logger()

CLOCKS = timedelta(minutes=10)
"""By so much the clocks of the platforms may be ahead of this machine's."""


@dataclass(frozen=True, slots=True)
class Mark:
    """`until`: when the last push had ended; None where it did not, or was killed."""

    turn: int = 0
    until: datetime | None = None
    erased: tuple[dict[str, Any], ...] = field(default=(), repr=False)


class MarkFile:
    """`<state_dir>/mirror-<the mirror's own id>.json`, mode 0600, replaced as a whole."""

    def __init__(self, state_dir: Path, hash_key: bytes) -> None:
        self.path = state_dir / f"mirror-{hashlib.sha256(b'mirror' + hash_key).hexdigest()[:16]}.json"

    def read(self) -> Mark:
        try:
            kept = json.loads(self.path.read_bytes())
            until = datetime.fromisoformat(kept["until"]) if kept["until"] else None
            erased = [stone | {"erased_at": datetime.fromisoformat(stone["erased_at"])} for stone in kept["erased"]]
            return Mark(int(kept["turn"]), until, tuple(erased))
        except (OSError, ValueError, KeyError, TypeError):
            return Mark()

    def write(self, mark: Mark) -> None:
        until = iso(mark.until) if mark.until else None
        erased = [stone | {"erased_at": iso(stone["erased_at"])} for stone in mark.erased]
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".mirror-")  # mkstemp makes it 0600
            try:
                with os.fdopen(handle, "w") as file:
                    json.dump({"turn": mark.turn, "until": until, "erased": erased}, file)
                os.replace(name, self.path)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(name)
                raise
        except OSError as error:
            _log.warning("a restored backup of the mirror would not be known for one", error=error.strerror)


def _file(conn: Connection, bridge: Bridge) -> MarkFile:
    return MarkFile(bridge.settings.state_dir, cursors.hash_key(conn))


def is_behind(conn: Connection, settings: Settings) -> bool:
    """Whether the mirror was restored, and no run has noticed yet."""
    key = cursors.fact(conn, "hash_key")  # a mirror without one has pushed nothing
    return key is not None and restoration.turn(conn) < MarkFile(settings.state_dir, bytes.fromhex(key)).read().turn


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
async def on_record(bridge: Bridge) -> AsyncIterator[None]:
    """Around all pushes of a cycle: a backup that was made before, or meanwhile, is known by it."""

    def turn(conn: Connection) -> tuple[MarkFile, int]:
        return _file(conn, bridge), restoration.next_turn(conn)

    if not await bridge.db.run(outbox.anything_waits):
        yield
        return
    file, number = await bridge.db.run(turn)
    erased = file.read().erased
    file.write(Mark(number, None, erased))
    yield
    _, number = await bridge.db.run(turn)
    file.write(Mark(number, bridge.now(), erased))


async def remember_erased(bridge: Bridge) -> None:
    """After an erasure: a backup from before still holds the person."""

    def turn(conn: Connection) -> tuple[MarkFile, int, list[dict[str, Any]]]:
        return _file(conn, bridge), restoration.next_turn(conn), restoration.stones(conn)

    file, number, stones = await bridge.db.run(turn)
    mark = file.read()
    known = {json.dumps(stone, sort_keys=True, default=str): stone for stone in (*mark.erased, *stones)}
    file.write(Mark(number, bridge.now(), tuple(known.values())))
