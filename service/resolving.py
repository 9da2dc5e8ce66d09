"""What a person decides about a conflict.

All of it acts on the mirror alone, in the caller's transaction; the next sync carries it out. Every function checks
before it writes, and says what that sync will do. NobodyFound for somebody whom the mirror does not know, UsageError
with the way out for what cannot be done.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from service import relinking
from service.core.consent import onvoard_opted_out
from service.core.mapping import Authority, FieldMap, normal_email
from service.core.reconcile import reconcile
from service.core.records import Bases, Pair, Platform, Push
from service.decide.frame import AMBIGUOUS, EMAIL_TAKEN, LINK_EDITED, REMOVED, RESUBSCRIBED
from service.decide.merging import read_pair
from service.errors import NobodyFound, UsageError
from service.relinking import BY, LIST, NAMES
from service.store import candidates, erasure, ledger, people, reports, separations
from service.store.absorb import ADDRESS_OF_THE_ERASED
from service.store.database import Connection
from service.store.mirror import LINK_PROPERTY

Row = dict[str, Any]
_SYNC = "contact-bridge sync"


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
        raise NobodyFound(f"there is no conflict {conflict_id}", hint=f"{LIST} --all")
    if conflict["status"] != "open":
        by = f" by {conflict['resolved_by']}" if conflict["resolved_by"] else ""
        raise UsageError(f"{conflict_id} is resolved already{by}, and stays so", hint=LIST)
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
    if conflict["kind"] == ADDRESS_OF_THE_ERASED:
        raise UsageError(f"{conflict_id} is resolved on Digital Onboarding alone: {conflict['reason']}", hint=_SYNC)
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
    return f"the {name} of {NAMES[keep]} goes to {NAMES[keep.other]}"


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
        return f"the opt-out on {NAMES[opted_out]} goes to {NAMES[opted_out.other]} once more"
    ledger.put_bases(conn, choice.person_id, ledger.advance(bases, {}, out), choice.now)
    choice.settle(conn)
    return (
        f"nothing: the opt-in stands on {NAMES[choice.keep]}, and the opt-out on {NAMES[opted_out]}. "
        "The bridge lifts no opt-out: if this one is to be lifted, do it there by hand"
    )


# --- removed on Digital Onboarding


def _removed(conn: Connection, choice: Choice) -> str:
    """Fill the contact again, or let it be gone: then it is told apart, so that nothing links or makes it again."""
    person = people.person_by_id(conn, choice.person_id)
    contact_id = person.onvoard_contact_id if person is not None else None
    named = (reports.onvoard_contact(conn, contact_id) or {}).get("link_unique_id")
    named = named or (erasure.named_by(conn, contact_id) if contact_id else None)
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
        holders = _holders(conn, choice, pair, push)
        if holders:
            raise UsageError(
                f"{choice.id}: {', '.join(holders)} still has the address: give that contact another one on "
                "its platform first, or keep the other side",
                hint=f"contact-bridge conflicts resolve {choice.id} --keep {option(source.other)}",
            )
        choice.settle(conn)
        return f"the e-mail of {NAMES[source]} goes to {NAMES[source.other]}"
    if not normal_email(str(pair.of(choice.keep).fields.get("email", ""))):
        raise UsageError(
            f"{choice.id}: {NAMES[choice.keep]} has no e-mail to keep: change the one on "
            f"{NAMES[source]} by hand",
            hint=f"contact-bridge conflicts show {choice.id}",
        )
    for person_id, theirs in _waiting_for_each_other(conn, choice, mapping, pair):
        shows = theirs.of(source).fields.get("email", "")
        ledger.prefer(conn, person_id, "email", shows, choice.now)
    choice.settle(conn)
    return f"the e-mail of {NAMES[choice.keep]} goes back to {NAMES[source]}"


def _email_push(conn: Connection, person_id: int, mapping: FieldMap) -> tuple[Pair | None, Push | None]:
    pair = _pair(conn, person_id, mapping)
    pushes = reconcile(pair, mapping).pushes if pair is not None else ()
    return pair, next((push for push in pushes if push.field == "email"), None)


def _holders(conn: Connection, choice: Choice, pair: Pair, push: Push) -> list[str]:
    address = normal_email(str(push.value))
    onvoard, digital = candidates.index_around(conn, [address], []).others_with(
        address, pair.onvoard.id, pair.digital_onboarding.id, choice.id
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
    if named is None:
        choice.settle(conn)
        relinking.cut(conn, person.id, contact_id, person.unique_id, choice.reason, choice.now)
        return f"{contact_id} and {person.unique_id} are linked no longer"
    onvoard = relinking.contact(conn, Platform.ONVOARD, contact_id)
    digital = relinking.contact(conn, Platform.DIGITAL_ONBOARDING, named)
    relinking.check_linkable(onvoard, digital, apart_from=person.unique_id)
    choice.settle(conn)
    relinking.cut(conn, person.id, contact_id, person.unique_id, choice.reason, choice.now)
    relinking.join(conn, contact_id, named, choice.reason, choice.now)
    return f"{contact_id} is linked to {named}, and {person.unique_id} stays alone"


def _who_is_who(conn: Connection, conflict: Row) -> UsageError:
    pairs = relinking.possible_pairs(conn, [conflict["person_id"], *ledger.members(conn, conflict["id"])])
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


def option(side: Platform) -> str:
    """A side as it is said on the command line."""
    return side.value.replace("_", "-")
