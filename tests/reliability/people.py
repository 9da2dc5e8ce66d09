"""Those who edit people on both platforms, and remember what must be there in the end."""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.reliability.outside import Platforms

TEXTS = {"city": "city", "region": "state", "street_address": "address", "postal_code": "post_code"}
FIELDS = ("name", "phone", "email", *TEXTS)
LINK = "custom_digital_onboarding_unique_id"
OBJECTIVES = ("online-banking", "estatements", "direct-deposit")
CHANNELS = ("email", "sms")
ACTIONS = ("objective_completed", "journey_started")
Contact = dict[str, Any]


@dataclass
class Person:
    """`contact_id` and `unique_id` are None until the bridge has made the contact on that side; `wanted` is what the
    last edit said, by OnVoard's name of the field."""

    contact_id: str | None
    unique_id: str | None
    wanted: dict[str, str]
    opted_out: bool = False
    gone: str = ""
    happened: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def is_linked(self) -> bool:
        return bool(self.contact_id and self.unique_id)


class People:
    """All of them. Within one window a field of a person is edited on one side alone, so that it is certain which value
    has to win; `turn` begins the next window, when both sides are equal."""

    def __init__(self, platforms: Platforms, dice: random.Random) -> None:
        self.platforms, self.dice = platforms, dice
        self.all: list[Person] = []
        self.history: list[str] = []
        self._window = self._number = 0

    def _new(self, email: str) -> dict[str, str]:
        return {name: self._value(name) for name in FIELDS if name != "email"} | {"email": email}

    def _value(self, name: str) -> str:
        """One that nobody else ever has."""
        self._number += 1
        if name == "phone":
            return f"+1415555{self._number:04}"
        return f"moved{self._number}@example.com" if name == "email" else f"{name.title()} N{self._number}"

    def arrive(self, *, onvoard: bool = True, digital: bool = True) -> Person:
        """Somebody new, equal on both sides or on one side alone."""
        self._number += 1
        fields = self._new(f"p{self._number}@example.com")
        person = Person(None, None, fields)
        if onvoard:
            person.contact_id = self.platforms.onvoard("add_contact", **fields)["id"]
        if digital:
            person.unique_id = f"crm-{self._number}"
            self.platforms.digital("add_contact", unique_id=person.unique_id, **_there(fields))
        self.all.append(person)
        return person

    def living(self) -> list[Person]:
        return [person for person in self.all if not person.gone]

    def linked(self) -> Person:
        """Anybody who is alive on both sides."""
        return self.dice.choice([person for person in self.living() if person.is_linked])

    def edit(self) -> None:
        person, name = self.dice.choice(self.living()), self.dice.choice(FIELDS)
        side = self.all.index(person) + FIELDS.index(name) + self._window
        self._write(person, name, on_onvoard=side % 2 == 0)

    def _write(self, person: Person, name: str, *, on_onvoard: bool) -> None:
        clears = name in TEXTS and person.is_linked and self.dice.random() < 0.15
        value = person.wanted[name] = "" if clears else self._value(name)
        on_onvoard = person.unique_id is None or (person.contact_id is not None and on_onvoard)
        where = "OnVoard" if on_onvoard else "Digital Onboarding"
        self.note(f"{person.contact_id} {person.unique_id} {name} = {value!r} on {where}")
        if on_onvoard:
            self.platforms.onvoard("edit_contact", person.contact_id, **{name: value or None})
        else:
            self.platforms.digital("edit_contact", person.unique_id, **_there({name: value}))

    def note(self, what: str) -> None:
        self.history.append(f"{datetime.now(UTC).isoformat()} {what}")

    # What happens only once or twice.

    def opts_out_here(self) -> None:
        person = self._to_opt_out()
        person.opted_out = True
        self.platforms.onvoard("unsubscribe", person.contact_id)

    def opts_out_there(self) -> None:
        person = self._to_opt_out()
        person.opted_out = True
        person.happened["unsubscribed", "email"] += 1
        self.platforms.digital("unsubscribe", person.unique_id)

    def _to_opt_out(self) -> Person:
        while (person := self.linked()).opted_out:
            pass
        return person

    def arrives_here(self) -> None:
        self.arrive(digital=False)

    def arrives_there(self) -> None:
        self.arrive(onvoard=False).happened["contact_added", ""] += 1

    def completes(self) -> None:
        person, key = self.linked(), self.dice.choice(OBJECTIVES)
        if not person.happened["objective_completed", key]:
            person.happened["objective_completed", key] += 1
            self.platforms.digital("complete_objective", person.unique_id, key)

    def is_suppressed(self) -> None:
        person = self.linked()
        person.gone = "suppressed"
        self.platforms.onvoard("suppress", person.contact_id)

    def is_deleted(self) -> None:
        person = self.linked()
        person.gone = "deleted"
        self.platforms.onvoard("delete_contact", person.contact_id)

    def export(self, path: Path) -> None:
        """What a user exports from Digital Onboarding: contacts, and who has completed what."""
        contacts = self.platforms.digital("contact_list")
        with path.open("w", newline="") as file:
            out = csv.DictWriter(file, [*contacts[0], *OBJECTIVES], extrasaction="ignore")
            out.writeheader()
            for contact in contacts:
                done = self.platforms.digital("completions_of", contact["unique_id"])
                out.writerow({key: value for key, value in (contact | done).items() if key != "meta_public"})

    # What must be there in the end.

    def turn(self) -> None:
        """Both sides are equal: who was edited here is edited there from now on."""
        by_uid = {c["properties"].get(LINK): c for c in self.platforms.onvoard("contact_list")}
        by_id = {c["id"]: uid for uid, c in by_uid.items()}
        for person in self.living():
            person.contact_id = person.contact_id or by_uid[person.unique_id]["id"]
            person.unique_id = person.unique_id or by_id[person.contact_id]
        self._window += 1

    def problems(self) -> list[str]:
        """All that is not as it has to be."""
        here, there = self.platforms.onvoard("contact_list"), self.platforms.digital("contact_list")
        by_uid = {contact["unique_id"]: contact for contact in there}
        found = [*_doubles(here), *_doubles(there)]
        if len(here) != (few := len([p for p in self.all if p.gone != "deleted"])):
            found.append(f"{len(here)} contacts on OnVoard, {few} people")
        if len(there) != len(self.all):
            found.append(f"{len(there)} contacts on Digital Onboarding, {len(self.all)} people")
        for person in self.all:
            ids = (person.contact_id, person.unique_id)
            mine = [c for c in here if c["id"] == ids[0] or c["properties"].get(LINK, "") == ids[1]]
            other = by_uid.get(person.unique_id or (mine[0]["properties"].get(LINK) if mine else ""))
            if not person.gone:
                found += self._differences(person, mine, other)
            elif person.gone == "suppressed" and {other and other[f"unsubscribe_{by}"] for by in CHANNELS} != {True}:
                found.append(f"{person.unique_id} is suppressed, and not opted out on Digital Onboarding")
            if person.unique_id:
                found += self._actions(person)
        return [*found, *self._untold()]

    def _differences(self, person: Person, mine: list[Contact], other: Contact | None) -> Iterator[str]:
        who = f"{person.contact_id} {person.unique_id}"
        if len(mine) != 1 or other is None:
            yield f"{who}: {len(mine)} contacts on OnVoard, {other and other['unique_id']} on Digital Onboarding"
            return
        shown = {"OnVoard": _shown_here(mine[0]), "Digital Onboarding": _shown_there(other)}
        for side, fields in shown.items():
            for name in FIELDS:
                if fields[name] != person.wanted[name]:
                    yield f"{who}: {name} on {side} is {fields[name]!r}, last edited to {person.wanted[name]!r}"
        flags = {"OnVoard": mine[0]["email_unsubscribed"], "Digital Onboarding": other["unsubscribe_email"]}
        for side, flag in flags.items():
            if flag is not person.opted_out:
                yield f"{who}: opted out on {side}: {flag}, by themself: {person.opted_out}"

    def _actions(self, person: Person) -> Iterator[str]:
        """Journeys and completions that are there twice, or not at all, by whomever."""
        done = [("objective_completed", key) for key in self.platforms.digital("completions_of", person.unique_id)]
        started = self.platforms.digital("journeys_of", person.unique_id)
        there = Counter(done + [("journey_started", each["template_id"]) for each in started])
        asked = Counter({what: n for what, n in person.happened.items() if what[0] in ACTIONS})
        if there - asked or (asked - there and not person.gone):
            yield f"{person.unique_id}: on Digital Onboarding {there}, asked for {asked}"

    def _untold(self) -> Iterator[str]:
        """Happenings that OnVoard was not told of, or more than once."""
        told = [each for each in self.platforms.onvoard("activity_list") if "custom.digital_onboarding" in each["type"]]
        for sync_id, times in Counter(each["record_data"]["sync_id"] for each in told).items():
            if times > 1:
                yield f"{times} activities with the sync_id {sync_id}"
        for person in self.all:
            mine = Counter(_happening(each) for each in told if each["record_data"]["unique_id"] == person.unique_id)
            if person.gone and max(mine.values(), default=0) > 1:
                yield f"{person.unique_id}: told twice: {mine}"
            if person.unique_id and not person.gone and mine != person.happened:
                yield f"{person.unique_id}: told {mine}, happened {person.happened}"
            if person.unique_id is None and any(e["contact"]["id"] == person.contact_id for e in told):
                yield f"{person.contact_id}: the bridge made the contact there, and tells of it"


