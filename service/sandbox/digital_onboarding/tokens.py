"""OAuth2 client credentials (API document: Grant Access Token)."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote

from service.sandbox.app import TOKEN_PATH
from service.sandbox.digital_onboarding.store import Store
from service.sandbox.exchange import Call, Handler, Refusal, Reply


def _refused(status: int, error: str) -> Refusal:
    return Refusal(status, error, {"error": error})


def grant(store: Store, client_id: str, client_secret: str) -> Handler:
    """POST /oauth2/token: Basic auth or body. Credentials in the query string are revoked at once."""

    def handler(call: Call) -> Reply:
        if call.query.keys() & {"client_id", "client_secret"}:
            store.credentials_revoked = True
            store.tokens.clear()
            raise _refused(401, "invalid_client")
        body = _body(call)
        given = _basic(call) or (body.get("client_id"), body.get("client_secret"))
        if store.credentials_revoked or given != (client_id, client_secret):
            raise _refused(401, "invalid_client")
        if body.get("grant_type") != "client_credentials":
            raise _refused(400, "unsupported_grant_type")
        token = secrets.token_urlsafe(32)
        life = store.settings.expires_in
        store.tokens[token] = store.clock.now() + timedelta(seconds=life)
        answer = {"access_token": token, "expires_in": life, "token_type": "Bearer"}
        return Reply(200, answer, {"Cache-Control": "no-store"})

    return handler


def guard(store: Store) -> Callable[[Call], None]:
    """Everything but the token call needs a live token; otherwise 401 `{"error": "invalid_token"}`."""

    def check(call: Call) -> None:
        if call.path == TOKEN_PATH:
            return
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        expiry = store.tokens.get(token.strip()) if scheme.lower() == "bearer" else None
        if expiry is None or store.clock.now() >= expiry:
            raise _refused(401, "invalid_token")

    return check


def _basic(call: Call) -> tuple[str, str] | None:
    scheme, _, encoded = call.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise _refused(401, "invalid_client") from None
    # RFC 6749 section 2.3.1: both parts are form-encoded before Basic.
    return unquote(user), unquote(password)


def _body(call: Call) -> dict[str, Any]:
    if "json" not in call.headers.get("content-type", ""):
        return dict(parse_qsl(call.body.decode("utf-8", "replace")))
    try:
        payload = json.loads(call.body or b"{}")
    except ValueError:
        raise _refused(400, "invalid_request") from None
    return payload if isinstance(payload, dict) else {}
