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
    answer: bytes = GOOD, pause: Callable[[], Awaitable[object]] | None = None, tls: ssl.SSLContext | None = None,
    *, pieces: int = 1, hangs_up: bool = False,
) -> AsyncIterator[Server]:  # fmt: skip
    """Each request gets this answer, in so many `pieces`, each after a `pause`."""
    seen, size = Server(), -(-len(answer) // pieces)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pieces: list[bytes] = []
        seen.reads.append(pieces)
        seen.writers.append(writer)
        while piece := await reader.read(2**16):
            pieces.append(piece)
            for start in range(0, len(answer), size):
                if pause is not None:
                    await pause()
                writer.write(answer[start : start + size])
            if hangs_up:
                break
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


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
async def test_a_request_over_a_connection_that_breaks_is_not_repeated_here(method: str) -> None:
    """Whether it is harmless is for the caller to know, and each attempt counts."""
    asked = 0

    async def pause() -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            server.writers[-1].close()

    async with served(pause=pause) as server, client(server) as transport:
        await transport.request(READ)
        with pytest.raises(errors.OutcomeUnknown):
            await transport.request(Call.of(method, "/v2/things", safe=False))
    assert [len(pieces) for pieces in server.reads] == [2]


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_a_request_that_the_platform_does_not_take_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # which accepts nobody
        limits = Limits(attempts=1, connect_timeout=0.1, read_timeout=0.1)
        transport = Transport("onvoard", f"http://127.0.0.1:{listener.getsockname()[1]}", limits=limits)
        with pytest.raises(errors.OutcomeUnknown, match="ReadTimeout"):
            await asyncio.wait_for(transport.request(WRITE, json={"name": "x" * 20_000_000}), 5)
        await transport.aclose()


async def test_nothing_was_sent_before_a_connection_is_secure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # which accepts nobody
        limits = Limits(attempts=1, connect_timeout=0.1)
        transport = Transport("onvoard", f"https://127.0.0.1:{listener.getsockname()[1]}", limits=limits)
        with pytest.raises(errors.Unreachable, match="ConnectTimeout"):
            await write(transport)
        await transport.aclose()


async def test_a_promise_is_no_answer() -> None:
    answer = b"HTTP/1.1 102 Processing\r\n\r\n"
    async with served(answer) as server, client(server, connect_timeout=0.1, read_timeout=0.1) as transport:
        with pytest.raises(errors.OutcomeUnknown, match="ReadTimeout"):
            await asyncio.wait_for(write(transport), 5)


async def test_a_connection_is_not_kept_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "KEPT", 0.02)
    async with served() as server, client(server) as transport:
        await asyncio.gather(transport.request(READ), transport.request(READ))
        await asyncio.sleep(0.05)
        await transport.request(READ)
        assert [writer.transport.is_closing() for writer in server.writers] == [True, True, False]


async def test_no_connection_is_kept_in_the_end() -> None:
    async with served() as server:
        async with client(server) as transport:
            await transport.request(READ)
        await asyncio.sleep(0.02)
        assert server.writers[0].transport.is_closing()


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
        GOOD.replace(b"OK\r\n", b"OK\r\nX-Long: %b\r\n" % (b"x" * 50_000) + b"X-Many: x\r\n" * 500),
    ],
    ids=["chunked", "gzip", "early hints", "much in advance"],
)
async def test_each_way_to_send_a_body_is_read(answer: bytes) -> None:
    async with served(answer) as server, client(server) as transport:
        for _ in range(2):
            assert (await transport.request(READ)).data == {"id": "t-1"}
    assert len(server.reads) == 1


async def test_no_cookie_comes_back() -> None:
    async with served(GOOD.replace(b"OK\r\n", b"OK\r\nSet-Cookie: a=b; Path=/\r\n")) as server:
        server.url = server.url.replace("127.0.0.1", "localhost")  # of an address alone none is kept
        async with client(server) as transport:
            for _ in range(2):
                await transport.request(READ)
    assert b"cookie:" not in b"".join(server.reads[0]).lower()


async def test_a_body_of_unknown_length_ends_where_the_platform_hangs_up() -> None:
    answer = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"id": "t-1"}'
    async with served(answer, hangs_up=True) as server, client(server) as transport:
        for _ in range(2):
            assert (await transport.request(READ)).data == {"id": "t-1"}
    assert len(server.reads) == 2


