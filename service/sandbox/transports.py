"""Hands the raw connection of a request to faults that cut it; ASGI knows no way to reset one."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import get_local_addr, get_remote_addr

_Ends = tuple[Any, Any]
_open: dict[_Ends, asyncio.Transport] = {}


class TrackedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol, which also remembers its transport by the two ends of the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Remember the transport."""
        self._ends: _Ends = (get_local_addr(transport), get_remote_addr(transport))
        _open[self._ends] = transport
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the transport."""
        _open.pop(self._ends, None)
        super().connection_lost(exc)


def _transport(scope: Any) -> asyncio.Transport | None:
    server, client = scope.get("server"), scope.get("client")
    return _open.get((tuple(server), tuple(client))) if server and client else None


def reset(scope: Any) -> None:
    """Reset (RST) the connection on which the request of this ASGI scope came."""
    transport = _transport(scope)
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        # Lingering for zero seconds makes the kernel send RST instead of FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def close(scope: Any) -> None:
    """Send what is buffered, then close the connection, whatever was promised in Content-Length."""
    transport = _transport(scope)
    if transport is not None:
        transport.close()
