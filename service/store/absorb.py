"""How an answer enters the mirror: merged with what is known, dated by what we did not cause, never of the erased."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from functools import cache
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, bindparam, case, func, or_, select, update

from service.core.mapping import normal_email
from service.core.records import Platform, Source
from service.store import announcements, bulk, consents, erasure, journeys, ledger, mirror, people, traces, watching
from service.store import tables as t
from service.store.mirror import Row

TRUE_WORDS = {"true", "t", "1", "y", "yes", "complete", "completed", "done"}
ADDRESS_OF_THE_ERASED = "address_of_the_erased"
"""The kind of conflict that asks why a living person has the address of somebody who is suppressed or erased."""
END = datetime.max.replace(tzinfo=UTC)
HINT_HOLDS = timedelta(hours=1)
"""A contact that was read so long after an activity shows what it led to, even if the clocks differ."""
_A = t.onvoard_activities.c


def row_of(record: Any) -> Row:
    """A client's record (a dataclass whose fields are the table's columns) -> its row."""
    names, values = _columns(record.__class__)
    return dict(zip(names, values(record), strict=True))


def record_rows(records: Iterable[Any]) -> list[Row]:
    return [row_of(record) for record in records]


@cache
def _columns(kind: Any) -> tuple[tuple[str, ...], attrgetter[Any]]:
    names = tuple(field.name for field in fields(kind) if field.name != "extras")
    return names, attrgetter(*names)


def contact_rows(contacts: Iterable[Any], now: datetime) -> list[Row]:
    """OnVoard contacts as the client read them at `now` -> their rows, for `onvoard_contacts`; without the database."""
    return [mirror.onvoard_contact_row(row_of(contact), now) for contact in contacts]


def onvoard_contacts(conn: Connection, rows: list[Row], *, run_id: int, now: datetime, own: bool = False) -> None:
    """Rows of `contact_rows`, as read or as answered to a write of ours (`own`). Suppressed ones leave the mirror
    instead.

    Of somebody erased nothing is kept, whatever is lifted over there; a new contact with their address, or naming their
    unique_id, is one of theirs.
    """
    people.turn_to_show(conn)
    stones = erasure.states(conn, [row["id"] for row in rows])
    erased = erasure.erased_among(conn, [row["email"] for row in rows], map(_link, rows), for_good=True)
    others = erasure.of_the_living(conn, erased) if erased else ()
    watched = watching.watch(conn).marks(Source.CONTACTS, None)
    living: list[Row] = []
    for row in rows:
        if stones.get(row["id"]) == erasure.ERASED:
            continue
        if row["suppressed"]:
            if row["id"] not in stones:
                erasure.suppress(conn, row, run_id, now)
                mirror.save_onvoard_contacts(conn, [erasure.suppressed_row(row, now)])
                people.settle_looks(conn, contact_ids=[row["id"]])
            continue
        if erased and _is_of(erased, row, others):
            erasure.suppress(conn, row, run_id, now, state=erasure.ERASED)
            continue
        if row["id"] in stones:
            erasure.revive(conn, row)
        row["unexamined"] = watched
        living.append(row)
    mirror.save_onvoard_contacts(conn, living, own=own)


def _is_of(erased: Mapping[str, int], row: Row, others: Collection[str]) -> bool:
    """Whether a contact has an address of these, or names one that is not another, living person's unique_id."""
    link = _link(row)
    return not erased.keys().isdisjoint({normal_email(row["email"]), normal_email(None if link in others else link)})


def _link(row: Row) -> str | None:
    link = (row["properties"] or {}).get(mirror.LINK_PROPERTY)
    return link if isinstance(link, str) else None


def activity_rows(records: Iterable[Any]) -> list[Row]:
    """Activities as the client read them -> their rows, for `activities`; without the database."""
    rows = [row_of(record) for record in records]
    for row in rows:
        sync_id = (row["record_data"] or {}).get("sync_id")
        row["sync_id"] = sync_id if isinstance(sync_id, str) else None
    return rows


