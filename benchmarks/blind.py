"""How fast the server is by itself: somebody who asks for pages and throws them away.

    python -m benchmarks.blind URL PAGES LAST       so many PAGES, again from 1 after LAST; prints pages per second
"""

from __future__ import annotations

import asyncio
import sys
import time
from urllib.parse import urlsplit

import uvloop

from benchmarks.platforms import API_KEY

CONNECTIONS = 8
"""As many as the bridge keeps busy."""
_REQUEST = "GET /v2/contacts?page=%d&page_size=100 HTTP/1.1\r\nHost: bench\r\nX-API-Key: " + API_KEY + "\r\n\r\n"


async def pages_per_second(base_url: str, pages: int, last: int) -> float:
    started = time.perf_counter()
    shares = [[at % last + 1 for at in range(n, pages, CONNECTIONS)] for n in range(CONNECTIONS)]
    await asyncio.gather(*(_ask(base_url, share) for share in shares))
    return pages / (time.perf_counter() - started)


async def _ask(base_url: str, numbers: list[int]) -> None:
    address = urlsplit(base_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=2**20)
    for number in numbers:
        writer.write((_REQUEST % number).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]))
    writer.close()
    await writer.wait_closed()


if __name__ == "__main__":
    print(uvloop.run(pages_per_second(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
