"""The webhook receiver: `POST /webhooks/onvoard` and `POST /webhooks/digital-onboarding` (contract section 6).

An event is on record before it is answered, and looked into afterwards. Whoever sends one learns nothing but a status.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from service.bridge import local_now
from service.core.records import Platform
from service.errors import DatabaseError
from service.platforms.digital_onboarding import events as digital_events
from service.platforms.digital_onboarding import wire as digital_wire
from service.platforms.judging import decode
from service.platforms.onvoard import events as onvoard_events
from service.platforms.onvoard import wire as onvoard_wire
from service.settings import Settings
from service.settings.models import DigitalOnboarding, OnVoard
from service.store import inbox
from service.store.database import Database
from service.store.inbox import Incoming
from service.store.together import Together

log = structlog.get_logger("service.web")

LARGEST = 1024 * 1024
DEEPEST = 100
"""Levels of nesting; no event of either platform has more than five."""
PATIENCE = 8.0
"""Seconds for a body, and for the database: OnVoard waits 10 ("Webhooks")."""
LINGER = 2.0
"""Seconds for which a sender may go on with what is too large: one that is cut off would not see the answer."""
TOLD_AGAIN = 60.0
"""Seconds before the same refusal is logged once more."""


class Refused(Exception):
    """What is answered instead of 200."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


class Webhooks:
    """`wake` is called when an event is on record. `now` dates events, and judges the age of a signature."""

    def __init__(
        self, settings: Settings, db: Database, wake: Callable[[], None], now: Callable[[], datetime] = local_now
    ) -> None:
        self._settings, self._wake, self._now = settings, wake, now
        self._db = db
        self._recorder = Together(self._keep)
        self._told: dict[tuple[Platform, str], float] = {}
        self.answers = Counter({(platform.value, "200"): 0 for platform in Platform})
        """By platform and status, since this process began."""
        self.routes = [
            Route("/webhooks/onvoard", self._answer(Platform.ONVOARD, self._from_onvoard), methods=["POST"]),
            Route(
                "/webhooks/digital-onboarding",
                self._answer(Platform.DIGITAL_ONBOARDING, self._from_digital_onboarding),
                methods=["POST"],
            ),
        ]

    def _answer(
        self, platform: Platform, read: Callable[[Request, bytes], Incoming]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                await self._record(read(request, await _body(request)))
            except Refused as refused:
                self.answers[platform.value, str(refused.status)] += 1
                self._tell(platform, refused.why)
                return (_TooLarge if refused.status == 413 else JSONResponse)({"error": refused.why}, refused.status)
            self.answers[platform.value, "200"] += 1
            self._wake()
            return JSONResponse({"status": "stored"})

        return answer

    async def _record(self, event: Incoming) -> None:
        """Raises Refused (503) where the database is away; the platform will try again."""
        try:
            await asyncio.wait_for(self._recorder.add(event), PATIENCE)
        except (DatabaseError, TimeoutError):
            raise Refused(503, "the database is away") from None

    async def _keep(self, events: Sequence[Incoming]) -> None:
        await self._db.run(lambda conn: inbox.keep(conn, events), first=True)

    def _from_onvoard(self, request: Request, body: bytes) -> Incoming:
        secrets, header = _secrets(self._settings.onvoard), request.headers.get(onvoard_wire.SIGNATURE_HEADER, "")
        matches = [onvoard_wire.verify_signature(secret, body, header) for secret in secrets]  # no early end
        if not any(matches):
            raise Refused(401, "the signature is wrong")
        payload = _decoded(body)
        event = onvoard_events.read(payload)
        return Incoming(
            id=event.id or "ov_" + hashlib.sha256(body).hexdigest(), platform=Platform.ONVOARD, type=event.type,
            payload=payload, received_at=self._now(), subject=event.contact_id, email=event.email, fault=event.fault,
        )  # fmt: skip

    def _from_digital_onboarding(self, request: Request, body: bytes) -> Incoming:
        do, header = self._settings.digital_onboarding, request.headers.get("x-signature", "")
        secrets, now = _secrets(do), self._now()
        if not digital_wire.verify_signature(secrets, body, header, do.signed_string, now=now):
            raise Refused(401, "the signature is wrong or old")
        payload = _decoded(body)
        event = digital_events.read(payload)
        return Incoming(
            id=digital_events.event_id(body, header), platform=Platform.DIGITAL_ONBOARDING, type=event.type,
            payload=payload, received_at=now, subject=event.contact_id, fault=event.fault,
        )  # fmt: skip

    def use(self, settings: Settings) -> None:
        """From the next event on."""
        self._settings = settings

    def _tell(self, platform: Platform, why: str) -> None:
        """Now and then: anybody may send anything here, and the log is no place for all of it."""
        last = self._told.get((platform, why))
        if last is None or time.monotonic() - last >= TOLD_AGAIN:
            self._told[platform, why] = time.monotonic()
            log.warning("webhook refused", platform=platform.value, reason=why)


def _secrets(of: OnVoard | DigitalOnboarding) -> list[str]:
    """The one that is in use, and its predecessor while both are."""
    found = [each.get_secret_value() for each in (of.webhook_secret, of.webhook_secret_previous) if each is not None]
    if not found:
        raise Refused(401, "no secret is configured")
    return found


class _TooLarge(JSONResponse):
    """Answers at once, then lets the sender come to an end before the connection is closed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers["Connection"] = "close"
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        try:
            async with asyncio.timeout(LINGER):
                while (await receive()).get("more_body"):
                    pass
        except TimeoutError:
            pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _body(request: Request) -> bytes:
    """Reads no further than it has to. Refused: too large, too slow, or broken off."""
    if int(request.headers.get("content-length") or 0) > LARGEST:
        raise Refused(413, "more than 1 MiB")
    body = bytearray()
    try:
        async with asyncio.timeout(PATIENCE):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LARGEST:
                    raise Refused(413, "more than 1 MiB")
    except TimeoutError:
        raise Refused(408, "the body did not arrive in time") from None
    except ClientDisconnect:
        raise Refused(400, "the body broke off") from None
    return bytes(body)


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        payload = decode(body)
    except (ValueError, RecursionError):
        raise Refused(400, "not JSON") from None
    if not isinstance(payload, dict):
        raise Refused(400, "not a JSON object")
    level: list[Any] = [payload]
    for _ in range(DEEPEST):
        holders = [each for each in level if isinstance(each, dict | list)]
        level = [item for each in holders for item in (each.values() if isinstance(each, dict) else each)]
    if level:
        raise Refused(400, "nested too deeply")
    return payload
