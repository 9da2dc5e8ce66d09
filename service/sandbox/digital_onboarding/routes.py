"""HTTP calls of Digital Onboarding: contacts, journeys, templates, objectives."""

from __future__ import annotations

from typing import Any

from service.sandbox.app import TOKEN_PATH, Route
from service.sandbox.digital_onboarding import contacts, tokens
from service.sandbox.digital_onboarding.store import Contact, Store
from service.sandbox.digital_onboarding.validation import check_contact, unprocessable
from service.sandbox.exchange import Call, Handler, Refusal, Reply


def routes(store: Store, client_id: str, client_secret: str, public_url: str) -> list[Route]:
    """All calls, documented and observed."""
    return [
        ("POST", TOKEN_PATH, tokens.grant(store, client_id, client_secret)),
        ("POST", "/v1/contacts", lambda call: _post_contacts(store, call)),
        ("GET", "/v1/contacts", lambda call: _list_contacts(store, call)),
        ("GET", "/v1/contacts/{id}", lambda call: _get_contact(store, call)),
        ("POST", "/v1/templates/{template_id}/journeys", _post_journey(store, public_url)),
        ("GET", "/v1/templates", lambda call: _templates(store)),
        ("GET", "/v1/objectives", lambda call: _objectives(store)),
    ]


def _post_contacts(store: Store, call: Call) -> Reply:
    """One contact or, where the body has `contacts`, a batch: all of it, or nothing where one member is bad."""
    body = call.fields()
    if "contacts" not in body:
        contact, _ = contacts.upsert(store, check_contact(store, body))
        return Reply(200, contacts.render(store, contact))
    members = body["contacts"]
    if not isinstance(members, list):
        raise unprocessable({"contacts": ["must be an array"]})
    if len(members) > store.settings.max_batch:
        raise Refusal(413, "too large", {"error": "payload_too_large"})
    for member in members:
        check_contact(store, member)
    return Reply(200, _batch(store, members))


def _batch(store: Store, members: list[dict[str, Any]]) -> dict[str, Any]:
    outcomes: dict[str, tuple[Contact, bool]] = {}
    for member in members:
        contact, is_new = contacts.upsert(store, member)
        outcomes.setdefault(contact.id, (contact, is_new))
    ordered = list(outcomes.values())
    if store.settings.answer_order == "reversed":
        ordered.reverse()
    return {
        "new_contacts": [contacts.render(store, contact) for contact, is_new in ordered if is_new],
        "existing_contacts": [contacts.render(store, contact) for contact, is_new in ordered if not is_new],
    }


def _post_journey(store: Store, public_url: str) -> Handler:
    """Create a Journey from a Template: upserts the contact, then always starts a new journey."""

    def handler(call: Call) -> Reply:
        template = call.parts["template_id"]
        if template not in store.templates:
            raise Refusal(404, "not found", {"error": "not_found"})
        body = call.fields()
        if "contact" not in body:
            raise unprocessable({"contact": ["can't be blank"]})
        name, owner = body.get("name"), body.get("owner_id")
        if not isinstance(name, str | None) or not isinstance(owner, str | None):
            raise unprocessable({"name": ["must be a string"]})
        contact, _ = contacts.upsert(store, check_contact(store, body["contact"]))
        journey = contacts.add_journey(store, contact, template, name, owner)
        url = f"{public_url}/j/{journey.slug}"
        return Reply(201, {"id": journey.id, "slug": journey.slug, "web_client_url": url})

    return handler


def _templates(store: Store) -> Reply:
    return Reply(200, {"templates": [{"id": key, "name": name} for key, name in store.templates.items()]})


def _objectives(store: Store) -> Reply:
    shown = [{"key": o.key, "name": o.name, "id": o.id, "team_id": o.team_id} for o in store.objectives.values()]
    return Reply(200, {"objectives": shown})


def _require_listing(store: Store) -> None:
    if not store.settings.listing:
        raise Refusal(403, "forbidden", {"error": "forbidden"})


def _get_contact(store: Store, call: Call) -> Reply:
    """Undocumented; behind the setting `listing`."""
    _require_listing(store)
    contact = store.contacts.get(call.parts["id"])
    if contact is None:
        raise Refusal(404, "not found", {"error": "not_found"})
    return Reply(200, contacts.render(store, contact))


def _list_contacts(store: Store, call: Call) -> Reply:
    """Undocumented: a bare JSON array by limit (default 50) and offset, sortable, searchable; see `listing`."""
    _require_listing(store)
    query = call.query
    try:
        limit, offset = int(query.get("limit", 50)), int(query.get("offset", 0))
    except ValueError:
        raise unprocessable({"limit": ["is invalid"]}) from None
    needle = query.get("search", "").lower()
    shown = [contacts.render(store, each) for each in store.contacts.values()]
    found = [each for each in shown if not needle or needle in " ".join(map(str, each.values())).lower()]
    column = query.get("sort_column", "inserted_at")
    found.sort(key=lambda each: str(each.get(column) or ""), reverse=query.get("sort_direction", "asc") == "desc")
    return Reply(200, found[max(0, offset) : max(0, offset) + max(0, limit)])
