"""What a mirror remembers about the daemon's jobs, for every process and over restarts: `facts` of its own."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from service.store import cursors
from service.store import tables as t
from service.store.health import ENDED_WELL

_PAUSED, _RESUMED, _MISSED = "job_paused:", "job_resumed:", "job_missed:"


def pause(conn: Connection, names: Iterable[str], now: datetime) -> None:
    """Whoever is paused already stays so since then."""
    for name in names:
        cursors.fact_once(conn, _PAUSED + name, now.isoformat())


def resume(conn: Connection, names: Iterable[str], now: datetime) -> list[str]:
    """-> which of them were paused"""
    were = [name for name in names if name in paused(conn)]
    for name in were:
        cursors.forget_fact(conn, _PAUSED + name)
        cursors.set_fact(conn, _RESUMED + name, now.isoformat())
    return were


def paused(conn: Connection) -> dict[str, datetime]:
    """Job -> since when."""
    return _times(conn, _PAUSED)


def _times(conn: Connection, prefix: str) -> dict[str, datetime]:
    return {name: datetime.fromisoformat(at) for name, at in cursors.facts_under(conn, prefix).items()}


def missed(conn: Connection) -> dict[str, int]:
    """Job -> how many of its turns nobody took; no job without any."""
    return {name: int(number) for name, number in cursors.facts_under(conn, _MISSED).items()}


def add_missed(conn: Connection, name: str, number: int) -> None:
    cursors.set_fact(conn, _MISSED + name, str(missed(conn).get(name, 0) + number))


def idle_since(conn: Connection, name: str) -> datetime | None:
    """When the job's last run was over, or it was resumed; None where it never ran."""
    last = last_run(conn, name)
    if last is None:
        return None
    ended: datetime = last["finished_at"] or last["started_at"]
    return max(ended, _times(conn, _RESUMED).get(name, ended))


def last_success(conn: Connection, name: str) -> datetime | None:
    """When its last run ended well."""
    query = select(func.max(t.runs.c.finished_at)).where(t.runs.c.kind == name, t.runs.c.outcome.in_(ENDED_WELL))
    at: datetime | None = conn.execute(query).scalar()
    return at


def last_run(conn: Connection, name: str) -> dict[str, Any] | None:
    query = select(t.runs).where(t.runs.c.kind == name).order_by(t.runs.c.id.desc()).limit(1)
    row = conn.execute(query).mappings().first()
    return dict(row) if row else None
