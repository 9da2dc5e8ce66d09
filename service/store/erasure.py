"""A suppressed person leaves the mirror, and so does a forgotten one; a tombstone stays, by which nobody brings them
back (contract section 4).

`suppressed` is taken back by an unsuppression on OnVoard, `erased` by nothing. A tombstone holds platform ids and keyed
hashes; beside it stands which letters of a unique_id were capitals, where that was an address. The only personal data
that may outlive it for a moment is the `unique_id` in an opt-out that Digital Onboarding has not confirmed yet;
`wipe_opt_out` takes that away. What names the person in rows about others is left to `traces`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, delete, exists, or_, select, union, update

from service.core.mapping import normal_email
from service.core.records import Platform
from service.store import bulk, consents, cursors, ledger, outbox, people
from service.store import tables as t
from service.store.mirror import LINK_PROPERTY, insert
from service.store.outbox import Lane, Operation

Row = dict[str, Any]
UNSUPPRESSED = "unsuppressed:"
"""Facts of people who came back: contact id -> unique_id, "" where it is not known."""
CAPITALS = "capitals:"
"""Facts of suppressed people: contact id -> at which places their unique_id, an address, has capitals."""
SCRUB_DUE = "scrub_due"
"""A fact: somebody was erased, and what is left of them elsewhere in the database is still to be cleared away."""
OPT_OUTS = {"unsubscribe_email": True, "unsubscribe_sms": True}
SUPPRESSED, ERASED = "suppressed", "erased"


class Hasher:
    """Keyed hashes of addresses and ids."""

    def __init__(self, conn: Connection) -> None:
        known = cursors.fact(conn, "hash_key")  # also in a transaction that only reads
        self._key = bytes.fromhex(known) if known else cursors.hash_key(conn)

    def __call__(self, text: str | None) -> str | None:
        normal = normal_email(text)
        return hmac.new(self._key, normal.encode(), hashlib.sha256).hexdigest() if normal else None


_ANY_STONE = select(t.tombstones.c.person_id).limit(1)


def _hashed(*which: Any) -> Any:
    """Of an OR of the two hashes, Postgres would walk through all tombstones."""
    stones = t.tombstones.c
    query = select(stones.person_id, stones.email_hash, stones.unique_id_hash).where(*which)
    query = query.join(t.persons, t.persons.c.id == stones.person_id)
    return union(*(query.where(bulk.among(column, "hashes")) for column in (stones.email_hash, stones.unique_id_hash)))


_GONE, _GONE_FOR_GOOD = _hashed(t.persons.c.state != "active"), _hashed(t.persons.c.state == ERASED)


def erased_among(
    conn: Connection, emails: Iterable[str | None], unique_ids: Iterable[str | None], *, for_good: bool = False
) -> dict[str, int]:
    """Normalised address or unique_id -> person id, of those who are suppressed or erased, or erased alone."""
    if conn.execute(_ANY_STONE).first() is None:
        return {}
    hasher = Hasher(conn)
    by_hash = {hasher(text): normal_email(text) for text in (*emails, *unique_ids) if normal_email(text)}
    found: dict[str, int] = {}
    for row in conn.execute(_GONE_FOR_GOOD if for_good else _GONE, {"hashes": list(by_hash)}):
        for hashed in (row.email_hash, row.unique_id_hash):
            if hashed in by_hash:
                found[by_hash[hashed]] = row.person_id
    return found


def of_the_living(conn: Connection, addresses: Iterable[str]) -> set[str]:
    """The unique_ids, as they are spelled, that are one of these normalised addresses and somebody living's: their
    former address, freed and taken by another person, or another one but for capitals. Whoever was to be erased is so
    by `bury`; whom it left is somebody else, linked or not."""
    do, p = t.digital_onboarding_contacts.c, t.persons.c
    query = select(do.unique_id).join(t.persons, p.unique_id == do.unique_id)
    return set(conn.execute(query.where(do.unique_id_key.in_(list(addresses)), p.state == "active")).scalars())


@dataclass(slots=True)
class Whom:
    """All that the mirror knows one person by. `contact_ids`: OnVoard's, deleted ones included; `partners`: their
    Digital Onboarding contacts, the linked one first; `shared`: contacts there that have the address too and are linked
    to somebody else."""

    person_id: int
    contact_id: str | None
    contact_ids: set[str]
    partners: list[Row]
    addresses: set[str]
    link: str | None = None
    shared: list[Row] = field(default_factory=list)

    @property
    def unique_ids(self) -> set[str]:
        return {partner["unique_id"] for partner in self.partners}


def whom(conn: Connection, person: Any, contact: Mapping[str, Any]) -> Whom:
    """`contact`: their OnVoard contact as it was read just now, or nothing."""
    ov, do, p = t.onvoard_contacts, t.digital_onboarding_contacts, t.persons
    stone = conn.execute(select(t.tombstones).where(t.tombstones.c.person_id == person.id)).one_or_none()
    in_order = [contact.get("id"), person.onvoard_contact_id, stone.onvoard_contact_id if stone else None]
    ids = {*in_order, person.former_onvoard_contact_id}
    contact_id = next(filter(None, [*in_order, person.former_onvoard_contact_id]), None)
    known = conn.execute(select(ov.c.id, ov.c.email_key, ov.c.link_unique_id).where(ov.c.id.in_(ids - {None}))).all()
    addresses = {normal_email(contact.get("email")), *(row.email_key or "" for row in known)}
    links = {(contact.get("properties") or {}).get(LINK_PROPERTY), *(row.link_unique_id for row in known)}
    unique_ids = {person.unique_id, *links, stone.unique_id if stone else None} - {None}
    mine = conn.execute(select(do.c.email_key).where(do.c.unique_id == person.unique_id)).scalar()
    addresses = {*addresses, mine or ""} - {""}
    gone = select(ov.c.id).where(ov.c.email_key.in_(addresses), ov.c.deleted_at.is_not(None))
    contact_ids = {*(ids - {None}), *conn.execute(gone).scalars()}
    theirs = or_(do.c.unique_id.in_(unique_ids), do.c.email_key.in_(addresses), do.c.unique_id_key.in_(addresses))
    elsewhere = exists().where(
        p.c.unique_id == do.c.unique_id, p.c.onvoard_contact_id.is_not(None), p.c.onvoard_contact_id.not_in(contact_ids)
    )
    rows = [dict(row) for row in conn.execute(select(do, elsewhere.label("elsewhere")).where(theirs)).mappings()]
    partners = [row for row in rows if not row["elsewhere"]]
    partners.sort(key=lambda row: (row["unique_id"] != person.unique_id, row["unique_id"]))
    shared = [row for row in rows if row["elsewhere"] and row["email_key"] in addresses]
    return Whom(person.id, contact_id, contact_ids, partners, addresses, next(iter(links - {None}), None), shared)


def suppress(conn: Connection, contact: Row, run_id: int, now: datetime, state: str = SUPPRESSED) -> None:
    """An OnVoard contact that is suppressed there, or is one of somebody erased (a row as the client read it).

    Its people on Digital Onboarding are opted out of e-mail and SMS, and all that the mirror holds of them goes.
    """
    people.take_turn(conn)  # who was reading of them has written it by now, or will see their tombstones
    person = people.person_of(conn, contact_id=contact["id"]) or people.person_by_id(
        conn, people.new_person(conn, now, onvoard_contact_id=contact["id"])
    )
    who = whom(conn, person, contact)
    bury(conn, who, state, now)
    if state == SUPPRESSED:
        consents.suppressed(conn, contact["id"], now)
    for partner in (*who.partners, *who.shared):
        opt_out(conn, who.person_id, partner, run_id, now)


def bury(conn: Connection, who: Whom, state: str, now: datetime) -> Counter[str]:
    """The person leaves the mirror, with everything that bears one of their ids. -> rows by table

    `who` was asked for in this transaction's own turn (`people.take_turn`).
    """
    p = t.persons.c
    held = dict(conn.execute(select(p.unique_id, p.id).where(p.unique_id.in_(who.unique_ids))).all())
    people_ = {who.person_id, *held.values()}
    _leave_conflicts(conn, people_, now)
    erased = _wipe(conn, people_, who.contact_ids, who.unique_ids, now)
    buried = _write_stones(conn, who, held, now)
    conn.execute(delete(t.persons).where(p.id.in_(people_ - buried)))
    conn.execute(update(t.persons).where(p.id.in_(buried)).values(state=state, unique_id=None, conflict_id=None))
    if state == ERASED and who.contact_id is not None:
        cursors.forget_fact(conn, f"{CAPITALS}{who.contact_id}")
    cursors.set_fact(conn, SCRUB_DUE, "yes")
    return erased


def _write_stones(conn: Connection, who: Whom, held: Mapping[str, int], now: datetime) -> set[int]:
    """One tombstone for the person, and one for each further address and Digital Onboarding contact, so that none of
    them comes back either. -> whose they are"""
    hasher = Hasher(conn)
    email, *more = sorted(who.addresses) or [""]
    first = who.partners[0] if who.partners else {"unique_id": who.link, "id": None}
    stones = [(who.person_id, email, first)]
    stones += [(held.get(row["unique_id"]) or people.new_person(conn, now), email, row) for row in who.partners[1:]]
    stones += [(people.new_person(conn, now), other, {"unique_id": first["unique_id"], "id": None}) for other in more]
    named = first["unique_id"] or ""
    if who.contact_id is not None and "@" in named:
        cursors.set_fact(conn, f"{CAPITALS}{who.contact_id}", _capitals(named))
    for holder, address, contact in stones:
        unique_id = contact["unique_id"]
        row = {
            "person_id": holder,
            "onvoard_contact_id": who.contact_id if holder == who.person_id else None,
            "digital_onboarding_id": contact["id"],
            "unique_id": None if "@" in (unique_id or "") else unique_id,
            "email_hash": hasher(address),
            "unique_id_hash": hasher(unique_id),
            "erased_at": now,
        }
        known = {key: value for key, value in row.items() if value is not None}  # what a later look does not show stays
        statement = insert(conn, t.tombstones)
        conn.execute(statement.on_conflict_do_update(index_elements=["person_id"], set_=known), row)
    return {holder for holder, _, _ in stones}


def _capitals(text: str) -> str:
    return ",".join(str(place) for place, letter in enumerate(text.strip()) if "A" <= letter <= "Z")


def _respelled(address: str, capitals: str) -> str:
    places = {int(place) for place in capitals.split(",") if place}
    return "".join(letter.upper() if place in places else letter for place, letter in enumerate(address))


def opt_out(conn: Connection, person_id: int, partner: Row, run_id: int, now: datetime) -> None:
    """Out of e-mail and SMS on Digital Onboarding, unless it says so already. `partner`: unique_id, both flags."""
    if all(partner.get(flag) is True for flag in OPT_OUTS):
        return
    outbox.stage(
        conn,
        person_id=person_id,
        platform=Platform.DIGITAL_ONBOARDING,
        operation=Operation.UPSERT_CONTACT,
        lane=Lane.OPT_OUT,
        target=partner["unique_id"],
        payload={"unique_id": partner["unique_id"], **OPT_OUTS},
        details=[{"field": flag, "old": False, "new": True, "why": "suppressed on onvoard"} for flag in OPT_OUTS],
        run_id=run_id,
        now=now,
    )


_BLANK_PUSH: Row = {"payload": {}, "details": [], "basis": {}, "target": None, "fingerprint": None}
_SETTLED = {"dirty": False, "unexamined": False}
_KEPT = {"id", "suppressed", "suppressed_at", "created_at", "modified_at", "seen_at", "deleted_at", *_SETTLED}


def _wipe(
    conn: Connection, person_ids: set[int], contact_ids: set[str], unique_ids: set[str], now: datetime
) -> Counter[str]:
    erased: Counter[str] = Counter()

    def said(statement: Any) -> None:
        erased[statement.table.name] += conn.execute(statement).rowcount

    for table, where in _of(person_ids, contact_ids, unique_ids):
        if table in _BLANKED:
            said(update(table).where(where).values(_BLANKED[table]))
        elif table is t.outbox:
            unsent = ("pending", "held", "sending", "unknown", "dead")
            cancelled = {"status": "cancelled", "last_error": "suppressed", "updated_at": now}
            conn.execute(update(table).where(where, table.c.status.in_(unsent)).values(cancelled))
            said(update(table).where(where).values(_BLANK_PUSH))
        else:
            said(delete(table).where(where))
    conn.execute(delete(t.facts).where(t.facts.c.key.in_([UNSUPPRESSED + contact_id for contact_id in contact_ids])))
    return +erased


_BLANKED: dict[t.Table, Row] = {
    t.onvoard_contacts: {c.name: None for c in t.onvoard_contacts.c if c.name not in _KEPT} | _SETTLED,
    t.changes: {"old_value": None, "new_value": None, "losing_value": None},
    t.conflicts: {"onvoard_value": None, "digital_onboarding_value": None, "reason": None, "note": None},
    t.separations: {"reason": None},
}
"""Rows that stay, and what they lose."""


def _of(person_ids: set[int], contact_ids: set[str], unique_ids: set[str]) -> list[tuple[t.Table, Any]]:
    """Where one of these ids stands."""
    do, done, journeys = (
        t.digital_onboarding_contacts, t.digital_onboarding_objective_completions, t.digital_onboarding_journeys,
    )  # fmt: skip
    told = t.separations.c
    return [
        *((table, table.c.unique_id.in_(unique_ids)) for table in (do, done, journeys)),
        (t.onvoard_contacts, t.onvoard_contacts.c.id.in_(contact_ids)),
        (t.onvoard_activities, t.onvoard_activities.c.contact_id.in_(contact_ids)),
        (t.onvoard_reviews, t.onvoard_reviews.c.reviewer_contact_id.in_(contact_ids)),
        (t.onvoard_resource_records, t.onvoard_resource_records.c.context_id.in_(contact_ids)),
        (t.webhook_events, t.webhook_events.c.subject.in_(contact_ids)),
        (t.bases, t.bases.c.person_id.in_(person_ids)),
        (t.outbox, or_(t.outbox.c.person_id.in_(person_ids), t.outbox.c.target.in_({*unique_ids, *contact_ids}))),
        (t.changes, t.changes.c.person_id.in_(person_ids)),
        (t.conflicts, t.conflicts.c.person_id.in_(person_ids)),
        (t.loader_rows, t.loader_rows.c.person_id.in_(person_ids)),
        (t.separations, or_(told.onvoard_contact_id.in_(contact_ids), told.unique_id.in_(unique_ids))),
    ]


def forget(
    conn: Connection, person_id: int, contact: Mapping[str, Any], opted_out: set[str], run_id: int, now: datetime
) -> tuple[Whom, Counter[str]]:
    """Erased for good. `contact`: as in `whom`; `opted_out`: unique_ids that Digital Onboarding has confirmed; whoever
    came to light since follows with the next sync. -> (all that the person was known by, rows by table)"""
    people.take_turn(conn)
    person = people.person_by_id(conn, person_id)
    who = whom(conn, person, contact)
    if person.state == "active" and who.contact_id is not None:
        consents.suppressed(conn, who.contact_id, now)
    erased = bury(conn, who, ERASED, now)
    for partner in (*who.partners, *who.shared):
        if partner["unique_id"] not in opted_out:
            opt_out(conn, person_id, partner, run_id, now)
    return who, erased


def buried(conn: Connection, text: str) -> list[int]:
    """The persons of whom this was an address or the unique_id."""
    stones, hashed = t.tombstones.c, Hasher(conn)(text)
    where = or_(stones.email_hash == hashed, stones.unique_id_hash == hashed)
    return list(conn.execute(select(stones.person_id).where(where).order_by(stones.person_id)).scalars())


def stone(conn: Connection, person_id: int) -> Row:
    """What remains of a person."""
    row = conn.execute(select(t.tombstones).where(t.tombstones.c.person_id == person_id)).mappings().one()
    return dict(row)


def partners_before(conn: Connection, person_id: int, texts: Iterable[str]) -> list[Row]:
    """(id, unique_id) on Digital Onboarding of somebody of whom only the tombstone is left: as an opt-out that is still
    owed names it, or one of these texts. unique_id None: it cannot be known, and nothing is owed to it."""
    o, row = t.outbox.c, conn.execute(select(t.tombstones).where(t.tombstones.c.person_id == person_id)).one_or_none()
    owed = select(o.target).where(o.person_id == person_id, o.lane == int(Lane.OPT_OUT), o.target.is_not(None))
    if row is None or row.unique_id_hash is None:
        return [{"id": None, "unique_id": target} for target in conn.execute(owed.distinct()).scalars()]
    hasher = Hasher(conn)
    named = [row.unique_id, *conn.execute(owed).scalars(), *texts]
    unique_id = next((text for text in named if hasher(text) == row.unique_id_hash), None)
    return [{"id": row.digital_onboarding_id, "unique_id": unique_id}]


def left(conn: Connection, who: Whom) -> Counter[str]:
    """Rows by table that bear one of the person's ids and still say something. Nothing, once they are buried."""
    found: Counter[str] = Counter()
    for table, where in _of({who.person_id}, who.contact_ids, who.unique_ids):
        if table is t.outbox:
            where = and_(where, or_(table.c.target.is_not(None), table.c.fingerprint.is_not(None)))
        elif table in _BLANKED:
            where = and_(where, or_(*(table.c[name].is_not(None) for name in _BLANKED[table] if name not in _SETTLED)))
        found[table.name] += cursors.count(conn, table, where)
    return +found


