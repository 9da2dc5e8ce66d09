"""Both platforms' real webhooks, delivered to a real receiver on a `World`'s mirror."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from sqlalchemy import select
from starlette.applications import Starlette

from service import runs
from service.bridge import Report
from service.platforms.onvoard.enums import WebhookEventType
from service.schedule import JOBS
from service.setup import WEBHOOK_PATH
from service.store import tables as t
from service.web.server import address, listen, serving
from service.web.webhooks import Webhooks
from tests.cycle.world import World
from tests.web.signing import SECRET, signed

INBOX = next(job for job in JOBS if job.name == "inbox")


class Delivery:
    """`here` is where the receiver listens."""

    def __init__(self, world: World, here: str, client: httpx.AsyncClient) -> None:
        self.world, self.here, self.client = world, here, client

    async def register(self, *, digital: bool = True) -> None:
        """From now on both platforms tell of what happens."""
        await self.world.bridge.onvoard.webhooks.create(
            url=self.here + WEBHOOK_PATH, event_types=tuple(WebhookEventType), secret=SECRET
        )
        if digital:
            self.world.do.configure_webhook(self.here + "/webhooks/digital-onboarding", SECRET)

    async def arrived(self) -> None:
        assert await asyncio.to_thread(self.world.sandbox.wait_for_webhooks)

    async def send(self, event: dict[str, Any]) -> int:
        """Any event of OnVoard's. -> the status it is answered with"""
        body = json.dumps(event).encode()
        return (await self.client.post(WEBHOOK_PATH, content=body, headers=signed(body))).status_code

    async def look(self, after: float = 2) -> Report:
        """What the daemon's job does, so many seconds later."""
        self.world.clock.advance(after)
        return await runs.run(self.world.bridge, "inbox", INBOX.work)

    async def push(self) -> Report:
        return await runs.run(self.world.bridge, "reconcile", lambda cycle: cycle.reconcile_and_push())

    def events(self, **having: Any) -> list[Any]:
        with self.world.db.begin(write=False) as conn:
            found = conn.execute(select(t.webhook_events).order_by(t.webhook_events.c.received_at)).all()
        return [each for each in found if all(getattr(each, name) == value for name, value in having.items())]

    def told(self) -> list[tuple[str, str, str | None]]:
        return [(each.type, each.status, each.reason) for each in self.events()]


@asynccontextmanager
async def delivering(world: World) -> AsyncIterator[Delivery]:
    world.configure(onvoard__webhook_secret=SECRET, digital_onboarding__webhook_secret=SECRET, web__port=0)
    listening = listen(world.bridge.settings)
    receiver = Webhooks(world.bridge.settings, world.db, lambda: None, world.clock.now)
    async with (
        serving(Starlette(routes=receiver.routes), listening),
        httpx.AsyncClient(base_url=address(listening), trust_env=False) as client,
    ):
        yield Delivery(world, address(listening), client)