@pytest.mark.parametrize(
    "answer", [GOOD + GOOD.replace(b"t-1", b"t-2"), GOOD.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")],
    ids=["more than was asked for", "the last one"],
)  # fmt: skip
async def test_a_connection_over_which_nothing_else_can_be_asked_is_not_used_again(answer: bytes) -> None:
    async with served(answer) as server, client(server) as transport:
        for _ in range(2):
            assert (await transport.request(READ)).data == {"id": "t-1"}
    assert len(server.reads) == 2


async def test_what_comes_unasked_is_nobody_s_answer() -> None:
    async with served() as server, client(server) as transport:
        await transport.request(READ)
        server.writers[0].write(GOOD.replace(b"t-1", b"t-2"))
        await asyncio.sleep(0.02)
        assert (await transport.request(READ)).data == {"id": "t-1"}
    assert len(server.reads) == 2


async def test_an_answer_may_take_long_as_long_as_it_moves() -> None:
    moving = served(pause=lambda: asyncio.sleep(0.1), pieces=4)
    async with moving as server, client(server, read_timeout=0.3) as transport:
        assert (await write(transport)).data == {"id": "t-1"}
    standing = served(pause=lambda: asyncio.sleep(0.5), pieces=2)
    async with standing as server, client(server, read_timeout=0.3) as transport:
        with pytest.raises(errors.OutcomeUnknown, match="ReadTimeout"):
            await write(transport)


async def test_an_upgrade_that_nobody_asked_for_is_no_answer() -> None:
    answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    async with served(answer) as server, client(server) as transport:
        with pytest.raises(errors.OutcomeUnknown, match="RemoteProtocolError"):
            await write(transport)


async def test_who_is_not_there_is_unreachable_and_no_address_is_named() -> None:
    async with served() as server:
        pass
    async with client(server) as transport:
        with pytest.raises(errors.Unreachable, match="ConnectError: Connection refused") as caught:
            await write(transport)
    assert "127.0.0.1" not in str(caught.value)


async def test_a_body_that_does_not_decompress_is_garbled() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\noops"
    async with served(answer) as server, client(server) as transport:
        with pytest.raises(errors.Garbled, match="does not decompress"):
            await transport.request(READ)


def certified(issued_for: str, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """What a server shows to a transport that trusts whoever has issued it."""
    authority = trustme.CA()
    mine, theirs = ssl.create_default_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure_trust(mine)
    authority.issue_cert(issued_for).configure_cert(theirs)
    monkeypatch.setattr(transport, "_certificates", lambda: mine)
    return theirs


@pytest.mark.parametrize("issued_for", ["127.0.0.1", "another.example"])
async def test_over_tls_only_the_platform_itself_is_talked_to(
    issued_for: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = certified(issued_for, monkeypatch)
    async with served(tls=theirs) as server, client(server) as platform:
        if issued_for == "127.0.0.1":
            for _ in range(3):
                assert (await write(platform)).data == {"id": "t-1"}
            assert [b"".join(pieces).count(b"POST") for pieces in server.reads] == [3]
        else:
            with pytest.raises(errors.Unreachable, match="certificate"):
                await write(platform)
            assert server.reads == []


@asynccontextmanager
async def tunnelling(server: Server) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A proxy through which everything leads to this server: its URL, and what it was asked for."""
    asked: list[bytes] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(2**16):
                writer.write(piece)
        writer.close()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        there = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pipe(reader, there[1]), pipe(there[0], writer))

    proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0, family=socket.AF_INET)
    yield f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}", asked
    proxy.close()
    await asyncio.sleep(0.02)  # for those who hang up


@pytest.mark.parametrize("issued_for", ["onvoard.example", "another.example"])
async def test_through_a_proxy_of_the_environment_only_the_platform_itself_is_talked_to(
    issued_for: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = certified(issued_for, monkeypatch)
    async with served(tls=theirs) as server, tunnelling(server) as (proxy, asked):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@{proxy}")
        platform = Transport("onvoard", "https://onvoard.example", limits=Limits(attempts=1))
        if issued_for == "onvoard.example":
            for _ in range(3):
                assert (await write(platform)).data == {"id": "t-1"}
            (head,) = asked
            assert head.startswith(b"CONNECT onvoard.example:443 ")
            assert b"\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n" in head
            assert b"Proxy-" not in b"".join(server.reads[0])
        else:
            with pytest.raises(errors.Unreachable, match="certificate"):
                await write(platform)
        await platform.aclose()


@pytest.mark.parametrize(
    ("variables", "asked"),
    [
        ({"ALL_PROXY": "http://%s"}, True),
        ({"HTTPS_PROXY": "%s"}, True),
        ({"HTTP_PROXY": "http://%s"}, False),
        ({"ALL_PROXY": "http://%s", "NO_PROXY": "localhost,.onvoard.invalid"}, False),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, dict) else "",
)
async def test_whether_a_proxy_is_asked_is_for_the_environment_to_say(
    variables: dict[str, str], asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a proxy that refuses has passed nothing on."""
    async with served(b"HTTP/1.1 407 Authenticate\r\nContent-Length: 0\r\n\r\n") as proxy:
        for name, value in variables.items():
            monkeypatch.setenv(name, value.replace("%s", proxy.url.removeprefix("http://")))
        platform = Transport("onvoard", "https://api.onvoard.invalid", limits=Limits(attempts=1))
        with pytest.raises(errors.Unreachable, match="ProxyError" if asked else "ConnectError"):
            await write(platform)
        await platform.aclose()
    assert len(proxy.reads) == asked


@pytest.mark.parametrize(
    "value", ["socks5://127.0.0.1:1080", "http://me:sec/ret@proxy.invalid:3128", "proxy.invalid:port", "http://:3128"]
)
def test_a_proxy_that_none_can_be_asked_by_is_refused_and_not_quoted(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(errors.UsageError, match="HTTPS_PROXY") as refused:
        Transport("onvoard", "https://api.onvoard.invalid")
    assert "sec/ret" not in str(refused.value) and value not in str(refused.value)
    assert refused.value.exit_code == 2


async def test_no_proxy_leads_to_one_s_own_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as proxy, served() as server:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        async with client(server) as transport:
            await transport.request(READ)
        assert len(server.reads) == 1 and not proxy.reads
