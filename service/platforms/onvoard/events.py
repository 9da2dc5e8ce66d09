"""OnVoard's webhook events ("Webhook Payloads"); pure.

Their shapes differ from what the API answers (traps 39) and their order cannot be trusted (traps 40): an event only
says what is worth reading again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from service.platforms.onvoard.enums import WebhookEventType as Type
from service.platforms.payload import identity

LONGEST_ID = 200
"""Characters. What is longer identifies nothing, and no index takes it."""

# Where an event of a type carries its data; `back_in_stock_subscriber` does so under another name than its own.
_DATA: dict[str, str] = {
    Type.CONTACT_CREATED: "contact",
    Type.CONTACT_SAVED: "contact",
    Type.REVIEW_CREATED: "review",
    Type.BACK_IN_STOCK_SUBSCRIBER_SAVED: "back_in_stock_subscribed",
    Type.BACK_IN_STOCK_NOTIFICATION_CREATED: "back_in_stock_notification",
    Type.PROMPT_RESPONSE_CREATED: "prompt_response",
    Type.PROMPT_RESPONSE_SAVED: "prompt_response",
}


@dataclass(frozen=True, slots=True)
class Event:
    """What an event is about, as far as it says. `fault`: why nothing can be done about it, "" where something can."""

    id: str | None
    type: str
    contact_id: str | None = None
    review_id: str | None = None
    email: str | None = None
    fault: str = ""


def read(payload: dict[str, Any]) -> Event:
    """Never fails."""
    event_id, type_ = _id(payload), identity(payload, "type") or ""
    kind = _DATA.get(type_)
    if kind is None:
        return Event(event_id, type_, fault="OnVoard documents no such type of event")
    about = _object(_object(payload, "data"), kind)
    contact_id, review_id = _id(about, "contact_id"), None
    email = _text(about, "contact_email") or _text(_object(about, "data"), "email")
    if kind == "contact":
        contact_id, email = _id(about), _text(about, "email")
    elif kind == "review":
        review_id, email = _id(about), _text(_object(about, "reviewer"), "email")
    nameless = kind in ("contact", "review") and not (contact_id or review_id)
    fault = "it has no id" if event_id is None else f"it names no {kind}" if nameless else ""
    return Event(event_id, type_, contact_id, review_id, email, fault)


def _id(holder: dict[str, Any], key: str = "id") -> str | None:
    found = identity(holder, key)
    return found if found and len(found) <= LONGEST_ID else None


def _object(holder: dict[str, Any], key: str) -> dict[str, Any]:
    value = holder.get(key)
    return value if isinstance(value, dict) else {}


def _text(holder: dict[str, Any], key: str) -> str | None:
    value = holder.get(key)
    return value if isinstance(value, str) and value else None
