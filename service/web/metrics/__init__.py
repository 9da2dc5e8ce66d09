"""`GET /metrics`, as Prometheus reads it: what the database knows at the moment of asking, and what this process alone
has counted. No label names a person. Each metric is told of in docs/monitoring.md."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from service.bridge import Bridge, local_now
from service.errors import DatabaseError
from service.metrics import Requests
from service.platforms.pace import State
from service.settings import Settings
from service.store.database import Database
from service.web.access import may_read_metrics
from service.web.health import NEVER_CACHED
from service.web.metrics import mirror, process

PATIENCE = 8.0
"""Seconds that the database may take; Prometheus itself waits for 10."""


class Metrics:
    """What this process counts: `requests` by platform, `answers` to webhooks by platform and status."""

    def __init__(
        self, settings: Settings, db: Database, now: Callable[[], datetime] = local_now, patience: float = PATIENCE,
        requests: Mapping[str, Requests] | None = None, answers: Mapping[tuple[str, str], int] | None = None,
    ) -> None:  # fmt: skip
        self._settings, self._patience = settings, patience
        self._requests, self._answers = requests or {}, answers or {}
        self._bridge: Bridge | None = None
        self._collector = _Collector(db, now)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self._collector)
        ProcessCollector(registry=self._registry)
        self._encode, self._content_type = choose_encoder("")
        self._looking: asyncio.Task[bytes] | None = None
        self.routes = [Route("/metrics", self.scrape)]

    def use(self, bridge: Bridge) -> None:
        """From the next request on."""
        self._settings, self._bridge = bridge.settings, bridge

    async def scrape(self, request: Request) -> Response:
        """503 where the database is away. One look at a time, however many ask: a look that hangs holds a thread."""
        if not may_read_metrics(self._settings, request):
            return PlainTextResponse("the token is needed\n", 401, {"WWW-Authenticate": "Bearer"})
        if self._looking is None or self._looking.done():
            self._collector.settings, self._collector.told = self._settings, self._told_here()
            self._looking = asyncio.create_task(asyncio.to_thread(self._encode, self._registry))
        done, _ = await asyncio.wait({self._looking}, timeout=self._patience)
        if not done or isinstance(self._looking.exception(), DatabaseError):
            return PlainTextResponse("the database is away\n", 503)
        return Response(self._looking.result(), headers={"Content-Type": self._content_type, **NEVER_CACHED})

    def _told_here(self) -> list[Metric]:
        """Read in this thread, in which they are counted."""
        states: dict[str, State] = {}
        if self._bridge is not None:
            states = {"onvoard": self._bridge.onvoard.state, "digital_onboarding": self._bridge.digital.state}
        return [*process.requests(self._requests), process.webhooks(self._answers), *process.states(states)]


class _Collector(Collector):
    settings: Settings
    told: list[Metric]

    def __init__(self, db: Database, now: Callable[[], datetime]) -> None:
        self._db, self._now = db, now

    def collect(self) -> Iterator[Metric]:
        with self._db.begin(write=False) as conn:
            found = list(mirror.everything(conn, self.settings, self._now()))
        yield process.build()
        yield from found
        yield from self.told
