"""What a person decides: conflicts resolved, links cut and joined by hand.

All of it acts on the mirror alone, in the caller's transaction; the next sync carries it out. Every function checks
before it writes, and says what that sync will do. NobodyFound for somebody whom the mirror does not know, UsageError
with the way out for what cannot be done.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from service.core.consent import onvoard_opted_out
from service.core.identity import MatchedBy, could_be
from service.core.mapping import Authority, FieldMap, normal_email
from service.core.reconcile import reconcile
from service.core.records import Bases, Pair, Platform, Push
from service.decide.frame import AMBIGUOUS, EMAIL_TAKEN, LINK_EDITED, REMOVED, RESUBSCRIBED
from service.decide.merging import read_pair
from service.errors import NobodyFound, UsageError
from service.store import candidates, erasure, ledger, people, reports, separations
from service.store.database import Connection
from service.store.mirror import LINK_PROPERTY

Row = dict[str, Any]
BY = "person"
_LIST = "contact-bridge conflicts list"
_SYNC = "contact-bridge sync"
_NAMES = {Platform.ONVOARD: "OnVoard", Platform.DIGITAL_ONBOARDING: "Digital Onboarding"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One conflict (a row of `reports.conflict`), the side that a person keeps, and why."""

    conflict: Row
    keep: Platform
    reason: str | None
    now: datetime

    @property
    def id(self) -> int:
        return int(self.conflict["id"])

    @property
    def person_id(self) -> int:
        return int(self.conflict["person_id"])

    def settle(self, conn: Connection) -> None:
        """On record; whoever stood still is looked at by the next sync."""
        group = {self.person_id, *ledger.members(conn, self.id)}
        ledger.thaw(conn, self.id, self.now, BY, self.keep.value, self.reason)
        people.touch(conn, group)


def resolve(
    conn: Connection, mapping: FieldMap, conflict_id: int, keep: Platform, reason: str | None, now: datetime
) -> str:
    """Resolve one open conflict in favour of a side. -> what the next sync will do"""
    conflict = reports.conflict(conn, conflict_id)
    if conflict is None:
        raise NobodyFound(f"there is no conflict {conflict_id}", hint=f"{_LIST} --all")
    if conflict["status"] != "open":
        by = f" by {conflict['resolved_by']}" if conflict["resolved_by"] else ""
        raise UsageError(f"{conflict_id} is resolved already{by}, and stays so", hint=_LIST)
    choice = Choice(conflict, keep, reason, now)
    if conflict["kind"] == AMBIGUOUS:
        raise _who_is_who(conn, conflict)
    if conflict["kind"] == RESUBSCRIBED:
        return _resubscribed(conn, choice)
    if conflict["kind"] == REMOVED:
        return _removed(conn, choice)
    if conflict["kind"] == EMAIL_TAKEN:
        return _email_taken(conn, choice, mapping)
    if conflict["kind"] == LINK_EDITED:
        return _link_edited(conn, choice)
    return _field(conn, choice, mapping)


def _pair(conn: Connection, person_id: int, mapping: FieldMap) -> Pair | None:
    """Both sides of a linked person."""
    found = people.load_pairs(conn, [person_id])
    return read_pair(mapping, *found[0][1:]) if found else None


def _moot(conn: Connection, choice: Choice, why: str) -> str:
    choice.settle(conn)
    return f"nothing: {why}"


# --- one field


def _field(conn: Connection, choice: Choice, mapping: FieldMap) -> str:
    """A field whose value of one side is to stand on both."""
    name, keep = choice.conflict["field"], choice.keep
    rule = mapping.by_name.get(name)
    if rule is None:
        raise UsageError(
            f"{choice.id} is about no field of the mapping", hint=f"contact-bridge conflicts show {choice.id}"
        )
    pair = _pair(conn, choice.person_id, mapping)
    if pair is None:
        return _moot(conn, choice, "the two are no longer linked")
    if rule.authority not in (Authority.BOTH, keep.value):
        raise UsageError(
            f"the mapping gives {rule.authority} the authority over {name}: its value stands",
            hint=f"contact-bridge conflicts resolve {choice.id} --keep {option(keep.other)}",
        )
    _prefer(conn, choice, name, pair)
    choice.settle(conn)
    return f"the {name} of {_NAMES[keep]} goes to {_NAMES[keep.other]}"


def _prefer(conn: Connection, choice: Choice, name: str, pair: Pair) -> None:
    shows = pair.of(choice.keep.other).fields.get(name, "")
    ledger.prefer(conn, choice.person_id, name, shows, choice.now)


# --- consent


