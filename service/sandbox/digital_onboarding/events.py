"""Thin signed webhooks, as publicly known beyond the document (beyond-the-docs.md, Digital Onboarding)."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable

from service.sandbox.digital_onboarding.store import Contact, Hook, Store


def contact(store: Store, changed: Contact, event_type: str) -> None:
    """POST `{"contact_id": <id>, "type": ...}` to the configured webhook, if there is one."""
    if store.hook is None:
        return
    body = json.dumps({"contact_id": changed.id, "type": event_type}).encode()
    settings = store.settings
    store.courier.send(
        store.hook.url,
        body,
        _signer(store, store.hook, body),
        lambda delivered: True,
        settings.webhook_retry_delay,
        settings.webhook_timeout,
        settings.webhook_retries,
    )


def _signer(store: Store, hook: Hook, body: bytes) -> Callable[[], dict[str, str]]:
    """`x-signature: t=<epoch>,s0=<hex>,s1=<hex>`: HMAC-SHA256 of `{t}.{body}` by each secret, in upper-case hex."""

    def headers() -> dict[str, str]:
        t = str(int(store.clock.now().timestamp()))
        signed = t.encode() + b"." + body
        digests = [hmac.new(each.encode(), signed, hashlib.sha256).hexdigest().upper() for each in hook.secrets]
        parts = [f"t={t}", *(f"s{number}={digest}" for number, digest in enumerate(digests))]
        return {"Content-Type": store.settings.webhook_content_type, "x-signature": ",".join(parts)}

    return headers