def activities(conn: Connection, rows: list[Row], now: datetime, *, own: bool = False) -> dict[str, datetime | None]:
    """Rows of `activity_rows`, as a pull brings them, or as answered to pushes of ours (`own`). -> the contacts to whom
    something new has happened, and when last (None: nobody says); the bridge's own activities aside"""
    rows = _without_suppressed(conn, rows, "contact_id", "contact_email")
    known = mirror.known(conn, t.onvoard_activities, [row["id"] for row in rows])
    watch = watching.watch(conn)
    for row in rows:
        row["unexamined"] = watch.marks(Source.ACTIVITIES, row["occurred_at"])
    mirror.save_records(conn, t.onvoard_activities, rows, known_keys=known)
    if not own:
        announcements.heard(conn, (row for row in rows if row["id"] not in known), now)
    new = [row for row in rows if row["contact_id"] and row["id"] not in known and not row["sync_id"]]
    return {row["contact_id"]: row["occurred_at"] for row in sorted(new, key=_when)}


def _when(row: Row) -> datetime:
    return row["occurred_at"] or END


def reviews(conn: Connection, rows: list[Row]) -> None:
    """Rows of `record_rows`."""
    watch = watching.watch(conn)
    for row in rows:
        row["deleted_at"] = None
        row["unexamined"] = watch.marks(Source.REVIEWS, row["created_at"])
    rows = _without_suppressed(conn, rows, "reviewer_contact_id", "reviewer_email")
    mirror.save_records(conn, t.onvoard_reviews, rows)


def resource_records(conn: Connection, rows: list[Row]) -> None:
    """Rows of `record_rows`."""
    people.turn_to_show(conn)
    mirror.save_records(conn, t.onvoard_resource_records, traces.silent(conn, rows))


def _without_suppressed(conn: Connection, rows: list[Row], key: str, email: str) -> list[Row]:
    people.turn_to_show(conn)  # whoever is erased from now on, takes this along
    stones = erasure.suppressed_contacts(conn, {row[key] for row in rows if row[key]})
    return traces.kept(conn, [row for row in rows if row[key] not in stones], email)


_SEEN = select(t.onvoard_contacts.c.id, t.onvoard_contacts.c.seen_at).where(
    bulk.among(t.onvoard_contacts.c.id, "ids"),
    t.onvoard_contacts.c.suppressed.is_not(True),
    t.onvoard_contacts.c.seen_at <= bindparam("last"),
)


def want_reread(conn: Connection, happened: Mapping[str, datetime | None]) -> None:
    """Remember that contacts may have changed, in the transaction that keeps the hint: contact id -> when something
    happened to them last (None: nobody knows).

    Not those that were read well after it happened: a first pull of all activities would have everybody re-read.
    """
    if not happened:
        return
    table, latest = t.onvoard_contacts, END - HINT_HOLDS
    until = {key: min(at or latest, latest) + HINT_HOLDS for key, at in happened.items()}
    seen = conn.execute(_SEEN, {"ids": list(until), "last": max(until.values())})
    if hinted := [row.id for row in seen if row.seen_at <= until[row.id]]:
        conn.execute(update(table).where(bulk.among(table.c.id, "ids")).values(seen_at=None), {"ids": hinted})


_LAST = case((func.count() == func.count(_A.occurred_at), func.max(_A.occurred_at)))  # None: of one, nobody knows
_ACTIVE_SINCE = (
    select(_A.contact_id, _LAST)
    .where(or_(_A.occurred_at >= bindparam("since"), _A.occurred_at.is_(None)))
    .where(func.coalesce(_A.sync_id, "") == "", _A.contact_id > bindparam("after"))
    .group_by(_A.contact_id)
    .order_by(_A.contact_id)
    .limit(5_000)
)


def least_seen(conn: Connection) -> datetime:
    """No contact was read before this time."""
    return conn.execute(select(func.min(t.onvoard_contacts.c.seen_at))).scalar() or END


def active_since(conn: Connection, since: datetime, after: str) -> dict[str, datetime | None]:
    """What `want_reread` is to be told of all activities in the mirror, where no contact was read before `since`: of
    the next contacts in order, from `after` on."""
    return dict(conn.execute(_ACTIVE_SINCE, {"since": since - HINT_HOLDS, "after": after}).all())


_WANTED = (
    select(t.onvoard_contacts.c.id)
    .where(t.onvoard_contacts.c.seen_at.is_(None), t.onvoard_contacts.c.deleted_at.is_(None))
    .limit(bindparam("most"))
)


