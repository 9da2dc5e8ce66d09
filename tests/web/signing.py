"""Signatures as the two platforms make them."""

from __future__ import annotations

import hashlib
import hmac
import time

SECRET = "the-secret"


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    """OnVoard's."""
    return {"X-Hub-Signature": "sha1=" + hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()}


def signed_thin(body: bytes, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    """Digital Onboarding's, `at` epoch seconds; with the current secret second, as after a change of it."""
    made_at = str(int(time.time() if at is None else at))
    mac = hmac.new(secret.encode(), made_at.encode() + b"." + body, hashlib.sha256).hexdigest().upper()
    return {"x-signature": f"t={made_at},s0={'0' * 64},s1={mac}"}
