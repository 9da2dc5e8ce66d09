"""Webhook events: on record before they are answered, looked into afterwards, none of them twice (contract section 6).

`webhook_events.status` is `pending`, `processed`, `ignored` or `failed`. Of a pending event, `processed_at` is when it
is to be tried again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, exists, func, or_, select, update

from service.core.consent import onvoard_opted_out
from service.core.mapping import normal_email
from service.core.records import Platform
from service.store import erasure
from service.store import tables as t
from service.store.mirror import insert
from service.store.outbox import Lane

Row = dict[str, Any]
_E = t.webhook_events
STATUSES = ("pending", "processed", "ignored", "failed")

SUPPRESSED = "it is about somebody who is suppressed"
UNKNOWN = "no such contact is known"
DELETED = "the contact was deleted"
OPTED_OUT = "the contact is opted out"
UNCHANGED = "nothing new"
STILL_OPTED_OUT = "nothing new; the contact is opted out"
_NO_NEWS = (UNCHANGED, STILL_OPTED_OUT)
_ANNOUNCED = (OPTED_OUT, STILL_OPTED_OUT)


@dataclass(frozen=True, slots=True)
class Incoming:
    """An event as it was received. `subject` is the contact that it names, as its platform does; `fault` says why
    nothing can be done about it, "" where something can."""

    id: str
    platform: Platform
    type: str
    payload: dict[str, Any]
    received_at: datetime
    subject: str | None
    email: str | None = None
    fault: str = ""


def keep(conn: Connection, events: Iterable[Incoming]) -> None:
    """Those that are known already stay as they are. Of suppressed people no payload is kept."""
    events = sorted(events, key=lambda event: event.id)  # so that no two writers wait for each other
    subjects = {event.subject for event in events if event.subject and event.platform is Platform.ONVOARD}
    stones = erasure.suppressed_contacts(conn, subjects)
    erased = erasure.erased_among(conn, [event.email for event in events], [])
    rows = [_row(event, event.subject in stones or normal_email(event.email) in erased) for event in events]
    conn.execute(insert(conn, _E).on_conflict_do_nothing(), rows)


def _row(event: Incoming, erased: bool) -> Row:
    # A suppressed contact is looked at all the same: it may be suppressed no longer.
    fault = event.fault or (SUPPRESSED if erased and event.subject is None else "")
    return {
        "id": event.id,
        "platform": event.platform.value,
        "type": event.type,
        "status": "ignored" if fault else "pending",
        "reason": fault or None,
        "payload": {} if erased else event.payload,
        "received_at": event.received_at,
        "processed_at": event.received_at if fault else None,
        "subject": event.subject,
    }


def next_due(conn: Connection) -> datetime | None:
    """When the next event is to be looked into; None while none waits."""
    due = func.min(func.coalesce(_E.c.processed_at, _E.c.received_at), type_=_E.c.received_at.type)
    return conn.execute(select(due).where(_E.c.status == "pending")).scalar()


_DUE = (
    select(_E)
    .where(_E.c.status == "pending", or_(_E.c.processed_at.is_(None), _E.c.processed_at <= bindparam("now")))
    .order_by(_E.c.received_at, _E.c.id)
    .limit(bindparam("most"))
)


def waiting(conn: Connection, now: datetime, limit: int) -> list[Row]:
    """What is due, oldest first."""
    return [dict(row) for row in conn.execute(_DUE, {"now": now, "most": limit}).mappings()]


def postpone(conn: Connection, until: Mapping[str, datetime]) -> None:
    """By event id: not before then."""
    if until:
        pending = and_(_E.c.id == bindparam("its_id"), _E.c.status == "pending")
        rows = [{"its_id": event_id, "due": due} for event_id, due in until.items()]
        conn.execute(update(_E).where(pending).values(processed_at=bindparam("due")), rows)


def finish(conn: Connection, told: Sequence[tuple[str, str, str | None, str | None]], now: datetime) -> None:
    """(id, status, reason, subject) of each. Of suppressed people nothing is kept but that there was an event."""
    if not told:
        return
    values: dict[str, Any] = {key: bindparam(f"its_{key}") for key in ("status", "reason", "subject")}
    rows = [dict(zip(("its_id", "its_status", "its_reason", "its_subject"), each, strict=True)) for each in told]
    conn.execute(update(_E).where(_E.c.id == bindparam("its_id")).values(**values, processed_at=now), rows)
    blank = [event_id for event_id, _, reason, _ in told if reason == SUPPRESSED]
    conn.execute(update(_E).where(_E.c.id.in_(blank)).values(payload={}))


def figures(conn: Connection) -> dict[str, Row]:
    """By platform, each of them named: how many events came, how many have which status, and when the last one came."""
    query = select(_E.c.platform, _E.c.status, func.count().label("n"), func.max(_E.c.received_at).label("last"))
    found = {each.value: dict.fromkeys(("came", *STATUSES), 0) | {"last_at": None} for each in Platform}
    for row in conn.execute(query.group_by(_E.c.platform, _E.c.status)):
        of_it: Row = found[row.platform]
        of_it["came"] += row.n
        of_it[row.status] = row.n
        of_it["last_at"] = max(filter(None, (of_it["last_at"], row.last)), default=None)
    return found


def unknown_among(conn: Connection, event_ids: Iterable[str]) -> set[str]:
    """Those of these ids that no event has."""
    ids = set(event_ids)
    return ids - set(conn.execute(select(_E.c.id).where(_E.c.id.in_(ids))).scalars())


def look_again(
    conn: Connection, event_ids: Collection[str], since: datetime | None, status: str | None
) -> tuple[list[str], int]:
    """Events to be looked into once more, at once: these, or all since then or with this status.

    -> (their ids, how many are left alone because they name nobody)
    """
    wanted: list[ColumnElement[bool]] = [_E.c.id.in_(event_ids)] if event_ids else []
    wanted += [_E.c.received_at >= since] if since is not None else []
    wanted += [_E.c.status == status] if status is not None else []
    somebody = or_(_E.c.subject.is_not(None), _E.c.reason.is_(None), _E.c.reason == UNKNOWN)
    ids = list(conn.execute(select(_E.c.id).where(*wanted, somebody).order_by(_E.c.received_at, _E.c.id)).scalars())
    every = conn.execute(select(func.count()).select_from(_E).where(*wanted)).scalar_one()
    conn.execute(update(_E).where(*wanted, somebody).values(status="pending", reason=None, processed_at=None))
    return ids, every - len(ids)


def told_of(conn: Connection, event_ids: Sequence[str]) -> list[Row]:
    """What has become of these events: (id, platform, type, status, reason), in the order of the ids."""
    query = select(_E.c.id, _E.c.platform, _E.c.type, _E.c.status, _E.c.reason)
    found: dict[str, Row] = {}
    for first in range(0, len(event_ids), 1_000):  # a statement takes only so many
        some = query.where(_E.c.id.in_(event_ids[first : first + 1_000]))
        found |= {row["id"]: dict(row) for row in conn.execute(some).mappings()}
    return [found[event_id] for event_id in event_ids if event_id in found]


def contacts_of_reviews(conn: Connection, review_ids: Iterable[str]) -> dict[str, str]:
    """Review id -> its reviewer's contact id, where both are known."""
    r = t.onvoard_reviews.c
    query = select(r.id, r.reviewer_contact_id).where(r.id.in_(list(review_ids)), r.reviewer_contact_id.is_not(None))
    return dict(conn.execute(query).all())


