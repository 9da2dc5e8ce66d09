"""Work that comes one by one and is cheaper done together: one transaction for all that came in during the last one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Together(Generic[T]):
    """`keep` is given what has come in, in the order of its coming."""

    def __init__(self, keep: Callable[[Sequence[T]], Awaitable[None]]) -> None:
        self._keep = keep
        self._waiting: list[tuple[T, asyncio.Future[None]]] = []
        self._work: asyncio.Task[None] | None = None

    async def add(self, item: T) -> None:
        """Returns when it is kept; raises what became of those with which it was."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._empty())
        await done

    async def _empty(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            failure: Exception | None = None
            try:
                await self._keep([item for item, _ in batch])
            except Exception as error:
                failure = error
            for _, done in batch:
                if done.done():  # nobody waits for it any more
                    continue
                if failure is None:
                    done.set_result(None)
                else:
                    done.set_exception(failure)
