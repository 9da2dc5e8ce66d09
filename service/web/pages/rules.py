"""`/rules`: what rules fired for, what loaders found, and what came of it."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service import state
from service.store import firing_reports
from service.store.database import Connection
from service.web.desk import Desk


def routes(desk: Desk) -> list[Route]:
    def look(conn: Connection) -> dict[str, Any]:
        return {"rules": firing_reports.rules(conn), "loaders": state.loaders_of(conn, desk.settings)}

    async def rules(request: Request) -> Response:
        return desk.render(request, "rules.html", **await desk.read(look))

    return [desk.page("/rules", rules)]
