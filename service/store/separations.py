"""Pairs of contacts that a person has told apart: no rule links them, and for neither of them is a counterpart made."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, or_, select

from service.store import tables as t
from service.store.mirror import insert

_S, _OV = t.separations, t.onvoard_contacts


def separate(conn: Connection, contact_id: str, unique_id: str, reason: str | None, now: datetime) -> None:
    """From now on these two are different people; the newest reason is kept."""
    row = {"onvoard_contact_id": contact_id, "unique_id": unique_id, "since": now, "reason": reason}
    keys = ["onvoard_contact_id", "unique_id"]
    conn.execute(insert(conn, _S).on_conflict_do_update(index_elements=keys, set_={"reason": reason}), row)


def rejoin(conn: Connection, contact_id: str, unique_id: str) -> None:
    conn.execute(delete(_S).where(_S.c.onvoard_contact_id == contact_id, _S.c.unique_id == unique_id))


def of(conn: Connection, contact_ids: Collection[str], unique_ids: Collection[str]) -> frozenset[tuple[str, str]]:
    """All pairs of which one of these contacts is a part: (OnVoard id, unique_id)."""
    theirs = or_(_S.c.onvoard_contact_id.in_(list(contact_ids)), _S.c.unique_id.in_(list(unique_ids)))
    query = select(_S.c.onvoard_contact_id, _S.c.unique_id).where(theirs)
    return frozenset((row.onvoard_contact_id, row.unique_id) for row in conn.execute(query))


def stands() -> ColumnElement[bool]:
    """The OnVoard contact of a query carries, in its link property, one from whom it has been told apart."""
    return exists().where(and_(_S.c.onvoard_contact_id == _OV.c.id, _S.c.unique_id == _OV.c.link_unique_id))
