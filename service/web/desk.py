"""What every page of the dashboard stands on: who may see it and act on it, the mirror, and the templates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qs

import structlog
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from service import telemetry
from service.bridge import Bridge
from service.errors import BridgeError, Busy, DatabaseError, NobodyFound, PlatformError
from service.logs import place
from service.store.database import Connection
from service.text import SIDES, duration
from service.web import showing
from service.web.access import is_from_here, is_local
from service.web.session import Sessions

log = structlog.get_logger("service.web")
T = TypeVar("T")
Form = Mapping[str, str]
Look = Callable[[Request], Awaitable[Response]]
Act = Callable[[Request, Form], Awaitable[Response]]

LARGEST = 64 * 1024
"""Bytes of a form."""
PATIENCE = 10.0
"""Seconds for which a form waits until the jobs at work are done."""
NO_TOKEN = (
    "Nothing can be changed from here, because no token is configured: set BRIDGE_WEB__TOKEN (or web.token) to a long "
    "random text, start the daemon again, and sign in with it."
)
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_TEMPLATES = Path(__file__).parent / "templates"


class Work(Protocol):
    """The daemon's jobs (`service.schedule.Schedule`)."""

    @property
    def is_running(self) -> bool: ...
    def release(self) -> None: ...
    def turns(self) -> list[dict[str, Any]]: ...
    def writing(self, wait: float = 0.0) -> AbstractAsyncContextManager[None]: ...


class Refused(Exception):
    """Answered with a page that says why."""

    def __init__(self, status: int, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.status, self.why, self.hint = status, why, hint


class Desk:
    def __init__(self, bridge: Bridge, work: Work) -> None:
        self.work = work
        self.use(bridge)
        self._templates = Environment(
            loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True, finalize=showing.shown,
        )  # fmt: skip
        self._templates.filters |= {"duration": duration, "words": showing.words, "tally": showing.tally}
        self._templates.globals |= {"SIDES": SIDES}

    def use(self, bridge: Bridge) -> None:
        """From the next request on."""
        self.bridge, self.settings = bridge, bridge.settings
        self.sessions = Sessions(bridge.settings.web.token, bridge.now)

    # --- routes

    def page(self, path: str, look: Look) -> Route:
        """Whoever may read."""

        async def answer(request: Request) -> Response:
            if not self.may_read(request):
                return to("/login")
            return await look(request)

        return Route(path, self._guarded(answer), methods=["GET"])

    def question(self, path: str, ask: Act) -> Route:
        """A form that changes nothing: what is asked has to stay out of the address, as it names people."""

        async def answer(request: Request) -> Response:
            if not self.may_read(request):
                return to("/login")
            return await ask(request, await form_of(request))

        return Route(path, self._guarded(answer), methods=["POST"])

    def action(self, path: str, act: Act) -> Route:
        """Whoever has signed in, from a form of their own session."""

        async def answer(request: Request) -> Response:
            if not self.sessions.possible:
                raise Refused(403, NO_TOKEN)
            session = self.sessions.of(request)
            if session is None:
                raise Refused(403, "This needs the token: sign in, and do it again.")
            form = await form_of(request)
            if not self.sessions.is_form_token(session, form.get("form_token", "")):
                raise Refused(403, "This form is of another session: open its page again.")
            return await act(request, form)

        return Route(path, self._guarded(answer), methods=["POST"])

    def open(self, path: str, methods: list[str], answer: Look) -> Route:
        """Anybody: the way in."""
        return Route(path, self._guarded(answer), methods=methods)

    def may_read(self, request: Request) -> bool:
        return is_local(self.settings, request) or self.sessions.of(request) is not None

    def _guarded(self, answer: Look) -> Look:
        async def guarded(request: Request) -> Response:
            try:
                if request.method == "POST" and not is_from_here(request):
                    raise Refused(403, "This form was sent from another site.")
                return await answer(request)
            except Refused as refused:
                return self._refused(request, refused)
            except HTTPException as error:
                return self._refused(request, Refused(error.status_code, error.detail))
            except BridgeError as error:
                return self._refused(request, Refused(_status(error), str(error), error.hint))
            except Exception as error:
                log.error("page failed", error=f"unexpected {type(error).__name__}{place(error)}")
                telemetry.defect(error, part="web")
                return self._refused(request, Refused(500, "This page has a defect; the log says where."))

        return guarded

    def _refused(self, request: Request, refused: Refused) -> Response:
        return self.render(request, "refused.html", refused.status, why=refused.why, hint=refused.hint)

    # --- what they answer with

    def render(self, request: Request, name: str, code: int = 200, **context: Any) -> Response:
        session = self.sessions.of(request)
        form_token = self.sessions.form_token(session) if session is not None else ""
        page = self._templates.get_template(name).render(
            path=request.url.path, signed_in=session is not None, can_sign_in=self.sessions.possible,
            form_token=form_token, may_read=self.may_read(request), no_token=NO_TOKEN, **context,
        )  # fmt: skip
        # What no text has (a lone surrogate) would end the page.
        return HTMLResponse(page.encode("utf-8", "replace"), code, HEADERS)

    def done(self, request: Request, what: str, back: str) -> Response:
        """After an action: what it came to, and the way back."""
        return self.render(request, "done.html", what=what, back=back)

    # --- the mirror

    async def read(self, look: Callable[[Connection], T]) -> T:
        return await self.bridge.db.read(look)

    async def decide(self, work: Callable[[Connection], T]) -> T:
        """`work` in one transaction, while nobody else decides anything. Raises Busy."""
        async with self.work.writing(PATIENCE):
            return await self.bridge.db.run(work)


def to(path: str) -> RedirectResponse:
    return RedirectResponse(path, 303, HEADERS)


async def form_of(request: Request) -> Form:
    """The fields of a form, each once. Refused (413) where it is too large."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST:
                raise Refused(413, "This form is too large.")
    except ClientDisconnect:
        raise Refused(400, "The form broke off.") from None
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=50)
    except ValueError:
        raise Refused(400, "This is no form.") from None
    return {name: values[0] for name, values in fields.items()}


def row_id(request: Request) -> int:
    """The number in a path. Refused (404) for one that no database has."""
    found = int(request.path_params["id"])
    if found >= 2**63:
        raise Refused(404, "There is no such page.")
    return found


def after(request: Request) -> int:
    """The last number of the page before; 0 on the first."""
    given = request.query_params.get("after", "")
    return int(given) if given.isascii() and given.isdecimal() and len(given) < 19 else 0


def _status(error: BridgeError) -> int:
    if isinstance(error, NobodyFound):
        return 404
    if isinstance(error, DatabaseError):
        return 503
    if isinstance(error, Busy):
        return 409
    return 502 if isinstance(error, PlatformError) else 409