def wanted(conn: Connection, limit: int) -> list[str]:
    return list(conn.execute(_WANTED, {"most": limit}).scalars())


def reread_done(conn: Connection, contact_ids: Iterable[str], now: datetime) -> None:
    """The contact is as it was: only the wish is settled."""
    table = t.onvoard_contacts
    conn.execute(update(table).where(table.c.id.in_(list(contact_ids)), table.c.seen_at.is_(None)).values(seen_at=now))


def digital_contacts(
    conn: Connection,
    contacts: Sequence[Any],
    *,
    origin: str,
    asked_at: datetime,
    run_id: int,
    now: datetime,
    created: frozenset[str] = frozenset(),
    opted_out: Collection[str] = (),
) -> None:
    """Contacts as Digital Onboarding answered them at `asked_at` (by its clock).

    `created` are the unique_ids that this very request of ours brought into being, `opted_out` those that it opted out.
    """
    rows = [row_of(contact) for contact in contacts if contact.unique_id]
    rows = without_erased(conn, rows, run_id, now)
    known = mirror.known_digital_contacts(conn, [row["unique_id"] for row in rows])
    saved = []
    for row in rows:
        before = known.get(row["unique_id"])
        new = _merged(before, row, origin, asked_at, now)
        if row["unique_id"] in created:
            new |= {"created_by_bridge": True, "announced": True}
        saved.append(new)
    mirror.save_digital_contacts(conn, saved)
    pairs = [(known.get(row["unique_id"]), row) for row in saved]
    journeys.seen(conn, pairs, now)
    consents.began(conn, [pair for pair in pairs if pair[1]["unique_id"] not in opted_out], now)
    _settle_addresses(conn, [row["unique_id"] for row in rows], now)
    living = {row["unique_id"] for row in rows}
    _completions(conn, [contact for contact in contacts if contact.unique_id in living], origin)


def without_erased(conn: Connection, rows: list[Row], run_id: int, now: datetime) -> list[Row]:
    """Nothing of an erased person is stored; one who is not opted out yet, is. Before any row is locked: see
    `people.take_turn`."""
    people.turn_to_show(conn)
    erased = erasure.erased_among(conn, [row["email"] for row in rows], [row["unique_id"] for row in rows])
    others = erasure.of_the_living(conn, erased) if erased else ()
    living = []
    for row in rows:
        named = erased.get(normal_email(row["unique_id"])) if row["unique_id"] not in others else None
        person_id = erased.get(normal_email(row["email"])) or named
        if person_id is None:
            living.append(row)
        else:
            erasure.opt_out(conn, person_id, row, run_id, now)
            _ask_about_address(conn, row, run_id, now)
    return living


def _ask_about_address(conn: Connection, row: Row, run_id: int, now: datetime) -> None:
    """A living person's contact was given the address of somebody suppressed or erased. Nothing of it is stored but its
    opt-outs, so that nothing else about a linked person can go on until it has another one."""
    person = people.person_of(conn, unique_id=row["unique_id"])
    if person is not None and person.state != "active":
        return
    mirror.opted_out(conn, row["unique_id"], [flag for flag in erasure.OPT_OUTS if row.get(flag) is True])
    if person is None or person.onvoard_contact_id is None:
        mirror.without_address(conn, row["unique_id"])
        return
    reason = "its e-mail on Digital Onboarding is that of somebody who is suppressed or erased: change it there"
    conflict_id, _ = ledger.open_conflict(conn, person.id, ADDRESS_OF_THE_ERASED, reason, now, run_id=run_id)
    ledger.freeze(conn, [person.id], conflict_id)


_ASKED_ABOUT_ADDRESS = (
    select(t.conflicts.c.id)
    .join(t.persons, t.persons.c.id == t.conflicts.c.person_id)
    .where(t.conflicts.c.status == "open", t.conflicts.c.kind == ADDRESS_OF_THE_ERASED)
    .where(t.persons.c.unique_id.in_(bindparam("partners", expanding=True)))
)


def _settle_addresses(conn: Connection, unique_ids: Iterable[str], now: datetime) -> None:
    for conflict_id in conn.execute(_ASKED_ABOUT_ADDRESS, {"partners": list(unique_ids)}).scalars().all():
        people.touch(conn, ledger.members(conn, conflict_id))
        ledger.thaw(conn, conflict_id, now, by="another address")


