"""Contacts: uniqueness, writing, suppression, deletion (API document: Contacts)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple
from datetime import datetime
from typing import Any

from service.sandbox.exchange import Refusal
from service.sandbox.onvoard import arguments, events
from service.sandbox.onvoard.predefined import READONLY_PROPERTIES
from service.sandbox.onvoard.store import Contact, Store
from service.sandbox.onvoard.values import EMAIL, check_value, format_phone

OPTIN = ("NOT_SET", "NOT_CONFIRMED", "CONFIRMED")
DEFAULTS = {"accepts_marketing_emails": False, "email_unsubscribed": False, "email_double_optin_status": "NOT_SET"}
Fields = Mapping[str, Any]


def get(store: Store, contact_id: str) -> Contact:
    """The contact with this id, or 404."""
    if contact_id not in store.contacts:
        raise Refusal(404, "Not found.")
    return store.contacts[contact_id]


def create(store: Store, fields: Fields, at: datetime | None = None) -> Contact:
    """A new contact; 400 where the e-mail is missing, malformed or taken (whatever its case)."""
    email = _email(fields)
    if store.find_contact(email):
        raise arguments.invalid("email", "Contact with this email already exists.")
    changes = _checked(store, fields)
    now = at or store.clock.now()
    contact = Contact(store.new_id("ct_"), store.next_seq(), email, now, now)
    store.contacts[contact.id] = contact
    store.contact_by_email[email.lower()] = contact.id
    _apply(store, contact, changes, fields)
    events.contact(store, contact, "contact.created")
    events.contact(store, contact, "contact.saved")
    return contact


def patch(store: Store, contact: Contact, fields: Fields) -> Contact:
    """Change what is named; 400 for a suppressed contact and for another contact's e-mail."""
    if contact.suppressed_at is not None:
        raise Refusal(400, "Suppressed contact can't be patched. Unsuppress it first.")
    before = astuple(contact)
    if store.settings.defaults_on_update:
        fields = {**DEFAULTS, **fields}
    email = _email(fields) if "email" in fields else contact.email
    owner = store.find_contact(email)
    if owner is not None and owner is not contact:
        raise arguments.invalid("email", "Contact with this email already exists.")
    changes = _checked(store, fields)
    store.contact_by_email.pop(contact.email.lower(), None)
    store.contact_by_email[email.lower()] = contact.id
    contact.email = email
    _apply(store, contact, changes, fields)
    if astuple(contact) != before:
        touch(store, contact)
    return contact


def touch(store: Store, contact: Contact) -> None:
    """Move the modified time and tell the webhooks."""
    contact.modified = store.clock.now()
    events.contact(store, contact, "contact.saved")


def create_or_update(store: Store, fields: Fields) -> tuple[Contact, bool]:
    """By e-mail (Create or Update Contact); says whether it was created. The stored spelling of the e-mail stays."""
    known = store.find_contact(_email(fields))
    if known is None:
        return create(store, fields), True
    return patch(store, known, {k: v for k, v in fields.items() if k != "email"}), False


def find_or_add(store: Store, email: str) -> Contact:
    """The contact with this e-mail, silently added where unknown; 400 where it is suppressed (activities, reviews)."""
    contact = store.find_contact(email) or create(store, {"email": email})
    if contact.suppressed_at is not None:
        raise Refusal(400, "Contact is suppressed and not tracked.")
    return contact


def suppress(store: Store, contact: Contact) -> Contact:
    """Forget the person (Suppress Contact): out of lists, tags and segments; erased, unless set to keep. Idempotent."""
    if contact.suppressed_at is not None:
        return contact
    contact.suppressed_at = contact.modified = store.clock.now()
    contact.lists, contact.tags = [], []
    if store.settings.suppressed_data == "erase":
        contact.name = contact.phone = ""
        contact.properties = {}
        purge(store, contact)
    if store.settings.saved_event_on_suppress:
        events.contact(store, contact, "contact.saved")
    return contact


def unsuppress(store: Store, contact: Contact) -> Contact:
    """Let the contact be written again; what was erased stays erased. Idempotent."""
    if contact.suppressed_at is not None:
        contact.suppressed_at = None
        touch(store, contact)
    return contact


