"""Time that passes only when nobody has anything to do: a loop that jumps to its next timer, and a clock by it."""

from __future__ import annotations

import asyncio
import itertools
import random
import selectors
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, TypeVar
from unittest import mock

import apscheduler.executors.base
import apscheduler.schedulers.base
import apscheduler.triggers.interval

import service.schedule
import service.store.lease
from service.sandbox.clock import Clock

T = TypeVar("T")
MEMBERS: ContextVar[Callable[[asyncio.Task[Any]], None] | None] = ContextVar("members", default=None)
"""Is told of every task that is created in its context: whoever ends a process has to know them all."""
ASK_THE_TIME = (
    service.schedule, service.store.lease, apscheduler.executors.base, apscheduler.schedulers.base,
    apscheduler.triggers.interval,
)  # fmt: skip
"""Modules that ask the machine for the time instead of a clock that they are given."""


class Stuck(Exception):
    """Everybody waits for something that will never happen."""


class _Task(asyncio.Task):  # type: ignore[type-arg]
    """Sets of tasks are walked in the order of creation, and not by where they lie in memory."""

    _numbers = itertools.count()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._number = next(_Task._numbers)
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number


class _Selector(selectors.SelectSelector):
    """Waits for nothing: there are no sockets and no threads, so that only a timer can be due."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck("nothing is due, and nobody is at work")
        self.loop.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.now = 0.0
        super().__init__(selector)
        self.set_task_factory(self._new_task)

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """At once: a thread would answer whenever it likes."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    @staticmethod
    def _new_task(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], **kwargs: Any) -> asyncio.Task[T]:
        task = _Task(work, loop=loop, **kwargs)
        if (joins := MEMBERS.get()) is not None:
            joins(task)
        return task


class VirtualClock(Clock):
    """The loop's time, from `begin` on. The platforms live by it, and a machine by it and `skew`."""

    def __init__(self, loop: VirtualLoop, begin: datetime) -> None:
        super().__init__()
        self.loop, self.begin, self.skew = loop, begin, timedelta()

    def now(self) -> datetime:
        return self.begin + timedelta(microseconds=round(self.loop.now * 1e6))

    def machine(self) -> datetime:
        return self.now() + self.skew


@contextmanager
def substituted(clock: VirtualClock, seed: int) -> Iterator[None]:
    """`clock` in place of the machine's, and seeded dice in place of the machine's, also in the libraries."""

    class Virtual(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return clock.machine().astimezone(tz or UTC)

    kept = random.getstate()
    random.seed(seed)
    with ExitStack() as stack:
        for module in ASK_THE_TIME:
            stack.enter_context(mock.patch.object(module, "datetime", Virtual))
        yield
    random.setstate(kept)


def play(loop: VirtualLoop, story: Coroutine[Any, Any, T]) -> T:
    """`story` to its end, and then everything that it left behind."""
    try:
        return loop.run_until_complete(story)
    finally:
        loop.run_until_complete(_sweep_up(asyncio.all_tasks(loop)))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _sweep_up(left: set[asyncio.Task[Any]]) -> None:
    for task in sorted(left, key=hash):
        task.cancel()
    await asyncio.gather(*sorted(left, key=hash), return_exceptions=True)
