"""What all chapters of the client do with a call: read a page, read a record, delete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TypeVar

from service.errors import NotFound
from service.platforms.judging import Call
from service.platforms.onvoard import wire
from service.platforms.onvoard.kinds import Kind
from service.platforms.onvoard.wire import Page
from service.platforms.payload import OnSurprise
from service.platforms.transport import Transport

T = TypeVar("T")


class Caller:
    """`on_surprise` is told of what each answer holds beyond the document."""

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
        parsed = wire.parse_page(kind, answer.data, page, page_size, answer.server_time)
        self._tell(parsed.surprises)
        return parsed

    async def retrieve(self, kind: Kind[T], route: str, identifier: str) -> T:
        return await self.record(kind, Call.of("GET", route, identifier, safe=True))

    async def record(self, kind: Kind[T], call: Call, json: object = None) -> T:
        answer = await self._transport.request(call, json=json, check=wire.record_fault(kind))
        surprises: Counter[str] = Counter()
        record = kind.parse(answer.data, surprises)
        self._tell(surprises)
        return record

    async def delete(self, route: str, identifier: str) -> None:
        """Repeated until it is answered; a 404 on a repetition is our own success. NotFound where there never was
        one."""
        await self._transport.request(Call.of("DELETE", route, identifier, safe=True))

    def _tell(self, surprises: Mapping[str, int]) -> None:
        if surprises and self._on_surprise is not None:
            self._on_surprise(surprises)
