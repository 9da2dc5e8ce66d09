"""SIGHUP: the daemon reads its settings, mapping, rules and loaders again, and goes on working meanwhile."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Collection, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import structlog

from service import app, logs
from service.alerts.watch import Watch
from service.bridge import Bridge, claim_accounts
from service.core.records import Platform
from service.errors import BridgeError, SettingsError
from service.metrics import Requests
from service.schedule import Schedule
from service.settings import Settings
from service.settings.loading import for_running
from service.store.database import Database
from service.web.dashboard import Dashboard
from service.web.metrics import Metrics
from service.web.webhooks import Webhooks

log = structlog.get_logger("service.run")


class Reloading:
    """A daemon's bridge, and its successors: each is closed when nobody works with it any more."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held = AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()
        self._one_by_one = asyncio.Lock()
        self._secrets: set[str] = set()
        self.meters = {platform.value: Requests() for platform in Platform}

    async def __aenter__(self) -> Reloading:
        return self

    async def __aexit__(self, *_: object) -> None:
        """The jobs have come to an end."""
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._held.aclose()

    async def open(self, settings: Settings) -> Bridge:
        self.settings, self._secrets = settings, set(settings.secrets())
        return await self._held.enter_async_context(app.open_bridge(settings, self._database, self.meters))

    def on_hangup(
        self, read_again: Callable[[], Settings], jobs: Schedule, receiver: Webhooks, figures: Metrics,
        pages: Dashboard, watch: Watch,
    ) -> None:  # fmt: skip
        async def reload() -> None:
            async with self._one_by_one:
                found = await self._successor(read_again)
                if found is None or jobs.stopping:
                    return
                bridge, held = found
                receiver.use(bridge.settings)
                figures.use(bridge)
                pages.use(bridge)
                watch.use(bridge)
                self._start(_close(self._held, jobs.use(bridge)))
                self.settings, self._held = bridge.settings, held

        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: self._start(reload()))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _successor(self, read_again: Callable[[], Settings]) -> tuple[Bridge, AsyncExitStack] | None:
        """With what closes it; None, and a line in the log, where what was read cannot be used."""
        held = AsyncExitStack()
        try:
            settings, waiting = for_running(read_again(), self.settings)
            bridge = await held.enter_async_context(app.open_bridge(settings, self._database, self.meters))
            await claim_accounts(bridge)
        except BaseException as error:
            await held.aclose()
            if not isinstance(error, Exception):
                raise
            log.error("not read again: the daemon goes on with what it had", problems=_problems(error))
            return None
        self._secrets.update(settings.secrets())  # the former ones are secret for ever
        logs.setup(settings.log.format, settings.log.level, self._secrets)
        log.info("settings, mapping, rules and loaders were read again")
        if waiting:
            log.warning("some settings wait for the next start", settings=waiting)
        return bridge, held


async def _close(held: AsyncExitStack, at_work: Collection[asyncio.Task[Any]]) -> None:
    try:
        if at_work:
            await asyncio.wait(at_work)
    finally:
        await held.aclose()


def _problems(error: Exception) -> list[str]:
    """What a defect's message holds nobody knows, so only its kind is told."""
    if isinstance(error, SettingsError):
        return list(error.problems)
    return [str(error)] if isinstance(error, BridgeError) else [f"unexpected {type(error).__name__}"]
