"""HTTP calls on contacts (API document: Contacts)."""

from __future__ import annotations

from service.sandbox.app import Route
from service.sandbox.exchange import Call, Handler, Reply
from service.sandbox.onvoard import contact_shape, contacts, listing
from service.sandbox.onvoard.store import Contact, Store


def routes(store: Store) -> list[Route]:
    """All calls under `/v2/contacts`."""

    def create(call: Call) -> Reply:
        return _shown(store, contacts.create(store, call.fields()), store.settings.created_status)

    def create_or_update(call: Call) -> Reply:
        contact, is_new = contacts.create_or_update(store, call.fields())
        return _shown(store, contact, store.settings.created_status if is_new else 200)

    def retrieve(call: Call) -> Reply:
        return _shown(store, contacts.get(store, call.parts["id"]))

    def patch(call: Call) -> Reply:
        return _shown(store, contacts.patch(store, contacts.get(store, call.parts["id"]), call.fields()))

    def delete(call: Call) -> Reply:
        contacts.delete(store, contacts.get(store, call.parts["id"]))
        return Reply(200, {})

    def suppress(call: Call) -> Reply:
        return _shown(store, contacts.suppress(store, contacts.get(store, call.parts["id"])))

    def unsuppress(call: Call) -> Reply:
        return _shown(store, contacts.unsuppress(store, contacts.get(store, call.parts["id"])))

    return [
        ("GET", "/v2/contacts", _list(store)),
        ("POST", "/v2/contacts", create),
        ("POST", "/v2/contacts/create-or-update", create_or_update),
        ("GET", "/v2/contacts/{id}", retrieve),
        ("PATCH", "/v2/contacts/{id}", patch),
        ("DELETE", "/v2/contacts/{id}", delete),
        ("POST", "/v2/contacts/{id}/suppress", suppress),
        ("POST", "/v2/contacts/{id}/unsuppress", unsuppress),
    ]


def _shown(store: Store, contact: Contact, status: int = 200) -> Reply:
    return Reply(status, contact_shape.render(store, contact))


def _list(store: Store) -> Handler:
    """List all Contacts: newest first, suppressed ones included."""

    def handler(call: Call) -> Reply:
        query = call.query
        inside = listing.within(query, store.settings, "created_before", "created_after")
        flags = {name: listing.boolean(query, name) for name in _FLAGS}
        wanted = {name: value for name, value in flags.items() if value is not None}
        groups = {name: listing.names(query, name) for name in ("list_ids", "tag_ids", "segment_ids")}

        def fits(each: Contact) -> bool:
            return (
                inside(each.created)
                and listing.equal(query, id=each.id)
                and ("email" not in query or query["email"].strip().lower() == each.email.lower())
                and listing.contains(query, each.id, each.email, each.name, each.phone)
                and all(_flag(each, name) == value for name, value in wanted.items())
                and all(ids is None or ids & _members(store, each, name) for name, ids in groups.items())
            )

        found = sorted(filter(fits, store.contacts.values()), key=lambda c: (c.created, c.seq), reverse=True)
        return listing.page(found, query, store.settings, lambda c: contact_shape.render(store, c))

    return handler


_FLAGS = (
    "accepts_marketing_emails",
    "suppressed",
    "email_sendable",
    "email_unsubscribed",
    "email_marked_as_spam",
    "email_hard_bounced",
)


def _flag(contact: Contact, name: str) -> bool:
    if name == "suppressed":
        return contact.suppressed_at is not None
    return contact_shape.sendable(contact) if name == "email_sendable" else bool(getattr(contact, name))


def _members(store: Store, contact: Contact, name: str) -> set[str]:
    if name == "segment_ids":
        return set(contact_shape.segment_ids(store, contact))
    return set(contact.lists if name == "list_ids" else contact.tags)
