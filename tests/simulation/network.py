"""Between the bridge and both emulated platforms: latency, faults before and after the effect, and the trace.

Between the platforms and the bridge: webhooks that are delivered, late, twice, out of order, or never.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from service.sandbox.app import PlatformApp
from service.sandbox.clock import http_date
from service.sandbox.exchange import Call, Reply
from tests.simulation.machine import Process

if TYPE_CHECKING:
    from tests.simulation.watch import Watch

BEFORE = ("connect", "reset", "timeout", "500", "503", "429", "401", "html")
AFTER = ("reset", "timeout", "500", "502", "truncated", "malformed", "html")
POISON = "Poison"
"""A value that Digital Onboarding refuses, with everything that is in the same request."""


@dataclass
class Weather:
    """How bad it is: chances from 0 to 1, of each request or transaction. `outage`: OnVoard lists nobody.

    `unsure`: the answer to a write that took effect is lost; `deadly`: whoever made it dies of it.
    """

    dice: random.Random
    before: float = 0.0
    after: float = 0.0
    unsure: float = 0.0
    deadly: float = 0.0
    slow: float = 0.0
    database: float = 0.0
    lost: float = 0.0
    doubled: float = 0.0
    outage: bool = False

    def clear(self) -> None:
        self.before = self.after = self.unsure = self.deadly = self.slow = self.database = 0.0
        self.outage = False

    def of_the_database(self) -> str | None:
        if self.database and self.dice.random() < self.database:
            return self.dice.choice(["database is locked", "disk is full"])
        return None


class Trace:
    """Everything that was asked, answered, edited and decided, in its order, as a digest; and to read if `keep`."""

    def __init__(self, keep: bool) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        self._keep, self.lines = keep, list[str]()

    def add(self, at: Any, *told: Any) -> None:
        line = f"{at:%d %H:%M:%S.%f} " + " ".join(str(each) for each in told)
        self._digest.update(line.encode() + b"\n")
        if self._keep:
            self.lines.append(line)

    def digest(self) -> str:
        return self._digest.hexdigest()


class Network:
    def __init__(self, apps: dict[str, PlatformApp], weather: Weather, trace: Trace, watch: Watch) -> None:
        self.apps, self.weather, self.trace, self.watch = apps, weather, trace, watch

    def of(self, process: Process, platform: str) -> httpx.AsyncBaseTransport:
        return _Wire(self, process, platform)

    def answer(self, platform: str, call: Call) -> Reply:
        """What the platform does, seen by the watch, and in the journal."""
        app = self.apps[platform]
        if platform == "digital_onboarding" and POISON.encode() in call.body:
            reply = Reply(422, {"errors": {"city": ["is invalid"]}})
        else:
            with self.watch.over(platform, call):
                reply = app._attempt(app._dispatch, call)
        if self.weather.outage and call.method == "GET" and call.path == "/v2/contacts":
            reply = Reply(200, {"results": [], "page_size": 100})
        app._record(call, reply, reply.status < 400, None)
        return reply


class _Wire(httpx.AsyncBaseTransport):
    def __init__(self, network: Network, process: Process, platform: str) -> None:
        self._network, self._process, self._platform = network, process, platform

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        weather, clock = self._network.weather, self._network.watch.clock
        dice = weather.dice
        self._process.step()
        luck, slow = dice.random(), dice.random() < weather.slow
        await asyncio.sleep(dice.uniform(0.01, 0.3) + (dice.uniform(1, 25) if slow else 0))
        if luck < weather.before:
            return self._fail(request, dice.choice(BEFORE))
        self._process.step()
        url = request.url
        call = Call(request.method, url.path, {}, dict(url.params.multi_items()), _headers(request), request.content)
        reply = self._network.answer(self._platform, call)
        raw = json.dumps(reply.payload).encode() if not isinstance(reply.payload, bytes) else reply.payload
        told = b"" if call.path == "/oauth2/token" else raw
        query = url.query.decode()
        self._network.trace.add(
            clock.now(), self._platform, call.method, url.path, query, _digest(call.body), reply.status, _digest(told)
        )
        headers = {"Content-Type": "application/json", "Date": http_date(clock.now()), **reply.headers}
        is_write = call.method != "GET" and call.path != "/oauth2/token"
        if is_write and weather.deadly and dice.random() < weather.deadly:
            self._process.kill()
        await asyncio.sleep(dice.uniform(0.01, 0.3))
        self._process.step()
        once = call.path == "/v2/contact-activities" or call.path.endswith("/journeys")
        unsure = weather.unsure * (4 if once else is_write)
        if 1 - luck < max(weather.after, unsure):
            return self._fail(request, dice.choice(AFTER), raw, headers)
        return httpx.Response(reply.status, headers=headers, content=raw, request=request)

    def _fail(
        self, request: httpx.Request, kind: str, raw: bytes = b"", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        self._network.trace.add(self._network.watch.clock.now(), self._platform, "fault", kind, bool(raw))
        dice = self._network.weather.dice
        if kind == "connect":
            raise httpx.ConnectError("refused", request=request)
        if kind == "reset":
            raise httpx.ReadError("reset", request=request)
        if kind == "timeout":
            raise httpx.ReadTimeout("too slow", request=request)
        if kind == "truncated":
            raise httpx.RemoteProtocolError("peer closed connection without sending complete body", request=request)
        if kind == "malformed":
            return httpx.Response(200, headers=headers, content=raw[: len(raw) // 2], request=request)
        if kind == "html":
            return httpx.Response(200, content=b"<html>Sign in</html>", request=request)
        if kind == "429":
            after = {"Retry-After": str(dice.choice([1, 5, 20, 90]))}
            return httpx.Response(429, headers=after, json={"detail": "slow down"}, request=request)
        return httpx.Response(int(kind), json={"detail": "sorry"}, request=request)


def _headers(request: httpx.Request) -> dict[str, str]:
    return {key.lower(): value for key, value in request.headers.items()}


def _digest(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=6).hexdigest() if body else "-"


Deliver = Callable[[str, bytes, dict[str, str]], Any]


class Post:
    """A courier of the sandbox: `deliver(path, body, headers)` answers with a status, 0 where nobody listens."""

    def __init__(self, weather: Weather, deliver: Deliver) -> None:
        self._weather, self._deliver = weather, deliver
        self._parcels = set[asyncio.Task[None]]()

    def send(
        self, url: str, body: bytes, headers: Callable[[], dict[str, str]], settled: Callable[[bool], bool],
        delay: float = 0.2, timeout: float = 10.0, limit: int = 20,
    ) -> None:  # fmt: skip
        dice = self._weather.dice
        if dice.random() < self._weather.lost:
            return
        for _ in range(2 if dice.random() < self._weather.doubled else 1):
            task = asyncio.get_running_loop().create_task(
                self._carry(urlsplit(url).path, body, headers, settled, dice.expovariate(1 / 20)),
            )
            self._parcels.add(task)
            task.add_done_callback(self._parcels.discard)

    async def _carry(
        self, path: str, body: bytes, headers: Callable[[], dict[str, str]], settled: Callable[[bool], bool],
        delay: float,
    ) -> None:  # fmt: skip
        for wait in (delay, 300.0, 3600.0):  # "after a while", says the document
            await asyncio.sleep(wait)
            status = await self._deliver(path, body, headers())
            if 200 <= status < 300:
                settled(True)
                return
            if not settled(False):
                return

    def close(self) -> None:
        for parcel in self._parcels:
            parcel.cancel()


