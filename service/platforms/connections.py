"""The connections to one platform, under httpx: httpcore's own, each for one request at a time.

httpcore's pool looks at all of its connections before each request and after it. Here the one that was used last is
the next one, and nobody looks at the others; how many there are is for `pace` to say.
"""

from __future__ import annotations

import ssl
import time
from collections import deque
from contextlib import suppress
from typing import Any

import httpcore
import httpx

KEPT = 5.0
"""Seconds that an unused connection is kept, as by httpx."""


class Connections(httpx.AsyncBaseTransport):
    """To one origin, without a proxy. Raises what httpx's own transport raises."""

    def __init__(self, certificates: ssl.SSLContext) -> None:
        self._certificates = certificates
        self._network = _Network()
        self._idle: deque[tuple[float, httpcore.AsyncHTTPConnection]] = deque()  # with the time of its last use

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer with its whole body: nobody here reads one in parts."""
        url = request.url
        asked = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        connection = await self._taken(asked.url.origin)
        try:
            answer = await connection.handle_async_request(asked)
            content = await answer.aread()
            await answer.aclose()
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise getattr(httpx, type(error).__name__)(str(error)) from error  # the names are the same
        finally:
            await self._put_back(connection)
        return httpx.Response(answer.status, headers=answer.headers, content=content)

    async def aclose(self) -> None:
        while self._idle:
            await self._idle.pop()[1].aclose()

    async def _taken(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        while self._idle and self._idle[0][0] < time.monotonic() - KEPT:
            await self._idle.popleft()[1].aclose()
        while self._idle:
            _, connection = self._idle.pop()
            if not connection.has_expired():  # the platform has not hung up
                return connection
            await connection.aclose()
        return httpcore.AsyncHTTPConnection(origin, self._certificates, network_backend=self._network)

    async def _put_back(self, connection: httpcore.AsyncHTTPConnection) -> None:
        if connection.is_closed():
            return
        if connection.is_idle():
            self._idle.append((time.monotonic(), connection))
        else:  # cancelled while the answer was being put away
            await connection.aclose()


class _Network(httpcore.AnyIOBackend):
    async def connect_tcp(self, *where: Any, **how: Any) -> httpcore.AsyncNetworkStream:
        return _InOnePiece(await super().connect_tcp(*where, **how))


class _InOnePiece(httpcore.AsyncNetworkStream):
    """Sends a request's head and body together, once its answer is waited for: httpcore writes them one by one, and a
    system call is dear."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._unsent: list[bytes] = []
        self._timeout: float | None = None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self._unsent.append(buffer)
        self._timeout = timeout

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        if self._unsent:
            whole = b"".join(self._unsent)
            self._unsent.clear()
            with suppress(httpcore.WriteError):  # as in httpcore: who hangs up early may have answered before
                await self._stream.write(whole, self._timeout)
        return await self._stream.read(max_bytes, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(self, *which: Any, **how: Any) -> httpcore.AsyncNetworkStream:
        return _InOnePiece(await self._stream.start_tls(*which, **how))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