def _merged(before: Row | None, row: Row, origin: str, asked_at: datetime, now: datetime) -> Row:
    said = set(row["raw"])
    merged = {key: value for key, value in row.items() if before is None or key in said} | {
        "raw": {**((before or {}).get("raw") or {}), **row["raw"]}
    }
    if before is not None:
        merged = {**{key: before[key] for key in row}, **merged}
    new = mirror.digital_contact_row(merged, origin, refreshed_at=now)
    moved = before is None or before["content_hash"] != new["content_hash"]
    ours = row["updated_at"] is None or row["updated_at"] >= asked_at
    return (
        new
        | _carried(before)
        | {
            "edited_at": row["updated_at"] if moved and not ours else (before or {}).get("edited_at"),
            "dirty": moved or bool((before or {}).get("dirty")),
        }
    )


def _carried(before: Row | None) -> Row:
    """What a new answer does not touch."""
    if before is None:
        return {"created_by_bridge": False, "announced": False, "removed_at": None}
    return {key: before[key] for key in ("created_by_bridge", "announced", "removed_at")}


def _completions(conn: Connection, contacts: Sequence[Any], origin: str) -> None:
    keys = mirror.objective_keys(conn) if any(contact.extras for contact in contacts) else set()
    rows = [
        completion
        for contact in contacts
        for completion in completions_in(contact.unique_id, contact.extras, keys, origin)
    ]
    mirror.save_completions(conn, rows)


def completions_in(unique_id: str, extras: Mapping[str, Any], keys: set[str], origin: str) -> list[Row]:
    """The objectives that a contact's extra keys say are completed."""
    found = []
    for key in keys & set(extras):
        done, at = read_completion(extras[key])
        if done:
            found.append({"unique_id": unique_id, "objective_key": key, "completed_at": at, "origin": origin})
    return found


def read_completion(value: Any) -> tuple[bool, datetime | None]:
    """A time, or a word for yes: (completed, when). ValueError for what is neither (beyond-the-docs)."""
    if value is None or value is False or value == "":
        return False, None
    text = str(value).strip()
    if text.lower() in TRUE_WORDS:
        return True, None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return False, None
    return True, at if at.tzinfo else at.replace(tzinfo=UTC)


def removed_on_digital_onboarding(conn: Connection, rows: Iterable[Row], run_id: int, now: datetime) -> int:
    """Contacts that were made anew there, by a probe or by somebody else: the ones that we knew were removed. Their
    people stop, and a person is asked, once. Of the new ones the flags alone are taken over: what was agreed about
    consent was agreed about the old ones.

    -> how many of them are new to us
    """
    found = 0
    for row in rows:
        unique_id = row["unique_id"]
        person = conn.execute(
            select(t.persons)
            .outerjoin(t.onvoard_contacts, t.onvoard_contacts.c.id == t.persons.c.onvoard_contact_id)
            .where(
                (t.persons.c.unique_id == unique_id)
                | (t.onvoard_contacts.c.link_unique_id == unique_id)
                | t.persons.c.onvoard_contact_id.in_(erasure.come_back(conn, unique_id))
            )
        ).first()
        table = t.digital_onboarding_contacts
        flags = {flag: row.get(flag) for flag in erasure.OPT_OUTS}
        conn.execute(
            update(table)
            .where(table.c.unique_id == unique_id)
            .values(removed_at=func.coalesce(table.c.removed_at, now), dirty=True, **flags)
        )
        if person is None:
            continue
        reason = "the contact had been removed on Digital Onboarding; nothing was filled in there"
        conflict_id, new = ledger.open_conflict(
            conn, person.id, "removed_on_digital_onboarding", reason, now, run_id=run_id
        )
        ledger.freeze(conn, [person.id], conflict_id)
        void = ledger.advance(ledger.get_bases(conn, person.id), {}, dict.fromkeys(Platform, False))
        ledger.put_bases(conn, person.id, void, now)
        found += new
    return found


def recreated(known: Row | None, row: Row) -> bool:
    """The unique_id is answered for by another record than the one we know: that was removed, and made anew."""
    return bool(known and known["id"] and row.get("id") and known["id"] != row["id"])