def _leave_conflicts(conn: Connection, person_ids: set[int], now: datetime) -> None:
    """Their own questions are answered; whoever was frozen together with them is looked at again."""
    p, c = t.persons.c, t.conflicts.c
    theirs = select(p.conflict_id).where(p.id.in_(person_ids), p.conflict_id.is_not(None))
    people.touch(conn, list(conn.execute(select(p.id).where(p.conflict_id.in_(theirs))).scalars()))
    owned = list(conn.execute(select(c.id).where(c.person_id.in_(person_ids), c.status == "open")).scalars())
    for conflict_id in owned:
        ledger.thaw(conn, conflict_id, now, by="suppression")


def suppressed_row(contact: Row, now: datetime) -> Row:
    """All that the mirror may keep of a suppressed contact: that there is one."""
    row: Row = {column.name: None for column in t.onvoard_contacts.c}
    row |= {key: contact.get(key) for key in ("id", "created_at", "modified_at", "suppressed_at")}
    return row | {
        "suppressed": True,
        "raw": {"id": contact["id"], "suppressed": True},
        "content_hash": "suppressed",
        "seen_at": now,
        **_SETTLED,
    }


def wipe_opt_out(conn: Connection, row_ids: Iterable[int]) -> None:
    """After the confirmation: the outbox forgets whom it opted out, if that person is suppressed; and what was refused
    before of the same."""
    o, done = t.outbox.c, list(row_ids)
    suppressed = o.person_id.in_(select(t.persons.c.id).where(t.persons.c.state != "active"))
    targets = list(conn.execute(select(o.target).where(o.id.in_(done), suppressed)).scalars())
    same = (o.lane == int(Lane.OPT_OUT), o.target.in_(targets), suppressed)
    conn.execute(update(t.outbox).where(*same, o.status == "dead").values(status="cancelled"))
    conn.execute(update(t.outbox).where(*same, o.status.in_(["done", "cancelled"])).values(_BLANK_PUSH))


