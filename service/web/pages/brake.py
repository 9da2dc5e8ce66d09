"""`/brake`: the changes that are held because there are too many of them, and their release."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.store import reports
from service.web.desk import Desk, Form, Refused

SHOWN = 100
"""Changes of each platform."""


def routes(desk: Desk) -> list[Route]:
    async def held(request: Request) -> Response:
        holds = await desk.read(lambda conn: reports.holds(conn, desk.settings.limits.hold_opt_outs_for))
        asked = any(turn["name"] == "sync" for turn in desk.work.turns())
        return desk.render(request, "brake.html", holds=holds, shown=SHOWN, asked=asked, limits=desk.settings.limits)

    async def release(request: Request, _: Form) -> Response:
        if not desk.work.is_running:
            raise Refused(409, "The jobs are not running: nothing can be released now.")
        desk.work.release()
        what = "A whole sync with the brake lifted is on its way: it begins when the jobs at work are done."
        return desk.done(request, what, "/brake")

    return [desk.page("/brake", held), desk.action("/brake/release", release)]
