"""The slices of the rolling sweep: which stretch of which stream was last read when, and when it is its turn again.

The slices of a stream lie side by side, from the beginning of time on. What came in after the newest was read when it
came, and so later than the newest was: it belongs to that one when its turn has come.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Column, Connection, bindparam, delete, func, insert, or_, select, update

from service.core import windows
from service.core.windows import EPOCH
from service.store import cursors
from service.store import tables as t

AHEAD = timedelta(seconds=60)
"""What was read further in the future than this was read by a clock that was wrong: nobody knows when."""
FORMER = "swept_at"
"""A fact of versions without slices: when everything was last read."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Records dated from `lower` to before `upper`. `pages` is what it took to read them, or will take."""

    id: int
    stream: str
    lower: datetime
    upper: datetime
    pages: int
    swept_at: datetime
    due_at: datetime


_ALL_OF = delete(t.sweep_slices).where(t.sweep_slices.c.stream == bindparam("stream"))


def make(
    conn: Connection, stream: str, dated_by: Column[Any], upper: datetime, swept_at: datetime, patience: timedelta
) -> None:
    """A stream's slices, all anew: everything before `upper` was read, from `swept_at` on. Each is due within
    `patience`, at a time of its own."""
    conn.execute(_ALL_OF, {"stream": stream})
    spans, pages = _cut(conn, dated_by, EPOCH, upper)
    turns = windows.spread(swept_at, patience, len(spans))
    for (low, up), due_at in zip(spans, turns, strict=True):
        _put(conn, Slice(0, stream, low, up, pages, swept_at, due_at))


def _cut(
    conn: Connection, dated_by: Column[Any], lower: datetime, upper: datetime
) -> tuple[list[tuple[datetime, datetime]], int]:
    """-> (spans of about as many records each, as far as the mirror knows; the pages of one of them)"""
    records = cursors.count(conn, dated_by.table, dated_by >= lower, dated_by < upper)
    step = windows.stride(records)
    marks = conn.execute(_marks(dated_by), {"lower": lower, "upper": upper, "step": step}).scalars()
    return windows.cut(lower, upper, list(marks)), windows.pages(step)


@cache
def _marks(dated_by: Column[Any]) -> Any:
    """The time of every `step`th record but the first."""
    place = func.row_number().over(order_by=dated_by).label("place")
    inside = (dated_by >= bindparam("lower"), dated_by < bindparam("upper"))
    numbered = select(dated_by.label("at"), place).where(*inside).subquery()
    return select(numbered.c.at).where(numbered.c.place > 1, (numbered.c.place - 1) % bindparam("step") == 0)


def _put(conn: Connection, new: Slice) -> Slice:
    """-> with its own id"""
    row = {name: value for name, value in asdict(new).items() if name != "id"}
    key = conn.execute(insert(t.sweep_slices), row).inserted_primary_key
    assert key is not None
    return replace(new, id=key[0])


def take_over(conn: Connection, stream: str, dated_by: Column[Any], upper: datetime, patience: timedelta) -> None:
    """A mirror of an earlier version: its records were all read in its last sweep, or else since its first run."""
    first = conn.execute(select(func.min(t.runs.c.started_at))).scalar()
    former = cursors.fact(conn, FORMER)
    make(conn, stream, dated_by, upper, datetime.fromisoformat(former) if former else first or EPOCH, patience)


def unsliced(conn: Connection) -> list[str]:
    """The streams that an earlier version has read."""
    read = conn.execute(select(t.cursors.c.stream).where(t.cursors.c.stream.startswith("onvoard."))).scalars()
    known = {stream.removeprefix("onvoard.") for stream in read}
    return sorted(known - set(conn.execute(select(t.sweep_slices.c.stream).distinct()).scalars()))


def due(conn: Connection, now: datetime, patience: timedelta) -> list[Slice]:
    """Those whose turn it is, the one that was not read for longest first. It is also the turn of what was read more
    than `patience` ago, whatever was planned then."""
    s = t.sweep_slices.c
    late = or_(s.due_at <= now, s.swept_at <= now - patience, s.swept_at > now + AHEAD)
    query = select(t.sweep_slices).where(late).order_by(s.swept_at, s.id)
    return [Slice(**row) for row in conn.execute(query).mappings()]


def next_due(conn: Connection) -> datetime | None:
    """When the next slice has its turn; None where nothing is swept yet."""
    return conn.execute(select(func.min(t.sweep_slices.c.due_at))).scalar()


def all_due(conn: Connection, now: datetime) -> None:
    s = t.sweep_slices
    conn.execute(update(s).where(s.c.due_at > now).values(due_at=now))


def grow(conn: Connection, piece: Slice, dated_by: Column[Any], reached: datetime) -> list[Slice]:
    """The newest slice of a stream takes in what came up to `reached`; one that has grown by half is cut. -> what there
    is now in its place: nothing where the slices were made anew meanwhile"""
    s = t.sweep_slices
    newer = cursors.count(conn, s, s.c.stream == piece.stream, s.c.upper > piece.upper)
    upper = piece.upper if newer else max(piece.upper, reached)
    records = cursors.count(conn, dated_by.table, dated_by >= piece.lower, dated_by < upper)
    grown = replace(piece, upper=upper, pages=windows.pages(records))
    if not conn.execute(update(s).where(s.c.id == piece.id).values(upper=upper)).rowcount:
        return []
    if 2 * grown.pages <= 3 * windows.MOST:
        return [grown]
    conn.execute(delete(s).where(s.c.id == piece.id))
    spans, pages = _cut(conn, dated_by, piece.lower, upper)
    return [_put(conn, replace(grown, lower=low, upper=up, pages=pages)) for low, up in spans]


def swept(
    conn: Connection, piece: Slice, reached: datetime, pages: int, at: datetime, patience: timedelta
) -> Slice | None:
    """`piece` was read, from `at` on, down to `reached`. -> what is left of it, whose turn it still is

    Nothing happens where the slices were made anew meanwhile.
    """
    s = t.sweep_slices
    read = update(s).where(s.c.id == piece.id)
    if not conn.execute(read.values(lower=reached, pages=pages, swept_at=at, due_at=at + patience)).rowcount:
        return None
    if reached > piece.lower:
        return _put(conn, replace(piece, upper=reached, pages=max(1, piece.pages - pages)))
    _join(conn, piece.id, at)
    return None


def _join(conn: Connection, slice_id: int, now: datetime) -> None:
    """A tiny slice with a tiny neighbour whose turn it is not: what was in them is gone, for the most part."""
    s = t.sweep_slices
    row = conn.execute(select(s).where(s.c.id == slice_id)).one()
    beside = or_(s.c.upper == row.lower, s.c.lower == row.upper)
    tiny = s.c.pages <= windows.LEAD - row.pages
    other = conn.execute(select(s).where(s.c.stream == row.stream, beside, tiny, s.c.due_at > now).limit(1)).first()
    if other is None:
        return
    conn.execute(delete(s).where(s.c.id == other.id))
    conn.execute(
        update(s).where(s.c.id == slice_id).values(
            lower=min(row.lower, other.lower), upper=max(row.upper, other.upper), pages=row.pages + other.pages,
            swept_at=min(row.swept_at, other.swept_at), due_at=min(row.due_at, other.due_at),
        )
    )  # fmt: skip
