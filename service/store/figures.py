"""What waits, for the metrics alone (`health` has the rest): each by an index, however much was done before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from service.store import tables as t

_E = t.webhook_events.c


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many, and since when the oldest."""

    number: int
    since: datetime | None


def events(conn: Connection, now: datetime) -> dict[str, Waiting]:
    """Webhook events to be looked into, by platform: those that are due, since when they are."""
    due = func.coalesce(_E.processed_at, _E.received_at, type_=_E.received_at.type)
    query = select(_E.platform, func.count().label("n"), func.min(due).label("since"))
    rows = conn.execute(query.where(_E.status == "pending", due <= now).group_by(_E.platform))
    return {row.platform: Waiting(row.n, row.since) for row in rows}


def firings(conn: Connection) -> dict[tuple[str, str], int]:
    """By rule, each that ever ran, how many of its firings are `waiting` (for their person, or in the outbox) or
    `dead`."""
    f, found = t.rule_firings.c, dict[tuple[str, str], int]()
    for rule in conn.execute(select(t.rule_states.c.name)).scalars():
        found |= {(rule, "waiting"): 0, (rule, "dead"): 0}
    open_ = select(f.rule, f.status, func.count()).where(f.status.in_(["due", "staged", "dead"]))
    for rule, status, number in conn.execute(open_.group_by(f.rule, f.status)):
        key = rule, "dead" if status == "dead" else "waiting"
        found[key] = found.get(key, 0) + number
    return found


def held(conn: Connection) -> list[str]:
    """The platforms towards which the brake holds changes."""
    return list(conn.execute(select(t.holds.c.platform)).scalars())


def surprises(conn: Connection) -> dict[str, int]:
    """By platform, how many."""
    s = t.surprises.c
    rows = conn.execute(select(s.platform, func.sum(s.times)).group_by(s.platform))
    return {platform: int(number) for platform, number in rows}
