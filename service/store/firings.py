"""What rules look at, for whom they have fired, and what became of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, exists, func, or_, select, update

from service.core.records import Source
from service.store import mirror
from service.store import tables as t
from service.store.bulk import insert_for
from service.store.mirror import in_parts
from service.store.outbox import DISCARDED

Row = dict[str, Any]
_P, _OV, _DO, _O = t.persons, t.onvoard_contacts, t.digital_onboarding_contacts, t.outbox
_F, _M, _S = t.rule_firings, t.rule_members, t.rule_states

_FORMER = _P.alias("former_persons")

# Of each kind of record: its table, whose it is, when it happened, and what conditions ask for.
TABLES = {Source.ACTIVITIES: t.onvoard_activities, Source.REVIEWS: t.onvoard_reviews, Source.CONTACTS: _OV}
OF = {
    Source.ACTIVITIES: t.onvoard_activities.c.contact_id,
    Source.REVIEWS: t.onvoard_reviews.c.reviewer_contact_id,
    Source.CONTACTS: _OV.c.id,
}
AT = {
    Source.ACTIVITIES: t.onvoard_activities.c.occurred_at,
    Source.REVIEWS: t.onvoard_reviews.c.created_at,
    Source.CONTACTS: _OV.c.created_at,
}
SAYS = {
    Source.ACTIVITIES: (t.onvoard_activities.c.type,),
    Source.REVIEWS: tuple(t.onvoard_reviews.c[name] for name in ("rating", "status", "entity", "deleted_at")),
    Source.CONTACTS: tuple(_OV.c[name] for name in ("lists", "tags", "segments", "properties", "deleted_at")),
}


# --- the rules themselves


def states(conn: Connection) -> dict[str, Row]:
    """Name -> since, condition, enabled, examined_at."""
    return {row["name"]: dict(row) for row in conn.execute(select(_S)).mappings()}


def begin(conn: Connection, name: str, since: datetime, condition: str, *, anew: bool) -> None:
    """A rule applies from `since` on. `anew`: for whom it holds by now is not known yet."""
    values: Row = {"since": since, "condition": condition, "enabled": True} | ({"examined_at": None} if anew else {})
    mirror.put(conn, _S, "name", {"name": name, **values})


def switch_off(conn: Connection, names: Sequence[str]) -> None:
    if names:
        conn.execute(update(_S).where(_S.c.name.in_(names)).values(enabled=False))


def examined_all(conn: Connection, names: Sequence[str], now: datetime) -> None:
    """For whom these rules hold is known from now on."""
    if names:
        conn.execute(update(_S).where(_S.c.name.in_(names), _S.c.examined_at.is_(None)).values(examined_at=now))


# --- what is to be examined


def mark(conn: Connection, source: Source, since: datetime | None, types: Iterable[str] = ()) -> None:
    """Let the rules look at these records (once more): of these types, where some are given, from `since` on."""
    table = TABLES[source]
    where = [~table.c.unexamined]
    where += [AT[source] >= since] if since is not None else []
    where += [table.c.type.in_(sorted(types))] if types else []
    conn.execute(update(table).where(*where).values(unexamined=True))


def newest(conn: Connection, source: Source) -> datetime | None:
    """When the newest of these records happened; None where there are none."""
    at: datetime | None = conn.execute(select(func.max(AT[source]))).scalar()
    return at


def unexamined(conn: Connection, source: Source, after: str, limit: int) -> list[Row]:
    """The next records: id, at, contact_id, person_id (None where nobody is known yet), and what conditions ask for."""
    return [dict(row) for row in conn.execute(_unexamined(source), {"after": after, "most": limit}).mappings()]


@cache
def _unexamined(source: Source) -> Any:
    table, contact = TABLES[source], OF[source]
    # One that was deleted, and came back under another id, has left what it did behind.
    theirs = select(_FORMER.c.id).where(_FORMER.c.former_onvoard_contact_id == contact).limit(1)
    former = theirs.correlate(table).scalar_subquery()
    head = (table.c.id, AT[source].label("at"), contact.label("contact_id"), _P.c.id.label("person_id"))
    query = select(*head, former.label("former"), *SAYS[source])
    query = query.select_from(table.outerjoin(_P, _P.c.onvoard_contact_id == contact))
    query = query.where(table.c.unexamined, table.c.id > bindparam("after"))
    return query.order_by(table.c.id).limit(bindparam("most"))


def examined(conn: Connection, source: Source, ids: Sequence[str]) -> None:
    table = TABLES[source]
    for part in in_parts(ids):
        conn.execute(update(table).where(table.c.id.in_(part)).values(unexamined=False))


def members(conn: Connection, rules: Collection[str], contact_ids: Collection[str]) -> set[tuple[str, str]]:
    """(rule, contact) where a lasting condition held when it was last looked at."""
    query = select(_M.c.rule, _M.c.contact_id).where(_M.c.rule.in_(rules), _M.c.contact_id.in_(contact_ids))
    return {(row.rule, row.contact_id) for row in conn.execute(query)}


def join(conn: Connection, rows: Sequence[Row]) -> None:
    """rule, contact_id, since"""
    if rows:
        conn.execute(insert_for(conn.dialect.name, _M).on_conflict_do_nothing(), rows)


def leave(conn: Connection, left: Iterable[tuple[str, str]]) -> None:
    for rule, contact_id in left:
        conn.execute(delete(_M).where(_M.c.rule == rule, _M.c.contact_id == contact_id))


def forget_members(conn: Connection, rule: str) -> None:
    conn.execute(delete(_M).where(_M.c.rule == rule))


# --- firings


def fired(
    conn: Connection, rules: Collection[str], person_ids: Collection[int]
) -> dict[tuple[str, int], dict[str, datetime]]:
    """(rule, person) -> what it fired for, and when that happened."""
    found: dict[tuple[str, int], dict[str, datetime]] = {}
    query = select(_F.c.rule, _F.c.person_id, _F.c.happening, _F.c.happened_at)
    for row in conn.execute(query.where(_F.c.rule.in_(rules), _F.c.person_id.in_(person_ids))):
        found.setdefault((row.rule, row.person_id), {})[row.happening] = row.happened_at
    return found


def fired_for(conn: Connection, rule: str) -> set[int]:
    """The persons for whom a rule has fired."""
    return set(conn.execute(select(_F.c.person_id).where(_F.c.rule == rule)).scalars())


def fire(conn: Connection, rows: Sequence[Row]) -> None:
    """rule, person_id, happening, happened_at, status, run_id, created_at, updated_at"""
    if rows:
        conn.execute(insert_for(conn.dialect.name, _F).on_conflict_do_nothing(), rows)


_STAGED = and_(_F.c.status == "staged", _O.c.sync_id == _F.c.sync_id)
_UNSAID = and_(
    _O.c.status == "cancelled", _O.c.attempts == 0,
    or_(_O.c.last_error.is_(None), ~_O.c.last_error.startswith(DISCARDED, autoescape=True)),
)  # fmt: skip
_LOST = select(_F.c.sync_id).where(_F.c.status == "staged", exists().where(_STAGED, _UNSAID))
_CAME_OF_IT = (
    delete(_O).where(_O.c.sync_id.in_(_LOST)),
    update(_F)
    .where(_F.c.status == "staged", ~exists().where(_O.c.sync_id == _F.c.sync_id))
    .values(status="due", updated_at=bindparam("now")),
    *(
        update(_F)
        .where(_F.c.status == "staged", exists().where(_STAGED, _O.c.status == became))
        .values(status=status, updated_at=bindparam("now"))
        for became, status in (("done", "done"), ("dead", "dead"), ("cancelled", "skipped"))
    ),
    # A dead letter that is given another try.
    update(_F)
    .where(_F.c.status == "dead", ~exists().where(_O.c.sync_id == _F.c.sync_id))
    .values(status="due", updated_at=bindparam("now")),
    update(_F)
    .where(_F.c.status == "dead", exists().where(_O.c.sync_id == _F.c.sync_id, _O.c.status == "done"))
    .values(status="done", updated_at=bindparam("now")),
)


def take_stock(conn: Connection, now: datetime) -> None:
    """What came of the pushes. What was put aside unsent (its person was frozen, or the brake held it) is due again."""
    for statement in _CAME_OF_IT:
        conn.execute(statement, {"now": now})


_DUE = (
    select(
        _F.c.id, _F.c.rule, _F.c.person_id, _F.c.happening, _F.c.happened_at, _F.c.reason, _F.c.run_id,
        _P.c.state, _P.c.conflict_id, _P.c.settled_at, _P.c.onvoard_contact_id,
        _DO.c.unique_id, _DO.c.unsubscribe_email, _DO.c.meta_public, _DO.c.refreshed_at, _DO.c.removed_at,
        _OV.c.email_unsubscribed, _OV.c.email_marked_as_spam, _OV.c.email_hard_bounced,
    )
    .select_from(
        _F.outerjoin(_P, _P.c.id == _F.c.person_id)
        .outerjoin(_DO, _DO.c.unique_id == _P.c.unique_id)
        .outerjoin(_OV, _OV.c.id == _P.c.onvoard_contact_id)
    )
    .where(_F.c.status == "due", _F.c.id > bindparam("after"))
    .order_by(_F.c.id)
    .limit(bindparam("most"))
)  # fmt: skip


def due(conn: Connection, after: int, limit: int) -> list[Row]:
    """The next firings that are to become pushes, with what there is to know about the person."""
    return [dict(row) for row in conn.execute(_DUE, {"after": after, "most": limit}).mappings()]


_SETTLE = (
    update(_F)
    .where(_F.c.id == bindparam("firing"))
    .values(status=bindparam("to"), reason=bindparam("why"), sync_id=bindparam("once"), updated_at=bindparam("now"))
)


def settle(conn: Connection, rows: Sequence[Row], now: datetime) -> None:
    """firing, to (status), why, once (sync_id)"""
    if rows:
        conn.execute(_SETTLE, [row | {"now": now} for row in rows])


def awaiting(conn: Connection, rules: Collection[str]) -> list[str]:
    """The unique_ids of whom these rules are about to ask something."""
    free = (_P.c.state == "active", _P.c.conflict_id.is_(None), _DO.c.removed_at.is_(None))
    source = _F.join(_P, _P.c.id == _F.c.person_id).join(_DO, _DO.c.unique_id == _P.c.unique_id)
    query = select(_DO.c.unique_id).distinct().select_from(source)
    query = query.where(_F.c.rule.in_(rules), _F.c.status == "due", *free)
    return list(conn.execute(query.order_by(_DO.c.unique_id)).scalars())
