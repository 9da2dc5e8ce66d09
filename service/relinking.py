"""Links cut and joined by hand.

On the mirror alone, in the caller's transaction; the next sync carries it out. Every function checks before it writes,
and says what that sync will do. NobodyFound for somebody whom the mirror does not know, UsageError with the way out for
what cannot be done.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from service.core.identity import MatchedBy, could_be
from service.core.records import Platform
from service.decide.frame import AMBIGUOUS
from service.errors import NobodyFound, UsageError
from service.store import announcements, candidates, erasure, ledger, people, reports, separations
from service.store.database import Connection

Row = dict[str, Any]
BY = "person"
LIST = "contact-bridge conflicts list"
NAMES = {Platform.ONVOARD: "OnVoard", Platform.DIGITAL_ONBOARDING: "Digital Onboarding"}


def link(conn: Connection, who_onvoard: str, who_digital: str, reason: str | None, now: datetime) -> str:
    """Two contacts are one person. -> what the next sync will do"""
    onvoard = contact(conn, Platform.ONVOARD, who_onvoard)
    digital = contact(conn, Platform.DIGITAL_ONBOARDING, who_digital)
    if onvoard["partner"] is not None and onvoard["partner"] == digital["unique_id"]:
        raise UsageError(f"{onvoard['id']} and {digital['unique_id']} are linked already", hint=_explain(onvoard["id"]))
    check_linkable(onvoard, digital)
    join(conn, onvoard["id"], digital["unique_id"], reason, now)
    return (
        f"{onvoard['id']} and {digital['unique_id']} are one person: blanks are filled, where both have a value the "
        "newer record wins and the other value is kept on record, and an opt-out on either side reaches the other"
    )


def unlink(conn: Connection, who: str, who_digital: str | None, reason: str | None, now: datetime) -> str:
    """A link is cut, or two contacts that are not linked are told apart. -> what the next sync will do"""
    if who_digital is None:
        person = _linked_person(conn, who)
        person_id, contact_id, unique_id = person["person_id"], person["onvoard_contact_id"], person["unique_id"]
    else:
        onvoard = contact(conn, Platform.ONVOARD, who)
        digital = contact(conn, Platform.DIGITAL_ONBOARDING, who_digital)
        contact_id, unique_id = onvoard["id"], digital["unique_id"]
        if onvoard["partner"] != unique_id:
            return _tell_apart(conn, onvoard, digital, reason, now)
        person_id = onvoard["person_id"]
    other = cut(conn, person_id, contact_id, unique_id, reason, now)
    return (
        f"{contact_id} and {unique_id} are two people: no rule links them again, neither gets a new counterpart, and "
        f"the link property of {contact_id} is blanked. Opt-outs stay as they are on both sides. The history so far "
        f"stays with person:{person_id}, {contact_id}; {unique_id} is person:{other}"
    )


def cut(
    conn: Connection, person_id: int, contact_id: str, unique_id: str, reason: str | None, now: datetime
) -> int:
    """-> the new person of the Digital Onboarding contact. What was asked about the two as one is answered."""
    for conflict_id in ledger.open_of(conn, [person_id]):
        people.touch(conn, ledger.members(conn, conflict_id))
        ledger.thaw(conn, conflict_id, now, BY, note=reason or people.UNLINKED)
    separations.separate(conn, contact_id, unique_id, reason, now)
    announcements.take_back(conn, [person_id])
    return people.unlink(conn, person_id, now)


def _tell_apart(conn: Connection, onvoard: Row, digital: Row, reason: str | None, now: datetime) -> str:
    separations.separate(conn, onvoard["id"], digital["unique_id"], reason, now)
    persons = [row["person_id"] for row in (onvoard, digital) if row["person_id"] is not None]
    people.touch(conn, persons)
    for conflict_id in {row["conflict_id"] for row in (onvoard, digital)} - {None}:
        group = ledger.members(conn, conflict_id)
        people.touch(conn, group)
        if ledger.conflict_kind(conn, conflict_id) == AMBIGUOUS and not possible_pairs(conn, group):
            ledger.thaw(conn, conflict_id, now, BY, note=reason)
    return (
        f"{onvoard['id']} and {digital['unique_id']} are not the same person: no rule links them, and while that "
        "stands neither gets a new counterpart. Whoever is still in doubt is asked about again"
    )


def join(conn: Connection, contact_id: str, unique_id: str, reason: str | None, now: datetime) -> None:
    separations.rejoin(conn, contact_id, unique_id)
    persons = ledger.frozen_together(conn, [contact_id], [unique_id])
    asked = {person.conflict_id for person in people.persons_by_id(conn, persons)} - {None}
    for conflict_id in asked:
        people.touch(conn, ledger.members(conn, conflict_id))
        if ledger.conflict_kind(conn, conflict_id) == AMBIGUOUS:
            ledger.thaw(conn, conflict_id, now, BY, MatchedBy.MANUAL.value, reason)
    announcements.take_back(conn, persons)
    people.cancel_waiting(conn, persons, "linked by hand", now)
    kept = people.link(conn, contact_id, unique_id, MatchedBy.MANUAL, now)
    ledger.drop_bases(conn, [kept])


def check_linkable(onvoard: Row, digital: Row, *, apart_from: str | None = None) -> None:
    """UsageError where one of the two is somebody else's already; OnVoard's may be `apart_from`'s."""
    for row, name in ((onvoard, onvoard["id"]), (digital, digital["unique_id"])):
        if row["person_state"] not in (None, "active") or row.get("suppressed"):
            raise UsageError(f"{name} is suppressed or erased: nothing links it", hint=_explain(name))
        if row["partner"] is not None and row["partner"] != apart_from:
            cut = f"contact-bridge people unlink {shlex.quote(name)}"
            raise UsageError(f"{name} is linked to {row['partner']}: cut that link first", hint=cut)
    if onvoard["deleted_at"] is not None:
        raise UsageError(f"{onvoard['id']} was deleted on OnVoard", hint=_explain(onvoard["id"]))
    if digital["removed_at"] is not None:
        raise UsageError(f"{digital['unique_id']} was removed on Digital Onboarding: decide on that first", hint=LIST)


