"""The persons: one for every contact of either platform, two made one by a link."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, or_, select, union, update

from service.core.consent import onvoard_opted_out
from service.core.identity import MatchedBy
from service.core.records import Platform
from service.store import tables as t
from service.store.bulk import among
from service.store.mirror import FOR_DECISIONS, in_parts, known_digital_contacts
from service.store.planner import unindexed
from service.store.view_rows.turns import ADDING, ALONE, SHOWING

_OV, _DO, _P = t.onvoard_contacts, t.digital_onboarding_contacts, t.persons
UNLINKED = "unlinked by hand"
_UNSENT = ("pending", "held", "unknown")


def take_turn(conn: Connection) -> None:
    """Nobody else changes persons, or what their rows show, until this transaction ends. To be taken before it locks
    any row: others come to the rows with their turn in hand, and each would wait for the other."""
    _lock(conn, ALONE)


def turn_to_add(conn: Connection) -> None:
    """Others may add persons as well until this transaction ends, and do nothing else with them or what they show."""
    _lock(conn, ADDING)


def turn_to_show(conn: Connection) -> None:
    """Nobody adds, changes or erases persons until this transaction ends; what they show, others may change as well."""
    _lock(conn, SHOWING)


def _lock(conn: Connection, statement: str) -> None:
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql(statement)


def new_person(conn: Connection, now: datetime, **values: Any) -> int:
    """-> its id. Alone with it: of two who only add, and then change what they added, each would wait for the other."""
    take_turn(conn)
    key = conn.execute(insert(_P).values(created_at=now, **values)).inserted_primary_key
    assert key is not None
    return int(key[0])


def release_deleted(conn: Connection) -> None:
    """A contact that is gone from OnVoard leaves its person; nobody is created for that person again, on either side,
    and what was still to be carried over to the other side stays where it was."""
    for statement in _release():
        conn.execute(statement)


@cache
def _release() -> Sequence[Any]:
    gone = select(_OV.c.id).where(_OV.c.dirty, _OV.c.deleted_at.is_not(None))
    o = t.outbox.c
    left = select(_P.c.id).where(_P.c.onvoard_contact_id.in_(gone))
    to_nobody = exists().where(_OV.c.id == o.target, _OV.c.deleted_at.is_not(None))
    waiting = or_(to_nobody & (o.platform == "onvoard"), o.person_id.in_(left) & (o.lane > 0))
    leaves = {"former_onvoard_contact_id": _P.c.onvoard_contact_id, "onvoard_contact_id": None}
    unlinked = {"matched_by": None, "linked_at": None, "settled_at": None}
    without = unindexed(_P.c.onvoard_contact_id).is_(None)
    gone_people = select(_P.c.id).where(without, _P.c.former_onvoard_contact_id.in_(gone))
    return (
        update(t.outbox)
        .where(waiting, o.status.in_(_UNSENT))
        .values(status="cancelled", last_error="the contact was deleted on OnVoard"),
        update(_P).where(_P.c.onvoard_contact_id.in_(gone)).values(leaves | unlinked),
        delete(t.bases).where(t.bases.c.person_id.in_(gone_people)),
        update(_OV).where(_OV.c.deleted_at.is_not(None), _OV.c.dirty).values(dirty=False),
    )


def left_behind(conn: Connection, platform: Platform, *, even_suspicious: bool) -> list[tuple[int, str]]:
    """People whose contact on the other platform is proven to be gone, as (person id, contact on this one): those who
    are not opted out of e-mail, and were not at any time since. An opt-in after that is the person's own.

    `even_suspicious`: also those who were found to be gone together with everybody else (law 12).
    """
    r, c = t.opt_outs.c, t.conflicts.c
    if platform is Platform.DIGITAL_ONBOARDING:
        contact, gone_at = _DO.c.unique_id, _OV.c.deleted_at
        source = _P.join(_DO, _DO.c.unique_id == _P.c.unique_id).join(_OV, _OV.c.id == _P.c.former_onvoard_contact_id)
        where: list[Any] = [_P.c.onvoard_contact_id.is_(None), _DO.c.removed_at.is_(None)]
        where.append(_DO.c.unsubscribe_email.is_not(True))
    else:
        contact, gone_at = _OV.c.id, _DO.c.removed_at
        source = _P.join(_OV, _OV.c.id == _P.c.onvoard_contact_id).join(_DO, _DO.c.unique_id == _P.c.unique_id)
        flags = (_OV.c.email_unsubscribed, _OV.c.email_marked_as_spam, _OV.c.email_hard_bounced)
        where = [_OV.c.deleted_at.is_(None), *(flag.is_not(True) for flag in flags)]
        suspicious = exists().where(
            c.person_id == _P.c.id, c.kind == "removed_on_digital_onboarding", c.status == "open",
            c.run_id == t.runs.c.id, t.runs.c.outcome == "suspiciously empty",
        )  # fmt: skip
        where += [] if even_suspicious else [~suspicious]
    stood = or_(r.lifted_at.is_(None), r.lifted_at >= gone_at)
    was_out = exists().where(r.platform == platform.value, r.contact == contact, r.channel == "email", stood)
    query = select(_P.c.id, contact).select_from(source).where(_P.c.state == "active", gone_at.is_not(None), *where)
    return [(person_id, target) for person_id, target in conn.execute(query.where(~was_out).order_by(_P.c.id))]


_KEYS = select(_P.c.id, _P.c.onvoard_contact_id, _P.c.unique_id)
# Of an OR of the two, Postgres would ask each person.
_OF_EITHER = union(
    _KEYS.where(among(_P.c.onvoard_contact_id, "contacts")), _KEYS.where(among(_P.c.unique_id, "partners"))
).order_by("id")
_HISTORIES = (t.conflicts, t.changes, t.outbox, t.rule_firings, t.loader_rows)
_LINK = (
    update(_P)
    .where(_P.c.id == bindparam("person"))
    .values(onvoard_contact_id=bindparam("contact"), unique_id=bindparam("partner"))
    .values(matched_by=bindparam("by"), linked_at=bindparam("now"), settled_at=None)
)
# What was to be made for them is there already; what has been sent of it is not sent again.
_MADE_ALREADY = (
    update(t.outbox)
    .where(t.outbox.c.person_id.in_(bindparam("people", expanding=True)))
    .where(t.outbox.c.lane == 1, unindexed(t.outbox.c.status).in_(_UNSENT))
    .values(status="cancelled", updated_at=bindparam("now"), last_error="linked meanwhile")
)
# What loaders have set stands on the contact that was theirs until now.
_LOADED_ANEW = (
    update(t.loader_rows)
    .where(t.loader_rows.c.person_id.in_(bindparam("people", expanding=True)))
    .where(t.loader_rows.c.status.in_(["done", "skipped"]))
    .values(status="due", reason=None)
)


def link(conn: Connection, contact_id: str, unique_id: str, by: MatchedBy, now: datetime) -> int:
    """The persons of both become one, the older; its history is both histories. -> person id"""
    return link_all(conn, [(contact_id, unique_id, by)], now)[0]


def link_all(conn: Connection, links: Sequence[tuple[str, str, MatchedBy]], now: datetime) -> list[int]:
    """The same for many, none of whose contacts stands there twice. -> person ids, in this order"""
    asked = {"contacts": [contact for contact, _, _ in links], "partners": [partner for _, partner, _ in links]}
    rows = conn.execute(_OF_EITHER, asked).all() if links else []
    of_contact: dict[str, int] = {row.onvoard_contact_id: row.id for row in rows}
    of_partner: dict[str, int] = {row.unique_id: row.id for row in rows}
    persons, kept, merged = list[int](), dict[int, tuple[str, str, MatchedBy]](), dict[int, int]()
    for contact_id, unique_id, by in links:
        ids = sorted({each[key] for each, key in ((of_contact, contact_id), (of_partner, unique_id)) if key in each})
        keep = ids[0] if ids else new_person(conn, now)
        persons.append(keep)
        kept[keep] = (contact_id, unique_id, by)
        merged |= dict.fromkeys(ids[1:], keep)
    _merge(conn, merged)
    link_alone(conn, kept, now)
    return persons


def _merge(conn: Connection, merged: Mapping[int, int]) -> None:
    """Persons, and who each of them becomes."""
    for ids in in_parts(sorted(merged)):
        for theirs, moved in _MOVE:
            found = conn.execute(theirs, {"ids": ids}).scalars().all()
            if found:
                conn.execute(moved, [{"person": person_id, "keep": merged[person_id]} for person_id in found])
        conn.execute(_DROP, {"ids": ids})


_MOVE = [
    (
        select(table.c.person_id).distinct().where(table.c.person_id.in_(bindparam("ids", expanding=True))),
        update(table).where(table.c.person_id == bindparam("person")).values(person_id=bindparam("keep")),
    )
    for table in _HISTORIES
]
_DROP = delete(_P).where(_P.c.id.in_(bindparam("ids", expanding=True)))


def link_alone(conn: Connection, links: Mapping[int, tuple[str, str, MatchedBy]], now: datetime) -> None:
    """Persons, and the two contacts of each, neither of which is somebody else's."""
    rows = [
        {"person": person_id, "contact": contact_id, "partner": unique_id, "by": by.value, "now": now}
        for person_id, (contact_id, unique_id, by) in sorted(links.items())
    ]
    if rows:
        conn.execute(_LINK, rows)
        conn.execute(_MADE_ALREADY, {"people": list(links), "now": now})
        conn.execute(_LOADED_ANEW, {"people": list(links)})
        touch(conn, links)


