"""Who could be whom: the contacts without a partner, and all that share an address or an id with them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, exists, or_, select

from service.core.identity import Contact, Index
from service.core.mapping import normal_email
from service.store import separations
from service.store import tables as t
from service.store.bulk import among
from service.store.mirror import FOR_DECISIONS
from service.store.planner import unindexed

_OV, _DO, _P = t.onvoard_contacts, t.digital_onboarding_contacts, t.persons
_OF_PERSON = (_P.c.id.label("person_id"), _P.c.state.label("person_state"), _P.c.conflict_id)  # a contact has a `state`
_WITHOUT_DIGITAL = unindexed(_P.c.unique_id).is_(None)
_WITHOUT_ONVOARD = unindexed(_P.c.onvoard_contact_id).is_(None)
# Of those who changed, a few at a time by their ids. Before the first sync everybody is without a partner: a search for
# those takes both databases through a million people for each few.


def unlinked_onvoard(conn: Connection, changed: Sequence[str]) -> list[dict[str, Any]]:
    """Those of these OnVoard contacts that are alive and without a partner, in order."""
    return [dict(row) for row in conn.execute(_lonely_onvoard("changed"), {"ids": changed}).mappings()]


def meant_by(conn: Connection, changed: Sequence[str]) -> list[dict[str, Any]]:
    """Living OnVoard contacts without a partner that one of these Digital Onboarding contacts may be, if that has none
    either."""
    fresh = conn.execute(_FRESH, {"ids": changed}).all()
    keys = {key for row in fresh for key in (row.email_key, row.unique_id_key) if key}
    asked = {"keys": list(keys), "ids": [row.unique_id for row in fresh]}
    return [dict(row) for row in conn.execute(_lonely_onvoard("meant"), asked).mappings()] if fresh else []


@cache
def _lonely_onvoard(which: str) -> Select[Any]:
    lonely = and_(_WITHOUT_DIGITAL, _P.c.state == "active", _OV.c.deleted_at.is_(None))
    base = select(*FOR_DECISIONS, _P.c.id.label("person_id"), _P.c.conflict_id)
    query = base.join(_P, _P.c.onvoard_contact_id == _OV.c.id).where(lonely).order_by(_OV.c.id).with_for_update(of=_OV)
    if which == "changed":
        return query.where(among(_OV.c.id, "ids"))
    has_address = _OV.c.email_key.in_(bindparam("keys", expanding=True))
    return query.where(or_(has_address, _OV.c.link_unique_id.in_(bindparam("ids", expanding=True))))


_FRESH = (
    select(_DO.c.email_key, _DO.c.unique_id_key, _DO.c.unique_id)
    .join(_P, _P.c.unique_id == _DO.c.unique_id)
    .where(among(_DO.c.unique_id, "ids"), _WITHOUT_ONVOARD)
)


def unlinked_digital(conn: Connection, changed: Sequence[str]) -> list[dict[str, Any]]:
    """Those of these Digital Onboarding contacts that are there and without a partner, in order."""
    return [dict(row) for row in conn.execute(_unlinked_digital(), {"ids": changed}).mappings()]


@cache
def _unlinked_digital() -> Select[Any]:
    return (
        select(_DO, _P.c.id.label("person_id"), _P.c.conflict_id, _P.c.former_onvoard_contact_id)
        .join(_P, _P.c.unique_id == _DO.c.unique_id)
        .where(_WITHOUT_ONVOARD, _P.c.state == "active", _DO.c.removed_at.is_(None))
        .where(among(_DO.c.unique_id, "ids"))
        .order_by(_DO.c.unique_id)
        .with_for_update(of=_DO)
    )


def index_around(conn: Connection, emails: Sequence[str], unique_ids: Sequence[str]) -> Index:
    """All records of both platforms that share one of these addresses or ids, and those that share theirs."""
    digital = _digital(
        conn, _DO.c.email_key.in_(emails), _DO.c.unique_id_key.in_(emails), _DO.c.unique_id.in_(unique_ids)
    )
    addresses = {*emails, *(c.email for c in digital.values() if c.email), *map(normal_email, digital)}
    onvoard = _onvoard(conn, _OV.c.email_key.in_(addresses), _OV.c.link_unique_id.in_({*unique_ids, *digital}))
    digital |= _digital(conn, _DO.c.email_key.in_({c.email for c in onvoard.values()}))
    return Index(onvoard, digital, separations.of(conn, onvoard, digital))


def _partners(conn: Connection, of: Any, ids: Sequence[str]) -> dict[str, Any]:
    """Linked pairs with the addresses that they last agreed on, by the id in the column `of`."""
    return {getattr(row, of.name): row for row in conn.execute(_pairs(of), {"ids": ids})} if ids else {}


@cache
def _pairs(of: Any) -> Select[Any]:
    agreed = {side: t.bases.c[side] for side in ("onvoard", "digital_onboarding")}
    query = select(
        _P.c.onvoard_contact_id,
        _P.c.unique_id,
        _P.c.conflict_id,
        _OV.c.email_key.label("onvoard_email"),
        _DO.c.email_key.label("digital_email"),
        agreed["onvoard"].label("onvoard_base"),
        agreed["digital_onboarding"].label("digital_base"),
    ).select_from(
        _P.join(_OV, _P.c.onvoard_contact_id == _OV.c.id)
        .join(_DO, _P.c.unique_id == _DO.c.unique_id)
        .outerjoin(t.bases, t.bases.c.person_id == _P.c.id)
    )
    return query.where(of.in_(bindparam("ids", expanding=True)))


def _base_email(base: Any) -> str | None:
    fields = (base or {}).get("fields") or {}
    return normal_email(fields["email"]) if "email" in fields else None


def _onvoard(conn: Connection, *where: Any) -> dict[str, Contact]:
    query = select(_OV.c.id, _OV.c.email_key, _OV.c.link_unique_id).where(or_(*where), _OV.c.deleted_at.is_(None))
    rows = conn.execute(query).all()
    pairs = _partners(conn, _P.c.onvoard_contact_id, [row.id for row in rows])
    return {
        row.id: Contact(
            id=row.id,
            email=row.email_key or "",
            linked=row.id in pairs,
            link_unique_id=row.link_unique_id or "",
            moves_to=_moves_to(pairs[row.id], "onvoard") if row.id in pairs else "",
            conflict_id=pairs[row.id].conflict_id if row.id in pairs else None,
        )
        for row in rows
    }


def _digital(conn: Connection, *where: Any) -> dict[str, Contact]:
    query = select(_DO.c.unique_id, _DO.c.email_key).where(or_(*where), _DO.c.removed_at.is_(None))
    rows = conn.execute(query).all()
    pairs = _partners(conn, _P.c.unique_id, [row.unique_id for row in rows])
    return {
        row.unique_id: Contact(
            id=row.unique_id,
            email=row.email_key or "",
            linked=row.unique_id in pairs,
            moves_to=_moves_to(pairs[row.unique_id], "digital") if row.unique_id in pairs else "",
            conflict_id=pairs[row.unique_id].conflict_id if row.unique_id in pairs else None,
        )
        for row in rows
    }


def _moves_to(pair: Any, side: str) -> str:
    """Its address is still the agreed one, and its partner has another: it is about to follow there. Else \"\"."""
    mine, partner, base = (
        (pair.onvoard_email, pair.digital_email, pair.onvoard_base)
        if side == "onvoard"
        else (pair.digital_email, pair.onvoard_email, pair.digital_base)
    )
    return partner if partner and partner != mine and _base_email(base) == (mine or "") else ""