def _resubscribed(conn: Connection, choice: Choice) -> str:
    """The opt-out goes out once more, or the opt-in stands where it is. The bridge lifts none."""
    found = people.load_pairs(conn, [choice.person_id])
    if not found:
        return _moot(conn, choice, "the two are no longer linked")
    _, onvoard, digital, base = found[0]
    out = {
        Platform.ONVOARD: onvoard_opted_out(onvoard),
        Platform.DIGITAL_ONBOARDING: bool(digital["unsubscribe_email"]),
    }
    if len(set(out.values())) == 1:
        return _moot(conn, choice, "both sides show the same by now")
    opted_out = next(side for side in Platform if out[side])
    if choice.conflict[f"{opted_out}_value"] != "opted out":
        raise UsageError(f"{choice.id}: the two sides have changed since it was asked", hint=_SYNC)
    bases = ledger.read_bases(base)
    if choice.keep is opted_out:
        never = Bases(*(replace(bases.of(side), opted_out=None) for side in Platform))
        ledger.put_bases(conn, choice.person_id, never, choice.now)
        choice.settle(conn)
        return f"the opt-out on {_NAMES[opted_out]} goes to {_NAMES[opted_out.other]} once more"
    ledger.put_bases(conn, choice.person_id, ledger.advance(bases, {}, out), choice.now)
    choice.settle(conn)
    return (
        f"nothing: the opt-in stands on {_NAMES[choice.keep]}, and the opt-out on {_NAMES[opted_out]}. "
        "The bridge lifts no opt-out: if this one is to be lifted, do it there by hand"
    )


# --- removed on Digital Onboarding


def _removed(conn: Connection, choice: Choice) -> str:
    """Fill the contact again, or let it be gone: then it is told apart, so that nothing links or makes it again."""
    person = people.person_by_id(conn, choice.person_id)
    contact_id = person.onvoard_contact_id if person is not None else None
    named = (reports.onvoard_contact(conn, contact_id) or {}).get("link_unique_id")
    unique_id = (person.unique_id if person is not None else None) or named
    if unique_id is None:
        return _moot(conn, choice, "nothing names that contact any more")
    if choice.keep is Platform.ONVOARD:
        ledger.drop_bases(conn, [choice.person_id])
        people.expect_anew(conn, unique_id)
        choice.settle(conn)
        return (
            "the contact on Digital Onboarding is read anew and filled from OnVoard, by the rules of a first link"
            if contact_id
            else "the contact on Digital Onboarding is read anew"
        )
    if contact_id is not None:
        separations.separate(conn, contact_id, unique_id, choice.reason or "removed on Digital Onboarding", choice.now)
        people.cancel_waiting(conn, [choice.person_id], "removed on Digital Onboarding", choice.now)
    ledger.drop_bases(conn, [choice.person_id])
    people.drop_removed(conn, unique_id)
    choice.settle(conn)
    return "OnVoard's contact stays alone: its link property is blanked, and nobody is created for it"


# --- an address that somebody else has


def _email_taken(conn: Connection, choice: Choice, mapping: FieldMap) -> str:
    """The other side's address comes back, or the edited one goes out, if it has become free."""
    pair, push = _email_push(conn, choice.person_id, mapping)
    if pair is None or push is None:
        return _moot(conn, choice, "no address waits to be carried over any more")
    source = push.platform.other
    if choice.keep is source:
        holders = _holders(conn, pair, push)
        if holders:
            raise UsageError(
                f"{choice.id}: {', '.join(holders)} still has the address: give that contact another one on "
                "its platform first, or keep the other side",
                hint=f"contact-bridge conflicts resolve {choice.id} --keep {option(source.other)}",
            )
        choice.settle(conn)
        return f"the e-mail of {_NAMES[source]} goes to {_NAMES[source.other]}"
    if not normal_email(str(pair.of(choice.keep).fields.get("email", ""))):
        raise UsageError(
            f"{choice.id}: {_NAMES[choice.keep]} has no e-mail to keep: change the one on "
            f"{_NAMES[source]} by hand",
            hint=f"contact-bridge conflicts show {choice.id}",
        )
    for person_id, theirs in _waiting_for_each_other(conn, choice, mapping, pair):
        shows = theirs.of(source).fields.get("email", "")
        ledger.prefer(conn, person_id, "email", shows, choice.now)
    choice.settle(conn)
    return f"the e-mail of {_NAMES[choice.keep]} goes back to {_NAMES[source]}"


