"""uvicorn inside the daemon's own event loop, on sockets that were opened beforehand."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from service.errors import BridgeError
from service.settings import Settings

# What to say about the errors that a setting is to blame for.
_TAKEN = {errno.EADDRINUSE: "is taken", errno.EACCES: "may not be used by this user"}


def listen(settings: Settings) -> socket.socket:
    """The socket of `web.host` and `web.port`; BridgeError, naming the setting, where it cannot be had."""
    host, port = settings.web.host, settings.web.port
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        raise BridgeError(
            f"web.host: {host} is no address of this machine ({settings.source_of('web.host')})",
            hint="set BRIDGE_WEB__HOST",
        ) from None
    # `localhost` may mean both families; IPv4 is what everybody tries first.
    family, _, _, _, where = min(found, key=lambda each: each[0] != socket.AF_INET)
    # The protocol is named because asyncio sets TCP_NODELAY only then.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(where)
        listening.listen(512)
    except OSError as error:
        listening.close()
        raise _refused(settings, error) from None
    return listening


def _refused(settings: Settings, error: OSError) -> BridgeError:
    host, port = settings.web.host, settings.web.port
    if error.errno in _TAKEN:
        return BridgeError(
            f"web.port: {port} on {host} {_TAKEN[error.errno]} ({settings.source_of('web.port')})",
            hint="set BRIDGE_WEB__PORT to a free port (0 takes any)",
        )
    return BridgeError(
        f"web.host: {host} cannot be bound: {error.strerror} ({settings.source_of('web.host')})",
        hint="set BRIDGE_WEB__HOST",
    )


def address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the command's business."""
        yield


@asynccontextmanager
async def serving(app: ASGIApp, listening: socket.socket) -> AsyncIterator[asyncio.Task[None]]:
    """Serves for as long as the block runs. The task ends earlier only if the server dies."""
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", ws="none", server_header=False,
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = _Server(config)
    task = asyncio.create_task(server.serve([listening]))
    try:
        yield task
    finally:
        server.should_exit = True
        await task
