"""A fast stand-in for both platforms: whatever `contact-bridge backfill` asks for, and nothing else.

    python -m benchmarks.server --contacts 100000 --reviews 50000 --activities 200000 --latency-ms 0

It prints its address once it is ready. `GET /count` tells what it did so far: requests, and its own CPU seconds.
HTTP is the little that is needed for keep-alive clients, so that the clients are what is measured. For comparison
alone: the sandbox is the emulation that obeys every rule.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import time
from email.utils import formatdate
from functools import cache
from urllib.parse import parse_qsl

from benchmarks import world
from benchmarks.world import Records

TOKEN = {"access_token": "benchmark", "token_type": "bearer", "expires_in": 86_400}
EMPTY = {"/v1/templates": {"templates": []}, "/v1/objectives": {"objectives": []}, "/oauth2/token": TOKEN}


class Platforms:
    """Both platforms' answers, counted."""

    def __init__(self, contacts: int, reviews: int, activities: int, latency: float) -> None:
        self.lists = {
            "/v2/contacts": (world.contacts(contacts), "created_before", "created_after"),
            "/v2/reviews": (world.reviews(reviews), "created_before", "created_after"),
            "/v2/contact-activities": (world.activities(activities, contacts), "before", "after"),
        }
        self.latency = latency
        self.requests = 0

    def answer(self, target: str) -> bytes:
        """The whole response to a request for this path and query."""
        path, _, query = target.partition("?")
        if path == "/count":
            return _response(json.dumps({"requests": self.requests, "cpu": time.process_time()}).encode())
        self.requests += 1
        if path in EMPTY:
            return _response(json.dumps(EMPTY[path]).encode())
        records, before, after = self.lists.get(path, (NOTHING, "created_before", "created_after"))
        asked = {name: int(value) for name, value in parse_qsl(query)}
        size = min(asked.get("page_size", 10), 100)
        return _response(records.page(asked.get("page", 1), size, asked.get(before), asked.get(after)))


NOTHING = Records([], [])


def _response(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (_date(int(time.time())), len(body)) + body


@cache
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


class Connection(asyncio.Protocol):
    """Requests of one keep-alive client, one after the other."""

    def __init__(self, platforms: Platforms) -> None:
        self.platforms = platforms
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (head_ends := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:head_ends]
            whole = head_ends + 4 + _length(head)
            if len(self.buffer) < whole:
                return
            self.buffer = self.buffer[whole:]
            self._reply(self.platforms.answer(head.split(b" ", 2)[1].decode()))

    def _reply(self, response: bytes) -> None:
        write = self.transport.write  # type: ignore[attr-defined]
        if self.platforms.latency:
            asyncio.get_running_loop().call_later(self.platforms.latency, write, response)
        else:
            write(response)


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.split(b"\r\n", 1)[0] or 0)


async def serve(platforms: Platforms) -> None:
    """On any free port, until the parent closes our standard input: no server outlives its benchmark."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(platforms), "127.0.0.1", 0, backlog=256)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("contacts", "reviews", "activities"):
        parser.add_argument(f"--{name}", type=int, default=1_000)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    asked = parser.parse_args()
    platforms = Platforms(asked.contacts, asked.reviews, asked.activities, asked.latency_ms / 1_000)
    gc.freeze()  # the world stays: the collector need not look at it during a measurement
    asyncio.run(serve(platforms))


if __name__ == "__main__":
    main()
