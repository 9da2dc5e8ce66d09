"""Who goes first. SQLite lets one write at a time and keeps no queue: a backfill would leave nobody else a gap.

A lock file beside the mirror tells all processes that somebody waits who has to answer soon, and ends with its holder.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from service.errors import DatabaseUnavailable

PATIENCE = 0.5
"""Seconds for which a transaction waits for those who go first, at most: then it has its turn."""
LOOK = 0.002


class Precedence:
    """`file` is the lock's own. To go first is to hold it shared; all others try it exclusively, for an instant."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._held: int | None = None
        self._tried: int | None = None

    def take(self) -> None:
        """May be called again. Raises DatabaseUnavailable where the folder cannot be written to."""
        if self._held is not None:
            return
        try:
            self._file.parent.mkdir(exist_ok=True)
            held = os.open(self._file, os.O_RDONLY | os.O_CREAT, 0o600)
        except OSError as error:
            raise DatabaseUnavailable(f"{self._file}: {error.strerror}") from None
        fcntl.flock(held, fcntl.LOCK_SH)
        self._held = held

    def drop(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            os.close(held)

    def let_pass(self) -> None:
        """Returns when nobody goes first, or PATIENCE is over. To be called by one thread at a time."""
        if self._tried is None:
            with suppress(OSError):  # nobody has ever gone first
                self._tried = os.open(self._file, os.O_RDONLY)
        late = time.monotonic() + PATIENCE
        while self._tried is not None and time.monotonic() < late:
            with suppress(BlockingIOError):
                fcntl.flock(self._tried, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fcntl.flock(self._tried, fcntl.LOCK_UN)
                return
            time.sleep(LOOK)

    def close(self) -> None:
        self.drop()
        tried, self._tried = self._tried, None
        if tried is not None:
            os.close(tried)
