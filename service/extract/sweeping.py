"""What is known, read once more: edits that left no trace, and deletions (design section 4). All of it at once, or
slice by slice, so that no record was last read longer ago than a limit."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service.concurrency import AT_ONCE, side_by_side
from service.core import windows
from service.core.windows import EPOCH, LEAD, PAGE
from service.errors import PlatformError
from service.extract.keeping import Then
from service.extract.onvoard import OVERLAP, OnvoardReader, Stream
from service.store import cursors, mirror, slices
from service.store.database import Connection
from service.store.slices import Slice


@dataclass(slots=True)
class _Span:
    """What was read of one, down to `reached`. `missing`: ids that the mirror holds and the platform did not list."""

    reached: datetime
    read: int = 0
    pages: int = 0
    missing: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Turn:
    """`left`: the requests that it may still make."""

    due: deque[Slice]
    left: int
    read: Counter[str] = field(default_factory=Counter)
    failures: list[PlatformError] = field(default_factory=list)


class Sweeper:
    def __init__(self, reader: OnvoardReader) -> None:
        self.reader, self.db, self.now = reader, reader.db, reader.now
        self.patience = reader.sweep_after

    async def everything(self, name: str, *, allow_empty: bool = False) -> int:
        """Re-read every record of a stream, and notice those that are gone (law 7). -> how many were read

        Raises SuspiciouslyEmpty where the platform lists nobody, though the mirror knows several (law 12).
        """
        stream, began = self.reader.streams[name], self.now()
        anybody, upper = await self.reader.begin(stream, EPOCH, None)
        if name == "contacts" and not anybody and not allow_empty:
            await self.reader.suspect(stream)
        spans = [await self._read(stream, EPOCH, upper, LEAD)]
        if spans[0].reached > EPOCH:
            rest = await self.reader.cut(stream, EPOCH, spans[0].reached)
            spans += await side_by_side(*(self._read(stream, low, up) for low, up in rest))
        await self._confirm_deleted(stream, set().union(*(span.missing for span in spans)))
        await self.db.run(lambda conn: slices.make(conn, name, stream.dates, upper, began, self.patience))
        return sum(span.read for span in spans)

    async def turn(self, budget: int) -> Counter[str]:
        """Re-read the slices whose turn it is, for about so many requests. -> how many records were read, by stream

        What fails hinders no other: its error is raised after them. Raises SuspiciouslyEmpty, before anything, as
        `everything` does.
        """
        due = deque(await self.db.run(self._due))
        if not due:
            return Counter()
        contacts = self.reader.streams["contacts"]
        anybody, _ = await self.reader.begin(contacts, EPOCH, None)
        if not anybody:
            await self.reader.suspect(contacts)
        turn = _Turn(due, budget - 1)
        await side_by_side(*(self._work(turn) for _ in range(AT_ONCE)))
        for error in turn.failures[:1]:
            raise error
        return turn.read

    async def _work(self, turn: _Turn) -> None:
        """One slice after the other, until one fails."""
        try:
            while turn.due and turn.left > 0:
                piece = turn.due.popleft()
                grown = await self.db.run(lambda conn, piece=piece: self._grow(conn, piece))  # type: ignore[misc]
                turn.due.extendleft(reversed(grown[1:]))
                if grown:
                    await self._slice(turn, grown[0])
        except PlatformError as error:
            turn.failures.append(error)

    async def _slice(self, turn: _Turn, piece: Slice) -> None:
        """What is left of it, where it turns out to be far larger than it was, is next."""
        stream, began = self.reader.streams[piece.stream], self.now()
        expected = piece.pages + 1  # to see where it ends
        turn.left -= expected
        span = await self._read(stream, piece.lower, piece.upper, 2 * windows.MOST)
        await self._confirm_deleted(stream, span.missing)
        rest = await self.db.run(
            lambda conn: slices.swept(conn, piece, span.reached, span.pages, began, self.patience)
        )
        turn.left += expected - span.pages - len(span.missing)
        turn.read[piece.stream] += span.read
        if rest is not None:
            turn.due.appendleft(rest)

    def _due(self, conn: Connection) -> list[Slice]:
        for name in slices.unsliced(conn):
            dates = self.reader.streams[name].dates
            slices.take_over(conn, name, dates, self._reached(conn, name), self.patience)
        cursors.forget_fact(conn, slices.FORMER)
        return slices.due(conn, self.now(), self.patience)

    def _grow(self, conn: Connection, piece: Slice) -> list[Slice]:
        return slices.grow(conn, piece, self.reader.streams[piece.stream].dates, self._reached(conn, piece.stream))

    @staticmethod
    def _reached(conn: Connection, name: str) -> datetime:
        """Before this, no record becomes visible any longer."""
        cursor = cursors.get_time(conn, f"onvoard.{name}")
        return windows.whole(cursor - OVERLAP) if cursor else EPOCH

    async def _read(self, stream: Stream, lower: datetime, upper: datetime, pages: int | None = None) -> _Span:
        """All of it, down to `lower`; or, where it takes more than about so many `pages`, no more than these."""
        span, seen = _Span(upper), frozenset[str]()
        async with self.reader.keepers[stream.name] as keeper:
            async for step in self.reader.walk(stream, upper, lower):
                items = step.page.items
                span.pages += 1
                span.read += len(items)
                seen |= {item.id for item in items}
                await keeper.add(stream.rows(items), self._compared(stream, span, step.reached, seen))
                if step.reached is not None:
                    span.reached = step.reached
                    seen = frozenset(i.id for i in items if (when := stream.when(i)) is None or when < span.reached)
                self.reader.progress.advance(stream.name, len(items))
                if pages is not None and span.pages >= pages and step.reached is not None:
                    break
        return span

    @staticmethod
    def _compared(stream: Stream, span: _Span, lower: datetime | None, seen: frozenset[str]) -> Then | None:
        """Of what lies between here and what was read before, the mirror should hold no more than was seen."""
        if lower is None:
            return None
        upper = span.reached

        def compare(conn: Connection, _: Mapping[Any, Any]) -> None:
            span.missing |= mirror.ids_between(conn, stream.table, stream.dated_by, lower, upper) - seen

        return compare

    async def _confirm_deleted(self, stream: Stream, record_ids: set[str]) -> None:
        """Gone is only what answers 404 by its id; the others were moved while we read."""
        ids = sorted(record_ids)
        for start in range(0, len(ids), PAGE):
            await side_by_side(*(self.reader.reread(stream, i) for i in ids[start : start + PAGE]))