def delete(store: Store, contact: Contact) -> None:
    """Remove a contact with its activities and reviews; 400 where it is suppressed."""
    if contact.suppressed_at is not None:
        raise Refusal(400, "Suppressed contact can't be deleted. Unsuppress it first.")
    purge(store, contact)
    del store.contacts[contact.id]
    store.contact_by_email.pop(contact.email.lower(), None)


def purge(store: Store, contact: Contact) -> None:
    """Erase a contact's activities and reviews."""
    for activity in [each for each in store.activities.values() if each.contact_id == contact.id]:
        del store.activities[activity.id]
    for review in [each for each in store.reviews.values() if each.contact_id == contact.id]:
        del store.reviews[review.id]


def _email(fields: Fields) -> str:
    email = arguments.text(fields, "email", required=True).strip()
    if not EMAIL.fullmatch(email):
        raise arguments.invalid("email", "Enter a valid email address.")
    return email


def _lists(store: Store, fields: Fields, name: str) -> list[str]:
    ids = arguments.texts(fields, name)
    unknown = [each for each in ids if each not in store.lists]
    if unknown:
        raise arguments.invalid(name, f"Unknown list: {', '.join(unknown)}.")
    return list(dict.fromkeys(ids))


def _properties(store: Store, fields: Fields, name: str) -> dict[str, Any]:
    types = {each.key: each for each in store.contact_property_types.values()}
    checked: dict[str, Any] = {}
    for key, value in arguments.mapping(fields, name).items():
        if key not in types:
            raise arguments.invalid(name, f"Unknown property {key!r}.")
        if key in READONLY_PROPERTIES:
            if store.settings.readonly_properties == "reject":
                raise arguments.invalid(name, f"Property {key!r} can't be modified.")
            continue
        proptype = types[key]
        checked[key] = None if value is None else check_value(key, value, proptype.value_type, proptype.field_type)
    return checked


_CHECKS: dict[str, Callable[[Store, Fields, str], Any]] = {
    "name": lambda _, fields, name: " ".join(arguments.text(fields, name).split()),
    "phone": lambda store, fields, name: _phone(store, arguments.text(fields, name)),
    "accepts_marketing_emails": lambda _, fields, name: arguments.flag(fields, name),
    "email_unsubscribed": lambda _, fields, name: arguments.flag(fields, name),
    "email_double_optin_status": lambda _, fields, name: arguments.enum(fields, name, OPTIN),
    "send_email_optin_confirmation": lambda _, fields, name: arguments.flag(fields, name),
    "lists": _lists,
    "tags": lambda _, fields, name: arguments.texts(fields, name),
    "properties": _properties,
}


def _phone(store: Store, text: str) -> str:
    formatted = format_phone(text) if store.settings.reformat_phone else None
    return formatted or text


def _checked(store: Store, fields: Fields) -> dict[str, Any]:
    """All named fields as they will be stored; nothing is written before everything has passed."""
    return {name: check(store, fields, name) for name, check in _CHECKS.items() if name in fields}


def _apply(store: Store, contact: Contact, changes: dict[str, Any], fields: Fields) -> None:
    settings = store.settings
    for name, value in changes.items():
        if name == "lists":
            kept = contact.lists if settings.lists_write == "append" else []
            contact.lists = list(dict.fromkeys([*kept, *value]))
        elif name == "tags":
            kept = contact.tags if settings.tags_write == "append" else []
            contact.tags = list(dict.fromkeys([*kept, *(tag_id(store, each) for each in value)]))
        elif name == "properties":
            merged = {**contact.properties, **value}
            contact.properties = {key: each for key, each in merged.items() if each is not None}
        elif name != "send_email_optin_confirmation":
            setattr(contact, name, value)
    if changes.get("send_email_optin_confirmation") and contact.email_double_optin_status != "CONFIRMED":
        contact.email_double_optin_status = "NOT_CONFIRMED"
        store.optin_mails.append(contact.email)


def tag_id(store: Store, name: str) -> str:
    """The id of a tag, silently created where the name is new."""
    for known, label in store.tags.items():
        if label == name:
            return known
    new = store.new_id("cttag_")
    store.tags[new] = name
    return new
