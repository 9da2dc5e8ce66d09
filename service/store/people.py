"""The persons: one for every contact of either platform, two made one by a link."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, delete, exists, func, insert, literal, or_, select, union, update

from service.core.identity import Contact, Index, MatchedBy
from service.core.mapping import normal_email
from service.store import tables as t
from service.store.mirror import in_parts

_OV, _DO, _P = t.onvoard_contacts, t.digital_onboarding_contacts, t.persons


def adopt(conn: Connection, now: datetime) -> None:
    """A person for each new contact. One that came back after its deletion returns to the person that it was, or is
    looked at anew where that person has a contact on the other side."""
    back = select(_OV.c.id).where(_OV.c.deleted_at.is_(None), _OV.c.dirty)
    returned = and_(_P.c.onvoard_contact_id.is_(None), _P.c.former_onvoard_contact_id.in_(back))
    conn.execute(
        update(_P)
        .where(returned, _P.c.unique_id.is_(None))
        .values(onvoard_contact_id=_P.c.former_onvoard_contact_id, former_onvoard_contact_id=None)
    )
    conn.execute(update(_P).where(returned).values(former_onvoard_contact_id=None))
    held = exists().where(_P.c.onvoard_contact_id == _OV.c.id)
    new = select(_OV.c.id, literal(now, type_=_P.c.created_at.type)).where(
        _OV.c.dirty, _OV.c.deleted_at.is_(None), ~held
    )
    conn.execute(insert(_P).from_select(["onvoard_contact_id", "created_at"], new))
    held = exists().where(_P.c.unique_id == _DO.c.unique_id)
    new = select(_DO.c.unique_id, literal(now, type_=_P.c.created_at.type)).where(_DO.c.dirty, ~held)
    conn.execute(insert(_P).from_select(["unique_id", "created_at"], new))


def release_deleted(conn: Connection) -> None:
    """A contact that is gone from OnVoard leaves its person; nobody is created for that person again."""
    gone = select(_OV.c.id).where(_OV.c.deleted_at.is_not(None))
    o = t.outbox.c
    conn.execute(
        update(t.outbox)
        .where(o.platform == "onvoard", o.target.in_(gone), o.status.in_(["pending", "held", "unknown"]))
        .values(status="cancelled", last_error="the contact was deleted on OnVoard")
    )
    conn.execute(
        update(_P)
        .where(_P.c.onvoard_contact_id.in_(gone))
        .values(
            former_onvoard_contact_id=_P.c.onvoard_contact_id,
            onvoard_contact_id=None,
            matched_by=None,
            linked_at=None,
            settled_at=None,
        )
    )
    gone_people = select(_P.c.id).where(_P.c.onvoard_contact_id.is_(None), _P.c.former_onvoard_contact_id.is_not(None))
    conn.execute(delete(t.bases).where(t.bases.c.person_id.in_(gone_people)))


def link(conn: Connection, contact_id: str, unique_id: str, by: MatchedBy, now: datetime) -> int:
    """The persons of both become one, the older; its history is both histories. -> person id"""
    rows = conn.execute(
        select(_P.c.id).where(or_(_P.c.onvoard_contact_id == contact_id, _P.c.unique_id == unique_id)).order_by(_P.c.id)
    )
    ids = list(rows.scalars())
    keep = ids[0] if ids else _new_person(conn, now)
    for other in ids[1:]:
        for table in (t.conflicts, t.changes, t.outbox):
            conn.execute(update(table).where(table.c.person_id == other).values(person_id=keep))
        conn.execute(delete(_P).where(_P.c.id == other))
    values: dict[str, Any] = {
        "onvoard_contact_id": contact_id,
        "unique_id": unique_id,
        "matched_by": by.value,
        "linked_at": now,
        "settled_at": None,
    }
    conn.execute(update(_P).where(_P.c.id == keep).values(values))
    touch(conn, [keep])
    return keep


def _new_person(conn: Connection, now: datetime) -> int:
    key = conn.execute(insert(_P).values(created_at=now)).inserted_primary_key
    assert key is not None
    return int(key[0])


def touch(conn: Connection, person_ids: Iterable[int]) -> None:
    """Let the next look see these persons, on whichever side they stand."""
    for ids in in_parts(person_ids):
        contact = select(_P.c.onvoard_contact_id).where(_P.c.id.in_(ids), _P.c.onvoard_contact_id.is_not(None))
        conn.execute(update(_OV).where(_OV.c.id.in_(contact)).values(dirty=True))
        digital = select(_P.c.unique_id).where(_P.c.id.in_(ids), _P.c.unique_id.is_not(None))
        conn.execute(update(_DO).where(_DO.c.unique_id.in_(digital)).values(dirty=True))


def touch_groups(conn: Connection, *kinds: str) -> None:
    """Whoever is frozen together is looked at together, as soon as one of them changes."""
    frozen = select(_P.c.conflict_id).join(t.conflicts, t.conflicts.c.id == _P.c.conflict_id)
    moved = union(
        frozen.join(_OV, _OV.c.id == _P.c.onvoard_contact_id).where(t.conflicts.c.kind.in_(kinds), _OV.c.dirty),
        frozen.join(_DO, _DO.c.unique_id == _P.c.unique_id).where(t.conflicts.c.kind.in_(kinds), _DO.c.dirty),
    )
    touch(conn, list(conn.execute(select(_P.c.id).where(_P.c.conflict_id.in_(moved))).scalars()))


def touch_everybody(conn: Connection) -> None:
    """After a change of what is compared: the mapping, or what may be created."""
    conn.execute(update(_OV).where(_OV.c.deleted_at.is_(None)).values(dirty=True))
    conn.execute(update(_DO).values(dirty=True))


def settle_looks(conn: Connection, contact_ids: Iterable[str] = (), unique_ids: Iterable[str] = ()) -> None:
    """These have been looked at."""
    conn.execute(update(_OV).where(_OV.c.id.in_(list(contact_ids))).values(dirty=False))
    conn.execute(update(_DO).where(_DO.c.unique_id.in_(list(unique_ids))).values(dirty=False))


def unlinked_onvoard(conn: Connection, after: str, limit: int) -> list[dict[str, Any]]:
    """Living OnVoard contacts without a partner that changed, or that a changed partnerless Digital Onboarding contact
    may be."""
    lonely = and_(_P.c.unique_id.is_(None), _P.c.state == "active", _OV.c.deleted_at.is_(None))
    base = select(_OV, _P.c.id.label("person_id"), _P.c.conflict_id).join(_P, _P.c.onvoard_contact_id == _OV.c.id)
    fresh = (
        select(_DO.c.email_key, _DO.c.unique_id_key, _DO.c.unique_id)
        .join(_P, _P.c.unique_id == _DO.c.unique_id)
        .where(_DO.c.dirty, _P.c.onvoard_contact_id.is_(None))
    ).subquery()
    wanted = or_(
        _OV.c.dirty,
        _OV.c.email_key.in_(select(fresh.c.email_key)),
        _OV.c.email_key.in_(select(fresh.c.unique_id_key)),
        _OV.c.link_unique_id.in_(select(fresh.c.unique_id)),
    )
    query = base.where(lonely, wanted, _OV.c.id > after).order_by(_OV.c.id).limit(limit).with_for_update(of=_OV)
    return [dict(row) for row in conn.execute(query).mappings()]


def unlinked_digital(conn: Connection, after: str, limit: int) -> list[dict[str, Any]]:
    query = (
        select(_DO, _P.c.id.label("person_id"), _P.c.conflict_id, _P.c.former_onvoard_contact_id)
        .join(_P, _P.c.unique_id == _DO.c.unique_id)
        .where(_P.c.onvoard_contact_id.is_(None), _P.c.state == "active", _DO.c.removed_at.is_(None))
        .where(_DO.c.dirty, _DO.c.unique_id > after)
        .order_by(_DO.c.unique_id)
        .limit(limit)
        .with_for_update(of=_DO)
    )
    return [dict(row) for row in conn.execute(query).mappings()]


def index_around(conn: Connection, emails: Sequence[str], unique_ids: Sequence[str]) -> Index:
    """All records of both platforms that share one of these addresses or ids, and those that share theirs."""
    digital = _digital(
        conn, _DO.c.email_key.in_(emails), _DO.c.unique_id_key.in_(emails), _DO.c.unique_id.in_(unique_ids)
    )
    addresses = {*emails, *(c.email for c in digital.values() if c.email), *map(normal_email, digital)}
    onvoard = _onvoard(conn, _OV.c.email_key.in_(addresses), _OV.c.link_unique_id.in_({*unique_ids, *digital}))
    digital |= _digital(conn, _DO.c.email_key.in_({c.email for c in onvoard.values()}))
    return Index(onvoard=onvoard, digital_onboarding=digital)


def _partners() -> Select[Any]:
    """Linked pairs with the addresses that they last agreed on."""
    agreed = {side: t.bases.c[side] for side in ("onvoard", "digital_onboarding")}
    return select(
        _P.c.onvoard_contact_id,
        _P.c.unique_id,
        _OV.c.email_key.label("onvoard_email"),
        _DO.c.email_key.label("digital_email"),
        agreed["onvoard"].label("onvoard_base"),
        agreed["digital_onboarding"].label("digital_base"),
    ).select_from(
        _P.join(_OV, _P.c.onvoard_contact_id == _OV.c.id)
        .join(_DO, _P.c.unique_id == _DO.c.unique_id)
        .outerjoin(t.bases, t.bases.c.person_id == _P.c.id)
    )


def _base_email(base: Any) -> str | None:
    fields = (base or {}).get("fields") or {}
    return normal_email(fields["email"]) if "email" in fields else None


def _onvoard(conn: Connection, *where: Any) -> dict[str, Contact]:
    query = select(_OV.c.id, _OV.c.email_key, _OV.c.link_unique_id).where(or_(*where), _OV.c.deleted_at.is_(None))
    rows = conn.execute(query).all()
    pairs = {
        p.onvoard_contact_id: p
        for p in conn.execute(_partners().where(_P.c.onvoard_contact_id.in_([row.id for row in rows])))
    }
    return {
        row.id: Contact(
            id=row.id,
            email=row.email_key or "",
            linked=row.id in pairs,
            link_unique_id=row.link_unique_id or "",
            leaves=row.id in pairs and _leaves(pairs[row.id], "onvoard"),
        )
        for row in rows
    }


def _digital(conn: Connection, *where: Any) -> dict[str, Contact]:
    query = select(_DO.c.unique_id, _DO.c.email_key).where(or_(*where), _DO.c.removed_at.is_(None))
    rows = conn.execute(query).all()
    pairs = {
        p.unique_id: p for p in conn.execute(_partners().where(_P.c.unique_id.in_([row.unique_id for row in rows])))
    }
    return {
        row.unique_id: Contact(
            id=row.unique_id,
            email=row.email_key or "",
            linked=row.unique_id in pairs,
            leaves=row.unique_id in pairs and _leaves(pairs[row.unique_id], "digital"),
        )
        for row in rows
    }


def _leaves(pair: Any, side: str) -> bool:
    """Its address is still the agreed one, and its partner has another: it is about to follow."""
    mine, partner, base = (
        (pair.onvoard_email, pair.digital_email, pair.onvoard_base)
        if side == "onvoard"
        else (pair.digital_email, pair.onvoard_email, pair.digital_base)
    )
    return bool(partner) and partner != mine and _base_email(base) == (mine or "")


def dirty_pairs(conn: Connection, after: int, limit: int, *, asked_again: str) -> list[int]:
    """Linked, living persons of whom a side changed; of the frozen ones, those about whom a conflict of the kind
    `asked_again` was opened."""
    c = t.conflicts.c
    theirs = select(c.id).where(c.kind == asked_again, c.person_id == _P.c.id, c.status == "open")
    alive = and_(
        _P.c.state == "active",
        _P.c.id > after,
        _P.c.onvoard_contact_id.is_not(None),
        _P.c.unique_id.is_not(None),
        or_(_P.c.conflict_id.is_(None), _P.c.conflict_id.in_(theirs)),
    )
    by_onvoard = select(_P.c.id).join(_OV, _P.c.onvoard_contact_id == _OV.c.id).where(alive, _OV.c.dirty)
    by_digital = select(_P.c.id).join(_DO, _P.c.unique_id == _DO.c.unique_id).where(alive, _DO.c.dirty)
    both = union(by_onvoard, by_digital).subquery()
    return list(conn.execute(select(both.c.id).order_by(both.c.id).limit(limit)).scalars())


def load_pairs(conn: Connection, person_ids: Sequence[int]) -> list[tuple[Any, dict[str, Any], dict[str, Any], Any]]:
    """-> (person, onvoard row, digital onboarding row, bases or None), in the order of their ids

    The contacts are locked: what another process reads meanwhile is seen by the next look, not lost to this one.
    """
    persons = conn.execute(select(_P).where(_P.c.id.in_(person_ids)).order_by(_P.c.id)).all()
    theirs = select(_OV).where(_OV.c.id.in_([p.onvoard_contact_id for p in persons])).order_by(_OV.c.id)
    onvoard = {row["id"]: dict(row) for row in conn.execute(theirs.with_for_update()).mappings()}
    theirs = select(_DO).where(_DO.c.unique_id.in_([p.unique_id for p in persons])).order_by(_DO.c.unique_id)
    digital = {row["unique_id"]: dict(row) for row in conn.execute(theirs.with_for_update()).mappings()}
    agreed = {row.person_id: row for row in conn.execute(select(t.bases).where(t.bases.c.person_id.in_(person_ids)))}
    return [
        (p, onvoard[p.onvoard_contact_id], digital[p.unique_id], agreed.get(p.id))
        for p in persons
        if p.onvoard_contact_id in onvoard and p.unique_id in digital
    ]


def settle(conn: Connection, person_id: int, now: datetime) -> None:
    """The two sides agree for the first time."""
    conn.execute(update(_P).where(_P.c.id == person_id, _P.c.settled_at.is_(None)).values(settled_at=now))


def settled_before(conn: Connection, when: datetime) -> int:
    query = select(func.count()).select_from(_P).where(_P.c.state == "active", _P.c.settled_at < when)
    return int(conn.execute(query).scalar_one())


def person_of(conn: Connection, *, contact_id: str | None = None, unique_id: str | None = None) -> Any:
    """The person who holds this contact, or None."""
    where = _P.c.onvoard_contact_id == contact_id if contact_id is not None else _P.c.unique_id == unique_id
    return conn.execute(select(_P).where(where)).one_or_none()


def person_by_id(conn: Connection, person_id: int) -> Any:
    return conn.execute(select(_P).where(_P.c.id == person_id)).one_or_none()


def persons_by_id(conn: Connection, person_ids: Iterable[int]) -> list[Any]:
    parts = in_parts(person_ids)
    return [person for part in parts for person in conn.execute(select(_P).where(_P.c.id.in_(part)))]


def with_address(conn: Connection, email: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All living contacts of both platforms with this normalised address."""
    onvoard = (
        select(_OV, _P.c.id.label("person_id"))
        .join(_P, _P.c.onvoard_contact_id == _OV.c.id)
        .where(_OV.c.email_key == email, _OV.c.deleted_at.is_(None))
    )
    digital = (
        select(_DO, _P.c.id.label("person_id"))
        .join(_P, _P.c.unique_id == _DO.c.unique_id)
        .where(_DO.c.email_key == email)
    )
    return (
        [dict(row) for row in conn.execute(onvoard).mappings()],
        [dict(row) for row in conn.execute(digital).mappings()],
    )


def dirty_frozen(conn: Connection) -> list[dict[str, Any]]:
    """People in conflict of whom a side changed."""
    query = (
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
        .where(_P.c.state == "active", _P.c.conflict_id.is_not(None), or_(_OV.c.dirty, _DO.c.dirty))
    )
    return [dict(row) for row in conn.execute(query).mappings()]


def named_but_unknown(conn: Connection) -> list[str]:
    """unique_ids that OnVoard contacts carry in their link property and of which the mirror knows nothing: after a
    lost mirror, the links are rebuilt from these."""
    known = exists().where(_DO.c.unique_id == _OV.c.link_unique_id)
    query = (
        select(_OV.c.link_unique_id)
        .join(_P, _P.c.onvoard_contact_id == _OV.c.id)
        .where(_OV.c.link_unique_id.is_not(None), _OV.c.deleted_at.is_(None), ~known)
        .where(_P.c.state == "active", _P.c.conflict_id.is_(None))
        .distinct()
    )
    return list(conn.execute(query).scalars())
