"""All of OnVoard's HTTP calls in one list, and who may make them."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from service.sandbox.app import Route
from service.sandbox.exchange import Call, Refusal
from service.sandbox.onvoard import (
    activities,
    activity_type_routes,
    contact_routes,
    property_type_routes,
    record_routes,
    resource_routes,
    reviews,
    summaries,
    webhook_routes,
)
from service.sandbox.onvoard.store import Store


def routes(store: Store) -> list[Route]:
    """The 47 documented operations."""
    return [
        *contact_routes.routes(store),
        *property_type_routes.routes(store),
        *activities.routes(store),
        *resource_routes.routes(store),
        *activity_type_routes.routes(store),
        *record_routes.routes(store),
        *reviews.routes(store),
        *summaries.routes(store),
        *webhook_routes.routes(store),
    ]


def guard(api_key: str) -> Callable[[Call], None]:
    """`X-API-Key` or 401 (API document: Introduction)."""

    def check(call: Call) -> None:
        if not hmac.compare_digest(call.headers.get("x-api-key", "").encode(), api_key.encode()):
            raise Refusal(401, "Invalid API key.")

    return check