def contacts_with(conn: Connection, emails: Iterable[str]) -> dict[str, str]:
    """By normalised e-mail: the id of the living OnVoard contact that has it."""
    o = t.onvoard_contacts.c
    query = select(o.email_key, o.id).where(o.email_key.in_(list(emails)), o.deleted_at.is_(None))
    return dict(conn.execute(query).all())


def onvoard_standing(conn: Connection, contact_ids: Iterable[str]) -> dict[str, str | None]:
    """What is to be said of each of these contacts, now that they have been read again; None where nothing is."""
    ids, o = set(contact_ids), t.onvoard_contacts.c
    stones = erasure.suppressed_contacts(conn, ids)
    flags = (o.email_unsubscribed, o.email_marked_as_spam, o.email_hard_bounced)
    query = select(o.id, o.deleted_at, *flags).where(o.id.in_(ids))
    known = {row["id"]: dict(row) for row in conn.execute(query).mappings()}

    def standing(contact_id: str) -> str | None:
        if contact_id in stones:
            return SUPPRESSED
        if contact_id not in known:
            return UNKNOWN
        if known[contact_id]["deleted_at"] is not None:
            return DELETED
        return OPTED_OUT if onvoard_opted_out(known[contact_id]) else None

    return {contact_id: standing(contact_id) for contact_id in ids}


