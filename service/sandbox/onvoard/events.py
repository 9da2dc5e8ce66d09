"""Webhook events: shapes that differ from REST (trap 39), signature and delivery (API document: Webhooks)."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from service.sandbox.clock import iso_micro
from service.sandbox.onvoard.contact_shape import sendable, split_name
from service.sandbox.onvoard.store import Contact, Review, Store, Webhook

EVENT_TYPES = (
    "contact.created",
    "contact.saved",
    "review.created",
    "back_in_stock_subscriber.saved",
    "back_in_stock_notification.created",
    "prompt_response.created",
    "prompt_response.saved",
)
FAILURES_ALLOWED = 20


def contact(store: Store, changed: Contact, event_type: str) -> None:
    """Fire `contact.created` or `contact.saved`: flat names, tags as strings, epoch integers."""
    first, last = split_name(changed.name)
    payload = {
        "id": changed.id,
        "name": changed.name,
        "tags": [store.tags[each] for each in changed.tags],
        "email": changed.email,
        "phone": changed.phone,
        "last_name": last,
        "first_name": first,
        "suppressed": changed.suppressed_at is not None,
        "email_sendable": sendable(changed),
        "created_datetime": _epoch(changed.created),
        "email_hard_bounced": changed.email_hard_bounced,
        "email_unsubscribed": changed.email_unsubscribed,
        "suppressed_datetime": _epoch(changed.suppressed_at),
        "email_marked_as_spam": changed.email_marked_as_spam,
        "email_double_opted_in": changed.email_double_optin_status == "CONFIRMED",
        "accepts_marketing_emails": changed.accepts_marketing_emails,
        "email_soft_bounced_count": changed.email_soft_bounced_count,
        "email_double_optin_status": changed.email_double_optin_status,
    }
    fire(store, event_type, {"contact": payload})


def review(store: Store, created: Review) -> None:
    """Fire `review.created`: flat assets, `product_id`, null for an absent reply."""
    payload = {
        "id": created.id,
        "title": created.title,
        "assets": [_asset(each) for each in created.assets],
        "entity": created.entity,
        "rating": int(created.rating) if created.rating.is_integer() else created.rating,
        "status": created.status,
        "content": created.content,
        "reviewer": {"email": store.contacts[created.contact_id].email, "display_name": created.display_name},
        "product_id": created.product_id,
        "reply_html": created.reply_html or None,
        "reply_datetime": _epoch(created.reply_at),
        "created_datetime": _epoch(created.created),
    }
    fire(store, "review.created", {"review": payload})


def fire(store: Store, event_type: str, data: dict[str, Any]) -> None:
    """Queue an event for each active webhook that subscribed to its type; each event has its own id."""
    hooks = [hook for hook in store.webhooks.values() if hook.active and event_type in hook.event_types]
    if not hooks:
        return
    envelope = {
        "id": store.new_id("evt_", 20),
        "type": event_type,
        "created_datetime": iso_micro(store.clock.now()),
        "data": data,
    }
    body = json.dumps(envelope, ensure_ascii=False).encode()
    settings = store.settings
    for hook in hooks:
        headers, settled = _signer(hook, body), _counter(store, hook)
        store.courier.send(hook.url, body, headers, settled, settings.webhook_retry_delay, settings.webhook_timeout)


def _signer(hook: Webhook, body: bytes) -> Callable[[], dict[str, str]]:
    def headers() -> dict[str, str]:
        found = {"Content-Type": "application/json"}
        if hook.secret:
            found["X-Hub-Signature"] = "sha1=" + hmac.new(hook.secret.encode(), body, hashlib.sha1).hexdigest()
        return found

    return headers


def _counter(store: Store, hook: Webhook) -> Callable[[bool], bool]:
    """Count failures in a row; the 20th switches the webhook off, and then nothing is tried again."""

    def settled(delivered: bool) -> bool:
        with store.lock:
            hook.failures = 0 if delivered else hook.failures + 1
            if hook.failures >= FAILURES_ALLOWED:
                hook.active = False
            return hook.active and hook.id in store.webhooks

    return settled


def _asset(asset: dict[str, Any]) -> dict[str, Any]:
    image, video = asset["image_media"], asset["video_media"]
    return {
        "id": asset["id"],
        "image_url": image["file_url"] if image else None,
        "video_url": video["file_url"] if video else None,
        "video_thumbnail_url": video["thumbnail_url"] if video else None,
    }


def _epoch(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