def circle(conn: Connection, contact_id: str, address: str) -> list[str]:
    """The linked OnVoard contacts that wait for each other, this one and the one that has `address` among them: each is
    to take the address of the next. [] where the last of them goes to an address that is free."""
    met: list[str] = []
    while contact_id not in met:
        around = index_around(conn, [address], []).onvoard.values()
        holder = next((c for c in around if c.email == address and c.moves_to), None)
        if holder is None or holder.id in met:
            return []
        met.append(holder.id)
        address = holder.moves_to
    return met


def called_on_onvoard(conn: Connection, who: str) -> list[dict[str, Any]]:
    """The contact with this id, else all living ones with this e-mail; with its person (`person_id`, `person_state`,
    `conflict_id`) and its `partner`, as far as there are."""
    theirs = (*_OF_PERSON, _P.c.unique_id.label("partner"))
    query = select(_OV, *theirs).outerjoin(_P, _P.c.onvoard_contact_id == _OV.c.id).order_by(_OV.c.id)
    living = (_OV.c.email_key == normal_email(who), _OV.c.deleted_at.is_(None))
    return _called(conn, query.where(_OV.c.id == who), query.where(*living) if normal_email(who) else None)


def called_on_digital_onboarding(conn: Connection, who: str) -> list[dict[str, Any]]:
    """The same on Digital Onboarding, by unique_id or id, else by e-mail."""
    theirs = (*_OF_PERSON, _P.c.onvoard_contact_id.label("partner"))
    query = select(_DO, *theirs).outerjoin(_P, _P.c.unique_id == _DO.c.unique_id).order_by(_DO.c.unique_id)
    by_email = query.where(_DO.c.email_key == normal_email(who)) if normal_email(who) else None
    return _called(conn, query.where(or_(_DO.c.unique_id == who, _DO.c.id == who)), by_email)


