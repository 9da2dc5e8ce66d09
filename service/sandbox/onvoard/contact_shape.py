"""How a contact looks in REST answers, with all that OnVoard derives (API document: Contact Object)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from service.sandbox.clock import iso_micro
from service.sandbox.onvoard.codes import EU
from service.sandbox.onvoard.store import Contact, Store


def sendable(contact: Contact) -> bool:
    """`email_sendable` (Contact Object, Attributes)."""
    blocked = contact.email_unsubscribed or contact.email_marked_as_spam or contact.email_hard_bounced
    return contact.suppressed_at is None and not blocked and contact.email_double_optin_status != "NOT_CONFIRMED"


def segment_ids(store: Store, contact: Contact) -> list[str]:
    """The segments that a contact is in now; none while it is suppressed."""
    if contact.suppressed_at is not None:
        return []
    return [key for key, (_, belongs) in store.segments.items() if belongs(contact)]


def split_name(name: str) -> tuple[str, str]:
    """First word and the rest."""
    first, _, last = name.partition(" ")
    return first, last


def properties(store: Store, contact: Contact) -> dict[str, Any]:
    """Stored properties and those that OnVoard derives: parts of the name, is_from_eu, age, next birthday."""
    first, last = split_name(contact.name)
    shown: dict[str, Any] = {"last_name": last, "first_name": first, **contact.properties}
    if "country" in shown:
        shown["is_from_eu"] = shown["country"] in EU
    if "dob" in shown:
        shown.update(_ages(datetime.fromtimestamp(shown["dob"], UTC), store.clock.now()))
    return shown


def _ages(born: datetime, now: datetime) -> dict[str, float]:
    had_birthday = (now.month, now.day) >= (born.month, born.day)
    year = now.year + (1 if had_birthday and (now.month, now.day) != (born.month, born.day) else 0)
    birthday = datetime(year, born.month, min(born.day, 28) if born.month == 2 else born.day, tzinfo=UTC)
    days = max(0, (birthday.date() - now.date()).days)
    return {"age": float(now.year - born.year - (0 if had_birthday else 1)), "days_until_next_birthday": float(days)}


def render(store: Store, contact: Contact) -> dict[str, Any]:
    """The Contact Object."""
    return {
        "id": contact.id,
        "name": contact.name,
        "email": contact.email,
        "phone": contact.phone,
        "accepts_marketing_emails": contact.accepts_marketing_emails,
        "suppressed": contact.suppressed_at is not None,
        "email_sendable": sendable(contact),
        "email_unsubscribed": contact.email_unsubscribed,
        "email_marked_as_spam": contact.email_marked_as_spam,
        "email_hard_bounced": contact.email_hard_bounced,
        "email_soft_bounced_count": contact.email_soft_bounced_count,
        "email_double_optin_status": contact.email_double_optin_status,
        "email_double_opted_in": contact.email_double_optin_status == "CONFIRMED",
        "created_datetime": iso_micro(contact.created),
        "modified_datetime": iso_micro(contact.modified),
        "suppressed_datetime": iso_micro(contact.suppressed_at),
        "lists": [{"id": each, "name": store.lists[each]} for each in contact.lists],
        "tags": [{"id": each, "name": store.tags[each]} for each in contact.tags],
        "segments": [{"id": each, "name": store.segments[each][0]} for each in segment_ids(store, contact)],
        "properties": properties(store, contact),
    }
