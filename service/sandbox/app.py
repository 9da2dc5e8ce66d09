"""The ASGI application of one emulated platform: routing, faults, journal, and nothing of what a platform means."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable
from typing import Any

from starlette.requests import Request
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from service.sandbox import transports
from service.sandbox.clock import Clock, http_date
from service.sandbox.exchange import Call, Handler, Refusal, Reply
from service.sandbox.faults import Fault, Faults
from service.sandbox.journal import WRITES, Journal

Route = tuple[str, str, Handler]
TOKEN_PATH = "/oauth2/token"


class PlatformApp:
    """Answers HTTP for one platform.

    `routes` are (method, path pattern in Starlette's notation, handler). `guard` sees every call first and raises
    Refusal where the caller may not make it. `admin` answers what lies under `/_sandbox`, past guard, faults, journal.
    Handlers run one at a time under `lock`, so that console calls from other threads never see half a write.
    """

    def __init__(
        self,
        name: str,
        routes: Iterable[Route],
        guard: Callable[[Call], None],
        admin: Handler,
        shared: tuple[Clock, Journal, Faults],
        lock: threading.RLock,
    ) -> None:
        self.name = name
        self._routes = [(method, compile_path(path)[0], handler) for method, path, handler in routes]
        self._guard = guard
        self._admin = admin
        self._clock, self._journal, self._faults = shared
        self._lock = lock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        query = dict(request.query_params.multi_items())
        headers = {key.lower(): value for key, value in request.headers.items()}
        call = Call(request.method, scope["path"], {}, query, headers, await request.body())
        if call.path.startswith("/_sandbox"):
            await self._send(send, await asyncio.to_thread(self._attempt, self._admin, call))
            return
        fault = self._faults.take(self.name, call.method, call.path, call.body)
        reply, took_effect = await self._respond(call, fault)
        self._record(call, reply, took_effect, fault)
        await self._deliver(scope, send, reply, fault)
        if fault is not None and fault.cuts:
            # Until uvicorn has noticed, it would answer 500 for a request that got no answer.
            while (await receive())["type"] != "http.disconnect":
                pass

    async def _respond(self, call: Call, fault: Fault | None) -> tuple[Reply, bool]:
        if fault is None:
            reply = self._attempt(self._dispatch, call)
            return reply, reply.status < 400
        if fault.action is not None:
            await asyncio.to_thread(fault.action)
        if not fault.after_effect:
            await asyncio.sleep(fault.seconds)
        if fault.prevents:
            return fault.reply(self._clock.now()), False
        reply = self._attempt(self._dispatch, call)
        if fault.after_effect:
            await asyncio.sleep(fault.seconds)
        shown = fault.reply(self._clock.now()) if fault.kind == "status" else reply
        return shown, reply.status < 400

    def _attempt(self, handler: Handler, call: Call) -> Reply:
        try:
            with self._lock:
                return handler(call)
        except Refusal as refusal:
            return Reply(refusal.status, refusal.payload)

    def _dispatch(self, call: Call) -> Reply:
        self._guard(call)
        allowed = False
        for method, pattern, handler in self._routes:
            match = pattern.match(call.path)
            if match is None:
                continue
            allowed = True
            if method == call.method:
                parts = match.groupdict()
                return handler(Call(call.method, call.path, parts, call.query, call.headers, call.body))
        raise Refusal(405, "Method not allowed.") if allowed else Refusal(404, "Not found.")

    def _record(self, call: Call, reply: Reply, took_effect: bool, fault: Fault | None) -> None:
        is_token = call.path == TOKEN_PATH
        is_reset = fault is not None and fault.kind.startswith("reset")
        self._journal.record(
            self.name,
            call.method,
            call.path,
            0 if is_reset else reply.status,
            # A token request carries the secret: the journal is no place for it.
            body=_decoded(call.body) if call.method in WRITES and not is_token else None,
            query={} if is_token else dict(call.query),
            at=self._clock.now(),
            took_effect=took_effect,
            fault=fault.kind if fault is not None else None,
            is_token=is_token,
        )

    async def _deliver(self, scope: Scope, send: Send, reply: Reply, fault: Fault | None) -> None:
        kind = fault.kind if fault is not None else ""
        if kind.startswith("reset"):
            transports.reset(scope)
        elif kind == "truncate":
            await self._send(send, reply, cut=True)
            transports.close(scope)
        elif kind == "malformed":
            await self._send(send, Reply(reply.status, b'{"results": [{"id": oops', reply.headers))
        else:
            await self._send(send, reply)

    async def _send(self, send: Send, reply: Reply, cut: bool = False) -> None:
        raw = reply.payload if isinstance(reply.payload, bytes) else json.dumps(reply.payload).encode()
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(raw)),
            "Date": http_date(self._clock.now()),
            **reply.headers,
        }
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": pairs})
        body = raw[: len(raw) // 2] if cut else raw
        await send({"type": "http.response.body", "body": body, "more_body": cut})


def _decoded(body: bytes) -> Any:
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")