def _called(conn: Connection, by_id: Select[Any], by_email: Select[Any] | None) -> list[dict[str, Any]]:
    for query in (by_id, by_email):
        found = [dict(row) for row in conn.execute(query).mappings()] if query is not None else []
        if found:
            return found
    return []


def around(conn: Connection, person_ids: Sequence[int]) -> tuple[Index, set[str], set[str]]:
    """-> (all records that could be meant by these persons' contacts, their own ids on OnVoard, those on Digital
    Onboarding)"""
    theirs = _P.c.id.in_(list(person_ids))
    query = select(_OV.c.id, _OV.c.email_key, _OV.c.link_unique_id).join(_P, _P.c.onvoard_contact_id == _OV.c.id)
    onvoard = conn.execute(query.where(theirs)).all()
    query = select(_DO.c.unique_id, _DO.c.email_key).join(_P, _P.c.unique_id == _DO.c.unique_id)
    digital = conn.execute(query.where(theirs)).all()
    emails = {row.email_key for row in (*onvoard, *digital)} - {None}
    named = {row.unique_id for row in digital} | {row.link_unique_id for row in onvoard if row.link_unique_id}
    index = index_around(conn, sorted(emails), sorted(named))
    return index, {row.id for row in onvoard}, {row.unique_id for row in digital}


_ONVOARD_WITH = (
    select(_OV, _P.c.id.label("person_id"))
    .join(_P, _P.c.onvoard_contact_id == _OV.c.id)
    .where(_OV.c.email_key == bindparam("email"), _OV.c.deleted_at.is_(None))
)
_DIGITAL_WITH = (
    select(_DO, _P.c.id.label("person_id"))
    .join(_P, _P.c.unique_id == _DO.c.unique_id)
    .where(_DO.c.email_key == bindparam("email"))
)


def with_address(conn: Connection, email: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All living contacts of both platforms with this normalised address."""
    onvoard, digital = (conn.execute(query, {"email": email}).mappings() for query in (_ONVOARD_WITH, _DIGITAL_WITH))
    return [dict(row) for row in onvoard], [dict(row) for row in digital]


def named_but_unknown(conn: Connection) -> list[str]:
    """unique_ids that OnVoard contacts carry in their link property and of which the mirror knows nothing: after a
    lost mirror, the links are rebuilt from these."""
    return list(conn.execute(_named_but_unknown()).scalars())


@cache
def _named_but_unknown() -> Select[Any]:
    known = exists().where(_DO.c.unique_id == _OV.c.link_unique_id)
    return (
        select(_OV.c.link_unique_id)
        .join(_P, _P.c.onvoard_contact_id == _OV.c.id)
        .where(_OV.c.link_unique_id.is_not(None), _OV.c.deleted_at.is_(None), ~known)
        .where(_P.c.state == "active", _P.c.conflict_id.is_(None), _P.c.unique_id.is_(None), ~separations.stands())
        .distinct()
    )
