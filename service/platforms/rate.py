"""Requests per second: from the account's common bucket, in small blocks, or by this process's own rate."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from service.errors import DatabaseError

BLOCK = 0.5
"""Seconds of the rate that are taken together; longer where a single request takes longer."""
PATIENCE = 0.25
"""Seconds that anybody waits for the bucket before the process's own rate counts."""
ASK_AGAIN = 5.0
"""Seconds after a failure of the bucket."""


class Bucket(Protocol):
    """What all processes share that ask one account (see `store.rates.SharedBucket`). Both raise DatabaseError."""

    async def reserve(self, seconds: float) -> tuple[float, bool]:
        """The next `seconds` of the rate, for the caller alone. -> (seconds until they begin, False); where the
        platform wants to be left alone, nothing is reserved: (seconds until that ends, True)"""

    async def pause(self, seconds: float) -> None:
        """Nobody is to ask for so long."""


@dataclass(slots=True)
class _Block:
    begins: float
    ends: float
    left: int


class Rate:
    """One token per request. `on_pause` is told of the seconds for which another process was told to wait."""

    def __init__(self, per_second: float | None, bucket: Bucket | None, on_pause: Callable[[float], None]) -> None:
        self._unlimited = per_second is None
        self._bucket = bucket if per_second else None
        self._on_pause = on_pause
        self._size = max(1, int((per_second or 1) * BLOCK))
        self._lasts = self._size / (per_second or 1)
        self._blocks: deque[_Block] = deque()  # the one in use, and the one that follows it
        self._own_until = float("-inf")  # up to here this process has used its own rate
        self._asking: asyncio.Task[bool] | None = None
        self._asked_at = self._ask_from = float("-inf")
        self._telling: set[asyncio.Task[None]] = set()

    def ready(self) -> bool:
        """Whether `token` would come at once."""
        if self._unlimited:
            return True
        now = asyncio.get_running_loop().time()
        self._drop_old(now)
        if not self._blocks:
            return self._bucket is None and self._own_until <= now
        return self._blocks[0].begins <= now

    async def token(self) -> bool:
        """Waits for the right to send one request; a bucket that fails, or is slow, holds nobody up.

        -> False where the platform wants to be left alone instead
        """
        if self._unlimited:
            return True
        loop = asyncio.get_running_loop()
        self._drop_old(loop.time())
        if not self._blocks and self._bucket is not None and (asking := self._ask(self._bucket)) is not None:
            await asyncio.wait([asking], timeout=max(0.0, self._asked_at + PATIENCE - loop.time()))
            if asking.done() and asking.result():
                return False
            self._drop_old(loop.time())
        if not self._blocks:
            begins = max(loop.time(), self._own_until)
            self._own_until = begins + self._lasts
            self._blocks.append(_Block(begins, self._own_until, self._size))
        block = self._blocks[0]
        block.left -= 1
        if self._bucket is not None and len(self._blocks) == 1 and block.left < self._size - 1:
            self._ask(self._bucket)  # the second request: more will follow, and their block is to be there in time
        if block.begins > loop.time():
            await asyncio.sleep(block.begins - loop.time())
        return True

    def tell(self, seconds: float) -> None:
        """The other processes learn of a pause."""
        if self._bucket is not None:
            task = asyncio.create_task(_quietly(self._bucket.pause(seconds)))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def aclose(self) -> None:
        """What is to be told is told; what was asked for is not waited for."""
        if self._asking is not None:
            self._asking.cancel()
        await asyncio.gather(*self._telling, *([self._asking] if self._asking else ()), return_exceptions=True)

    def _drop_old(self, now: float) -> None:
        while self._blocks and (self._blocks[0].left == 0 or self._blocks[0].ends <= now):
            self._blocks.popleft()

    def _ask(self, bucket: Bucket) -> asyncio.Task[bool] | None:
        """One question at a time. -> None: not now"""
        if self._asking is None:
            self._asked_at = asyncio.get_running_loop().time()
            if self._asked_at < self._ask_from:
                return None
            self._asking = asyncio.create_task(self._reserve(bucket))
        return self._asking

    async def _reserve(self, bucket: Bucket) -> bool:
        """-> whether there is a pause instead"""
        loop, asked = asyncio.get_running_loop(), self._asked_at
        try:
            wait, paused = await bucket.reserve(self._lasts)
        except DatabaseError:
            self._ask_from = loop.time() + ASK_AGAIN
            return False
        finally:
            self._asking = None
        if paused:
            self._on_pause(wait)
        else:  # never earlier than the bucket means it, and never longer
            self._blocks.append(_Block(loop.time() + wait, asked + wait + self._lasts, self._size))
        return paused


async def _quietly(telling: Coroutine[Any, Any, None]) -> None:
    with suppress(DatabaseError):  # this process keeps to the pause all the same
        await telling
