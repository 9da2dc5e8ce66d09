"""What the model remembers of both platforms: who wrote which value, who opted in again, what the bridge overwrote.

The laws that hold at every moment are checked here, at each request that takes effect.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import text

from service.core.mapping import FieldMap, normal_email, one_line
from service.core.records import Native, Platform
from service.sandbox.digital_onboarding import DigitalOnboarding
from service.sandbox.exchange import Call
from service.sandbox.onvoard import OnVoard
from service.store.database import Database
from service.store.mirror import LINK_PROPERTY
from service.store.traces import Redactor
from tests.simulation.virtual import VirtualClock

OV, DO = "onvoard", "digital_onboarding"
Contact = tuple[str, str]
"""A platform, and its own id of the contact."""
FLAGS = ("email_unsubscribed", "email_marked_as_spam", "email_hard_bounced", "unsubscribe_email", "unsubscribe_sms")
RESERVED = {"id", "inserted_at", "updated_at"}
REGION = "US"
CREATE = ("/v2/contacts", "/v2/contacts/create-or-update")


class LawBroken(Exception):
    """`law` is a number of section 3 of the design."""

    def __init__(self, law: int, what: str) -> None:
        super().__init__(f"law {law}: {what}")
        self.law = law


@dataclass(frozen=True)
class Overwritten:
    """A value that a user had written and the bridge has replaced, although (or because) the mirror knew it."""

    contact: Contact
    field: str
    value: Native
    at: datetime
    other: Contact | None  # the person's other one
    elsewhere: bool  # that one has shown it too: the two had agreed on it


class Watch:
    def __init__(
        self, clock: VirtualClock, ov: OnVoard, do: DigitalOnboarding, mapping: FieldMap, db: Database
    ) -> None:
        self.clock, self.ov, self.do, self.mapping, self.db = clock, ov, do, mapping, db
        self.lasting: dict[tuple[Contact, str], tuple[Native, datetime]] = {}  # what a user wrote there last
        self.known: dict[str, set[str]] = defaultdict(lambda: {""})  # by field: the keys of all that users ever wrote
        self.shown: dict[tuple[Contact, str], set[str]] = defaultdict(set)  # keys that it has ever shown
        self.risen: set[Contact] = set()  # opted in again by a human, and not out since
        self.overwritten: list[Overwritten] = []
        self.raced = 0  # edits that were overwritten before anybody could know of them
        self.undone: set[Contact] = set()  # a person has given a run's values back, or decided
        self.forgotten: set[str] = set()  # ids and addresses of those who are to be erased
        self.suppressed: set[str] = set()  # on OnVoard, at any time: ids and addresses
        self.restored = False  # the mirror was: what it remembered of the time since the backup is gone
        self.broken: LawBroken | None = None
        self.probes = self.writes = 0

    # --- what both platforms show

    def contacts(self) -> dict[Contact, dict[str, Any]]:
        shown = {(OV, each["id"]): each for each in self.ov.contact_list()}
        return shown | {(DO, each["id"]): each for each in self.do.contact_list()}

    def read(self, contact: Contact, payload: dict[str, Any]) -> dict[str, Native]:
        return self.mapping.read_onvoard(payload) if contact[0] == OV else self.mapping.read_digital_onboarding(payload)

    def key(self, name: str, value: Native) -> str:
        return self.mapping.key(self.mapping.by_name[name], value, REGION)

    def out(self, contact: Contact, payload: dict[str, Any]) -> bool:
        return any(payload.get(flag) is True for flag in FLAGS if flag != "unsubscribe_sms")

    def one(self, contact: Contact) -> dict[str, Any] | None:
        if contact[0] == OV:
            return self.ov.contact(contact[1]) if contact[1] in self.ov.contacts else None
        found = self.do.contacts.get(contact[1])
        return self.do.contact(found.unique_id) if found else None

    # --- users

    def edits(self, contact: Contact, edit: Callable[[], object]) -> None:
        """A user's edit of a contact; remembers what it changed."""
        before = self.one(contact)
        edit()
        if contact[0] == OV and contact[1] in self.ov.contacts and self.ov.contacts[contact[1]].suppressed_at:
            self.suppressed |= {contact[1]} | self.shown[contact, "email"]
            if (other := self._other(contact)) is not None:  # which is erased with it
                self.suppressed |= self.shown[other, "email"]
        self._note(contact, before, self.one(contact))

    def arrives(self, contact: Contact) -> None:
        self._note(contact, None, self.one(contact))

    def _note(self, contact: Contact, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        if after is None:
            return
        was = self.read(contact, before) if before else {}
        now = self.read(contact, after)
        for name, value in now.items():
            key = self.key(name, value)
            self.shown[contact, name].add(key)
            if was.get(name) != value:
                self.known[name].add(key)
                self.lasting[contact, name] = (value, self.clock.now())
        was_out = self.out(contact, before) if before else False
        if self.out(contact, after):
            self.risen.discard(contact)
        elif was_out:
            self.risen.add(contact)

    def forgets(self, contacts: Iterable[str | None]) -> None:
        """A person asks for the erasure of these, named by their ids: nothing is kept of them and their addresses."""
        for contact in filter(None, contacts):
            shown = self.one((OV, contact)) or self.one((DO, contact)) or {}
            self.forgotten |= {contact, normal_email(shown.get("email")), normal_email(shown.get("unique_id"))} - {""}

    def was_suppressed(self, contact: Contact) -> bool:
        """Or has had the address of somebody who was: the mirror keeps no happenings under it."""
        return bool(self.suppressed & ({contact[1]} | self.shown[contact, "email"]))

    def is_erased(self, value: Native) -> bool:
        """An address of somebody erased, by the mirror's own tombstones: it stands in nobody's history."""
        with self.db.begin(write=False) as conn:
            return isinstance(value, str) and Redactor(conn).names(value)

    def is_forgotten(self, contact: Contact) -> bool:
        """Or had the address of somebody who is, once."""
        shown = self.one(contact) or {}
        names = {contact[1], normal_email(shown.get("unique_id")), (shown.get("properties") or {}).get(LINK_PROPERTY)}
        return bool(self.forgotten & (names | self.shown[contact, "email"]))

    # --- the bridge

    @contextmanager
    def over(self, platform: str, call: Call) -> Iterator[None]:
        """Around a request that takes effect."""
        if call.method == "GET" or call.path == "/oauth2/token":
            yield
            return
        body = json.loads(call.body) if call.body else {}
        touched = self._touched(platform, call, body)
        self.writes += 1
        self._check_request(platform, call, body)
        before = {contact: self.one(contact) for contact in touched}
        yield
        for contact, was in before.items():
            now = self.one(contact)
            if was is not None and now is not None:
                self._check_effect(contact, was, now)
        if platform == DO:
            for member in members(body):
                found = self.do.find(member["unique_id"])
                if found is not None and (DO, found.id) not in before:
                    self._made((DO, found.id))
        elif call.path in CREATE:
            made = self.ov.find_contact(body.get("email", ""))
            if made is not None and (OV, made.id) not in before:
                self._made((OV, made.id))

    def _made(self, contact: Contact) -> None:
        """By the bridge."""
        for name, value in self.read(contact, self.one(contact) or {}).items():
            self.shown[contact, name].add(self.key(name, value))

    def _touched(self, platform: str, call: Call, body: dict[str, Any]) -> list[Contact]:
        if platform == DO:
            found = [self.do.find(member.get("unique_id", "")) for member in members(body)]
            return [(DO, each.id) for each in found if each is not None]
        if call.path in CREATE:
            known = self.ov.find_contact(body.get("email", ""))
        else:
            known = self.ov.contacts.get(call.path.removeprefix("/v2/contacts/").partition("/")[0])
        return [(OV, known.id)] if known else []

    def check(self) -> None:
        if self.broken is not None:
            raise self.broken

    def breaks(self, law: int, what: str) -> None:
        """The first one counts; raising it here would only look like a platform's failure to the bridge."""
        self.broken = self.broken or LawBroken(law, f"{self.clock.now():%d %H:%M:%S} {what}")

    def _check_request(self, platform: str, call: Call, body: dict[str, Any]) -> None:
        told = f"{call.method} {call.path} {json.dumps(body)[:300]}"
        if call.method == "DELETE":
            self.breaks(2, f"deletes: {told}")
        if any(value is not True for value in _flags(body)):
            self.breaks(4, f"raises consent: {told}")
        if platform == DO:
            told_of = members(body)
            ids = [member.get("unique_id") for member in told_of]
            self.probes += call.path == "/v1/contacts" and all(set(each) == {"unique_id"} for each in told_of)
            if not all(ids) or len(set(ids)) != len(ids):
                self.breaks(2, f"unique_ids: {told}")
            if any(RESERVED & set(member) for member in told_of):
                self.breaks(2, f"reserved keys: {told}")
        elif call.path == "/v2/contact-activities" and ("contact_email" in body or "timestamp" not in body):
            self.breaks(5, f"an activity by e-mail, or without its time: {told}")

    def _check_effect(self, contact: Contact, was: dict[str, Any], now: dict[str, Any]) -> None:
        fallen = [flag for flag in FLAGS if was.get(flag) is True and now.get(flag) is not True]
        if fallen and self._mirror_knows_out(contact):
            self.breaks(4, f"{contact}: {fallen} had fallen, and a write of the bridge raised it")
        old, new = self.read(contact, was), self.read(contact, now)
        for name in old:
            keys = self.key(name, old[name]), self.key(name, new[name])
            self.shown[contact, name] |= set(keys)
            if old[name] == new[name]:
                continue
            if self.lasting.get((contact, name), (None,))[0] != old[name]:
                continue
            if not self._mirror_shows(contact, name, old[name]) or self._on_its_way(contact, name, old[name]):
                self.raced += 1
            elif keys[0] == keys[1]:
                self.breaks(3, f"{contact} {name}: {old[name]!r} came back as {new[name]!r}")
            elif keys[0]:
                other = self._other(contact)
                elsewhere = other is not None and keys[0] in self.shown[other, name]
                self.overwritten.append(Overwritten(contact, name, old[name], self.clock.now(), other, elsewhere))

    def _mirror_row(self, contact: Contact) -> dict[str, Any] | None:
        table = "onvoard_contacts" if contact[0] == OV else "digital_onboarding_contacts"
        found = self.rows(f"SELECT * FROM {table} WHERE id = :id", id=contact[1])
        return found[0] if found else None

    def _mirror_shows(self, contact: Contact, name: str, value: Native) -> bool:
        row = self._mirror_row(contact)
        return row is not None and self.read(contact, _json(row["raw"])).get(name) == value

    def _on_its_way(self, contact: Contact, name: str, value: Native) -> bool:
        """Whether what is being sent was decided before the mirror knew of `value`."""
        found = self.do.contacts.get(contact[1])
        target = found.unique_id if found is not None else contact[1]
        for row in self.rows("SELECT details FROM outbox WHERE status = 'sending' AND target = :it", it=target):
            for detail in _json(row["details"]):
                before = detail.get("before")
                if detail.get("of") == name and (tuple(before) if isinstance(before, list) else before) != value:
                    return True
        return False

    def _mirror_knows_out(self, contact: Contact) -> bool:
        row = self._mirror_row(contact)
        return row is not None and self.out(contact, _json(row["raw"]))

    def _other(self, contact: Contact) -> Contact | None:
        column, other = ("onvoard_contact_id", "digital_onboarding_contact_id")
        if contact[0] == DO:
            column, other = other, column
        found = self.rows(f"SELECT {other} AS it FROM people WHERE {column} = :id", id=contact[1])
        if not found or found[0]["it"] is None:
            return None
        return (DO if contact[0] == OV else OV, found[0]["it"])

    def rows(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        with self.db.begin(write=False) as conn:
            return [dict(row) for row in conn.execute(_said(sql), values).mappings()]

    def literal(self, contact: Contact, name: str, value: Native) -> set[str]:
        """How the mirror would spell it, as a whole and by column."""
        rule = self.mapping.by_name[name]
        platform = Platform.ONVOARD if contact[0] == OV else Platform.DIGITAL_ONBOARDING
        return {one_line(value), *(part for part in rule.by_column(platform, value).values() if part)}


_said = cache(text)


def _json(value: Any) -> Any:
    return (json.loads(value) if isinstance(value, str) else value) or {}


def members(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The contacts of a write to Digital Onboarding."""
    return list(body.get("contacts", [body.get("contact", body)]))


def _flags(value: Any) -> Iterator[Any]:
    """Every consent flag anywhere in a body."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in FLAGS:
                yield item
            yield from _flags(item)
    elif isinstance(value, list):
        for item in value:
            yield from _flags(item)
