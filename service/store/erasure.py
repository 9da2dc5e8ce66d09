"""A suppressed person leaves the mirror; a tombstone stays, by which nobody brings them back (contract section 4).

The tombstone holds platform ids and keyed hashes. The only personal data that may outlive it for a moment is the
`unique_id` in an opt-out that Digital Onboarding has not confirmed yet; `wipe_opt_out` takes that away.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, or_, select, update

from service.core.mapping import normal_email
from service.core.records import Platform
from service.store import cursors, ledger, outbox, people
from service.store import tables as t
from service.store.mirror import insert
from service.store.outbox import Lane, Operation

UNSUPPRESSED = "unsuppressed:"
"""Facts of people who came back: contact id -> unique_id, "" where it is not known."""
OPT_OUTS = {"unsubscribe_email": True, "unsubscribe_sms": True}


class Hasher:
    """Keyed hashes of addresses and ids."""

    def __init__(self, conn: Connection) -> None:
        self._key = cursors.hash_key(conn)

    def __call__(self, text: str | None) -> str | None:
        normal = normal_email(text)
        return hmac.new(self._key, normal.encode(), hashlib.sha256).hexdigest() if normal else None


def erased_among(conn: Connection, emails: Iterable[str | None], unique_ids: Iterable[str | None]) -> dict[str, int]:
    """Normalised address or unique_id -> person id, of those who are suppressed or erased."""
    if conn.execute(select(t.tombstones.c.person_id).limit(1)).first() is None:
        return {}
    hasher = Hasher(conn)
    by_hash = {hasher(text): normal_email(text) for text in (*emails, *unique_ids) if normal_email(text)}
    stones = t.tombstones.c
    found: dict[str, int] = {}
    for row in conn.execute(
        select(stones.person_id, stones.email_hash, stones.unique_id_hash).where(
            or_(stones.email_hash.in_(by_hash), stones.unique_id_hash.in_(by_hash))
        )
    ):
        for hashed in (row.email_hash, row.unique_id_hash):
            if hashed in by_hash:
                found[by_hash[hashed]] = row.person_id
    return found


def suppress(conn: Connection, contact: dict[str, Any], run_id: int, now: datetime) -> None:
    """An OnVoard contact that is suppressed there (a row as the client read it).

    Its people on Digital Onboarding are opted out of e-mail and SMS, and all that the mirror holds of them goes.
    """
    contact_id = contact["id"]
    email = normal_email(contact.get("email"))
    person = conn.execute(select(t.persons).where(t.persons.c.onvoard_contact_id == contact_id)).one_or_none()
    found = (
        conn.execute(select(t.onvoard_contacts).where(t.onvoard_contacts.c.id == contact_id)).mappings().one_or_none()
    )
    known: dict[str, Any] = dict(found) if found else {}
    addresses = {email, known.get("email_key") or ""} - {""}
    link = (contact.get("properties") or {}).get("custom_digital_onboarding_unique_id") or known.get("link_unique_id")
    unique_ids = {person.unique_id if person else None, link} - {None}
    do = t.digital_onboarding_contacts
    theirs = or_(do.c.unique_id.in_(unique_ids), do.c.email_key.in_(addresses), do.c.unique_id_key.in_(addresses))
    partners = [dict(row) for row in conn.execute(select(do).where(theirs)).mappings()]
    person_id = person.id if person else _new_person(conn, contact_id, now)
    _write_stone(conn, person_id, contact_id, addresses, partners, link, now)
    for partner in partners:
        opt_out(conn, person_id, partner, run_id, now)
    others = set(
        conn.execute(
            select(t.persons.c.id).where(t.persons.c.unique_id.in_([p["unique_id"] for p in partners]))
        ).scalars()
    )
    _wipe(conn, {person_id, *others}, contact_id, addresses, [p["unique_id"] for p in partners], now)
    conn.execute(delete(t.persons).where(t.persons.c.id.in_(others - {person_id})))
    values = {"state": "suppressed", "unique_id": None, "conflict_id": None, "onvoard_contact_id": contact_id}
    conn.execute(update(t.persons).where(t.persons.c.id == person_id).values(values))


def _new_person(conn: Connection, contact_id: str, now: datetime) -> int:
    key = conn.execute(t.persons.insert().values(onvoard_contact_id=contact_id, created_at=now)).inserted_primary_key
    assert key is not None
    return int(key[0])


def _write_stone(
    conn: Connection, person_id: int, contact_id: str, addresses: set[str], partners: Sequence[dict[str, Any]],
    link: str | None, now: datetime,
) -> None:  # fmt: skip
    hasher = Hasher(conn)
    unique_id = partners[0]["unique_id"] if partners else link
    address_like = unique_id is not None and ("@" in unique_id or normal_email(unique_id) in addresses)
    row = {
        "person_id": person_id,
        "onvoard_contact_id": contact_id,
        "digital_onboarding_id": partners[0]["id"] if partners else None,
        "unique_id": None if address_like else unique_id,
        "email_hash": hasher(min(addresses)) if addresses else None,
        "unique_id_hash": hasher(unique_id),
        "erased_at": now,
    }
    known = {key: value for key, value in row.items() if value is not None}  # blanks of a later pull take nothing away
    statement = insert(conn, t.tombstones)
    conn.execute(statement.on_conflict_do_update(index_elements=["person_id"], set_=known), row)


def opt_out(conn: Connection, person_id: int, partner: dict[str, Any], run_id: int, now: datetime) -> None:
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


def _wipe(
    conn: Connection,
    person_ids: set[int],
    contact_id: str,
    addresses: set[str],
    unique_ids: Sequence[str],
    now: datetime,
) -> None:
    do = t.digital_onboarding_contacts
    for table in (do, t.digital_onboarding_objective_completions, t.digital_onboarding_journeys):
        conn.execute(delete(table).where(table.c.unique_id.in_(unique_ids)))
    activities, reviews = t.onvoard_activities, t.onvoard_reviews
    conn.execute(delete(activities).where(activities.c.contact_id == contact_id))
    conn.execute(delete(reviews).where(reviews.c.reviewer_contact_id == contact_id))
    conn.execute(delete(t.bases).where(t.bases.c.person_id.in_(person_ids)))
    theirs = t.outbox.c.person_id.in_(person_ids)
    conn.execute(delete(t.outbox).where(theirs, t.outbox.c.status.in_(["held"])))
    kept = (t.outbox.c.lane == int(Lane.OPT_OUT), t.outbox.c.status.in_(["pending", "sending", "unknown"]))
    conn.execute(
        update(t.outbox)
        .where(theirs, ~(kept[0] & kept[1]), t.outbox.c.status.in_(["pending", "unknown", "dead"]))
        .values(status="cancelled", last_error="suppressed", updated_at=now)
    )
    conn.execute(
        update(t.outbox)
        .where(theirs, ~(kept[0] & kept[1]))
        .values(payload={}, details=[], basis={}, target=None, fingerprint=None)
    )
    conn.execute(update(t.changes).where(t.changes.c.person_id.in_(person_ids)).values(old_value=None, new_value=None))
    conn.execute(
        update(t.conflicts)
        .where(t.conflicts.c.person_id.in_(person_ids))
        .values(onvoard_value=None, digital_onboarding_value=None)
    )
    _leave_conflicts(conn, person_ids, now)
    for named in {*addresses, *unique_ids}:  # in the conflicts of others
        for column in (t.conflicts.c.reason, t.conflicts.c.onvoard_value, t.conflicts.c.digital_onboarding_value):
            conn.execute(update(t.conflicts).where(column.contains(named, autoescape=True)).values({column: None}))
    blank = {column.name: None for column in t.onvoard_contacts.c if column.name not in _KEPT}
    conn.execute(
        update(t.onvoard_contacts).where(t.onvoard_contacts.c.id == contact_id).values(blank | {"dirty": False})
    )


def _leave_conflicts(conn: Connection, person_ids: set[int], now: datetime) -> None:
    """Their own questions are answered; whoever was frozen together with them is looked at again."""
    p, c = t.persons.c, t.conflicts.c
    theirs = select(p.conflict_id).where(p.id.in_(person_ids), p.conflict_id.is_not(None))
    people.touch(conn, list(conn.execute(select(p.id).where(p.conflict_id.in_(theirs))).scalars()))
    owned = list(conn.execute(select(c.id).where(c.person_id.in_(person_ids), c.status == "open")).scalars())
    for conflict_id in owned:
        ledger.thaw(conn, conflict_id, now, by="suppression")


_KEPT = {"id", "suppressed", "suppressed_at", "created_at", "modified_at", "seen_at", "deleted_at", "dirty"}


def suppressed_row(contact: dict[str, Any], now: datetime) -> dict[str, Any]:
    """All that the mirror may keep of a suppressed contact: that there is one."""
    row: dict[str, Any] = {column.name: None for column in t.onvoard_contacts.c}
    row |= {key: contact.get(key) for key in ("id", "created_at", "modified_at", "suppressed_at")}
    return row | {
        "suppressed": True,
        "raw": {"id": contact["id"], "suppressed": True},
        "content_hash": "suppressed",
        "seen_at": now,
        "dirty": False,
    }


def wipe_opt_out(conn: Connection, row_ids: Iterable[int]) -> None:
    """After the confirmation: the outbox forgets whom it opted out, if that person is suppressed."""
    suppressed = select(t.persons.c.id).where(t.persons.c.state != "active")
    conn.execute(
        update(t.outbox)
        .where(t.outbox.c.id.in_(list(row_ids)), t.outbox.c.person_id.in_(suppressed))
        .values(payload={}, details=[], basis={}, target=None, fingerprint=None)
    )


def suppressed_contacts(conn: Connection, contact_ids: Iterable[str]) -> set[str]:
    """Those of these OnVoard contacts that are tombstones."""
    stones = t.tombstones.c
    if conn.execute(select(stones.person_id).limit(1)).first() is None:
        return set()
    query = (
        select(stones.onvoard_contact_id)
        .join(t.persons, t.persons.c.id == stones.person_id)
        .where(stones.onvoard_contact_id.in_(list(contact_ids)), t.persons.c.state != "active")
    )
    return set(conn.execute(query).scalars())


def revive(conn: Connection, contact: dict[str, Any]) -> None:
    """An OnVoard contact that is suppressed no longer: its person lives again.

    By which unique_id Digital Onboarding knows this person, if that is known or follows from the address, is kept
    until it has been asked (`to_be_asked`).
    """
    stones = t.tombstones
    stone = conn.execute(
        select(stones).join(t.persons, t.persons.c.id == stones.c.person_id)
        .where(stones.c.onvoard_contact_id == contact["id"], t.persons.c.state == "suppressed")
    ).one_or_none()  # fmt: skip
    if stone is None:
        return
    values = {"state": "active", "unique_id": None, "matched_by": None, "linked_at": None, "settled_at": None}
    conn.execute(update(t.persons).where(t.persons.c.id == stone.person_id).values(values))
    conn.execute(delete(stones).where(stones.c.person_id == stone.person_id))
    email = contact.get("email") or ""
    by_address = stone.unique_id_hash is not None and Hasher(conn)(email) == stone.unique_id_hash
    cursors.set_fact(
        conn, f"{UNSUPPRESSED}{contact['id']}", stone.unique_id or (normal_email(email) if by_address else "")
    )


def to_be_asked(conn: Connection) -> list[str]:
    """unique_ids of people who came back, and of whom the mirror knows nothing on Digital Onboarding any more."""
    named = cursors.facts_under(conn, UNSUPPRESSED).values()
    known = select(t.digital_onboarding_contacts.c.unique_id).where(
        t.digital_onboarding_contacts.c.unique_id.in_(list(named))
    )
    return sorted(set(named) - set(conn.execute(known).scalars()) - {""})
