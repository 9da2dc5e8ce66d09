"""What a person decides about pushes that were refused: sent once more, or given up. In the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from service.errors import NobodyFound, UsageError
from service.store import outbox
from service.store.database import Connection

_ALL = "contact-bridge outbox list --all"


def retry(conn: Connection, ids: Sequence[int], now: datetime) -> None:
    """They leave once more, at the next sync. NobodyFound and UsageError before anything is done."""
    for row in _dead(conn, ids, "retried"):
        if row["operation"] == outbox.Operation.READ_RECORD:
            raise UsageError(
                f"{row['id']} was read, not pushed: there is nothing to send again",
                hint=f"contact-bridge outbox discard {row['id']}",
            )
    outbox.retry(conn, ids, now)


def discard(conn: Connection, ids: Sequence[int], now: datetime) -> None:
    """They are never sent, and stay on record as cancelled. The same errors."""
    _dead(conn, ids, "discarded")
    outbox.discard(conn, ids, now)


def _dead(conn: Connection, ids: Sequence[int], done: str) -> list[dict[str, Any]]:
    rows = outbox.by_ids(conn, ids)
    if missing := set(ids) - {row["id"] for row in rows}:
        raise NobodyFound(f"the outbox holds no {', '.join(map(str, sorted(missing)))}", hint=_ALL)
    for row in rows:
        if row["status"] != "dead":
            raise UsageError(f"{row['id']} is {row['status']}: only dead pushes can be {done}", hint=_ALL)
    return rows
