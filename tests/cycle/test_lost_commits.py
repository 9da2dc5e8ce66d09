"""A commit whose answer is lost: the database says that it failed, and it did not. Nothing is done twice for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from service.errors import BridgeError, DatabaseUnavailable
from tests.cycle.test_killed import _filled, _whole
from tests.cycle.world import World

EVERY = 3
"""One commit in so many is tried."""


class Forgetful:
    """The answer to the n-th commit is lost; the database itself goes on."""

    def __init__(self, db: Any, nth: int) -> None:
        self._db, self._left = db, nth

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    async def run(self, work: Callable[[Any], Any]) -> Any:
        result = await self._db.run(work)
        self._left -= 1
        if self._left == 0:
            raise DatabaseUnavailable("the connection was lost")
        return result

    @property
    def lost(self) -> bool:
        return self._left <= 0


async def test_a_lost_answer_to_a_commit_is_harmless_anywhere(both: World) -> None:
    await _filled(both)
    whole, nth = both.bridge, 1
    while True:
        forgetful = Forgetful(both.db, nth)
        both.bridge = replace(whole, db=forgetful)  # type: ignore[arg-type]
        try:
            await both.sync()
        except DatabaseUnavailable:
            pass
        except BridgeError as error:
            pytest.fail(f"after commit {nth}: {error}")
        if not forgetful.lost:
            break
        nth += EVERY
    both.bridge = whole
    assert nth > 5 * EVERY
    await both.sync()
    _whole(both)
    assert both.rows("SELECT operation FROM outbox WHERE status NOT IN ('done', 'cancelled')") == []
    await both.quiet()
