"""One incarnation of the bridge, which may be killed at any await: then nothing that it still tries has any effect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from service import app
from service.bridge import Bridge, no_surprises
from service.core.records import Platform
from service.errors import DatabaseUnavailable
from service.platforms.digital_onboarding.client import DigitalOnboarding
from service.platforms.onvoard.client import OnVoard
from service.platforms.transport import Limits
from service.schedule import Schedule
from service.settings import Settings
from service.store.database import Connection, Database
from tests.simulation.virtual import MEMBERS

if TYPE_CHECKING:
    from tests.simulation.network import Network

T = TypeVar("T")
LIMITS = Limits(
    requests_per_second=50.0, attempts=3, wait_initial=0.5, wait_max=4.0, wait_jitter=0.0, max_wait=60.0,
    connect_timeout=5.0, read_timeout=30.0,
)  # fmt: skip


class Process:
    """`countdown`: how many awaits of the database and the network it lives; None: as long as it likes.

    `trouble` makes the database fail now and then: a function that says what is wrong with it this time, or None.
    """

    def __init__(self, countdown: int | None, trouble: Callable[[], str | None]) -> None:
        self.countdown, self.trouble = countdown, trouble
        self.dead = False
        self.schedule: Schedule | None = None
        self._tasks: list[asyncio.Task[Any]] = []

    def step(self) -> None:
        """Where a process may end. Raises CancelledError where it does, and ever after."""
        if self.countdown is not None and not self.dead:
            self.countdown -= 1
            if self.countdown <= 0:
                self.kill()
        if self.dead:
            raise asyncio.CancelledError

    def kill(self) -> None:
        self.dead = True
        if self.schedule is not None and self.schedule._scheduler.running:
            self.schedule._scheduler.shutdown(wait=False)
        for task in self._tasks:
            task.cancel()

    def _join(self, task: asyncio.Task[Any]) -> None:
        self._tasks.append(task)
        if self.dead:
            task.cancel()

    def context(self) -> Context:
        """In which everything of this process has to happen."""
        context = copy_context()
        context.run(MEMBERS.set, self._join)
        return context

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        """`work` to its end, or None where the process was killed. Raises what it raises."""
        task = self.context().run(asyncio.create_task, work())
        try:
            return await task
        except asyncio.CancelledError:
            if not self.dead:
                raise
            return None
        finally:
            while left := [each for each in self._tasks if not each.done()]:
                for each in left:
                    each.cancel()
                await asyncio.wait(left, timeout=1)
            for each in self._tasks:
                if each is not task and not each.cancelled():
                    each.exception()


class ProcessDatabase(Database):
    """The one database, as a process of its own has it: what it did not commit when it was killed, did not happen."""

    def __init__(self, shared: Database, process: Process) -> None:
        vars(self).update(vars(shared))
        self._process = process

    async def run(self, work: Callable[[Connection], T], *, first: bool = False) -> T:
        await asyncio.sleep(0)  # the hop to the writer thread
        self._process.step()
        done = self._transaction(work)
        self._process.step()
        return done

    @contextmanager
    def begin(self, *, write: bool = True) -> Iterator[Connection]:
        process = self._process
        if process.dead:
            raise asyncio.CancelledError
        trouble = process.trouble()
        if trouble == "database is locked":
            raise DatabaseUnavailable(f"{self.name}: {trouble}")
        with super().begin(write=write) as connection:
            yield connection
            process.step()
            if trouble is not None:
                raise DatabaseUnavailable(f"{self.name}: {trouble}")

    def close(self) -> None:
        """It is not this process's."""


def open_bridge(process: Process, db: Database, settings: Settings, network: Network, now: Callable[[], Any]) -> Bridge:
    """A bridge of its own; nothing in it outlives the process."""
    surprises = no_surprises()
    ov, do = settings.onvoard, settings.digital_onboarding
    assert ov.api_key and do.client_id and do.client_secret
    onvoard = OnVoard(
        ov.base_url, ov.api_key.get_secret_value(), limits=LIMITS, now=now,
        http=network.of(process, "onvoard"), on_surprise=surprises[Platform.ONVOARD].update,
    )  # fmt: skip
    digital = DigitalOnboarding(
        do.base_url, do.client_id, do.client_secret.get_secret_value(), state_dir=settings.state_dir, limits=LIMITS,
        now=now, http=network.of(process, "digital_onboarding"),
        on_surprise=surprises[Platform.DIGITAL_ONBOARDING].update,
    )  # fmt: skip
    return Bridge(
        settings, ProcessDatabase(db, process), onvoard, digital, app.field_map(settings), now, surprises
    )


async def close_bridge(bridge: Bridge) -> None:
    with suppress(asyncio.CancelledError):
        await bridge.onvoard.__aexit__(None, None, None)
        await bridge.digital.__aexit__(None, None, None)
