"""Signing in with `web.token`. Nothing is stored: a session is a time and a signature that only the token can make."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response

COOKIE = "contact_bridge_session"
LASTS = timedelta(hours=12)


class Sessions:
    """`token` None: nobody can sign in. A new token ends every session."""

    def __init__(self, token: SecretStr | None, now: Callable[[], datetime]) -> None:
        self._token, self._now = token, now

    @property
    def possible(self) -> bool:
        return self._token is not None

    def is_token(self, given: str) -> bool:
        """In constant time."""
        token = self._token
        return token is not None and hmac.compare_digest(given.strip().encode(), token.get_secret_value().encode())

    def begin(self, request: Request, answer: Response) -> None:
        until = int((self._now() + LASTS).timestamp())
        said = f"{until}.{secrets.token_urlsafe(12)}"
        answer.set_cookie(
            COOKIE, f"{said}.{self._sign('session', said)}", max_age=int(LASTS.total_seconds()), path="/",
            secure=request.url.scheme == "https", httponly=True, samesite="strict",
        )  # fmt: skip

    def end(self, answer: Response) -> None:
        answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")

    def of(self, request: Request) -> str | None:
        """The session that a request belongs to; None where it has none, or one that is over."""
        value = request.cookies.get(COOKIE, "")
        said, _, signature = value.rpartition(".")
        if not self.possible or not hmac.compare_digest(signature.encode(), self._sign("session", said).encode()):
            return None
        until = said.partition(".")[0]  # ours: it was signed
        return value if int(until) > self._now().timestamp() else None

    def form_token(self, session: str) -> str:
        """What each form of a session carries, so that no foreign page can send one."""
        return self._sign("form", session)

    def is_form_token(self, session: str, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.form_token(session).encode())

    def _sign(self, what: str, said: str) -> str:
        key = self._token.get_secret_value().encode() if self._token is not None else b""
        return hmac.new(key, f"contact-bridge {what} {said}".encode(), hashlib.sha256).hexdigest()
