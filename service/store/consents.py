"""Opt-outs on record: every one that a platform ever showed, whose it is, which address it had, and when it reached the
other side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, exists, func, insert, literal, or_, select, update

from service.core.records import Platform
from service.store import tables as t
from service.store.bulk import among
from service.store.mirror import in_parts, moved_at

Row = dict[str, Any]
EMAIL, SMS = "email", "sms"
_R, _OV, _DO, _P = t.opt_outs, t.onvoard_contacts, t.digital_onboarding_contacts, t.persons


def note(conn: Connection, now: datetime) -> None:
    """What the contacts show that changed since the last look: new opt-outs, and those that their platform lifted.

    An opt-out is noted once per contact and address.
    """
    for statement in _notes():
        conn.execute(statement, {"now": now})


@cache  # they take longer to say than to carry out
def _notes() -> Sequence[Any]:
    """What notes new opt-outs, and what lifts those that are shown no longer."""
    statements: list[Any] = []
    for platform, key, table, channel, out, source, seen_at in _shown():
        now = bindparam("now", type_=seen_at.type)
        address = table.c.email_key
        here = and_(_R.c.platform == platform.value, _R.c.contact == key, _R.c.channel == channel)
        known = exists().where(here, _R.c.lifted_at.is_(None), _R.c.email_key.is_not_distinct_from(address))
        values = (literal(platform.value), key, literal(channel), address, source, func.coalesce(seen_at, now))
        new = select(*values).where(_living(table), out, ~known)
        columns = ["platform", "contact", "channel", "email_key", "source", "seen_at"]
        statements.append(insert(_R).from_select(columns, new))
        back = select(key).where(_living(table), ~out)
        theirs = (_R.c.platform == platform.value, _R.c.channel == channel, _R.c.lifted_at.is_(None))
        statements.append(update(_R).where(*theirs, _R.c.contact.in_(back)).values(lifted_at=now))
    return statements


_HELD: Any = select(_R.c.contact, _R.c.channel).where(
    _R.c.platform == Platform.DIGITAL_ONBOARDING.value, _R.c.lifted_at.is_(None), among(_R.c.contact, "contacts")
)


def began(conn: Connection, contacts: Iterable[tuple[Row | None, Row]], now: datetime) -> None:
    """Opt-outs on Digital Onboarding of contacts, as they were (None: unknown) and as they are, of which the platform
    has shown or said otherwise before: noted with their own time, of which OnVoard is to be told."""
    found = {
        (row["unique_id"], channel): (before, row)
        for before, row in contacts if before is not None and before["removed_at"] is None
        for channel, flag in ((EMAIL, "unsubscribe_email"), (SMS, "unsubscribe_sms"))
        if row[flag] is True and _was_in(before, flag)
    }  # fmt: skip
    if not found:
        return
    held = {tuple(each) for each in conn.execute(_HELD, {"contacts": [contact for contact, _ in found]})}
    rows = [
        {
            "platform": Platform.DIGITAL_ONBOARDING.value, "contact": key[0], "channel": key[1],
            "email_key": row["email_key"], "source": "unsubscribed", "seen_at": now,
            "tell_at": moved_at(before, row, now),
        }
        for key, (before, row) in found.items() if key not in held
    ]  # fmt: skip
    if rows:
        conn.execute(insert(_R), rows)


def _was_in(before: Row, flag: str) -> bool:
    """An answer of the platform's own shows a flag that is not set as null, or not at all."""
    return before[flag] is False or (before[flag] is None and before["refreshed_at"] is not None)


_TOLD = (
    update(_R)
    .where(_R.c.platform == Platform.DIGITAL_ONBOARDING.value, _R.c.contact == bindparam("who"))
    .where(_R.c.channel == EMAIL, _R.c.tell_at.is_not(None))
    .values(tell_at=None)
)


def told(conn: Connection, unique_id: str) -> None:
    """OnVoard is told of this contact's e-mail opt-out, or need not be."""
    conn.execute(_TOLD, {"who": unique_id})


def _living(table: t.Table) -> Any:
    if table is _OV:
        return and_(_OV.c.dirty, _OV.c.deleted_at.is_(None), _OV.c.suppressed.is_not(True))
    return and_(_DO.c.dirty, _DO.c.removed_at.is_(None))  # one that was made anew says nothing about the old one


def _shown() -> Iterable[tuple[Any, ...]]:
    """How each platform shows an opt-out: (platform, key, table, channel, condition, source, when it was seen)."""
    spam, bounced = (func.coalesce(_OV.c[flag], False) for flag in ("email_marked_as_spam", "email_hard_bounced"))
    out = or_(func.coalesce(_OV.c.email_unsubscribed, False), spam, bounced)
    why = case((spam, "spam"), (bounced, "hard_bounce"), else_="unsubscribed")
    yield Platform.ONVOARD, _OV.c.id, _OV, EMAIL, out, why, _OV.c.seen_at
    for channel, flag in ((EMAIL, _DO.c.unsubscribe_email), (SMS, _DO.c.unsubscribe_sms)):
        shown = (channel, func.coalesce(flag, False), literal("unsubscribed"), _DO.c.refreshed_at)
        yield (Platform.DIGITAL_ONBOARDING, _DO.c.unique_id, _DO, *shown)


def suppressed(conn: Connection, contact_id: str, now: datetime) -> None:
    """A suppression on OnVoard is an opt-out of everything; the address is not kept."""
    row = {"platform": Platform.ONVOARD.value, "contact": contact_id, "source": "suppressed", "seen_at": now}
    conn.execute(insert(_R), [row | {"channel": channel} for channel in (EMAIL, SMS)])


_OUT = (
    select(_R.c.email_key)
    .where(_R.c.email_key.in_(bindparam("keys", expanding=True)), _R.c.channel == EMAIL, _R.c.lifted_at.is_(None))
    .distinct()
)


def addresses_out(conn: Connection, email_keys: Iterable[str | None]) -> set[str]:
    """Those of these addresses (normalised) that somebody opted out of, and that were not opted in again."""
    out: set[str] = set()
    for part in in_parts(key for key in email_keys if key):
        out |= set(conn.execute(_OUT, {"keys": part}).scalars())
    return out


def ever_out(conn: Connection, platform: Platform, contacts: Iterable[str]) -> set[str]:
    """Those of these contacts that were ever seen opted out of e-mail: they have their own history, whatever their
    address's is."""
    found: set[str] = set()
    for part in in_parts(contacts):
        where = (_R.c.platform == platform.value, _R.c.contact.in_(part), _R.c.channel == EMAIL)
        found |= set(conn.execute(select(_R.c.contact).where(*where).distinct()).scalars())
    return found