def digital_contacts(conn: Connection, contact_ids: Iterable[str]) -> dict[str, Row]:
    """By id: (unique_id, content_hash, removed_at, unsubscribe_email)."""
    d = t.digital_onboarding_contacts.c
    query = select(d.id, d.unique_id, d.content_hash, d.removed_at, d.unsubscribe_email)
    return {row["id"]: dict(row) for row in conn.execute(query.where(d.id.in_(list(contact_ids)))).mappings()}


def suppressed_there(conn: Connection, contact_ids: Iterable[str]) -> set[str]:
    """Those of these Digital Onboarding contacts that are tombstones."""
    column = t.tombstones.c.digital_onboarding_id
    return set(conn.execute(select(column).where(column.in_(list(contact_ids)))).scalars())


def quiet_until(conn: Connection, contact_ids: Iterable[str], longest: timedelta, now: datetime) -> dict[str, datetime]:
    """Digital Onboarding contacts that are not to be asked about before a time.

    To ask is to write, and a platform that tells of every write would be asked for ever: after each answer in a row
    that an event led to and that brought nothing new, the next question waits twice as long.
    """
    query = (
        select(_E.c.subject, _E.c.processed_at, _E.c.reason)
        .where(_E.c.platform == Platform.DIGITAL_ONBOARDING.value, _E.c.status == "processed")
        .where(_E.c.subject.in_(list(contact_ids)), _E.c.processed_at > now - longest)
        .order_by(_E.c.processed_at.desc())
    )
    answers: dict[str, list[datetime]] = {}
    news: set[str] = set()
    for subject, at, reason in conn.execute(query):
        if reason not in _NO_NEWS:
            news.add(subject)
        elif subject not in news and at not in answers.setdefault(subject, []):
            answers[subject].append(at)
    return {
        subject: times[0] + min(longest, timedelta(seconds=2 ** min(len(times), 30)))
        for subject, times in answers.items()
    }


def digital_standing(before: Row | None, after: Row) -> str | None:
    """What is to be said of a contact, by what the mirror held of it (`digital_contacts`) before and after it was asked
    about."""
    if after["removed_at"] is not None:
        return DELETED
    unchanged = before is not None and before["content_hash"] == after["content_hash"]
    if after["unsubscribe_email"]:
        return STILL_OPTED_OUT if unchanged else OPTED_OUT
    return UNCHANGED if unchanged else None


def release_announced(conn: Connection, run_id: int, platform: Platform, since: datetime) -> None:
    """Held opt-outs towards `platform` of people whose contact on the other one was found opted out when, after
    `since`, an event about it was looked into."""
    o, p, d = t.outbox.c, t.persons.c, t.digital_onboarding_contacts.c
    # By the contact, for the few that are held: there may be a million events.
    if platform is Platform.ONVOARD:
        told = exists().where(p.id == o.person_id, d.unique_id == p.unique_id, _E.c.subject == d.id)
    else:
        told = exists().where(p.id == o.person_id, _E.c.subject == p.onvoard_contact_id)
    about = (_E.c.platform == platform.other.value, _E.c.reason.in_(_ANNOUNCED), _E.c.processed_at > since)
    conn.execute(
        update(t.outbox)
        .where(o.run_id == run_id, o.platform == platform.value, o.status == "held", o.lane == int(Lane.OPT_OUT))
        .where(told.where(*about))
        .values(status="pending")
    )