def _email_push(conn: Connection, person_id: int, mapping: FieldMap) -> tuple[Pair | None, Push | None]:
    pair = _pair(conn, person_id, mapping)
    pushes = reconcile(pair, mapping).pushes if pair is not None else ()
    return pair, next((push for push in pushes if push.field == "email"), None)


def _holders(conn: Connection, pair: Pair, push: Push) -> list[str]:
    address = normal_email(str(push.value))
    onvoard, digital = candidates.index_around(conn, [address], []).others_with(
        address, pair.onvoard.id, pair.digital_onboarding.id
    )
    circle = candidates.circle(conn, pair.onvoard.id, address) if push.platform is Platform.ONVOARD else []
    return [*onvoard, *digital, *(contact_id for contact_id in circle if contact_id != pair.onvoard.id)]


def _waiting_for_each_other(
    conn: Connection, choice: Choice, mapping: FieldMap, pair: Pair
) -> list[tuple[int, Pair]]:
    """The person whom a conflict is about, and those of its group who ask for each other's addresses with them."""
    waiting = [(choice.person_id, pair)]
    held = {normal_email(str(pair.of(choice.keep).fields.get("email", "")))}
    rest = set(ledger.members(conn, choice.id)) - {choice.person_id}
    while found := {each: asks for each in sorted(rest) if (asks := _asks_for(conn, each, mapping, choice.keep, held))}:
        waiting += found.items()
        held |= {normal_email(str(theirs.of(choice.keep).fields.get("email", ""))) for theirs in found.values()}
        rest -= set(found)
    return waiting


def _asks_for(
    conn: Connection, person_id: int, mapping: FieldMap, platform: Platform, addresses: set[str]
) -> Pair | None:
    """A person who is to take one of these addresses on `platform`."""
    pair, push = _email_push(conn, person_id, mapping)
    asks = push is not None and push.platform is platform and normal_email(str(push.value)) in addresses
    return pair if asks else None


# --- who is who


def _link_edited(conn: Connection, choice: Choice) -> str:
    """The link as it stands, or the one that OnVoard's property names."""
    person = people.person_by_id(conn, choice.person_id)
    if person is None or person.onvoard_contact_id is None or person.unique_id is None:
        return _moot(conn, choice, "the two are no longer linked")
    if choice.keep is Platform.DIGITAL_ONBOARDING:
        bases = ledger.get_bases(conn, choice.person_id)
        fields = {name: value for name, value in bases.onvoard.fields.items() if name != LINK_PROPERTY}
        unsaid = replace(bases, onvoard=replace(bases.onvoard, fields=fields))
        ledger.put_bases(conn, choice.person_id, unsaid, choice.now)
        choice.settle(conn)
        return f"the link property on OnVoard names {person.unique_id} again"
    contact_id, named = person.onvoard_contact_id, choice.conflict["onvoard_value"]
    onvoard, digital = _one(conn, Platform.ONVOARD, contact_id), _one(conn, Platform.DIGITAL_ONBOARDING, named)
    _check_linkable(onvoard, digital, apart_from=person.unique_id)
    choice.settle(conn)
    _cut(conn, person.id, contact_id, person.unique_id, choice.reason, choice.now)
    _join(conn, contact_id, named, choice.reason, choice.now)
    return f"{contact_id} is linked to {named}, and {person.unique_id} stays alone"


def _who_is_who(conn: Connection, conflict: Row) -> UsageError:
    pairs = _candidates(conn, [conflict["person_id"], *ledger.members(conn, conflict["id"])])
    message = f"{conflict['id']} asks who is who, and a side is no answer to that"
    if not pairs:
        return UsageError(
            f"{message}: these contacts share an e-mail on one platform; change it there, for one of them",
            hint=f"contact-bridge conflicts show {conflict['id']}",
        )
    commands = [
        f"contact-bridge people {verb} {shlex.quote(contact_id)} {shlex.quote(unique_id)}"
        for verb in ("link", "unlink")
        for contact_id, unique_id in pairs
    ]
    return UsageError(f"{message}. Link who is the same person, or unlink who is not: {'; '.join(commands)}")


def _candidates(conn: Connection, person_ids: Sequence[int]) -> list[tuple[str, str]]:
    """The pairs (OnVoard id, unique_id) that these persons could be, unless they are told apart."""
    index, onvoard, digital = candidates.around(conn, person_ids)
    return sorted(
        (a.id, b.id)
        for a in index.onvoard.values()
        for b in index.digital_onboarding.values()
        if (a.id in onvoard or b.id in digital) and could_be(a, b) and not index.apart(a, b)
    )


# --- links by hand


