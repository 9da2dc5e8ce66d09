"""What is known to be wrong, who was told of it, and what is still to be told: over restarts, for all processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from service.store import mirror
from service.store import tables as t

Row = dict[str, Any]
_A, _M = t.alerts.c, t.alert_messages.c


def known(conn: Connection) -> list[Row]:
    return [dict(row) for row in conn.execute(select(t.alerts).order_by(_A.key)).mappings()]


def put(conn: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Whole rows of `alerts`."""
    for row in rows:
        mirror.put(conn, t.alerts, "key", dict(row))


def forget(conn: Connection, keys: Iterable[str]) -> None:
    conn.execute(delete(t.alerts).where(_A.key.in_(list(keys))))


def enqueue(conn: Connection, channels: Iterable[str], body: Mapping[str, Any], now: datetime) -> None:
    rows = [{"channel": each, "body": dict(body), "attempts": 0, "created_at": now, "due_at": now} for each in channels]
    if rows:
        conn.execute(insert(t.alert_messages), rows)


def next_message(conn: Connection, channel: str) -> Row | None:
    """The oldest one, due or not: what comes later waits behind it."""
    query = select(t.alert_messages).where(_M.channel == channel).order_by(_M.id).limit(1)
    row = conn.execute(query).mappings().first()
    return dict(row) if row else None


def delivered(conn: Connection, message_id: int) -> None:
    conn.execute(delete(t.alert_messages).where(_M.id == message_id))


def put_off(conn: Connection, message_id: int, attempts: int, until: datetime) -> None:
    values = {"attempts": attempts, "due_at": until}
    conn.execute(update(t.alert_messages).where(_M.id == message_id).values(values))