def contact(conn: Connection, platform: Platform, who: str) -> Row:
    """The one contact that is meant."""
    on_onvoard = platform is Platform.ONVOARD
    called = candidates.called_on_onvoard if on_onvoard else candidates.called_on_digital_onboarding
    found = called(conn, who.strip())
    if len(found) > 1:
        ids = ", ".join(row["id" if on_onvoard else "unique_id"] for row in found)
        raise UsageError(f"several contacts on {NAMES[platform]} are called this: say which of {ids}")
    if not found:
        raise _nobody(conn, who, f" on {NAMES[platform]}")
    return found[0]


def _linked_person(conn: Connection, who: str) -> Row:
    found = reports.find(conn, who.strip())
    linked = [row for row in found if row["onvoard_contact_id"] and row["unique_id"]]
    if len(linked) == 1:
        return linked[0]
    if linked:
        pairs = "; ".join(f"{row['onvoard_contact_id']} {row['unique_id']}" for row in linked)
        raise UsageError(f"several linked people are called this: say which: {pairs}")
    if found and not _erased(conn, who):
        raise UsageError(f"{who} is linked to nobody", hint="contact-bridge people unlink ONVOARD_ID UNIQUE_ID")
    raise _nobody(conn, who, "")


def _nobody(conn: Connection, who: str, where: str) -> UsageError | NobodyFound:
    if _erased(conn, who):
        return UsageError(f"{who} is suppressed or erased: nothing links or unlinks that person", hint=_explain(who))
    return NobodyFound(f"nobody in the mirror is called {who!r}{where}", hint=_explain(who))


def _erased(conn: Connection, who: str) -> bool:
    persons = [row["person_id"] for row in reports.find(conn, who.strip()) if row["person_id"] is not None]
    if any(person.state != "active" for person in people.persons_by_id(conn, persons)):
        return True
    return bool(erasure.erased_among(conn, [who], [who]))


def _explain(who: str) -> str:
    return f"contact-bridge explain {shlex.quote(who)}"


def possible_pairs(conn: Connection, person_ids: Sequence[int]) -> list[tuple[str, str]]:
    """The pairs (OnVoard id, unique_id) that these persons could be, unless they are told apart."""
    index, onvoard, digital = candidates.around(conn, person_ids)
    return sorted(
        (a.id, b.id)
        for a in index.onvoard.values()
        for b in index.digital_onboarding.values()
        if (a.id in onvoard or b.id in digital) and could_be(a, b) and not index.apart(a, b)
    )
