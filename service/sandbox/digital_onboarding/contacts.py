"""Upserts of contacts (API document: Contacts, Unique IDs, Create or Update, Objective Completion)."""

from __future__ import annotations

import uuid
from copy import deepcopy
from datetime import datetime
from typing import Any

from service.sandbox.clock import iso_micro, parse_iso
from service.sandbox.digital_onboarding import events
from service.sandbox.digital_onboarding.store import (
    FIELDS,
    FLAG_FIELDS,
    SYSTEM_FIELDS,
    TEXT_FIELDS,
    Contact,
    Journey,
    Store,
)
from service.sandbox.digital_onboarding.validation import template_id

DONE_WORDS = frozenset({"true", "t", "1", "y", "yes", "complete", "completed", "done"})
WRITABLE = (*TEXT_FIELDS, *FLAG_FIELDS, "meta_public")


def render(store: Store, contact: Contact) -> dict[str, Any]:
    """The contact shape of answers: every documented field, null where unset, and the three system fields."""
    shown: dict[str, Any] = {"unique_id": contact.unique_id}
    shown.update({name: contact.fields.get(name) for name in TEXT_FIELDS})
    shown.update({name: contact.fields.get(name, store.settings.unset_flag) for name in FLAG_FIELDS})
    shown["meta_public"] = deepcopy(contact.fields.get("meta_public", {}))
    if store.settings.echo_journey:
        started = [each for each in store.journeys.values() if each.contact_id == contact.id]
        shown["journey"] = {"template_id": started[-1].template_id} if started else None
    if store.settings.echo_objectives:
        shown |= {key: iso_micro(at) for (owner, key), at in store.completions.items() if owner == contact.id}
    shown["id"] = contact.id
    shown["inserted_at"] = iso_micro(contact.inserted_at)
    shown["updated_at"] = iso_micro(contact.updated_at)
    return shown


def upsert(store: Store, sent: dict[str, Any]) -> tuple[Contact, bool]:
    """Create or update by `unique_id`, which defaults to the e-mail, else to a new UUID. Says whether it was created.

    `sent` has passed `check_contact`.
    """
    unique_id = sent.get("unique_id") or sent.get("email") or str(uuid.UUID(store.new_id()))
    contact = store.find(unique_id)
    is_new = contact is None
    now = store.clock.now()
    if contact is None:
        contact = insert(store, unique_id, now)
    before = deepcopy(contact.fields)
    _write_fields(store, contact, sent)
    news = _complete(store, contact, sent, now)
    news = _start_journey(store, contact, template_id(store.settings, sent)) or news
    changed = news or contact.fields != before
    if not is_new and (changed or store.settings.touch_on_probe):
        contact.updated_at = now
    if is_new or changed:
        events.contact(store, contact, "contact.created" if is_new else "contact.updated")
    return contact, is_new


def insert(store: Store, unique_id: str, now: datetime, contact_id: str | None = None) -> Contact:
    """An empty new contact, with the id that an export names for it or a new one."""
    contact = Contact(contact_id or store.new_id(), unique_id, now, now)
    store.contacts[contact.id] = contact
    store.id_by_unique_id[unique_id] = contact.id
    return contact


def _write_fields(store: Store, contact: Contact, sent: dict[str, Any]) -> None:
    settings = store.settings
    for name in WRITABLE:
        if name not in sent:
            if settings.omitted == "clear":
                contact.fields.pop(name, None)
            continue
        value = sent[name]
        if value is None or value == "":
            if (settings.on_null if value is None else settings.on_empty) == "clear":
                contact.fields.pop(name, None)
        elif name == "meta_public" and settings.meta_public == "merge":
            contact.fields[name] = {**contact.fields.get(name, {}), **deepcopy(value)}
        else:
            contact.fields[name] = deepcopy(value)


def completion_time(value: Any, now: datetime) -> datetime | None:
    """When an objective was completed by this value: an ISO time, or a word for "done" (now); None for neither."""
    if str(value).strip().lower() in DONE_WORDS:
        return now
    try:
        return parse_iso(value)
    except (TypeError, ValueError):
        return None


def _complete(store: Store, contact: Contact, sent: dict[str, Any], now: datetime) -> bool:
    """Take objective keys as completions, the first one standing; note every other unknown key as ignored."""
    news = False
    for key, value in sent.items():
        if key in FIELDS or key in ("journey", "journey.template_id"):
            continue
        at = completion_time(value, now) if key in store.objectives else None
        if at is None or key in SYSTEM_FIELDS:
            store.ignored_keys.append((contact.unique_id, key, value))
        elif (contact.id, key) not in store.completions:
            store.completions[contact.id, key] = at
            news = True
    return news


def _start_journey(store: Store, contact: Contact, template: str | None) -> bool:
    """ "Create or update a journey": one journey for each contact and template by this way."""
    if template is None:
        return False
    if any(each.contact_id == contact.id and each.template_id == template for each in store.journeys.values()):
        return False
    add_journey(store, contact, template)
    return True


def add_journey(
    store: Store, contact: Contact, template: str, name: str | None = None, owner_id: str | None = None
) -> Journey:
    """Start a journey, whether or not there is one already."""
    new_id = store.new_id()
    title = name or store.templates[template]
    journey = Journey(new_id, f"j-{new_id[:8]}", contact.id, template, title, owner_id, store.clock.now())
    store.journeys[new_id] = journey
    return journey