def unlink(conn: Connection, person_id: int, now: datetime) -> int:
    """OnVoard's contact keeps the person and the history. -> the new person of Digital Onboarding's contact"""
    unique_id = conn.execute(select(_P.c.unique_id).where(_P.c.id == person_id)).scalar_one()
    alone = {"unique_id": None, "matched_by": None, "linked_at": None, "settled_at": None}
    conn.execute(update(_P).where(_P.c.id == person_id).values(alone))
    other = new_person(conn, now, unique_id=unique_id)
    cancel_waiting(conn, [person_id], UNLINKED, now)
    o = t.outbox.c
    theirs = (o.person_id == person_id, o.platform == "digital_onboarding", o.status.in_(_UNSENT))
    conn.execute(update(t.outbox).where(*theirs).values(person_id=other))
    conn.execute(delete(t.bases).where(t.bases.c.person_id == person_id))
    touch(conn, [person_id, other])
    return other


def cancel_waiting(conn: Connection, person_ids: Iterable[int], why: str, now: datetime) -> None:
    """What was decided for these persons and did not leave yet is not sent, but for opt-outs."""
    o = t.outbox.c
    waiting = (o.person_id.in_(list(person_ids)), o.status.in_(_UNSENT), o.lane > 0)
    conn.execute(update(t.outbox).where(*waiting).values(status="cancelled", updated_at=now, last_error=why))


