"""Whom the next look is about: those of whom a contact is marked as `dirty`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, or_, select, union, update

from service.core.records import Platform
from service.store import people
from service.store import tables as t

_OV, _DO, _P = t.onvoard_contacts, t.digital_onboarding_contacts, t.persons


def touch_groups(conn: Connection, *kinds: str) -> None:
    """Whoever is frozen together is looked at together, as soon as one of them changes."""
    people.touch(conn, list(conn.execute(_groups(), {"kinds": kinds}).scalars()))


@cache
def _groups() -> Select[Any]:
    frozen = select(_P.c.conflict_id).join(t.conflicts, t.conflicts.c.id == _P.c.conflict_id)
    frozen = frozen.where(t.conflicts.c.kind.in_(bindparam("kinds", expanding=True)))
    moved = union(
        frozen.join(_OV, _OV.c.id == _P.c.onvoard_contact_id).where(_OV.c.dirty),
        frozen.join(_DO, _DO.c.unique_id == _P.c.unique_id).where(_DO.c.dirty),
    )
    return select(_P.c.id).where(_P.c.conflict_id.in_(moved))


def touch_everybody(conn: Connection) -> None:
    """After a change of what is compared: the mapping, or what may be created."""
    living = (_OV.c.deleted_at.is_(None), _OV.c.suppressed.is_not(True))
    # At a first sync they all are already: a million rows that are not written once more.
    conn.execute(update(_OV).where(*living, ~_OV.c.dirty).values(dirty=True))
    conn.execute(update(_DO).where(~_DO.c.dirty).values(dirty=True))


def dirty(conn: Connection, platform: Platform, after: str, limit: int) -> list[str]:
    """The contacts of a platform (ids, or unique_ids) that are to be looked at, in order, from behind `after` on."""
    return list(conn.execute(_DIRTY[platform], {"after": after, "most": limit}).scalars())


_KEYS = {Platform.ONVOARD: _OV.c.id, Platform.DIGITAL_ONBOARDING: _DO.c.unique_id}
_DIRTY = {
    platform: select(key).where(key.table.c.dirty, key > bindparam("after")).order_by(key).limit(bindparam("most"))
    for platform, key in _KEYS.items()
}


def linked(conn: Connection, platform: Platform, contacts: Sequence[str], *, asked_again: Sequence[str]) -> list[int]:
    """Those whose contacts these are: linked, living persons; of the frozen ones, those about whom a conflict of these
    kinds was opened."""
    return list(conn.execute(_LINKED[platform], {"contacts": contacts, "kinds": asked_again}).scalars())


_ASKED = select(t.conflicts.c.id).where(
    t.conflicts.c.kind.in_(bindparam("kinds", expanding=True)),
    t.conflicts.c.person_id == _P.c.id,
    t.conflicts.c.status == "open",
)
_LINKED = {
    platform: select(_P.c.id)
    .where(column.in_(bindparam("contacts", expanding=True)), _P.c.state == "active")
    .where(_P.c.onvoard_contact_id.is_not(None), _P.c.unique_id.is_not(None))
    .where(or_(_P.c.conflict_id.is_(None), _P.c.conflict_id.in_(_ASKED)))
    .order_by(_P.c.id)
    for platform, column in zip(Platform, (_P.c.onvoard_contact_id, _P.c.unique_id), strict=True)
}


def dirty_frozen(conn: Connection) -> list[dict[str, Any]]:
    """People in conflict of whom a side changed."""
    return [dict(row) for row in conn.execute(_dirty_frozen()).mappings()]


@cache
def _dirty_frozen() -> Select[Any]:
    return (
        select(
            _P.c.id.label("person_id"),
            t.conflicts.c.kind,
            t.conflicts.c.person_id.label("asked_about"),
            _OV.c.id.label("contact_id"),
            _DO.c.unique_id.label("unique_id"),
            _OV.c.email_key.label("onvoard_email"),
            _DO.c.email_key.label("digital_email"),
            _OV.c.email_unsubscribed,
            _OV.c.email_marked_as_spam,
            _OV.c.email_hard_bounced,
            _DO.c.unsubscribe_email,
        )
        .select_from(
            _P.join(t.conflicts, t.conflicts.c.id == _P.c.conflict_id)
            .outerjoin(_OV, and_(_P.c.onvoard_contact_id == _OV.c.id, _OV.c.deleted_at.is_(None)))
            .outerjoin(_DO, _P.c.unique_id == _DO.c.unique_id)
        )
        .where(_P.c.state == "active", _P.c.conflict_id > 0, or_(_OV.c.dirty, _DO.c.dirty))
    )
