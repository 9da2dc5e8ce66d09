"""`GET /`: the dashboard. Server-rendered pages without any script; signing in and out; the style sheet."""

from __future__ import annotations

import asyncio
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from service.bridge import Bridge
from service.web.desk import HEADERS, Desk, Work, form_of, to
from service.web.pages import brake, conflicts, erasure, jobs, outbox, overview, people, rules

WRONG = 1.0
"""Seconds after which a wrong token is answered; one such answer at a time."""
_STATIC = Path(__file__).parent / "static"
_FILES = {"style.css": "text/css", "icon.svg": "image/svg+xml"}
_PAGES = (overview, jobs, outbox, conflicts, brake, rules, people, erasure)


class Dashboard:
    def __init__(self, bridge: Bridge, work: Work, wrong: float = WRONG) -> None:
        self._desk, self._wrong, self._one_at_a_time = Desk(bridge, work), wrong, asyncio.Lock()
        self.routes: list[BaseRoute] = [route for page in _PAGES for route in page.routes(self._desk)]
        self.routes += [
            self._desk.open("/login", ["GET"], self._ask),
            self._desk.open("/login", ["POST"], self._sign_in),
            self._desk.action("/logout", self._sign_out),
            Mount("/static", routes=[Route("/{name}", _static)]),
        ]

    def use(self, bridge: Bridge) -> None:
        """From the next request on."""
        self._desk.use(bridge)

    async def _ask(self, request: Request) -> Response:
        return self._desk.render(request, "login.html", wrong=False)

    async def _sign_in(self, request: Request) -> Response:
        form, sessions = await form_of(request), self._desk.sessions
        if not sessions.is_token(form.get("token", "")):
            async with self._one_at_a_time:
                await asyncio.sleep(self._wrong)
            return self._desk.render(request, "login.html", 403, wrong=True)
        answer = to("/")
        sessions.begin(request, answer)
        return answer

    async def _sign_out(self, request: Request, _: object) -> Response:
        answer = to("/login")
        self._desk.sessions.end(answer)
        return answer


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _FILES:
        return Response(status_code=404, headers=HEADERS)
    headers = HEADERS | {"Cache-Control": "max-age=300"}
    return FileResponse(_STATIC / name, media_type=_FILES[name], headers=headers)