def drop_removed(conn: Connection, unique_id: str) -> None:
    """A contact that was removed on Digital Onboarding leaves its person, and the mirror."""
    conn.execute(
        update(_P)
        .where(_P.c.unique_id == unique_id)
        .values(unique_id=None, matched_by=None, linked_at=None, settled_at=None)
    )
    conn.execute(delete(_DO).where(_DO.c.unique_id == unique_id))


def expect_anew(conn: Connection, unique_id: str) -> None:
    """A contact that was removed on Digital Onboarding, and stands there anew: nothing is known of it until it has
    been asked about. It was announced when it was first seen."""
    kept = ("unique_id", "unique_id_key", "origin", "created_by_bridge", "unsubscribe_email", "unsubscribe_sms")
    blank: dict[str, Any] = {column.name: None for column in _DO.c if column.name not in kept}
    known = {"raw": {"unique_id": unique_id}, "content_hash": "", "announced": True, "dirty": True}
    conn.execute(update(_DO).where(_DO.c.unique_id == unique_id).values(blank | known))


_THESE = _P.c.id.in_(bindparam("ids", expanding=True))
_ALONE = select(_P.c.onvoard_contact_id).where(_THESE, unindexed(_P.c.unique_id).is_(None))
_SEEN_ANYWAY = exists().where(_OV.c.id == _P.c.onvoard_contact_id, _OV.c.dirty, _OV.c.deleted_at.is_(None))
_PARTNER = select(_P.c.unique_id).where(_THESE, ~_SEEN_ANYWAY)
_TOUCH = (
    update(_OV).where(_OV.c.id.in_(_ALONE), ~_OV.c.dirty, _OV.c.suppressed.is_not(True)).values(dirty=True),
    update(_DO).where(_DO.c.unique_id.in_(_PARTNER), ~_DO.c.dirty).values(dirty=True),
)


def touch(conn: Connection, person_ids: Iterable[int]) -> None:
    """Let the next look see these persons. Linked ones are looked at whole, whichever side is marked."""
    for ids in in_parts(person_ids):
        for statement in _TOUCH:
            conn.execute(statement, {"ids": ids})


_THEM: Any = bindparam("ids", expanding=True)
_LOOKED_AT = {  # one that was deleted meanwhile has to leave its person
    _OV.c.id: update(_OV).where(_OV.c.id.in_(_THEM), _OV.c.dirty, _OV.c.deleted_at.is_(None)).values(dirty=False),
    _DO.c.unique_id: update(_DO).where(_DO.c.unique_id.in_(_THEM), _DO.c.dirty).values(dirty=False),
}


