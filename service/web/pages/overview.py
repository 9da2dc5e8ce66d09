"""`/`: is it in sync, since when, and what needs a person."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service import state
from service.store import reports
from service.store.database import Connection
from service.web.desk import Desk


def routes(desk: Desk) -> list[Route]:
    def look(conn: Connection) -> dict[str, Any]:
        now = desk.bridge.now()
        told = state.gather(conn, now, desk.settings)
        return {
            "told": told,
            "lasts": state.lasts(told),
            "successes": reports.last_successes(conn),
            "since": reports.waiting_since(conn),
            "now": now,
        }

    async def overview(request: Request) -> Response:
        return desk.render(request, "overview.html", **await desk.read(look))

    return [desk.page("/", overview)]
