"""`/healthz`: the process is alive. `/readyz`: the database and the scheduler are fit, or why not. That a job's work
fails, or takes long, is no reason: webhooks are to be taken all the same, and `status` and the alerts tell of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from service.errors import BridgeError
from service.store import migrate
from service.store.database import Database

PATIENCE = 3.0
"""Seconds that the database may take to answer."""
TURNS, AT_LEAST = 3, timedelta(minutes=5)
"""A job that has not begun, though so many of its turns and so much time have passed: the scheduler hands out none."""
NEVER_CACHED = {"Cache-Control": "no-store"}


class Health:
    """Anybody may ask, so that reasons name neither hosts nor files. `is_scheduled`: whether the jobs run; `turns`: as
    `Schedule.turns`."""

    def __init__(
        self, db: Database, is_scheduled: Callable[[], bool], patience: float = PATIENCE,
        turns: Callable[[], Iterable[Mapping[str, Any]]] = tuple,
    ) -> None:  # fmt: skip
        self._db, self._is_scheduled, self._patience, self._turns = db, is_scheduled, patience, turns
        self._wanted = migrate.head()
        self._looking: asyncio.Task[str | None] | None = None
        self.routes = [Route("/healthz", self.alive), Route("/readyz", self.ready)]

    async def alive(self, _: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"}, headers=NEVER_CACHED)

    async def ready(self, _: Request) -> JSONResponse:
        reasons = self._passed_over() if self._is_scheduled() else ["the scheduler is not running"]
        if reason := await self._database():
            reasons.append(reason)
        status = "unready" if reasons else "ready"
        return JSONResponse({"status": status, "reasons": reasons}, 503 if reasons else 200, headers=NEVER_CACHED)

    def _passed_over(self) -> list[str]:
        now = datetime.now(UTC)
        return [
            f"the job {turn['name']} has been due since {due.isoformat(timespec='seconds')}, and was not begun"
            for turn in self._turns()
            if (due := turn["next_run_at"]) is not None and not turn["at_work"] and now - due > _patience(turn["every"])
        ]

    async def _database(self) -> str | None:
        """What is wrong with it. One look at a time, however many ask: a look that hangs holds a thread."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(asyncio.to_thread(self._look))
        done, _ = await asyncio.wait({self._looking}, timeout=self._patience)
        return self._looking.result() if done else f"the database has not answered for {self._patience:g} s"

    def _look(self) -> str | None:
        try:
            revision = migrate.current(self._db)
        except BridgeError:
            return "the database cannot be reached"
        if revision == self._wanted:
            return None
        return f"the database is at {revision or 'no migration'}, and {self._wanted} is needed: {migrate.UPGRADE}"


def _patience(every: Any) -> timedelta:
    """A cron's turns differ: it gets the shortest."""
    return max(TURNS * every, AT_LEAST) if isinstance(every, timedelta) else AT_LEAST