def settle_looks(conn: Connection, contact_ids: Iterable[str] = (), unique_ids: Iterable[str] = ()) -> None:
    """These have been looked at."""
    for column, ids in ((_OV.c.id, list(contact_ids)), (_DO.c.unique_id, list(unique_ids))):
        if ids:
            conn.execute(_LOOKED_AT[column], {"ids": ids})


_PERSONS = select(_P).where(_THESE).order_by(_P.c.id)
_CONTACTS = select(*FOR_DECISIONS).where(_OV.c.id.in_(_THEM)).order_by(_OV.c.id).with_for_update()
_BASES = select(t.bases).where(t.bases.c.person_id.in_(bindparam("ids", expanding=True)))


def load_pairs(conn: Connection, person_ids: Sequence[int]) -> list[tuple[Any, dict[str, Any], dict[str, Any], Any]]:
    """-> (person, onvoard row, digital onboarding row, bases or None), in the order of their ids

    The contacts are locked: what another process reads meanwhile is seen by the next look, not lost to this one.
    """
    persons = conn.execute(_PERSONS, {"ids": person_ids}).all()
    contacts = conn.execute(_CONTACTS, {"ids": [p.onvoard_contact_id for p in persons]}).mappings()
    onvoard = {row["id"]: dict(row) for row in contacts}
    digital = known_digital_contacts(conn, [p.unique_id for p in persons])
    agreed = {row.person_id: row for row in conn.execute(_BASES, {"ids": person_ids})}
    return [
        (p, onvoard[p.onvoard_contact_id], digital[p.unique_id], agreed.get(p.id))
        for p in persons
        if p.onvoard_contact_id in onvoard and p.unique_id in digital
    ]


_SETTLE = update(_P).where(_THESE, _P.c.settled_at.is_(None)).values(settled_at=bindparam("now"))


def settle(conn: Connection, person_ids: Sequence[int], now: datetime) -> None:
    """Their two sides agree for the first time."""
    if person_ids:
        conn.execute(_SETTLE, {"ids": person_ids, "now": now})


def opted_out(conn: Connection, person_id: int, platform: Platform) -> bool:
    """Whether a person's contact on this platform shows an e-mail opt-out."""
    if platform is Platform.ONVOARD:
        query = select(_OV).join(_P, _P.c.onvoard_contact_id == _OV.c.id).where(_P.c.id == person_id)
        contact = conn.execute(query).mappings().one_or_none()
        return contact is not None and onvoard_opted_out(dict(contact))
    query = select(_DO.c.unsubscribe_email).join(_P, _P.c.unique_id == _DO.c.unique_id).where(_P.c.id == person_id)
    return conn.execute(query).scalar() is True


def settled_before(conn: Connection, when: datetime) -> int:
    query = select(func.count()).select_from(_P).where(_P.c.state == "active", _P.c.settled_at < when)
    return int(conn.execute(query).scalar_one())


def linked_until_now(conn: Connection, run_id: int, platform: Platform) -> int:
    """How many of those whose changes a run holds back were linked until their other contact was deleted."""
    o = t.outbox.c
    held = (o.run_id == run_id, o.platform == platform.value, o.status == "held", _P.c.settled_at.is_(None))
    query = select(func.count(_P.c.id.distinct())).join(t.outbox, o.person_id == _P.c.id).where(*held)
    return int(conn.execute(query).scalar_one())


_WHO = {
    column: select(_P).where(column == bindparam("it"))
    for column in (_P.c.id, _P.c.onvoard_contact_id, _P.c.unique_id)
}


def person_of(conn: Connection, *, contact_id: str | None = None, unique_id: str | None = None) -> Any:
    """The person who holds this contact, or None."""
    column = _P.c.onvoard_contact_id if contact_id is not None else _P.c.unique_id
    return conn.execute(_WHO[column], {"it": contact_id if contact_id is not None else unique_id}).one_or_none()


_HOLDERS = select(_P).where(_P.c.unique_id.in_(bindparam("partners", expanding=True)))


def holders(conn: Connection, unique_ids: Iterable[str]) -> dict[str, Any]:
    """The persons who hold these Digital Onboarding contacts."""
    parts = in_parts(unique_ids)
    return {person.unique_id: person for part in parts for person in conn.execute(_HOLDERS, {"partners": part})}


def person_by_id(conn: Connection, person_id: int) -> Any:
    return conn.execute(_WHO[_P.c.id], {"it": person_id}).one_or_none()


def persons_by_id(conn: Connection, person_ids: Iterable[int]) -> list[Any]:
    parts = in_parts(person_ids)
    return [person for part in parts for person in conn.execute(select(_P).where(_P.c.id.in_(part)))]
