"""`/outbox`: what is still to be pushed, what was refused, and what to do about it."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service import dead_letters
from service.errors import NobodyFound
from service.store import health, reports
from service.store.database import Connection
from service.web.desk import Desk, Form, after, row_id

PAGE = 50
STATUSES = ("dead", "pending", "sending", "unknown", "held", "done", "cancelled")


def routes(desk: Desk) -> list[Route]:
    async def listed(request: Request) -> Response:
        status = request.query_params.get("status", "")
        status = status if status in STATUSES else STATUSES[0]

        def look(conn: Connection) -> dict[str, Any]:
            rows = reports.outbox_page(conn, status, after(request), PAGE + 1)
            return {"counts": reports.outbox_counts(health.pushes(conn)), "rows": rows[:PAGE], "more": len(rows) > PAGE}

        told = await desk.read(look)
        return desk.render(request, "outbox.html", status=status, statuses=STATUSES, after=after(request), **told)

    async def one(request: Request) -> Response:
        push_id = row_id(request)
        push = await desk.read(lambda conn: reports.push(conn, push_id))
        if push is None:
            raise NobodyFound(f"the outbox holds no {push_id}")
        return desk.render(request, "push.html", push=push)

    async def retry(request: Request, _: Form) -> Response:
        push_id, now = row_id(request), desk.bridge.now()
        await desk.bridge.db.run(lambda conn: dead_letters.retry(conn, [push_id], now))
        return desk.done(request, f"Push {push_id} will be sent again by the next reconciliation.", "/outbox")

    async def discard(request: Request, _: Form) -> Response:
        push_id, now = row_id(request), desk.bridge.now()
        await desk.bridge.db.run(lambda conn: dead_letters.discard(conn, [push_id], now))
        return desk.done(request, f"Push {push_id} is discarded: it is never sent, and stays on record.", "/outbox")

    return [
        desk.page("/outbox", listed),
        desk.page("/outbox/{id:int}", one),
        desk.action("/outbox/{id:int}/retry", retry),
        desk.action("/outbox/{id:int}/discard", discard),
    ]
