"""Both emulated platforms on loopback, in a background thread."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Any, Literal

import uvicorn

from service.sandbox import admin, digital_onboarding, onvoard
from service.sandbox.app import PlatformApp
from service.sandbox.clock import Clock
from service.sandbox.digital_onboarding import DigitalOnboarding, DigitalOnboardingSettings
from service.sandbox.export import LoadReport, load_export
from service.sandbox.faults import Fault, Faults, Kind
from service.sandbox.journal import Journal
from service.sandbox.onvoard import OnVoard, OnVoardSettings
from service.sandbox.people import World, build_world, load_world
from service.sandbox.transports import TrackedProtocol

Platform = Literal["onvoard", "digital_onboarding"]


class Sandbox:
    """Two servers on one thread; use it with `with`, or `start()` and `stop()`.

    `onvoard` and `digital_onboarding` are the accounts themselves (see their console methods and `.settings`),
    `journal` what was asked of them, `clock` their time. Ports of 0 are free ones.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        onvoard_port: int = 0,
        digital_onboarding_port: int = 0,
        api_key: str = "sandbox-api-key",
        client_id: str = "sandbox-client",
        client_secret: str = "sandbox-client-secret",
        onvoard_settings: OnVoardSettings | None = None,
        digital_onboarding_settings: DigitalOnboardingSettings | None = None,
    ) -> None:
        self.api_key, self.client_id, self.client_secret = api_key, client_id, client_secret
        self.clock = Clock()
        self.journal = Journal()
        self._faults = Faults()
        self.onvoard = OnVoard(self.clock, onvoard_settings)
        self.digital_onboarding = DigitalOnboarding(self.clock, digital_onboarding_settings)
        self._host = host
        self._ports = (onvoard_port, digital_onboarding_port)
        self._sockets: list[socket.socket] = []
        self._servers: list[_Server] = []
        self._thread: threading.Thread | None = None
        self.onvoard_url = ""
        self.digital_onboarding_url = ""

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Sandbox:
        """Listen. Raises OSError where a port is taken, RuntimeError where the servers do not come up in 10 s."""
        try:
            self._sockets = [_listen(self._host, port) for port in self._ports]
        except OSError:
            self._close_sockets()
            raise
        self.onvoard_url, self.digital_onboarding_url = (
            f"http://{self._host}:{each.getsockname()[1]}" for each in self._sockets
        )
        self._servers = [_server(app) for app in self._apps()]
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 10
        while not all(each.started for each in self._servers):
            if time.monotonic() > deadline or not self._thread.is_alive():
                self.stop()
                raise RuntimeError("the sandbox did not start")
            time.sleep(0.005)
        return self

    def stop(self) -> None:
        """Stop listening, drop undelivered webhooks, and wait for the thread. The state stays readable."""
        self.onvoard.courier.close()
        self.digital_onboarding.courier.close()
        for server in self._servers:
            server.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout=5)
        self._close_sockets()

    def _close_sockets(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.close()

    def _run(self) -> None:
        async def serve() -> None:
            pairs = zip(self._servers, self._sockets, strict=True)
            await asyncio.gather(*(server.serve(sockets=[listening]) for server, listening in pairs))

        asyncio.run(serve())

    def _apps(self) -> list[PlatformApp]:
        shared = (self.clock, self.journal, self._faults)
        ov, do = self.onvoard, self.digital_onboarding
        do_routes = digital_onboarding.routes(do, self.client_id, self.client_secret, self.digital_onboarding_url)
        return [
            PlatformApp(
                "onvoard",
                onvoard.routes(ov),
                onvoard.guard(self.api_key),
                admin.handler("onvoard", ov, shared),
                shared,
                ov.lock,
            ),
            PlatformApp(
                "digital_onboarding",
                do_routes,
                digital_onboarding.guard(do),
                admin.handler("digital_onboarding", do, shared),
                shared,
                do.lock,
            ),
        ]

    def environment(self) -> dict[str, str]:
        """The variables that point contact-bridge at this sandbox."""
        return {
            "BRIDGE_ONVOARD__BASE_URL": self.onvoard_url,
            "BRIDGE_ONVOARD__API_KEY": self.api_key,
            "BRIDGE_DIGITAL_ONBOARDING__BASE_URL": self.digital_onboarding_url,
            "BRIDGE_DIGITAL_ONBOARDING__CLIENT_ID": self.client_id,
            "BRIDGE_DIGITAL_ONBOARDING__CLIENT_SECRET": self.client_secret,
        }

    def load_world(self, seed: int = 1, now: datetime | None = None) -> World:
        """Fill both accounts with realistic people (see people.py); `now` defaults to the sandbox's."""
        world = build_world(seed, now or self.clock.now())
        load_world(world, self.onvoard, self.digital_onboarding)
        return world

    def load_export(self, csv_text: str) -> LoadReport:
        """Fill Digital Onboarding with an export of the real one (see export.py)."""
        return load_export(csv_text, self.digital_onboarding)

    def fail(
        self,
        platform: Platform,
        kind: Kind,
        *,
        method: str = "*",
        path: str = "*",
        times: int | None = 1,
        **details: Any,
    ) -> Fault:
        """Switch a fault on; `details` are the other fields of `faults.Fault`. TypeError for an unknown one."""
        return self._faults.add(Fault(platform, kind, method, path, times=times, **details))

    def when(
        self,
        platform: Platform,
        action: Callable[[], object],
        *,
        method: str = "*",
        path: str = "*",
        times: int | None = 1,
        skip: int = 0,
    ) -> Fault:
        """Run `action` (say, a console edit) just before a matching request is served; `skip` of them pass first."""
        return self.fail(platform, "call", method=method, path=path, times=times, skip=skip, action=action)

    def faults(self) -> list[Fault]:
        """The faults that are still on."""
        return self._faults.listed()

    def clear_faults(self, platform: Platform | None = None) -> None:
        """Switch off all faults, or those of one platform."""
        self._faults.clear(platform)

    def wait_for_webhooks(self, timeout: float = 10.0) -> bool:
        """Wait until both platforms have nothing left to deliver; False after `timeout` seconds."""
        return self.onvoard.courier.wait(timeout) and self.digital_onboarding.courier.wait(timeout)


def _listen(host: str, port: int) -> socket.socket:
    # The protocol is named because asyncio sets TCP_NODELAY only then; without it each answer would take 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    listening.listen(256)
    return listening


class _Server(uvicorn.Server):
    """uvicorn without its ticks of a tenth of a second, and without waiting for anybody at the end."""

    async def main_loop(self) -> None:
        await self.on_tick(0)
        # A plain flag, because it is set from another thread.
        while not self.should_exit:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()


def _server(app: PlatformApp) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            http=TrackedProtocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            # Resetting a connection goes by its real address, whatever X-Forwarded-For says.
            proxy_headers=False,
            # The answers carry the Date of the sandbox's clock instead.
            date_header=False,
            server_header=False,
        )
    )
