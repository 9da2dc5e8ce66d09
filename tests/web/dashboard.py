"""The dashboard over real HTTP, on a mirror of its own, with the real schedule behind it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from re import search
from typing import Any

import httpx
from starlette.applications import Starlette

from service import app, runs, settings
from service.sandbox import Sandbox
from service.schedule import Schedule
from service.store.database import Database
from service.web.dashboard import Dashboard
from service.web.server import address, listen, serving
from tests.cli.filled import NOW, fill

ANN = "ann.able@example.com"
NO_LEEWAY = {"limits.max_changed_share": 0.0, "limits.max_changed_count": 0}
TOKEN = "a-long-random-token"
NOWHERE = {
    "BRIDGE_ONVOARD__BASE_URL": "http://127.0.0.1:9", "BRIDGE_ONVOARD__API_KEY": "key",
    "BRIDGE_DIGITAL_ONBOARDING__BASE_URL": "http://127.0.0.1:9", "BRIDGE_DIGITAL_ONBOARDING__CLIENT_ID": "id",
    "BRIDGE_DIGITAL_ONBOARDING__CLIENT_SECRET": "secret",
}  # fmt: skip
"""Platforms that nobody may ask."""


@dataclass
class Served:
    client: httpx.AsyncClient
    address: str
    db: Database
    jobs: Schedule

    async def sign_in(self, token: str = TOKEN) -> httpx.Response:
        return await self.client.post("/login", data={"token": token})

    async def form_token(self, path: str = "/") -> str:
        """What the forms of a page carry; signed in."""
        found = search(r'name="form_token" value="([0-9a-f]{64})"', (await self.client.get(path)).text)
        assert found, "no form token"
        return found[1]

    async def act(self, path: str, **fields: str) -> httpx.Response:
        return await self.client.post(path, data={"form_token": await self.form_token(), **fields})


@asynccontextmanager
async def served(
    url: str, environment: Mapping[str, str] = NOWHERE, *, token: str | None = TOKEN, now: datetime | None = NOW,
    running: bool = False, **overrides: Any,
) -> AsyncIterator[Served]:  # fmt: skip
    """`running`: the jobs run as well."""
    given = {"web.token": token} if token is not None else {}
    loaded = settings.load({**given, **overrides}, environ=at_home(environment))
    database = Database(url)
    listening = listen(settings.load({"web.port": 0}, environ={}))
    async with app.open_bridge(loaded, database) as bridge:
        bridge = bridge if now is None else replace(bridge, now=lambda: now)
        jobs = Schedule(bridge)
        answers = Starlette(routes=Dashboard(bridge, jobs, wrong=0.01).routes)
        where = address(listening)
        async with serving(answers, listening), httpx.AsyncClient(base_url=where, trust_env=False) as client:
            if running:
                await jobs.start()
            yield Served(client, where, database, jobs)
            if running:
                await jobs.stop(5)
    database.close()


def at_home(environment: Mapping[str, str]) -> dict[str, str]:
    """With the state folder of this test, if it names no other."""
    return {"BRIDGE_STATE_DIR": os.environ["BRIDGE_STATE_DIR"], **environment}


def filled(url: str) -> str:
    """The empty mirror at `url`, in which something of everything is the case from now on."""
    database = Database(url)
    with database.begin() as conn:
        fill(conn)
    database.close()
    return url


async def synced(url: str, sandbox: Sandbox, **overrides: Any) -> bool:
    """A full sync. -> whether the brake held"""
    database = Database(url)
    async with app.open_bridge(settings.load(overrides, environ=at_home(sandbox.environment())), database) as bridge:
        report = await runs.sync(bridge, full=True)
    database.close()
    return bool(report.held)


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.05)


def there(sandbox: Sandbox) -> dict[str, Any]:
    [contact] = sandbox.digital_onboarding.contact_list()
    return contact
