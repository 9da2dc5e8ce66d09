"""What is kept outside of the mirror, so that one that was restored from a backup knows that it was.

In the state directory, one small file for each mirror: how many turns its pushes have taken, until when, and who was
erased, by ids and keyed hashes. Where the file is missing, this help is.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from service import private_file
from service.settings import Settings
from service.store import cursors, restoration
from service.store.database import Connection
from service.store.types import iso


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
        kept = private_file.read(self.path)
        try:
            until = datetime.fromisoformat(kept["until"]) if kept["until"] else None
            erased = [stone | {"erased_at": datetime.fromisoformat(stone["erased_at"])} for stone in kept["erased"]]
            return Mark(int(kept["turn"]), until, tuple(erased))
        except (ValueError, KeyError, TypeError):
            return Mark()

    def write(self, mark: Mark) -> None:
        """Raises OSError."""
        until = iso(mark.until) if mark.until else None
        erased = [stone | {"erased_at": iso(stone["erased_at"])} for stone in mark.erased]
        private_file.write(self.path, {"turn": mark.turn, "until": until, "erased": erased})


def is_behind(conn: Connection, settings: Settings) -> bool:
    """Whether the mirror was restored, and no run has noticed yet."""
    key = cursors.fact(conn, "hash_key")  # a mirror without one has pushed nothing
    return key is not None and restoration.turn(conn) < MarkFile(settings.state_dir, bytes.fromhex(key)).read().turn
