"""What the platforms' documents do not describe: surprises by kind, and records that nothing identifies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, update

from service.core.records import Platform
from service.store import tables as t
from service.store import traces
from service.store.mirror import insert
from service.store.outbox import Operation, fingerprint, put_once

_NO_LANE = -1  # never to be sent


def count_surprises(conn: Connection, platform: Platform, found: Mapping[str, int], now: datetime) -> list[str]:
    """Surprises by name, with counts (see `platforms.payload.Fields`). -> those that this mirror never met before"""
    s, new = t.surprises, []
    for what, times in sorted(found.items()):
        seen = (s.c.platform == platform.value, s.c.what == what)
        again = update(s).where(*seen).values(times=s.c.times + times, last_seen_at=now)
        if not conn.execute(again).rowcount:
            row = {"platform": platform.value, "what": what, "times": times, "first_seen_at": now, "last_seen_at": now}
            conn.execute(insert(conn, s).on_conflict_do_nothing(), row)
            new.append(what)
    return new


def refuse(
    conn: Connection, platform: Platform, stream: str, reason: str, record: Any, run_id: int, now: datetime
) -> bool:
    """A record that cannot be kept, since nothing identifies it, becomes a dead letter: once, however often it is
    read. -> whether it is new

    It shares the outbox with what could not be pushed: an operator looks for dead letters in one place. Nothing is
    kept that names somebody who is suppressed or erased.
    """
    if not traces.silent(conn, [{"record": record}]):
        return False
    said: dict[str, Any] = {"record": record}
    row = {
        "person_id": None, "platform": platform.value, "operation": Operation.READ_RECORD.value, "payload": said,
        "status": "dead", "attempts": 1, "last_error": f"{stream}: {reason}", "created_at": now, "updated_at": now,
        "run_id": run_id, "lane": _NO_LANE, "sync_id": "read:" + fingerprint(platform.value, stream, said),
    }  # fmt: skip
    return put_once(conn, row)
