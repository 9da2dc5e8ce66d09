"""The connections to one platform, under httpx: aiohttp's, which parses in C. httpx's own take twice as long as all the
rest of a request does.

How many there are is for `pace` to say, and whether a request is repeated for `transport`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl

import aiohttp
import httpx
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

KEPT = 5.0
"""Seconds that an unused connection is kept, as by httpx."""
LONGEST_HEADER = 100 * 1024  # as by httpx
MOST_HEADERS = 1000


class Connections(httpx.AsyncBaseTransport):
    """Times are in seconds. Raises what httpx's own transport raises."""

    def __init__(
        self, certificates: ssl.SSLContext, *, connect_timeout: float, read_timeout: float, proxy: str | None = None
    ) -> None:
        self._certificates, self._proxy = certificates, proxy
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout, sock_read=read_timeout)
        self._until_answered = connect_timeout + 2 * read_timeout
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer with its whole body: nobody here reads one in parts."""
        if self._session is None:
            self._session = self._opened()  # now that there is a running loop
        answer = await self._session.request(
            request.method,
            URL(str(request.url), encoded=True),
            headers=[(name.decode(), value.decode()) for name, value in request.headers.raw],
            data=request.content or None,
            allow_redirects=False,
        )
        return httpx.Response(answer.status, headers=answer.raw_headers, content=await answer.read())

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=_Connector(limit=0, keepalive_timeout=KEPT, ssl=self._certificates),
            timeout=self._timeout,
            proxy=self._proxy,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # httpx does, and says where it fails
            max_line_size=LONGEST_HEADER,
            max_field_size=LONGEST_HEADER,
            max_headers=MOST_HEADERS,
            middlewares=(self._exchange,),
        )

    async def _exchange(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Within aiohttp, which repeats GET and DELETE upon errors of its own: it sees none of them."""
        try:
            # `sock_read` begins once all of the request is sent, and ends with a 102.
            async with asyncio.timeout(self._until_answered):
                answer = await send(request)
            if answer.status < 200:
                answer.close()
                raise httpx.RemoteProtocolError("")  # what follows is no HTTP
            await answer.read()
        except (aiohttp.ClientError, OSError) as error:
            raise _as_httpx(error) from error
        return answer


class _Connector(aiohttp.TCPConnector):
    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout  # noqa: ASYNC109
    ) -> Connection:  # fmt: skip
        """None over which something came unasked: aiohttp would take it for the answer."""
        while True:
            connection = await super().connect(req, traces, timeout)
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            connection.close()


def _as_httpx(error: aiohttp.ClientError | OSError) -> httpx.TransportError:
    match error:
        case aiohttp.ClientConnectorError():
            return httpx.ConnectError(_why(error))
        case aiohttp.ConnectionTimeoutError():
            return httpx.ConnectTimeout("")
        case aiohttp.ClientHttpProxyError():
            return httpx.ProxyError("")
        case TimeoutError():
            return httpx.ReadTimeout("")
        case OSError():
            return httpx.ReadError("")
        case _:
            return httpx.RemoteProtocolError("")


def _why(error: aiohttp.ClientConnectorError) -> str:
    """Without the address, which aiohttp's sentences name."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    cause = error.os_error
    if isinstance(cause, ssl.SSLError | socket.gaierror):
        return str(cause)
    return os.strerror(cause.errno) if cause.errno else "All connection attempts failed"
