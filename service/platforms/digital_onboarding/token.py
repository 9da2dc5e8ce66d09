"""The OAuth2 token ("Grant Access Token"): fetched when needed, kept until it expires, shared with later invocations
by a file.

The client's id and secret travel by Basic auth only; in a query string they would be revoked at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error

from service import private_file
from service.errors import Denied, Garbled, NotFound, Rejected, TooLarge
from service.platforms.judging import Call
from service.platforms.payload import read_moment
from service.platforms.transport import Transport

_GRANT = Call("POST", "/oauth2/token", "/oauth2/token", safe=True)
_GRANTED = ("access_token", "token_type")
_IN_A_HEADER = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Token:
    """`expires_at` is aware, by the local clock, with a margin taken off; None where the platform did not say."""

    value: str
    expires_at: datetime | None

    def __repr__(self) -> str:
        return f"<Token until {self.expires_at}>"

    def fresh(self, at: datetime) -> bool:
        return self.expires_at is None or at < self.expires_at


class TokenFile:
    """One token in `<state_dir>/token-<fingerprint of base URL and client id>.json`, mode 0600, replaced as a whole.

    Best effort: a file that cannot be read or written only costs another token.
    """

    def __init__(self, state_dir: Path, base_url: str, client_id: str) -> None:
        fingerprint = hashlib.sha256(f"{base_url}\n{client_id}".encode()).hexdigest()[:16]
        self.path = state_dir / f"token-{fingerprint}.json"

    def read(self) -> Token | None:
        kept = private_file.read(self.path)
        try:
            value, expires_at = kept["access_token"], kept["expires_at"]
        except (KeyError, TypeError):
            return None
        if not isinstance(value, str) or not _IN_A_HEADER.fullmatch(value):
            return None
        until = read_moment(expires_at)
        return Token(value, until) if until is not None or expires_at is None else None

    def write(self, token: Token) -> None:
        expires_at = token.expires_at.isoformat() if token.expires_at else None
        with contextlib.suppress(OSError):
            private_file.write(self.path, {"access_token": token.value, "expires_at": expires_at})


class Tokens:
    """The one token that all workers share. `transport` is a lane of its own, with Basic auth: in the common one,
    requests that fill every slot while they wait for a token would wait for themselves."""

    def __init__(
        self, transport: Transport, client_id: str, state_dir: Path | None, *, now: Callable[[], datetime]
    ) -> None:
        self._transport = transport
        self._oauth = BackendApplicationClient(client_id=client_id)
        self._file = TokenFile(state_dir, transport.base_url, client_id) if state_dir else None
        self._now = now
        self._lock = asyncio.Lock()
        self._token: Token | None = None
        self._used: set[str] = set()  # so that a stale file never brings back what was found to be invalid

    async def current(self) -> str:
        """A token that has not expired; fetches one where there is none. PlatformError as `Transport.request`."""
        if self._token is not None and self._token.fresh(self._now()):
            return self._token.value
        async with self._lock:
            if self._token is None or not self._token.fresh(self._now()):
                await self._replace()
            return self._held()

    async def renewed(self, refused: str) -> str:
        """Another token than `refused`: the one that somebody else has got meanwhile, or a new one."""
        async with self._lock:
            if self._token is None or self._token.value == refused:
                await self._replace()
            return self._held()

    def _held(self) -> str:
        assert self._token is not None
        return self._token.value

    async def _replace(self) -> None:
        kept = self._file.read() if self._file else None
        if kept is not None and kept.value not in self._used and kept.fresh(self._now()):
            self._token = kept
        else:
            self._token = await self._fetch()
            if self._file:
                self._file.write(self._token)
        self._used.add(self._token.value)

    async def _fetch(self) -> Token:
        body = self._oauth.prepare_request_body(include_client_id=False)
        try:
            answer = await self._transport.request(_GRANT, form=body, check=_grant_fault)
        except (Rejected, Denied, NotFound, TooLarge) as error:
            # Never the NotFound or Rejected of whatever record was waiting for the token.
            hint = "check the base URL, the client id and the secret (admin interface: Settings, API Access)"
            detail = "no token for these credentials"
            raise Denied(error.platform, error.call, detail, status=error.status, hint=hint) from None
        try:
            # Only what oauthlib takes in its stride; the rest of an answer may be anything.
            plain = {key: value for key, value in answer.data.items() if key in _GRANTED and isinstance(value, str)}
            granted: dict[str, Any] = self._oauth.parse_request_body_response(json.dumps(plain))
        except OAuth2Error:
            raise Garbled(self._transport.platform, _GRANT.name, "no token in the answer", status=200) from None
        return Token(granted["access_token"], _expiry(answer.data.get("expires_in"), answer.sent_at))


def _grant_fault(data: object) -> str | None:
    value = data.get("access_token") if isinstance(data, dict) else None
    usable = isinstance(value, str) and _IN_A_HEADER.fullmatch(value)
    return None if usable else "no token in the answer"


def _expiry(expires_in: object, since: datetime) -> datetime | None:
    """`expires_in` seconds after the request, less a margin of a tenth (at most 30 s) for requests under way."""
    try:
        seconds = float(expires_in)  # type: ignore[arg-type]
        return since.astimezone(UTC) + timedelta(seconds=seconds - min(30.0, seconds / 10))
    except (TypeError, ValueError, OverflowError):
        return None


class BearerAuth(httpx.Auth):
    """`Authorization: Bearer`; on 401 `{"error": "invalid_token"}`, and on nothing else, one other token and one more
    try."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        token = await self._tokens.current()
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == 401 and _is_invalid_token(await response.aread()):
            token = await self._tokens.renewed(refused=token)
            request.headers["Authorization"] = f"Bearer {token}"
            yield request


def _is_invalid_token(body: bytes) -> bool:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(data, dict) and data.get("error") == "invalid_token"
