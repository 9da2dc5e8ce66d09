"""HTTP calls on webhooks (API document: Webhooks). The secret is taken and never shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.sandbox.app import Route
from service.sandbox.exchange import Call, Refusal, Reply
from service.sandbox.onvoard import arguments, listing
from service.sandbox.onvoard.events import EVENT_TYPES
from service.sandbox.onvoard.store import Store, Webhook

PATH = "/v2/webhooks"


def _render(hook: Webhook) -> dict[str, Any]:
    return {"id": hook.id, "active": hook.active, "url": hook.url, "event_types": hook.event_types}


def _url(fields: Mapping[str, Any]) -> str:
    url = arguments.text(fields, "url", required=True)
    if not url.startswith(("http://", "https://")):
        raise arguments.invalid("url", "Enter a valid URL.")
    return url


def _event_types(fields: Mapping[str, Any]) -> list[str]:
    found = arguments.texts(fields, "event_types")
    unknown = [each for each in found if each not in EVENT_TYPES]
    if not found or unknown:
        raise arguments.invalid("event_types", f"Unknown or no event types: {', '.join(unknown)}.")
    return found


def _get(store: Store, call: Call) -> Webhook:
    if call.parts["id"] not in store.webhooks:
        raise Refusal(404, "Not found.")
    return store.webhooks[call.parts["id"]]


def routes(store: Store) -> list[Route]:
    """All calls under `/v2/webhooks`."""

    def create(call: Call) -> Reply:
        fields = call.fields()
        url, types = _url(fields), _event_types(fields)
        active, secret = arguments.flag(fields, "active", True), arguments.text(fields, "secret")
        new = Webhook(store.new_id("wh_"), store.next_seq(), url, types, active, secret)
        store.webhooks[new.id] = new
        return Reply(store.settings.created_status, _render(new))

    def patch(call: Call) -> Reply:
        """Switching a webhook on again forgets its failures."""
        hook, fields = _get(store, call), call.fields()
        url = _url(fields) if "url" in fields else hook.url
        types = _event_types(fields) if "event_types" in fields else hook.event_types
        active = arguments.flag(fields, "active", hook.active)
        hook.secret = arguments.text(fields, "secret", hook.secret)
        hook.failures = 0 if active and not hook.active else hook.failures
        hook.url, hook.event_types, hook.active = url, types, active
        return Reply(200, _render(hook))

    def delete(call: Call) -> Reply:
        del store.webhooks[_get(store, call).id]
        return Reply(200, {})

    def every(call: Call) -> Reply:
        active = listing.boolean(call.query, "active")
        types = listing.names(call.query, "event_types")

        def fits(hook: Webhook) -> bool:
            return (
                listing.equal(call.query, id=hook.id)
                and (active is None or hook.active == active)
                and (types is None or bool(types & set(hook.event_types)))
                and listing.contains(call.query, hook.url)
            )

        found = sorted(filter(fits, store.webhooks.values()), key=lambda each: each.seq, reverse=True)
        return listing.page(found, call.query, store.settings, _render)

    return [
        ("GET", PATH, every),
        ("POST", PATH, create),
        ("GET", PATH + "/{id}", lambda call: Reply(200, _render(_get(store, call)))),
        ("PATCH", PATH + "/{id}", patch),
        ("DELETE", PATH + "/{id}", delete),
    ]