def _there(fields: dict[str, str]) -> dict[str, str]:
    """Fields by OnVoard's names -> by Digital Onboarding's."""
    named = {**TEXTS, "phone": "phone_mobile", "email": "email"}
    out = {named[name]: value for name, value in fields.items() if name in named}
    if "name" in fields:
        out["name_first"], out["name_last"] = fields["name"].split()
    return out


def _shown_here(contact: Contact) -> dict[str, str]:
    texts = {name: contact["properties"].get(name) or "" for name in TEXTS}
    return texts | {name: contact[name] or "" for name in ("name", "phone", "email")}


def _shown_there(contact: Contact) -> dict[str, str]:
    texts = {here: contact[there] or "" for here, there in TEXTS.items()}
    name = " ".join(contact[part] or "" for part in ("name_first", "name_last"))
    return texts | {"name": name, "phone": contact["phone_mobile"] or "", "email": contact["email"] or ""}


def _doubles(contacts: Iterable[Contact]) -> Iterator[str]:
    for email, times in Counter((contact["email"] or "").lower() for contact in contacts).items():
        if times > 1:
            yield f"{times} contacts with the address {email!r}"


def _happening(activity: dict[str, Any]) -> tuple[str, str]:
    data = activity["record_data"]
    kind = activity["type"].removeprefix("custom.digital_onboarding_")
    return kind, str(data.get("objective_key") or data.get("template_id") or data.get("channel") or "")
