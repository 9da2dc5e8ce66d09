"""What is over and old leaves the mirror, or loses what it said about people. What decisions rest on stays.

- Runs: the first one, the last of each kind, its last success, the last that changed
  anything, and those that an open conflict or the brake names.
- Webhook events: those that wait.
- Pushes: opt-outs as they are, for they are the proof; what is said once and for all (`sync_id`) and what a person has
  discarded (`fingerprint`), without what it said. And all that was carried over within `oscillation.MEMORY`.
- Changes: the newest of each field, which is where its value came from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, not_, or_, select, update

from service.store import cursors
from service.store import tables as t
from service.store.database import Database
from service.store.health import ENDED_WELL
from service.store.outbox import DISCARDED, Lane
from service.store.reports import CLOSED

_R, _E, _O, _C = t.runs.c, t.webhook_events.c, t.outbox.c, t.changes.c
_NEWER = t.changes.alias("newer").c
_KEPT_SINCE = "outbox_kept_since"
BLANK: dict[str, Any] = {"payload": {}, "details": [], "basis": {}}
PUSHES, SAID_ONCE = "outbox", "outbox_said_once"
"""Pushes that go, and pushes that stay and lose what they said."""


def _last_of_each(*where: ColumnElement[bool]) -> Any:
    return select(func.max(_R.id)).where(*where).group_by(_R.kind)


_NAMED = (
    _last_of_each(),
    _last_of_each(_R.outcome.in_(ENDED_WELL)),
    select(func.min(_R.id)),
    select(func.max(_C.run_id)).having(func.max(_C.run_id).is_not(None)),
    select(t.conflicts.c.run_id).where(t.conflicts.c.status == "open", t.conflicts.c.run_id.is_not(None)),
    select(t.holds.c.run_id).where(t.holds.c.run_id.is_not(None)),
)
_CLOSED = and_(_O.status.in_(CLOSED), _O.lane != int(Lane.OPT_OUT))
_DISCARDED = and_(_O.last_error.is_not(None), _O.last_error.startswith(DISCARDED, autoescape=True))
_STAYS = or_(_O.sync_id.is_not(None), _DISCARDED)
_OVERTAKEN = (
    select(_NEWER.id)
    .where(_NEWER.person_id == _C.person_id, _NEWER.platform == _C.platform, _NEWER.field == _C.field)
    .where(_NEWER.id > _C.id)
    .exists()
)
_TABLES = {"runs": t.runs, "webhook_events": t.webhook_events, "changes": t.changes}
_OVER: dict[str, tuple[Any, tuple[ColumnElement[bool], ...]]] = {
    "runs": (func.coalesce(_R.finished_at, _R.started_at), ()),
    "webhook_events": (func.coalesce(_E.processed_at, _E.received_at), (_E.status != "pending",)),
    PUSHES: (func.coalesce(_O.updated_at, _O.created_at), (_CLOSED, not_(_STAYS))),
    SAID_ONCE: (func.coalesce(_O.updated_at, _O.created_at), (_CLOSED, _STAYS, _O.payload != BLANK["payload"])),
    "changes": (_C.at, ()),
}
"""Of each kind: when it was over, and what else has to hold for it to go, still when it goes."""
_FOR_GOOD = {"runs": tuple(_R.id.not_in(named) for named in _NAMED), "changes": (_OVERTAKEN,)}
"""What holds for good once it does. To find it out takes long, so no writer does."""


async def old(db: Database, kind: str, before: datetime, after: Any, limit: int) -> list[Any]:
    """The next ids of what is to go, in their order; `after` None: from the first one on. Beside the writers, as it may
    have to pass over much that stays."""
    ids = _table(kind).c.id
    where = [*_old(kind, before), *_FOR_GOOD.get(kind, ()), *([] if after is None else [ids > after])]

    def look() -> list[Any]:
        with db.begin(write=False) as conn:
            return list(conn.execute(select(ids).where(*where).order_by(ids).limit(limit)).scalars())

    return await asyncio.to_thread(look)


def prune(conn: Connection, kind: str, before: datetime, ids: Sequence[Any]) -> int:
    """Those of what was found that are still to go. -> how many"""
    table = _table(kind)
    where = (table.c.id.in_(ids), *_old(kind, before))
    if kind == SAID_ONCE:
        return conn.execute(update(table).where(*where).values(BLANK)).rowcount
    if kind == PUSHES:
        cursors.set_fact(conn, _KEPT_SINCE, before.isoformat())
    return conn.execute(delete(table).where(*where)).rowcount


def _table(kind: str) -> Any:
    return _TABLES.get(kind, t.outbox)


def _old(kind: str, before: datetime) -> tuple[ColumnElement[bool], ...]:
    at, where = _OVER[kind]
    return (at < before, *where)


def forgotten(conn: Connection, run_id: int) -> bool:
    """Whether a run is so old that what it pushed may have left the outbox."""
    kept_since = cursors.fact(conn, _KEPT_SINCE)
    started = conn.execute(select(_R.started_at).where(_R.id == run_id)).scalar()
    return kept_since is not None and started is not None and started < datetime.fromisoformat(kept_since)
