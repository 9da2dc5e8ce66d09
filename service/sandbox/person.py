"""One generated person, and how each platform knows them."""

from __future__ import annotations

import random
import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from service.sandbox.digital_onboarding.store import STANDARD_OBJECTIVES
from service.sandbox.places import BRANCHES, CUSTOM_OBJECTIVES, MAIL_HOSTS, PLACES, TEMPLATES, Place

ODD_PHONES = ("ask for {0}", "{0} x12", "{0} / home", "n/a", "(unknown)")
KEYS = (*STANDARD_OBJECTIVES[:6], *(key for key, _ in CUSTOM_OBJECTIVES))


@dataclass(frozen=True)
class Person:
    """Who it is in truth; `traits` say how the platforms got it wrong."""

    number: int
    first: str
    last: str
    email: str
    place: Place
    house: int
    traits: frozenset[str]

    @property
    def phone(self) -> str:
        """E.164."""
        return f"{self.place.dial}{self.number:04d}"


def make_person(dice: random.Random, number: int, traits: set[str]) -> Person:
    """A person whose e-mail is unique by its number."""
    place = dice.choice(PLACES)
    first, last = dice.choice(place.first_names), dice.choice(place.last_names)
    tag = "+shop" if "plus_address" in traits else ""
    stem = _ascii(f"{first}.{last}") or "person"
    email = f"{stem}{number}{tag}@{dice.choice(MAIL_HOSTS)}"
    return Person(number, first, last, email, place, dice.randint(1, 250), frozenset(traits))


def _ascii(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.lower().replace("ł", "l").replace("ß", "ss")).encode("ascii", "ignore")
    return re.sub(r"[^a-z.]+", "", plain.decode()).strip(".")


def _times(dice: random.Random, now: datetime) -> tuple[datetime, datetime]:
    """Created 8 to 900 days ago, changed since; both with microseconds."""
    created = now - timedelta(days=dice.uniform(8, 900))
    return created, created + (now - timedelta(days=1) - created) * dice.random()


def onvoard_side(dice: random.Random, person: Person, now: datetime) -> dict[str, Any]:
    """How OnVoard knows the person: the shop's record, with a valid country and time zone, often incomplete."""
    created, modified = _times(dice, now)
    place, traits = person.place, person.traits
    fields: dict[str, Any] = {"name": f"{person.first} {person.last}", "country": place.country}
    if "no_phone" not in traits:
        fields["phone"] = person.phone
    if dice.random() < 0.7:
        fields["street_address"] = f"{place.street} {person.house}"
        fields["city"], fields["region"], fields["postal_code"] = place.city, place.region, place.postal_code
    if dice.random() < 0.5:
        fields["timezone"] = place.timezone
    if "loyal" in traits:
        fields["custom_loyalty_points"] = dice.randint(1, 900)
    fields["tags"] = ["Premium"] if dice.random() < 0.15 else []
    fields["accepts_marketing_emails"] = dice.random() < 0.6
    fields["email_unsubscribed"] = "opted_out_onvoard" in traits
    return {
        "email": person.email,
        "fields": fields,
        "lists": dice.sample(["Newsletter", "Shop customers", "Bank customers"], dice.randint(0, 2)),
        "created": created,
        "modified": modified,
        "suppressed": "suppressed" in traits,
        "spam": "spam" in traits,
        "hard_bounced": "hard_bounced" in traits,
    }


def digital_onboarding_side(dice: random.Random, person: Person, now: datetime) -> list[dict[str, Any]]:
    """How Digital Onboarding knows the person: the bank's record, once or (a duplicate) twice."""
    inserted, updated = _times(dice, now)
    record: dict[str, Any] = {
        "fields": _bank_fields(dice, person),
        "inserted": inserted,
        "updated": updated,
        "exported": "not_exported" not in person.traits,
        "completions": _completions(dice, inserted, updated),
        "template": dice.randrange(len(TEMPLATES)) if dice.random() < 0.3 else None,
    }
    if "duplicate" not in person.traits:
        return [record]
    again = {**record, "fields": {**record["fields"], "unique_id": f"OLD-{person.number:06d}"}, "completions": {}}
    return [record, again]


def _bank_fields(dice: random.Random, person: Person) -> dict[str, Any]:
    place, traits, email = person.place, person.traits, _bank_email(dice, person)
    differs, sloppy = "differs" in traits, "sloppy" in traits
    fields: dict[str, Any] = {
        "unique_id": _unique_id(person, email),
        "email": email,
        "name_first": person.first,
        "name_last": f"{person.last} Jr" if differs and dice.random() < 0.5 else person.last,
        "phone_mobile": _phone(dice, person),
        "address": f"{place.street} {person.house + (1 if differs else 0)}",
        "city": place.city,
        "state": place.region,
        "post_code": place.postal_code,
        "country": place.sloppy_country if sloppy else place.country,
        "timezone": place.sloppy_timezone if sloppy else place.timezone,
        "unsubscribe_email": "opted_out_digital_onboarding" in traits,
        "unsubscribe_sms": "opted_out_sms" in traits,
        "meta_public": {"branch": dice.choice(BRANCHES)},
    }
    for name in dice.sample(["address", "city", "timezone", "country"], 1 if dice.random() < 0.3 else 0):
        del fields[name]
    return {name: value for name, value in fields.items() if value is not None}


def _unique_id(person: Person, bank_email: str | None) -> str:
    """A customer number, or an e-mail, which is then spelled as this platform spells it, or as the other one does."""
    if person.traits & {"other_unique_id", "duplicate", "no_email", "plus_address"} or bank_email is None:
        return f"CIF-{person.number:06d}"
    return bank_email if "other_case" in person.traits and person.number % 2 else person.email


def _bank_email(dice: random.Random, person: Person) -> str | None:
    if "no_email" in person.traits:
        return None
    if "unique_id_is_email" in person.traits:
        return f"work.{person.email}"
    if "other_case" in person.traits:
        return dice.choice((person.email.upper(), person.email.title()))
    return person.email


def _phone(dice: random.Random, person: Person) -> str | None:
    if "no_phone" in person.traits:
        return None if dice.random() < 0.5 else person.phone
    if "odd_phone" in person.traits:
        return dice.choice(ODD_PHONES).format(person.phone)
    digits = person.phone
    shapes = (
        digits,
        f"{digits[:2]} ({digits[2:5]}) {digits[5:8]}-{digits[8:]}",
        f"{digits[:3]} {digits[3:6]} {digits[6:]}",
        f"{digits[:2]}.{digits[2:5]}.{digits[5:]}",
    )
    return dice.choice(shapes)


def _completions(dice: random.Random, inserted: datetime, updated: datetime) -> dict[str, datetime]:
    if dice.random() < 0.6:
        return {}
    chosen = dice.sample(KEYS, dice.randint(1, 3))
    return {key: inserted + (updated - inserted) * dice.random() for key in chosen}
