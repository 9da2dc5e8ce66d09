"""Connections are kept for the next request, and none is used that may be broken."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
import trustme

from service import errors
from service.platforms import connections, transport
from service.platforms.transport import Answer, Call, Limits, Transport

READ = Call.of("GET", "/v2/things/:thing_id", "t1", safe=True)
WRITE = Call.of("POST", "/v2/things", safe=False)
GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"id": "t-1"}'


@dataclass
class Server:
    """`reads[n]`: what came in one piece over connection n, request by request."""

    url: str = ""
    reads: list[list[bytes]] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)


@asynccontextmanager
async def served(
    answer: bytes = GOOD, pause: Callable[[], Awaitable[object]] | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    seen = Server()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pieces: list[bytes] = []
        seen.reads.append(pieces)
        seen.writers.append(writer)
        while piece := await reader.read(2**16):
            pieces.append(piece)
            if pause is not None:
                await pause()
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, family=socket.AF_INET, ssl=tls)
    seen.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield seen
    server.close()
    for writer in seen.writers:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def client(server: Server, **limits: float) -> AsyncIterator[Transport]:
    transport = Transport("onvoard", server.url, limits=Limits(requests_per_second=None, attempts=1, **limits))  # type: ignore[arg-type]
    yield transport
    await transport.aclose()


async def write(transport: Transport) -> Answer:
    return await transport.request(WRITE, json={"name": "Jane"})


async def test_requests_one_after_the_other_share_a_connection() -> None:
    async with served() as server, client(server) as transport:
        for _ in range(3):
            assert (await transport.request(READ)).data == {"id": "t-1"}
    assert [len(pieces) for pieces in server.reads] == [3]


async def test_requests_at_the_same_time_have_a_connection_each_and_no_more() -> None:
    async with served(pause=lambda: asyncio.sleep(0.02)) as server, client(server, max_in_flight=4) as transport:
        for _ in range(2):
            await asyncio.gather(*(transport.request(READ) for _ in range(8)))
    assert len(server.reads) == 4


async def test_a_connection_that_the_platform_has_closed_meanwhile_is_not_used() -> None:
    """A write that must not be repeated would else be of unknown outcome."""
    async with served() as server, client(server) as transport:
        await write(transport)
        server.writers[0].close()
        await asyncio.sleep(0.02)
        assert (await write(transport)).status == 200
    assert [len(pieces) for pieces in server.reads] == [1, 1]


async def test_a_connection_is_not_kept_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "KEPT", 0.02)
    async with served() as server, client(server) as transport:
        await asyncio.gather(transport.request(READ), transport.request(READ))
        await asyncio.sleep(0.05)
        await transport.request(READ)
        assert [writer.transport.is_closing() for writer in server.writers] == [True, True, False]


async def test_nobody_gets_the_answer_to_a_request_that_was_cancelled() -> None:
    asked, released = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        asked.set()
        await released.wait()

    async with served(pause=pause) as server, client(server) as transport:
        first = asyncio.create_task(write(transport))
        await asked.wait()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        released.set()
        await write(transport)
    assert [len(pieces) for pieces in server.reads] == [1, 1]


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{"id":\r\n7\r\n "t-1"}\r\n0\r\n\r\n',
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
        % (len(gzip.compress(b'{"id": "t-1"}')), gzip.compress(b'{"id": "t-1"}')),
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + GOOD,
    ],
    ids=["chunked", "gzip", "early hints"],
)
async def test_each_way_to_send_a_body_is_read(answer: bytes) -> None:
    async with served(answer) as server, client(server) as transport:
        for _ in range(2):
            assert (await transport.request(READ)).data == {"id": "t-1"}
    assert len(server.reads) == 1


async def test_a_body_that_does_not_decompress_is_garbled() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\noops"
    async with served(answer) as server, client(server) as transport:
        with pytest.raises(errors.Garbled, match="does not decompress"):
            await transport.request(READ)


@pytest.mark.parametrize("issued_for", ["127.0.0.1", "another.example"])
async def test_over_tls_only_the_platform_itself_is_talked_to(
    issued_for: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    mine, theirs = ssl.create_default_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure_trust(mine)
    authority.issue_cert(issued_for).configure_cert(theirs)
    monkeypatch.setattr(transport, "_certificates", lambda: mine)
    async with served(tls=theirs) as server, client(server) as platform:
        if issued_for == "127.0.0.1":
            for _ in range(3):
                assert (await write(platform)).data == {"id": "t-1"}
            assert [b"".join(pieces).count(b"POST") for pieces in server.reads] == [3]
        else:
            with pytest.raises(errors.Unreachable, match="certificate"):
                await write(platform)
            assert server.reads == []


async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not towards one's own machine."""
    async with served() as proxy, served() as server:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        async with client(server) as transport:
            await transport.request(READ)
        assert len(server.reads) == 1 and not proxy.reads
        away = Transport("onvoard", "https://onvoard.example", limits=Limits(attempts=1))
        with pytest.raises(errors.PlatformError):
            await away.request(READ)
        await away.aclose()
        assert proxy.reads[0][0].startswith(b"CONNECT onvoard.example:443 ")
