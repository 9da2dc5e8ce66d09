"""What all processes on a mirror have done since it was made: figures that only grow, whatever becomes of old runs and
pushes. They name kinds, never a person."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, func, select

from service.core.records import Platform
from service.store import tables as t
from service.store.bulk import insert_for
from service.store.consents import EMAIL
from service.store.outbox import Lane

RUNS, RUN_SECONDS, PULLED, REFUSED, PUSHES = "runs", "run_seconds", "pulled", "refused", "pushes"
IMPORT = "import"
"""The stream of what files bring."""
OPT_OUTS, OPT_OUT_SECONDS = "opt_outs", "opt_out_seconds"
BOUNDS = (5, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 21_600, 86_400)
"""Seconds: an opt-out that took no longer counts under the first of these that is not less, else under `more`."""
MORE = "more"
_T, _O, _R, _P = t.tallies, t.outbox, t.opt_outs, t.persons


def everything(conn: Connection) -> dict[str, dict[str, float]]:
    """By name and label."""
    found: dict[str, dict[str, float]] = {}
    for name, label, number in conn.execute(select(_T.c.name, _T.c.label, _T.c.number).order_by(_T.c.name, _T.c.label)):
        found.setdefault(name, {})[label] = number
    return found


def ended(conn: Connection, kind: str, outcome: str, seconds: float, counts: Mapping[str, Any]) -> None:
    """A run, and what it has read."""
    pulled = dict(counts.get("pulled") or {}) | ({IMPORT: counts["imported"]} if "imported" in counts else {})
    new = {(RUNS, f"{kind}.{outcome}"): 1, (RUN_SECONDS, kind): max(0.0, seconds)}
    new |= {(PULLED, stream): number for stream, number in pulled.items()}
    new |= {(REFUSED, stream): number for stream, number in (counts.get("refused") or {}).items()}
    _write(conn, new)


_BECAME = (
    select(_O.c.platform, _O.c.operation, _O.c.status, func.count())
    .where(_O.c.id.in_(bindparam("ids", expanding=True)))
    .group_by(_O.c.platform, _O.c.operation, _O.c.status)
)


def answered(conn: Connection, ids: Sequence[int]) -> Counter[tuple[str, str]]:
    """Pushes of one platform that were tried, in the transaction that settles them. -> how many, by operation and
    status"""
    became: Counter[tuple[str, str]] = Counter()
    new: dict[tuple[str, str], float] = {}
    for platform, operation, status, number in conn.execute(_BECAME, {"ids": ids}):
        became[operation, status] = number
        new[PUSHES, f"{platform}.{operation}.{status}"] = number
    _write(conn, new)
    return became


_CONTACT = case(
    (_O.c.platform == Platform.ONVOARD.value, _P.c.unique_id),
    else_=func.coalesce(_P.c.onvoard_contact_id, _P.c.former_onvoard_contact_id),
)
_SHOWN = and_(
    _R.c.contact == _CONTACT, _R.c.platform != _O.c.platform, _R.c.channel == EMAIL, _R.c.lifted_at.is_(None)
)
_OPTED_OUT = (
    select(_O.c.platform, _O.c.created_at, _P.c.linked_at, func.max(_R.c.seen_at).label("seen_at"))
    .select_from(_O.outerjoin(_P, _P.c.id == _O.c.person_id).outerjoin(_R, _SHOWN))
    .where(_O.c.id.in_(bindparam("ids", expanding=True)), _O.c.status == "done", _O.c.lane == int(Lane.OPT_OUT))
    .group_by(_O.c.id, _O.c.platform, _O.c.created_at, _P.c.linked_at)
)


def opted_out(conn: Connection, ids: Sequence[int], now: datetime) -> None:
    """How long those opt-outs took that have got through: from when one platform was seen to show it, or the other one
    was found to know the same person."""
    new: dict[tuple[str, str], float] = defaultdict(float)
    for row in conn.execute(_OPTED_OUT, {"ids": ids}):
        began = row.created_at if row.seen_at is None else max(filter(None, (row.seen_at, row.linked_at)))
        seconds = max(0.0, (now - began).total_seconds())
        place = bisect_left(BOUNDS, seconds)
        new[OPT_OUTS, f"{row.platform}.{BOUNDS[place] if place < len(BOUNDS) else MORE}"] += 1
        new[OPT_OUT_SECONDS, row.platform] += seconds
    _write(conn, new)


def _write(conn: Connection, numbers: Mapping[tuple[str, str], float]) -> None:
    """In one order, so that no two writers wait for each other."""
    rows = [{"name": name, "label": label, "number": number} for (name, label), number in sorted(numbers.items())]
    if rows:
        conn.execute(_upsert(conn.dialect.name), rows)


@cache
def _upsert(dialect: str) -> Any:
    statement = insert_for(dialect, _T)
    number = _T.c.number + statement.excluded.number
    return statement.on_conflict_do_update(index_elements=["name", "label"], set_={"number": number})
