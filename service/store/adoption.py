"""New contacts become persons: one for each, until a link makes two of them one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache, partial
from typing import Any

from sqlalchemy import Connection, Integer, and_, bindparam, exists, func, select, update

from service.concurrency import side_by_side
from service.store import people
from service.store import tables as t
from service.store.bulk import insert_for
from service.store.database import Database
from service.store.planner import unindexed

_OV, _DO, _P = t.onvoard_contacts, t.digital_onboarding_contacts, t.persons
_SIDES = {
    _P.c.onvoard_contact_id: (_OV.c.id, and_(_OV.c.dirty, _OV.c.deleted_at.is_(None))),
    _P.c.unique_id: (_DO.c.unique_id, _DO.c.dirty),
}
PART = 10_000
"""New contacts at a time: others want to write too, and a first pull has a million."""
LANES = 2
"""Parts at a time, on Postgres: the client has nothing to do meanwhile, and one connection's work is one core's."""


def adopt(conn: Connection, now: datetime) -> None:
    """A person for each new contact. One that came back after its deletion returns to the person that it was, or is
    looked at anew where that person has a contact on the other side. An import or a backfill may be at the same."""
    _take_back(conn)
    for side in _SIDES:
        for part in _parts(conn, side):
            _make(conn, side, part, now)


async def adopt_in_parts(db: Database, now: datetime) -> None:
    """The same in short transactions; who is new is looked for beside the writers."""
    await db.run(_take_back)
    for side in _SIDES:
        parts = iter(await db.read(partial(_parts, side=side)))
        await side_by_side(*(_make_each(db, side, parts, now, lane) for lane in range(LANES)))


async def _make_each(db: Database, side: Any, parts: Iterator[Any], now: datetime, lane: int) -> None:
    for part in parts:
        make = partial(_make, side=side, part=part, now=now)
        await asyncio.wrap_future(db.submit(make, f"adoption-{lane}"))


def _take_back(conn: Connection) -> None:
    for statement in _returning():
        conn.execute(statement)


@cache
def _returning() -> Sequence[Any]:
    back = select(_OV.c.id).where(_OV.c.deleted_at.is_(None), _OV.c.dirty)
    returned = and_(unindexed(_P.c.onvoard_contact_id).is_(None), _P.c.former_onvoard_contact_id.in_(back))
    other = _P.alias("other")  # who was given the contact meanwhile keeps it
    free = ~exists().where(other.c.onvoard_contact_id == _P.c.former_onvoard_contact_id)
    again = update(_P).where(returned, unindexed(_P.c.unique_id).is_(None), free)
    return (
        again.values(onvoard_contact_id=_P.c.former_onvoard_contact_id, former_onvoard_contact_id=None),
        update(_P).where(returned).values(former_onvoard_contact_id=None),
    )


def _parts(conn: Connection, side: Any) -> Sequence[Any]:
    """The first and the last of each part of a side's new contacts, all in one look: to go on from the last of a part
    Postgres, without figures about the table, reads all that are left."""
    return conn.execute(_statements(conn.dialect.name, side)[0]).all()


def _make(conn: Connection, side: Any, part: Any, now: datetime) -> None:
    people.turn_to_add(conn)
    conn.execute(_statements(conn.dialect.name, side)[1], {"first": part.first, "last": part.last, "now": now})


@cache
def _statements(dialect: str, side: Any) -> tuple[Any, Any]:
    """The parts of the new contacts; and the persons of one."""
    contact, new = _SIDES[side]
    number = func.row_number(type_=Integer).over(order_by=contact).label("number")
    each = select(contact.label("key"), number).where(new).subquery().c
    parts = select(func.min(each.key).label("first"), func.max(each.key).label("last"))
    parts = parts.group_by((each.number - 1) // PART).order_by(func.min(each.key))
    now = bindparam("now", type_=_P.c.created_at.type)
    # Not as a join: Postgres keeps a plan from when there was hardly anybody, and walks through all persons for each.
    holder = select(_P.c.id).where(side == contact).correlate(contact.table).scalar_subquery()
    those = select(contact, now).where(new, contact.between(bindparam("first"), bindparam("last")))
    fresh = insert_for(dialect, _P).from_select([side.name, "created_at"], those.where(holder.is_(None)))
    return parts, fresh.on_conflict_do_nothing()
