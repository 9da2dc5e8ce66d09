"""How fast the server is by itself: a bare loop that asks for pages and throws them away."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlsplit

CONNECTIONS = 8


async def pages_per_second(base_url: str, pages: int) -> float:
    """Over as many connections as the bridge keeps busy."""
    started = time.perf_counter()
    await asyncio.gather(*(_ask(base_url, range(n + 1, pages + 1, CONNECTIONS)) for n in range(CONNECTIONS)))
    return pages / (time.perf_counter() - started)


async def _ask(base_url: str, numbers: range) -> None:
    address = urlsplit(base_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=2**20)
    for number in numbers:
        writer.write(b"GET /v2/contacts?page=%d&page_size=100 HTTP/1.1\r\nHost: bench\r\n\r\n" % number)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]))
    writer.close()
    await writer.wait_closed()
