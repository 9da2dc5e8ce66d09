"""Contact activities (API document: Contact Activities)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from service.sandbox.app import Route
from service.sandbox.clock import iso_seconds
from service.sandbox.exchange import Call, Refusal, Reply
from service.sandbox.onvoard import arguments, contacts, listing
from service.sandbox.onvoard.record_data import check_data
from service.sandbox.onvoard.store import Activity, Contact, Resource, Store


def render(store: Store, each: Activity) -> dict[str, Any]:
    """The Contact Activity Object, record data augmented with the four reserved keys."""
    email = store.contacts[each.contact_id].email
    return {
        "id": each.id,
        "contact": {"id": each.contact_id, "email": email},
        "type": each.type,
        "datetime": iso_seconds(each.at),
        "record_data": {
            **each.data,
            "activity_id": each.id,
            "activity_datetime": int(each.at.timestamp()),
            "contact_id": each.contact_id,
            "contact_email": email,
        },
    }


def add(store: Store, contact: Contact, resource: Resource, at: datetime, data: Mapping[str, Any]) -> Activity:
    """Store an activity, dated in whole seconds."""
    checked = check_data(store, resource, dict(data), "record_data")
    kept = {key: value for key, value in checked.items() if value is not None}
    moment = at.astimezone(UTC).replace(microsecond=0)
    new = Activity(store.new_id("ctact_", 20), store.next_seq(), contact.id, resource.accessor, moment, kept)
    store.activities[new.id] = new
    return new


def create(store: Store, fields: Mapping[str, Any]) -> Activity:
    """By the API: custom types only; an unknown `contact_email` adds a contact, a suppressed one is refused."""
    resource = _custom_resource(store, arguments.text(fields, "type", required=True))
    now = int(store.clock.now().timestamp())
    timestamp = arguments.integer(fields, "timestamp", now)
    data = arguments.mapping(fields, "record_data")
    # Checked before the contact is looked up, so that a refused activity adds no contact.
    check_data(store, resource, data, "record_data")
    try:
        at = datetime.fromtimestamp(timestamp, UTC)
    except (OverflowError, ValueError, OSError):
        raise arguments.invalid("timestamp", "Out of range.") from None
    return add(store, _contact(store, fields), resource, at, data)


def _custom_resource(store: Store, accessor: str) -> Resource:
    resource = store.find_resource(accessor)
    if resource is None or not any(each.resource_id == resource.id for each in store.activity_types.values()):
        raise arguments.invalid("type", f"Unknown activity type {accessor!r}.")
    if resource.type != "CUSTOM":
        raise arguments.invalid("type", "Activities can only be added for custom activity types.")
    return resource


def _contact(store: Store, fields: Mapping[str, Any]) -> Contact:
    if "contact_id" not in fields:
        if "contact_email" not in fields:
            raise arguments.invalid("contact_id", "Either contact_id or contact_email must be provided.")
        return contacts.find_or_add(store, arguments.text(fields, "contact_email", required=True))
    contact = store.contacts.get(arguments.text(fields, "contact_id", required=True))
    if contact is None:
        raise arguments.invalid("contact_id", "Unknown contact.")
    if contact.suppressed_at is not None:
        raise Refusal(400, "Contact is suppressed and not tracked.")
    return contact


def _get(store: Store, call: Call) -> Activity:
    if call.parts["id"] not in store.activities:
        raise Refusal(404, "Not found.")
    return store.activities[call.parts["id"]]


def _delete(store: Store, call: Call) -> Reply:
    each = _get(store, call)
    if not each.type.startswith("custom."):
        raise Refusal(400, "Only custom activities can be deleted.")
    del store.activities[each.id]
    return Reply(200, {})


def _every(store: Store, call: Call) -> Reply:
    """List all Contact Activities: newest first by the time they occurred."""
    query = call.query
    inside = listing.within(query, store.settings, "before", "after")
    types = listing.names(query, "activity_types")
    wanted_email = query.get("contact_email", "").strip().lower()

    def fits(each: Activity) -> bool:
        return (
            inside(each.at)
            and (types is None or each.type in types)
            and listing.equal(query, id=each.id, contact_id=each.contact_id)
            and (not wanted_email or store.contacts[each.contact_id].email.lower() == wanted_email)
            and listing.contains(query, each.id, each.type, *map(str, each.data.values()))
        )

    found = sorted(filter(fits, store.activities.values()), key=lambda each: (each.at, each.seq), reverse=True)
    return listing.page(found, query, store.settings, lambda each: render(store, each))


def routes(store: Store) -> list[Route]:
    """Creation and lists at the plural path, deletion at the singular one (trap 31)."""
    path = "/v2/contact-activities"
    return [
        ("GET", path, lambda call: _every(store, call)),
        ("POST", path, lambda call: Reply(store.settings.created_status, render(store, create(store, call.fields())))),
        ("GET", path + "/{id}", lambda call: Reply(200, render(store, _get(store, call)))),
        ("DELETE", "/v2/contact-activity/{id}", lambda call: _delete(store, call)),
    ]
