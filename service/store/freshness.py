"""How long ago what the mirror holds was read: for `status`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, or_, select

from service.store import slices
from service.store import tables as t
from service.store.cursors import count

Row = dict[str, Any]


def swept(conn: Connection, now: datetime, within: timedelta, patience: timedelta) -> list[Row]:
    """Per OnVoard stream that was read whole: the age of what was not read for longest, which may be `within`; how many
    slices there are, how many of them are due (`slices.due`), and the requests that it takes to read all of them."""
    s = t.sweep_slices.c
    figures = (func.min(s.swept_at).label("oldest"), func.count().label("slices"), func.sum(s.pages).label("requests"))
    query = select(s.stream, *figures).group_by(s.stream).order_by(s.stream)
    waiting = [piece.stream for piece in slices.due(conn, now, patience)]
    return [
        _row(f"onvoard.{row.stream}", now - row.oldest, within, due=waiting.count(row.stream))
        | {"slices": row.slices, "requests": int(row.requests)}
        for row in conn.execute(query)
    ]


def refreshed(conn: Connection, now: datetime, within: timedelta, turn: timedelta) -> list[Row]:
    """The same of the Digital Onboarding contacts, where any was ever asked about. Who is due is asked about at the
    next `turn`."""
    c = t.digital_onboarding_contacts.c
    oldest = conn.execute(select(func.min(c.refreshed_at)).where(c.removed_at.is_(None))).scalar()
    if oldest is None:
        return []
    waits = or_(c.refreshed_at.is_(None), c.refreshed_at < now - within)
    due = count(conn, t.digital_onboarding_contacts, c.removed_at.is_(None), waits)
    row = _row("digital_onboarding.contacts", now - oldest, within, due=due)
    return [row | {"late": now - oldest > within + turn, "slices": None, "requests": None}]


def _row(stream: str, age: timedelta, within: timedelta, *, due: int) -> Row:
    seconds = max(0, int(age.total_seconds()))
    limit = int(within.total_seconds())
    return {"stream": stream, "age_seconds": seconds, "limit_seconds": limit, "late": age > within, "due": due}
