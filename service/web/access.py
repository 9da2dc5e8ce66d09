"""Who may read what the daemon shows: anybody on this machine; from anywhere else, whoever has the token."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from pydantic import SecretStr
from starlette.requests import Request

from service.settings import Settings, is_loopback

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def may_read(settings: Settings, request: Request) -> bool:
    """Beyond loopback `Authorization: Bearer …` has to hold `web.token` (contract section 2)."""
    return is_loopback(settings.web.host) or _bears(request, settings.web.token)


def may_read_metrics(settings: Settings, request: Request) -> bool:
    """Or the token that is for nothing else."""
    alone = _bears(request, settings.web.metrics_token)
    return may_read(settings, request) or alone


def _bears(request: Request, token: SecretStr | None) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    known = token.get_secret_value() if token is not None else ""
    right = hmac.compare_digest(given.strip().encode(), known.encode())
    return right and scheme.lower() == "bearer" and bool(known)


def is_local(settings: Settings, request: Request) -> bool:
    """Asked on this machine under a name of this machine: not through a proxy, and by no foreign page whose name was
    made to lead here."""
    if not is_loopback(settings.web.host) or any(name in request.headers for name in _FORWARDED):
        return False
    return is_loopback(_hostname(f"//{request.headers.get('host', '')}"))


def is_from_here(request: Request) -> bool:
    """A form that was sent from one of our own pages, as far as the browser says. What it cannot say (`no-referrer`
    makes the origin `null`) is left to the form's own token."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin", "null")
    return origin == "null" or urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()


def _hostname(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
