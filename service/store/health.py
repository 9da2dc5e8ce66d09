"""How far each run is, how much is left, since when something is wrong, and when each stream last succeeded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, select, update

from service.core.windows import EPOCH
from service.store import tables as t
from service.store.cursors import count
from service.store.mirror import insert
from service.store.outbox import OPEN, Lane

Row = dict[str, Any]

ENDED_WELL = ("ok", "empty as expected", "held", "partial")
"""Outcomes of runs that came to their end. What a partial one could not do is told by stream, or as dead letters."""

WAITING = (*OPEN, "dead")
"""Statuses of pushes that are not over, or not well."""

_LANES = {int(lane): lane.name.lower() for lane in Lane}
"""A record that could not be kept (`oddities`) is a dead letter of none."""

_TELL = (
    update(t.runs)
    .where(t.runs.c.id == bindparam("run"), t.runs.c.finished_at.is_(None))
    .values(progress=bindparam("how_far"), told_at=bindparam("now"))
)


def tell_progress(conn: Connection, run_id: int, progress: Mapping[str, Any], now: datetime) -> None:
    conn.execute(_TELL, {"run": run_id, "how_far": dict(progress), "now": now})


def note_streams(conn: Connection, read: Iterable[str], failed: Mapping[str, str], now: datetime) -> None:
    """What became of the streams of a run; `failed`: stream -> `denied` or `failed`."""
    rows = [{"stream": name, "succeeded_at": now, "failing_since": None, "failure": None} for name in read]
    s = t.streams.c
    new = insert(conn, t.streams)
    if rows:
        values = {name: new.excluded[name] for name in ("succeeded_at", "failing_since", "failure")}
        conn.execute(new.on_conflict_do_update(index_elements=["stream"], set_=values), rows)
    for name, failure in failed.items():
        row = {"stream": name, "failing_since": now, "failure": failure}
        conn.execute(new.on_conflict_do_nothing(), row)
        mine = update(t.streams).where(s.stream == name)
        conn.execute(mine.values(failure=failure))
        conn.execute(mine.where(s.failing_since.is_(None)).values(failing_since=now))


def was_read(conn: Connection, stream: str) -> bool:
    """Ever."""
    s = t.streams.c
    return count(conn, t.streams, s.stream == stream, s.succeeded_at.is_not(None)) > 0


def streams(conn: Connection) -> list[Row]:
    return [dict(row) for row in conn.execute(select(t.streams).order_by(t.streams.c.stream)).mappings()]


def backfills(conn: Connection) -> list[Row]:
    """Of each stream whose pull was begun and is not finished: how many windows there are, how many of them are left,
    and the share that is read, where it can be told. Windows hold about as many records each."""
    found: dict[str, list[Row]] = {}
    for row in conn.execute(select(t.windows).order_by(t.windows.c.stream)).mappings():
        found.setdefault(row["stream"], []).append(dict(row))
    return [
        {"stream": stream, "windows": len(rows), "left": left, "share": _share(rows)}
        for stream, rows in found.items()
        if (left := sum(not row["done"] for row in rows))
    ]


def _share(rows: Iterable[Row]) -> float | None:
    """Nobody knows when the oldest record was made: the window that begins with time itself counts like the others."""
    shares = [
        1.0 if row["done"] else (row["upper"] - row["reached"]) / (row["upper"] - row["lower"])
        for row in rows
        if row["done"] or row["lower"] > EPOCH
    ]
    return round(sum(shares) / len(shares), 4) if len(shares) > 1 else None


def waiting(conn: Connection) -> list[Row]:
    """Pushes that are open or dead, as `pushes`."""
    return _pushes(conn, t.outbox.c.status.in_(WAITING))


def pushes(conn: Connection) -> list[Row]:
    """All of the outbox by platform, lane and status: how many there are, and since when the oldest of them."""
    return _pushes(conn)


def _pushes(conn: Connection, *which: ColumnElement[bool]) -> list[Row]:
    o = t.outbox.c
    key = (o.platform, o.lane, o.status)
    query = select(*key, func.count().label("pushes"), func.min(o.id).label("oldest")).where(*which)
    # By status first, as the index has it: there may be a million of those that are done.
    found = [dict(row) for row in conn.execute(query.group_by(o.status, o.platform, o.lane).order_by(*key)).mappings()]
    since = select(o.id, o.created_at).where(o.id.in_([row["oldest"] for row in found]))
    began = {row.id: row.created_at for row in conn.execute(since)}
    return [
        {
            "platform": row["platform"], "lane": _LANES.get(row["lane"], "none"), "status": row["status"],
            "pushes": int(row["pushes"]), "since": began[row["oldest"]],
        }
        for row in found
    ]  # fmt: skip


def dead_since(rows: Iterable[Row]) -> datetime | None:
    """Of what `waiting` has found."""
    return min((row["since"] for row in rows if row["status"] == "dead" and row["since"] is not None), default=None)


def inbox_waiting(conn: Connection) -> int:
    return count(conn, t.webhook_events, t.webhook_events.c.status == "pending")


def conflicts_since(conn: Connection) -> datetime | None:
    """Since when the oldest open conflict waits for a person."""
    c = t.conflicts.c
    found: datetime | None = conn.execute(select(func.min(c.created_at)).where(c.status == "open")).scalar()
    return found


def failing_since(conn: Connection, kind: str) -> datetime | None:
    """When the first run of this kind ended that did not end well, since the last one that did."""
    r = t.runs.c
    well = select(r.id).where(r.kind == kind, r.outcome.in_(ENDED_WELL)).order_by(r.id.desc()).limit(1)
    last = conn.execute(well).scalar() or 0
    first = select(r.finished_at).where(r.kind == kind, r.id > last, r.finished_at.is_not(None)).order_by(r.id).limit(1)
    found: datetime | None = conn.execute(first).scalar()
    return found


def last_run(conn: Connection) -> Row | None:
    """The newest that has ended."""
    r = t.runs.c
    return _run(conn, select(r.id).where(r.finished_at.is_not(None)).order_by(r.id.desc()).limit(1))


def last_change(conn: Connection) -> Row | None:
    """The newest run that carried something over; None while it is at work."""
    return _run(conn, select(func.max(t.changes.c.run_id)))


def _run(conn: Connection, which: Any) -> Row | None:
    """What it has read, pushed (by `platform.operation.status`) and changed (by `platform.field`)."""
    r = t.runs.c
    columns = (r.id, r.kind, r.outcome, r.started_at, r.finished_at, r.counts)
    query = select(*columns).where(r.id == which.scalar_subquery(), r.finished_at.is_not(None))
    row = conn.execute(query).mappings().first()
    if row is None:
        return None
    found = dict(row)
    counts = found.pop("counts") or {}
    return found | {name: counts.get(name) or {} for name in ("pulled", "pushed", "changed")}
