"""`GET /metrics`: what the database knows at the moment of asking, as Prometheus reads it. No label names a person."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from importlib import metadata
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from service.bridge import local_now
from service.errors import DatabaseError
from service.settings import Settings
from service.store import firing_reports, reports
from service.store.database import Database
from service.web.access import may_read
from service.web.health import NEVER_CACHED

PATIENCE = 8.0
"""Seconds that the database may take; Prometheus itself waits for 10."""
_FIRINGS = ("waiting", "done", "dead", "skipped")
_DEPTH = ("pending", "sending", "unknown", "held")
_VERIFIED = (
    ("drift_ratio", "drift", "Share of a stream's records that is wrong in the mirror, by the last verification"),
    ("drift_ratio_low", "low", "Lower end of the 95 % interval of contact_bridge_drift_ratio"),
    ("drift_ratio_high", "high", "Upper end of the 95 % interval of contact_bridge_drift_ratio"),
    ("verified_records", "checked", "Records that the last verification has compared"),
    ("last_verification_timestamp_seconds", "at", "When the last verification of a stream ended"),
)


class Metrics:
    def __init__(
        self, settings: Settings, db: Database, now: Callable[[], datetime] = local_now, patience: float = PATIENCE
    ) -> None:
        self._settings, self._patience = settings, patience
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(db, now))
        self._encode, self._content_type = choose_encoder("")
        self._looking: asyncio.Task[bytes] | None = None
        self.routes = [Route("/metrics", self.scrape)]

    def use(self, settings: Settings) -> None:
        """From the next request on."""
        self._settings = settings

    async def scrape(self, request: Request) -> Response:
        """503 where the database is away. One look at a time, however many ask: a look that hangs holds a thread."""
        if not may_read(self._settings, request):
            return PlainTextResponse("the token is needed\n", 401, {"WWW-Authenticate": "Bearer"})
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(asyncio.to_thread(self._encode, self._registry))
        done, _ = await asyncio.wait({self._looking}, timeout=self._patience)
        if not done or isinstance(self._looking.exception(), DatabaseError):
            return PlainTextResponse("the database is away\n", 503)
        return Response(self._looking.result(), headers={"Content-Type": self._content_type, **NEVER_CACHED})


class _Collector(Collector):
    def __init__(self, db: Database, now: Callable[[], datetime]) -> None:
        self._db, self._now = db, now

    def collect(self) -> Iterator[Metric]:
        with self._db.begin(write=False) as conn:
            pushes = reports.outbox_counts(conn, (*_DEPTH, "dead"))
            conflicts = reports.open_conflicts(conn)
            successes = reports.last_successes(conn)
            cursors = reports.cursors(conn, self._now())
            verified = reports.verifications(conn)
            rules = firing_reports.rules(conn)
        yield InfoMetricFamily("contact_bridge_build", "What is running", {"version": _version()})
        depth = [((name, state), counts.get(state, 0)) for name, counts in pushes.items() for state in _DEPTH]
        yield _gauge("outbox_pushes", "Pushes that are still to be made", ("platform", "status"), depth)
        dead = [((name,), counts.get("dead", 0)) for name, counts in pushes.items()]
        yield _gauge("dead_letters", "Pushes and records that were refused for good", ("platform",), dead)
        yield _gauge("open_conflicts", "Conflicts that need a person's decision", (), [((), conflicts)])
        ended = [((kind,), at.timestamp()) for kind, at in successes.items()]
        yield _gauge("last_success_timestamp_seconds", "When a run of this kind last ended well", ("kind",), ended)
        lag = [((row["stream"],), row["lag_seconds"]) for row in cursors if row["lag_seconds"] is not None]
        yield _gauge("cursor_lag_seconds", "Age of what a stream was last read up to", ("stream",), lag)
        firings = [((row["name"], status), row[status]) for row in rules for status in _FIRINGS]
        yield _gauge("rule_firings", "What became of what rules fired for", ("rule", "status"), firings)
        for name, column, text in _VERIFIED:
            yield _gauge(name, text, ("stream",), [((row["stream"],), _number(row[column])) for row in verified])


def _gauge(name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]) -> Metric:
    family = GaugeMetricFamily(f"contact_bridge_{name}", text, labels=labels)
    for of, value in values:
        family.add_metric(of, value)
    return family


def _number(value: Any) -> float:
    return value.timestamp() if isinstance(value, datetime) else float(value)


def _version() -> str:
    try:
        return metadata.version("contact-bridge")
    except metadata.PackageNotFoundError:  # a checkout that was never installed
        return "unknown"
