"""Several works at a time, in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any

AT_ONCE = 16


async def side_by_side(*work: Awaitable[Any], at_once: int = AT_ONCE) -> list[Any]:
    """All of them, so many at a time; the first failure ends the others."""
    slots = asyncio.Semaphore(at_once)

    async def one(task: Awaitable[Any]) -> Any:
        async with slots:
            return await task

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(task)) for task in work]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    finally:
        for waiting in work:
            if isinstance(waiting, Coroutine):
                waiting.close()  # one that never had its turn would complain on standard error
    return [task.result() for task in tasks]