def link(conn: Connection, who_onvoard: str, who_digital: str, reason: str | None, now: datetime) -> str:
    """Two contacts are one person. -> what the next sync will do"""
    onvoard, digital = _one(conn, Platform.ONVOARD, who_onvoard), _one(conn, Platform.DIGITAL_ONBOARDING, who_digital)
    if onvoard["partner"] is not None and onvoard["partner"] == digital["unique_id"]:
        raise UsageError(f"{onvoard['id']} and {digital['unique_id']} are linked already", hint=_explain(onvoard["id"]))
    _check_linkable(onvoard, digital)
    _join(conn, onvoard["id"], digital["unique_id"], reason, now)
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
        onvoard, digital = _one(conn, Platform.ONVOARD, who), _one(conn, Platform.DIGITAL_ONBOARDING, who_digital)
        contact_id, unique_id = onvoard["id"], digital["unique_id"]
        if onvoard["partner"] != unique_id:
            return _tell_apart(conn, onvoard, digital, reason, now)
        person_id = onvoard["person_id"]
    other = _cut(conn, person_id, contact_id, unique_id, reason, now)
    return (
        f"{contact_id} and {unique_id} are two people: no rule links them again, neither gets a new counterpart, and "
        f"the link property of {contact_id} is blanked. Opt-outs stay as they are on both sides. The history so far "
        f"stays with person:{person_id}, {contact_id}; {unique_id} is person:{other}"
    )


def _cut(
    conn: Connection, person_id: int, contact_id: str, unique_id: str, reason: str | None, now: datetime
) -> int:
    """-> the new person of the Digital Onboarding contact. What was asked about the two as one is answered."""
    for conflict_id in ledger.open_of(conn, [person_id]):
        people.touch(conn, ledger.members(conn, conflict_id))
        ledger.thaw(conn, conflict_id, now, BY, note=reason or people.UNLINKED)
    separations.separate(conn, contact_id, unique_id, reason, now)
    return people.unlink(conn, person_id, now)


def _tell_apart(conn: Connection, onvoard: Row, digital: Row, reason: str | None, now: datetime) -> str:
    separations.separate(conn, onvoard["id"], digital["unique_id"], reason, now)
    persons = [row["person_id"] for row in (onvoard, digital) if row["person_id"] is not None]
    people.touch(conn, persons)
    for conflict_id in {row["conflict_id"] for row in (onvoard, digital)} - {None}:
        group = ledger.members(conn, conflict_id)
        people.touch(conn, group)
        if ledger.conflict_kind(conn, conflict_id) == AMBIGUOUS and not _candidates(conn, group):
            ledger.thaw(conn, conflict_id, now, BY, note=reason)
    return (
        f"{onvoard['id']} and {digital['unique_id']} are not the same person: no rule links them, and while that "
        "stands neither gets a new counterpart. Whoever is still in doubt is asked about again"
    )


def _join(conn: Connection, contact_id: str, unique_id: str, reason: str | None, now: datetime) -> None:
    separations.rejoin(conn, contact_id, unique_id)
    persons = ledger.frozen_together(conn, [contact_id], [unique_id])
    asked = {person.conflict_id for person in people.persons_by_id(conn, persons)} - {None}
    for conflict_id in asked:
        people.touch(conn, ledger.members(conn, conflict_id))
        if ledger.conflict_kind(conn, conflict_id) == AMBIGUOUS:
            ledger.thaw(conn, conflict_id, now, BY, MatchedBy.MANUAL.value, reason)
    people.cancel_waiting(conn, persons, "linked by hand", now)
    kept = people.link(conn, contact_id, unique_id, MatchedBy.MANUAL, now)
    ledger.drop_bases(conn, [kept])


def _check_linkable(onvoard: Row, digital: Row, *, apart_from: str | None = None) -> None:
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
        raise UsageError(f"{digital['unique_id']} was removed on Digital Onboarding: decide on that first", hint=_LIST)


def _one(conn: Connection, platform: Platform, who: str) -> Row:
    """The one contact that is meant."""
    on_onvoard = platform is Platform.ONVOARD
    called = candidates.called_on_onvoard if on_onvoard else candidates.called_on_digital_onboarding
    found = called(conn, who.strip())
    if len(found) > 1:
        ids = ", ".join(row["id" if on_onvoard else "unique_id"] for row in found)
        raise UsageError(f"several contacts on {_NAMES[platform]} are called this: say which of {ids}")
    if not found:
        raise _nobody(conn, who, f" on {_NAMES[platform]}")
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


def option(side: Platform) -> str:
    """A side as it is said on the command line."""
    return side.value.replace("_", "-")
