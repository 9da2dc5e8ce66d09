"""`/healthz`: the process is alive. `/readyz`: the database and the scheduler are fit, or why not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from service.errors import BridgeError
from service.store import migrate
from service.store.database import Database

PATIENCE = 3.0
"""Seconds that the database may take to answer."""
NEVER_CACHED = {"Cache-Control": "no-store"}


class Health:
    """Anybody may ask, so that reasons name neither hosts nor files. `is_scheduled`: whether the jobs run."""

    def __init__(self, db: Database, is_scheduled: Callable[[], bool], patience: float = PATIENCE) -> None:
        self._db, self._is_scheduled, self._patience = db, is_scheduled, patience
        self._wanted = migrate.head()
        self._looking: asyncio.Task[str | None] | None = None
        self.routes = [Route("/healthz", self.alive), Route("/readyz", self.ready)]

    async def alive(self, _: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"}, headers=NEVER_CACHED)

    async def ready(self, _: Request) -> JSONResponse:
        reasons = [] if self._is_scheduled() else ["the scheduler is not running"]
        if reason := await self._database():
            reasons.append(reason)
        status = "unready" if reasons else "ready"
        return JSONResponse({"status": status, "reasons": reasons}, 503 if reasons else 200, headers=NEVER_CACHED)

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
