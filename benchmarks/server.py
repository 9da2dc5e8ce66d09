"""Both platforms, answered from what is rendered already: a process of its own, and never what is measured.

    python -m benchmarks.server WORLD [--latency-ms 40] [--requests-per-second 100]

WORLD is a folder of `benchmarks.world`. It prints its address once it is ready, and lives until its standard input
ends. Beside the platforms' calls, and neither counted nor slowed down:

    POST /bench/reset    the world as it was rendered
    POST /bench/edit     ?contacts=1000 of them get another phone
    POST /bench/pace     ?latency_ms=40&requests_per_second=0 (no limit) from now on; the counts begin at 0
    GET  /bench/count    what it did since then
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from collections import Counter
from email.utils import formatdate
from functools import cache
from http import HTTPStatus
from pathlib import Path

import httptools
import orjson
import uvloop

from benchmarks.platforms import Answer, DigitalOnboarding, OnVoard, Refused, Request, query_of


class Counts:
    """Times are of the machine's clock, so that others can set theirs beside it."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.limited = self.refused = self.read = self.written = 0
        self.first_write = self.last_write = 0.0
        self._cpu = time.process_time()

    def note(self, asked: Request, answer: Answer, at: float, latency: float) -> None:
        path = asked.path if asked.path.count("/") < 3 else asked.path.rpartition("/")[0] + "/:id"
        self.calls[f"{asked.method} {path}"] += 1
        self.refused += answer.status >= 400
        self.read += answer.read
        self.written += answer.written
        if answer.written:
            self.first_write = self.first_write or at
            self.last_write = at + latency

    def shown(self) -> dict[str, object]:
        return {
            "calls": self.calls,
            "requests": self.calls.total(),
            "limited": self.limited,
            "refused": self.refused,
            "read": self.read,
            "written": self.written,
            "first_write": self.first_write,
            "pushing": self.last_write - self.first_write,
            "server_cpu": time.process_time() - self._cpu,
        }


class Rate:
    """A bucket of a second's requests; 0 lets everything through."""

    def __init__(self, per_second: float) -> None:
        self.per_second, self._left, self._at = per_second, per_second, 0.0

    def takes(self, now: float) -> bool:
        if not self.per_second:
            return True
        self._left = min(self.per_second, self._left + (now - self._at) * self.per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Bench:
    """Who answers what, after how long."""

    def __init__(self, world: Path, latency_ms: float, requests_per_second: float) -> None:
        self.onvoard, self.digital = OnVoard(world), DigitalOnboarding()
        self.pace(latency_ms, requests_per_second)

    def pace(self, latency_ms: float, requests_per_second: float) -> None:
        self.latency, self.rate, self.counts = latency_ms / 1_000, Rate(requests_per_second), Counts()

    def respond(self, asked: Request) -> tuple[bytes, float]:
        """-> (the whole response, the seconds to wait before it is sent)"""
        if asked.path.startswith("/bench/"):
            return _response(self._control(asked)), 0.0
        now = time.time()
        if not self.rate.takes(now):
            self.counts.limited += 1
            return _response(Answer(429, b"{}"), b"Retry-After: 1\r\n"), self.latency
        platform = self.onvoard if asked.path.startswith("/v2/") else self.digital
        try:
            answer = platform.answer(asked)
        except Refused as refused:
            answer = refused.answer
        self.counts.note(asked, answer, now, self.latency)
        return _response(answer), self.latency

    def _control(self, asked: Request) -> Answer:
        match asked.method, asked.path:
            case "POST", "/bench/reset":
                self.onvoard.reset()
                self.digital.reset()
            case "POST", "/bench/edit":
                self.onvoard.edit(int(asked.query["contacts"]))
            case "POST", "/bench/pace":
                self.pace(float(asked.query["latency_ms"]), float(asked.query["requests_per_second"]))
            case "GET", "/bench/count":
                pass
            case _:
                return Answer(404, b"{}")
        return Answer(200, orjson.dumps(self.counts.shown()))


def _response(answer: Answer, more: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nDate: %b\r\n%bContent-Length: %d\r\n\r\n"
    phrase = HTTPStatus(answer.status).phrase.encode()
    return head % (answer.status, phrase, _date(int(time.time())), more, len(answer.body)) + answer.body


@cache
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


class Connection(asyncio.Protocol):
    """Requests of one keep-alive client, one after the other."""

    def __init__(self, bench: Bench) -> None:
        self._bench, self._parser = bench, httptools.HttpRequestParser(self)
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = transport.write  # type: ignore[attr-defined]
        self._close = transport.close

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._close()

    def on_message_begin(self) -> None:
        self._headers: dict[bytes, str] = {}
        self._url, self._body = b"", b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        path, _, query = self._url.decode().partition("?")
        header, method = self._headers.get, self._parser.get_method().decode()
        asked = Request(
            method, path, query_of(query), header(b"authorization", ""), header(b"x-api-key", ""), self._body
        )
        response, wait = self._bench.respond(asked)
        if wait:
            self._loop.call_later(wait, self._write, response)
        else:
            self._write(response)


async def serve(bench: Bench) -> None:
    """On any free port, until the parent closes our standard input: no server outlives its benchmark."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(bench), "127.0.0.1", 0, backlog=256)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--requests-per-second", type=float, default=0.0)
    asked = parser.parse_args()
    bench = Bench(asked.world, asked.latency_ms, asked.requests_per_second)
    gc.freeze()
    uvloop.run(serve(bench))


if __name__ == "__main__":
    main()
