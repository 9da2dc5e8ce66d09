"""How the tests ask: patiently, because a list may show a record later than its creation is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from service.errors import PlatformError
from service.platforms.onvoard import wire

List = Callable[..., Awaitable[wire.Page[Any]]]
_PAUSES = (0.0, 0.2, 0.5, 1.0, 2.0, 4.0)
_PAGES = 20
"""A list is not read further than this: what was just made is near its beginning, or the list is short."""


async def walk(list_: List, *, page_size: int = 100, **filters: Any) -> AsyncIterator[Any]:
    for number in range(1, _PAGES + 1):
        page = await list_(page=number, page_size=page_size, **filters)
        assert page.refused == [], "a record without an id"
        for item in page.items:
            yield item
        if wire.is_last(page, page_size):
            return


async def shows(list_: List, identifier: str, **filters: Any) -> bool:
    return any([item.id == identifier async for item in walk(list_, **filters)])


async def finds(list_: List, identifier: str, **filters: Any) -> bool:
    """Whether the list comes to show the record."""
    return await eventually(lambda: shows(list_, identifier, **filters))


async def loses(list_: List, identifier: str, **filters: Any) -> bool:
    """Whether the list stops showing it, or never did."""

    async def gone() -> bool:
        return not await shows(list_, identifier, **filters)

    return await eventually(gone)


async def eventually(holds: Callable[[], Awaitable[bool]]) -> bool:
    for pause in _PAUSES:
        await asyncio.sleep(pause)
        if await holds():
            return True
    return False


@contextmanager
def refused() -> Iterator[None]:
    """A 4xx, of which the document says no more ("Errors")."""
    with pytest.raises(PlatformError) as caught:
        yield
    assert caught.value.status is not None and 400 <= caught.value.status < 500


def digits(text: str | None) -> str:
    """Of a phone number, which may be reformatted, those that no format leaves out."""
    return "".join(each for each in text or "" if each.isdigit())[-10:]
