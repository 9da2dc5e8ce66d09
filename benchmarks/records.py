"""What the records of the benchmark's platforms look like: the same every time, newest first."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

SEED = 20260101
NEWEST = datetime(2026, 1, 1, tzinfo=UTC)
SPAN = timedelta(days=3 * 365)
BURST_EVERY, BURST = 20_000, 250
"""So many records share one second every so often, as after an import: more than two pages of them."""

_FIRST = ("Jane", "Jürgen", "Małgorzata", "さくら", "João", "Siobhán", "Marcus", "Élodie", "O'Neill", "Priya")
_LAST = ("Doe", "Weiß", "Brzęczyszczykiewicz", "渡辺", "dos Santos", "Ní Bhriain", "van Buren", "Lefèvre", "Smith")
_CITIES = ("New York", "San José", "Kraków", "渋谷区", "Baile Átha Cliath", "São Paulo", "Berlin", "Springfield")
_LISTS = [{"id": f"ctlist_{n}", "name": name} for n, name in enumerate(("Newsletter", "Members", "Branch 7"))]
_TAGS = [{"id": f"cttag_{n}", "name": name} for n, name in enumerate(("vip", "mortgage", "student", "card"))]
_SEGMENTS = [{"id": f"ctseg_{n}", "name": name} for n, name in enumerate(("Active", "Not from EU"))]
_TYPES = ("email_opened", "email_link_clicked", "email_received", "order_created", "custom.branch_visited")

Dated = Iterator[tuple[datetime, dict[str, Any]]]


def contacts(count: int) -> Dated:
    return _records(count, "contacts", contact)


def reviews(count: int, people: int) -> Dated:
    """By some of `people` contacts."""
    return _records(count, "reviews", lambda n, at, dice: _review(n, at, dice, people))


def activities(count: int, people: int) -> Dated:
    """Of `people` contacts."""
    return _records(count, "activities", lambda n, at, dice: _activity(n, at, dice, people))


def contact_id(number: int) -> str:
    return f"ct_{number:015d}"


def email(number: int) -> str:
    return f"Person.{number}@example.com"


def phone(number: int) -> str:
    return f"+1212555{number % 10_000:04d}"


def iso(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _records(count: int, name: str, make: Callable[[int, datetime, random.Random], dict[str, Any]]) -> Dated:
    dice = random.Random(f"{SEED} {name}")
    for number, at in enumerate(_times(count, dice)):
        yield at, make(number, at, dice)


def _times(count: int, dice: random.Random) -> Iterator[datetime]:
    """Newest first, about evenly over the span, with its bursts."""
    at = NEWEST
    for number in range(count):
        share = (number + dice.random()) / count
        if number % BURST_EVERY >= BURST:
            at = NEWEST - SPAN * share
        elif number % BURST_EVERY == 0:
            at = (NEWEST - SPAN * share).replace(microsecond=999_999)
        else:
            at = at.replace(microsecond=at.microsecond - 1)
        yield at


def contact(number: int, at: datetime, dice: random.Random) -> dict[str, Any]:
    first, last = dice.choice(_FIRST), dice.choice(_LAST)
    out = dice.random() < 0.1
    return {
        "id": contact_id(number),
        "name": f"{first} {last}",
        "email": email(number),
        "phone": phone(number),
        "accepts_marketing_emails": not out,
        "suppressed": False,
        "email_sendable": not out,
        "email_unsubscribed": out,
        "email_marked_as_spam": False,
        "email_hard_bounced": False,
        "email_double_optin_status": "NOT_SET",
        "email_double_opted_in": False,
        "created_datetime": iso(at),
        "modified_datetime": iso(at + timedelta(milliseconds=7)),
        "suppressed_datetime": None,
        "lists": dice.sample(_LISTS, dice.randrange(3)),
        "tags": dice.sample(_TAGS, dice.randrange(3)),
        "segments": dice.sample(_SEGMENTS, dice.randrange(3)),
        "properties": {
            "first_name": first,
            "last_name": last,
            "city": dice.choice(_CITIES),
            "country_code": "US",
            "timezone": "America/New_York",
            "total_spent": round(dice.random() * 10_000, 2),
            "custom_branch": f"branch-{dice.randrange(40)}",
            "custom_member_since": int(at.timestamp()),
        },
    }


def _review(number: int, at: datetime, dice: random.Random, people: int) -> dict[str, Any]:
    person, product = dice.randrange(max(1, people)), dice.randrange(200)
    return {
        "id": f"rvw_{number:015d}",
        "title": "Love this product",
        "content": f"Would definitely open {dice.randrange(9) + 1} of these again. " * (1 + dice.randrange(3)),
        "rating": float(1 + dice.randrange(5)),
        "entity": "PRODUCT",
        "status": "PUBLISHED",
        "is_verified": dice.random() < 0.5,
        "product": {
            "id": f"prd_{product:015d}",
            "external_id": str(6304964542639 + product),
            "name": f"Savings plan {product}",
            "url": f"https://shop.example.com/products/{product}",
            "image_url": f"https://cdn.example.com/files/{product}.jpg",
        },
        "reviewer": {
            "id": f"rvwer_{person:015d}",
            "contact": {"id": contact_id(person), "email": email(person)},
            "display_name": f"{dice.choice(_FIRST)} {dice.choice(_LAST)}",
        },
        "num_upvotes": dice.randrange(20),
        "created_datetime": iso(at),
        "reply_datetime": None,
        "reply_html": "",
        "assets": [],
    }


def _activity(number: int, at: datetime, dice: random.Random, people: int) -> dict[str, Any]:
    person = dice.randrange(max(1, people))
    return {
        "id": f"ctact_{number:020d}",
        "contact": {"id": contact_id(person), "email": email(person)},
        "type": dice.choice(_TYPES),
        "datetime": iso(at),
        "record_data": {
            "activity_id": f"ctact_{number:020d}",
            "activity_datetime": int(at.timestamp()),
            "contact_id": contact_id(person),
            "contact_email": email(person),
            "email_id": f"em_{dice.randrange(300):015d}",
            "email_name": f"still-mouse-{dice.randrange(10_000)}",
        },
    }
