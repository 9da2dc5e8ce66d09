"""Digital Onboarding's webhook events (beyond the document): thin ones, that name a contact and none of its data;
pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from service.platforms.payload import identity

LONGEST_ID = 200
"""Characters. What is longer identifies nothing, and no index takes it."""

# A contact that was deleted there is none of them: asking about it would make it anew.
TYPES = ("contact.created", "contact.updated")


@dataclass(frozen=True, slots=True)
class Event:
    """`contact_id` is the system `id`, not the `unique_id`. `fault`: why nothing can be done about it, or ""."""

    type: str
    contact_id: str | None
    fault: str = ""


def read(payload: dict[str, Any]) -> Event:
    """Never fails."""
    type_, contact_id = identity(payload, "type") or "", identity(payload, "contact_id")
    contact_id = contact_id if contact_id and len(contact_id) <= LONGEST_ID else None
    if type_ not in TYPES:
        return Event(type_, contact_id, "an unknown type of event")
    return Event(type_, contact_id, "" if contact_id else "it names no contact")


def event_id(body: bytes, signature: str) -> str:
    """An event has no id of its own: the same body with the same `t` in its `x-signature` is the same event."""
    made_at = next((part.strip() for part in signature.split(",") if part.strip().startswith("t=")), "")
    return "do_" + hashlib.sha256(made_at.encode() + b"." + body).hexdigest()
