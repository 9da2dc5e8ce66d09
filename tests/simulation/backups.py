"""An operator who makes backups of the mirror now and then, and brings an old one back."""

from __future__ import annotations

import random
import sqlite3
from typing import Any

from service.store.database import Database
from tests.simulation.watch import Watch


class Backups:
    """`dice` of their own: without them a world is the same world."""

    def __init__(self, db: Database, watch: Watch, dice: random.Random) -> None:
        self.db, self.watch, self.dice = db, watch, dice
        self._kept: list[sqlite3.Connection] = []

    def happen(self) -> str:
        """Between two commands."""
        if self._kept and self.dice.random() < 0.3:
            self._copy(self.dice.choice(self._kept), back=True)
            self.watch.restored = True
            self.watch.overwritten.clear()  # that history is gone
            return "restored"
        if self.dice.random() < 0.3:
            self._kept.append(sqlite3.connect(":memory:", check_same_thread=False))
            self._copy(self._kept[-1], back=False)
            return "made"
        return ""

    def _copy(self, backup: sqlite3.Connection, *, back: bool) -> None:
        with self.db.translated(), self.db.engine.connect() as connection:
            mirror: Any = connection.connection.driver_connection
            (backup if back else mirror).backup(mirror if back else backup)
