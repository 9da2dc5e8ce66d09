"""Who may read what the daemon shows: anybody on this machine; from anywhere else, whoever has the token."""

from __future__ import annotations

import hmac

from starlette.requests import Request

from service.settings import Settings, is_loopback


def may_read(settings: Settings, request: Request) -> bool:
    """Beyond loopback `Authorization: Bearer …` has to hold `web.token` (contract section 2)."""
    token = settings.web.token
    if is_loopback(settings.web.host) or token is None:
        return is_loopback(settings.web.host)
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    right = hmac.compare_digest(given.strip().encode(), token.get_secret_value().encode())
    return right and scheme.lower() == "bearer"
