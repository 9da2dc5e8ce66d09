"""What all chapters of the client do with a call: read a page, read a record, delete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TypeVar

from service.errors import NotFound
from service.platforms.judging import Call
from service.platforms.onvoard import wire
from service.platforms.onvoard.kinds import Kind
from service.platforms.onvoard.wire import Page
from service.platforms.transport import Transport

T = TypeVar("T")

OnSurprise = Callable[[Mapping[str, int]], None]


class Caller:
    """`on_surprise` is told of what single records hold beyond the document; pages carry their own surprises."""

    def __init__(self, transport: Transport, on_surprise: OnSurprise | None) -> None:
        self._transport = transport
        self._on_surprise = on_surprise

    async def page(
        self, kind: Kind[T], route: str, page: int, page_size: int, filters: Mapping[str, str] | None = None
    ) -> Page[T]:
        """`filters` as made by `wire.filters`. A 404 past the first page is an empty page: the document leaves both
        open."""
        params = {**(filters or {}), **wire.page_params(page, page_size)}
        call = Call.of("GET", route, safe=True)
        try:
            answer = await self._transport.request(call, params=params, check=wire.nobody_fault(kind))
        except NotFound:
            if page == 1:
                raise
            return wire.empty_page(page, page_size, self._transport.now())
        return wire.parse_page(kind, answer.data, page, page_size, answer.server_time)

    async def retrieve(self, kind: Kind[T], route: str, identifier: str) -> T:
        return await self.record(kind, Call.of("GET", route, identifier, safe=True))

    async def record(self, kind: Kind[T], call: Call, json: object = None) -> T:
        answer = await self._transport.request(call, json=json, check=wire.record_fault(kind))
        surprises: Counter[str] = Counter()
        record = kind.parse(answer.data, surprises)
        if surprises and self._on_surprise is not None:
            self._on_surprise(surprises)
        return record

    async def delete(self, route: str, identifier: str) -> None:
        """Repeated until it is answered; a 404 on a repetition is our own success. NotFound where there never was
        one."""
        await self._transport.request(Call.of("DELETE", route, identifier, safe=True))
