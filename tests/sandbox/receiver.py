"""A webhook receiver on loopback that keeps what it got and answers as told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """`got` are (headers in lower case, raw body); `statuses` are answered in turn, then 200."""

    def __init__(self, statuses: list[int] | None = None, always: int | None = None) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.statuses = statuses or []
        self.always = always
        self.url = ""

    def events(self) -> list[Any]:
        """The bodies, decoded."""
        return [json.loads(body) for _, body in self.got]


@contextmanager
def receiving(receiver: Receiver) -> Iterator[Receiver]:
    """Listen while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append(({key.lower(): value for key, value in self.headers.items()}, body))
            self.send_response(receiver.always or (receiver.statuses.pop(0) if receiver.statuses else 200))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
