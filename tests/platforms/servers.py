"""Servers that answer as the tests tell them, over real HTTP. They share no code with the clients."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


@dataclass
class Seen:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Reply = Response | Callable[[Seen], Response]


def reply(data: object = None, status: int = 200, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(json.dumps(data), status, named, media_type="application/json")


@dataclass
class Fake:
    """Answers each request with the next of `replies`, the last one for ever; `routes` (by path) come first."""

    url: str = ""
    replies: list[Reply] = field(default_factory=list)
    routes: dict[str, Reply] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def answers(self, *replies: Reply) -> None:
        self.replies, self.seen = list(replies), []

    def to(self, path: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.path == path]

    async def handle(self, request: Request) -> Response:
        seen = Seen(
            request.method,
            request.scope["raw_path"].decode(),
            dict(request.query_params),
            dict(request.headers),
            await request.body(),
        )
        self.seen.append(seen)
        answer = self.routes.get(seen.path) or (self.replies.pop(0) if len(self.replies) > 1 else self.replies[0])
        return answer if isinstance(answer, Response) else answer(seen)


@contextmanager
def served(fake: Fake) -> Iterator[Fake]:
    methods = ["GET", "POST", "PATCH", "DELETE"]
    app = Starlette(routes=[Route("/{path:path}", fake.handle, methods=methods)])
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    fake.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", date_header=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield fake
    server.should_exit = True
    thread.join(5)
    listener.close()


@dataclass
class Rude:
    """A server that takes a whole request, sends `parts[n]` as they are, waits `pause` seconds and hangs up."""

    url: str = ""
    parts: list[bytes] = field(default_factory=list)
    pause: float = 0.0
    requests: int = 0


@contextmanager
def rudely_served(*parts: bytes, pause: float = 0.0) -> Iterator[Rude]:
    """The first connection gets the first part, and so on; the last part is for all that follow."""
    listener = socket.create_server(("127.0.0.1", 0))
    rude = Rude(f"http://127.0.0.1:{listener.getsockname()[1]}", list(parts), pause)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                part = rude.parts[min(rude.requests, len(rude.parts) - 1)]
                rude.requests += 1
                if part:
                    connection.sendall(part)
                time.sleep(rude.pause)

    threading.Thread(target=serve, daemon=True).start()
    yield rude
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def whole(body: bytes, status: str = "200 OK") -> bytes:
    head = ("HTTP/1.1 " + status, "Content-Type: application/json", "Connection: close", f"Content-Length: {len(body)}")
    return "\r\n".join((*head, "", "")).encode() + body


def half(body: bytes) -> bytes:
    return whole(body)[: -max(1, len(body) // 2)]
