"""`contact-bridge run`: the daemon."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from socket import socket
from typing import TYPE_CHECKING

import click

from service.cli.context import Context, pass_context

if TYPE_CHECKING:
    from service.settings import Settings
    from service.store.database import Database

GRACE = 7.5
"""Seconds after a signal for which jobs may go on with their current step; then they are cancelled."""
AT_THE_LATEST = 9.5
"""Seconds after a signal by which the process is gone, even if the database hangs. Everything is resumable."""


@click.command()
@pass_context
def run(ctx: Context) -> None:
    """Run the daemon: every stream in its interval, health over HTTP; until SIGTERM or Ctrl-C.

    SIGHUP: settings, mapping, rules and loaders are read again, and secrets from their files.
    """
    settings = ctx.settings
    settings.require_platforms()
    from service.web.server import listen

    ctx.set_up_logs()  # a daemon's log is all that is seen of it
    with listen(settings) as listening:
        ctx.run(serve(settings, ctx.database(create=True), listening, ctx.read_again))


async def serve(
    settings: Settings, database: Database, listening: socket, read_again: Callable[[], Settings] | None = None
) -> None:
    """`read_again`: what SIGHUP asks for."""
    import structlog
    from starlette.applications import Starlette

    from service import schedule
    from service.alerts.watch import Watch
    from service.cli.reloading import Reloading
    from service.errors import BridgeError
    from service.web import dashboard, health, metrics, server, webhooks

    log = structlog.get_logger("service.run")
    asked_to_stop = _signals()
    async with Reloading(database) as reloading:
        bridge = await reloading.open(settings)
        jobs = schedule.Schedule(bridge)
        fitness = health.Health(database, lambda: jobs.is_running, turns=jobs.turns)
        receiver = webhooks.Webhooks(settings, database, jobs.wake, bridge.now)
        figures = metrics.Metrics(settings, database, bridge.now, requests=reloading.meters, answers=receiver.answers)
        figures.use(bridge)
        pages = dashboard.Dashboard(bridge, jobs)
        watch = Watch(bridge)
        answers = Starlette(routes=[*fitness.routes, *figures.routes, *receiver.routes, *pages.routes])
        async with server.serving(answers, listening) as web:
            await jobs.start()
            watch.start()
            if read_again is not None:
                reloading.on_hangup(read_again, jobs, receiver, figures, pages, watch)
            log.info("running", address=server.address(listening), database=database.name)
            waiting = asyncio.create_task(asked_to_stop.wait())
            await asyncio.wait({waiting, web}, return_when=asyncio.FIRST_COMPLETED)
            log.info("stopping")
            await asyncio.gather(jobs.stop(GRACE), watch.stop())
            if not waiting.done():
                waiting.cancel()
                raise BridgeError("the web server ended by itself", hint="run it again")
    log.info("stopped")


def _signals() -> asyncio.Event:
    """Set by SIGTERM and SIGINT, which also start the clock for the end."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask() -> None:
        if not asked.is_set():
            last = threading.Timer(AT_THE_LATEST, os._exit, (0,))
            last.daemon = True
            last.start()
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask)
    return asked
