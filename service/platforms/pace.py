"""When a request to one platform may leave: the queue in front of it, by priority, with slots, a rate, pauses and a
circuit breaker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from itertools import count

from service.errors import PlatformError, RateLimited, Unreachable
from service.metrics import Requests
from service.platforms.pressure import Breaker, Concurrency, is_down, is_overload
from service.platforms.rate import Bucket, Rate

FAIR = 8
"""Every so many-th turn is that of whoever has waited longest, so that nobody waits for ever."""
_INSTANT = 1e-6
"""Seconds; less is what rounding leaves of a pause that is over."""


class Priority(IntEnum):
    OPT_OUT = 0
    WEBHOOK = 1
    OUTBOX = 2
    LIVE = 3
    VERIFY = 4
    BACKFILL = 5


_priority: ContextVar[Priority] = ContextVar("priority", default=Priority.LIVE)


@contextmanager
def priority(of: Priority) -> Iterator[None]:
    """The requests that are made inside, also by tasks that are begun there."""
    token = _priority.set(of)
    try:
        yield
    finally:
        _priority.reset(token)


@dataclass(frozen=True, slots=True)
class Limits:
    """How hard a platform is pressed, and how long it is waited for. Times are in seconds.

    `requests_per_second` None: no rate. `bucket` shares that rate with other processes. `max_in_flight` is the most;
    what the platform seems to take may be less. `attempts` counts the first one. The backoff before attempt n + 1 is
    `min(wait_max, wait_initial * 2 ** (n - 1) + random(0, wait_jitter))`; a Retry-After takes its place, and once
    those of one call add up to more than `max_wait` the call ends at once. `wait_max` is also the first pause of the
    circuit breaker.
    """

    requests_per_second: float | None = 50.0
    max_in_flight: int = 16
    attempts: int = 5
    wait_initial: float = 0.2
    wait_max: float = 10.0
    wait_jitter: float = 0.5
    max_wait: float = 120.0
    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    bucket: Bucket | None = None


@dataclass(frozen=True, slots=True)
class State:
    """How it stands with a platform at this moment, for who watches. `silent_since`: no answer since then, None after
    one; `paused_for` in seconds."""

    concurrency: int
    in_flight: int
    waiting: int
    paused_for: float
    breaker: str  # closed, open, half-open
    silent_since: datetime | None


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    priority: Priority
    call: str
    turn: asyncio.Future[None]


class Pace:
    """One platform's, in this process. `now` is the local clock; all waiting is by the event loop's."""

    def __init__(
        self, platform: str, limits: Limits, now: Callable[[], datetime], meter: Requests | None = None
    ) -> None:
        self._platform, self._max_wait = platform, limits.max_wait
        self._meter = meter or Requests()
        self._concurrency = Concurrency(limits.max_in_flight)
        self._breaker = Breaker(limits.wait_max, now)
        self._rate = Rate(limits.requests_per_second, limits.bucket, self._pause)
        self._paused_until = float("-inf")
        self._in_flight = 0
        self._waiting: list[_Waiter] = []  # in the order of their coming
        self._turns = count(1)
        self._numbers = count(1)
        self._dispatcher: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def aclose(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.cancel()
            await asyncio.gather(self._dispatcher, return_exceptions=True)
        await self._rate.aclose()

    @property
    def state(self) -> State:
        now = _time()
        breaker = "open" if self._breaker.is_open(now) else "half-open" if self._breaker.is_half_open(now) else "closed"
        waiting, paused_for = len(self._waiting), self._pause_left()
        return State(self._concurrency.limit, self._in_flight, waiting, paused_for, breaker, self._breaker.since)

    def new_request(self) -> int:
        """A name for it: its attempts belong together."""
        return next(self._numbers)

    @asynccontextmanager
    async def turn(self, call: str, request: int) -> AsyncIterator[None]:
        """Around one attempt; what becomes of it is learned from.

        Raises Unreachable or RateLimited, at once and nothing being sent, while the platform is down, or wants to be
        left alone for longer than `max_wait`.
        """
        await self._enter(call)
        sent = _time()
        try:
            yield
            self._breaker.answered()
            self._concurrency.answered(call, sent, _time())
        except PlatformError as error:
            self._learn(error, request, sent)
            raise
        finally:
            self._in_flight -= 1
            self._changed.set()

    def gives_up(self) -> bool:
        """Whether no attempt would be let through now."""
        return self._breaker.is_open(_time())

    def _learn(self, error: PlatformError, request: int, sent: float) -> None:
        now = _time()
        if is_overload(error):
            self._concurrency.overloaded(sent, now)
        if not is_down(error):
            self._breaker.answered()
        elif self._breaker.failed(request, sent, now):
            self._concurrency.begin_anew()
        if wait := getattr(error, "retry_after", None):
            self._pause(wait)
            self._rate.tell(wait)

    def _pause(self, seconds: float) -> None:
        now = _time()
        self._meter.paused += max(0.0, now + seconds - max(self._paused_until, now))
        self._paused_until = max(self._paused_until, now + seconds)
        self._changed.set()

    async def _enter(self, call: str) -> None:
        if (refusal := self._refusal(call)) is not None:
            raise refusal
        if not self._waiting and self._has_room() and not self._pause_left() and self._rate.ready():
            self._in_flight += 1
            await self._rate.token()  # at once
            return
        loop = asyncio.get_running_loop()
        waiter, came = _Waiter(_priority.get(), call, loop.create_future()), loop.time()
        self._waiting.append(waiter)
        self._changed.set()
        if self._dispatcher is None or self._dispatcher.done():
            self._dispatcher = asyncio.create_task(self._dispatch())
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif not waiter.turn.cancelled() and waiter.turn.exception() is None:  # its turn came at the same moment
                self._in_flight -= 1
            self._changed.set()
            raise
        finally:
            self._meter.queued += loop.time() - came

    async def _dispatch(self) -> None:
        """One turn after the other, for as long as anybody waits."""
        while self._waiting:
            self._changed.clear()
            self._send_away()
            if pause := self._pause_left():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), pause)
            elif not self._has_room():
                await self._changed.wait()
            elif await self._rate.token() and self._may_go():
                self._in_flight += 1
                self._waiting.pop(self._next()).turn.set_result(None)

    def _send_away(self) -> None:
        """All of them or, most often, none: what is refused to one is refused to everybody."""
        while self._waiting and (refusal := self._refusal(self._waiting[0].call)) is not None:
            waiter = self._waiting.pop(0)
            if not waiter.turn.done():
                waiter.turn.set_exception(refusal)

    def _may_go(self) -> bool:
        """Much may have changed while a token was waited for."""
        self._waiting = [waiter for waiter in self._waiting if not waiter.turn.done()]
        return bool(self._waiting) and self._has_room() and not self._pause_left() and not self.gives_up()

    def _next(self) -> int:
        if next(self._turns) % FAIR == 0:
            return 0
        return min(range(len(self._waiting)), key=lambda place: self._waiting[place].priority)

    def _refusal(self, call: str) -> PlatformError | None:
        if self._breaker.is_open(_time()) and self._breaker.since is not None:
            since = self._breaker.since.isoformat(timespec="seconds")
            return Unreachable(self._platform, call, f"not asked: the platform has not answered since {since}")
        if (left := self._pause_left()) > self._max_wait:
            told = f"not asked: the platform wants to be left alone for {left:.0f} s"
            return RateLimited(self._platform, call, told, status=None, retry_after=left)
        return None

    def _pause_left(self) -> float:
        left = self._paused_until - _time()
        return left if left > _INSTANT else 0.0

    def _has_room(self) -> bool:
        return self._in_flight < self._concurrency.limit  # which is one, while a probe decides


def _time() -> float:
    return asyncio.get_running_loop().time()