_STATES = (
    select(t.tombstones.c.onvoard_contact_id, t.persons.c.state)
    .join(t.persons, t.persons.c.id == t.tombstones.c.person_id)
    .where(bulk.among(t.tombstones.c.onvoard_contact_id, "ids"), t.persons.c.state != "active")
)


def states(conn: Connection, contact_ids: Iterable[str]) -> dict[str, str]:
    """`suppressed` or `erased`, of those of these OnVoard contacts that are tombstones."""
    if conn.execute(_ANY_STONE).first() is None:
        return {}
    return dict(conn.execute(_STATES, {"ids": list(contact_ids)}).all())


def suppressed_contacts(conn: Connection, contact_ids: Iterable[str]) -> set[str]:
    """Those of these OnVoard contacts that are tombstones."""
    return set(states(conn, contact_ids))


def revive(conn: Connection, contact: Row) -> None:
    """An OnVoard contact that is suppressed no longer: its person lives again.

    By which unique_id Digital Onboarding knows this person, if that is known or follows from the address, is kept
    until it has been asked (`to_be_asked`).
    """
    stones, p = t.tombstones, t.persons.c
    stone = conn.execute(
        select(stones).join(t.persons, p.id == stones.c.person_id)
        .where(stones.c.onvoard_contact_id == contact["id"], p.state == SUPPRESSED)
    ).one_or_none()  # fmt: skip
    if stone is None:
        return
    values = {"state": "active", "unique_id": None, "matched_by": None, "linked_at": None, "settled_at": None}
    conn.execute(update(t.persons).where(p.id == stone.person_id).values(values))
    conn.execute(delete(stones).where(stones.c.person_id == stone.person_id))
    same = or_(stones.c.email_hash == stone.email_hash, stones.c.unique_id_hash == stone.unique_id_hash)
    others = select(stones.c.person_id).where(same, stones.c.onvoard_contact_id.is_(None))
    conn.execute(delete(t.persons).where(p.id.in_(others), p.state == SUPPRESSED))  # their tombstones go with them
    email = contact.get("email") or ""
    by_address = stone.unique_id_hash is not None and Hasher(conn)(email) == stone.unique_id_hash
    capitals = cursors.fact(conn, f"{CAPITALS}{contact['id']}") or ""
    cursors.forget_fact(conn, f"{CAPITALS}{contact['id']}")
    named = stone.unique_id or (_respelled(normal_email(email), capitals) if by_address else "")
    cursors.set_fact(conn, f"{UNSUPPRESSED}{contact['id']}", named)


def has_come_back(conn: Connection, contact_id: str) -> bool:
    """From a suppression, and has not been linked again, or not looked at, since."""
    return cursors.fact(conn, f"{UNSUPPRESSED}{contact_id}") is not None


def named_by(conn: Connection, contact_id: str) -> str | None:
    """The unique_id by which Digital Onboarding knew somebody who has come back, as long as they are not linked."""
    return cursors.fact(conn, f"{UNSUPPRESSED}{contact_id}") or None


def come_back(conn: Connection, unique_id: str) -> list[str]:
    """The OnVoard contacts of those among them who had this one."""
    return [contact_id for contact_id, named in cursors.facts_under(conn, UNSUPPRESSED).items() if named == unique_id]


def to_be_asked(conn: Connection) -> list[str]:
    """unique_ids of people who came back, and of whom the mirror knows nothing on Digital Onboarding any more."""
    named = cursors.facts_under(conn, UNSUPPRESSED).values()
    if not named:
        return []
    known = select(t.digital_onboarding_contacts.c.unique_id).where(
        t.digital_onboarding_contacts.c.unique_id.in_(list(named))
    )
    return sorted(set(named) - set(conn.execute(known).scalars()) - {""})
