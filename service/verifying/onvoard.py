"""The mirror against OnVoard's lists."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from service.concurrency import side_by_side
from service.core.records import Platform
from service.core.windows import EPOCH, PAGE
from service.cycle import Cycle
from service.errors import NotFound, RuleBroken, SuspiciouslyEmpty
from service.extract.onvoard import OVERLAP
from service.platforms.onvoard.wire import Page
from service.store import absorb, cursors, mirror, verifications
from service.store.database import Connection
from service.store.mirror import Row, in_parts
from service.store.verifications import differing, is_living, is_news, is_older
from service.verifying.tally import Finding, Tally

LOOKS = 5
"""How often a record is looked at whose row moves while the platform is asked."""


class _Moved(Exception):
    """The mirror's row is not the one any more that it was before the platform was asked."""


class ComparedOnVoard:
    """One of the streams of `OnvoardReader`."""

    def __init__(self, cycle: Cycle, stream: str, repair: bool) -> None:
        client, name = cycle.bridge.onvoard, stream.partition(".")[2]
        self.reader, self.db, self.now, self.repair = cycle.onvoard, cycle.bridge.db, cycle.bridge.now, repair
        self.stream = self.reader.streams[name]
        self.table = self.stream.table
        self.tally = Tally(stream)
        lists: dict[str, Callable[..., Awaitable[Page[Any]]]] = {
            "contacts": client.contacts.list,
            "reviews": client.reviews.list,
            "activities": client.contact_activities.list,
            "records": client.resource_records.list,
        }
        self.list = lists[name]
        self.upper = EPOCH  # what was made since then nobody can have read
        self.cursor = EPOCH
        self.gone: list[str] = []

    async def compare(self, sample: int | None) -> Tally:
        """Where there is no more than the sample, all of it: that takes fewer requests. `sample` None: all of it.

        Raises SuspiciouslyEmpty where the platform lists nobody, though the mirror knows several (law 12).
        """
        known = await verifications.count(self.db, self.table)
        cursor = await self.db.run(partial(cursors.get_time, stream=self.tally.stream))
        self.cursor = cursor or EPOCH
        anybody, self.upper = await self.reader.begin(self.stream, EPOCH, None)
        if self.stream.name == "contacts" and not anybody:
            await self.reader.suspect(self.stream)
        listed = 0 if sample is None else await self._length(known)
        if sample is None or max(known, listed) <= sample:
            await self._all()
        else:
            await self._sample(sample, known, listed)
        if self.repair:
            await self.db.run(self._mark_gone)
        return self.tally

    def _mark_gone(self, conn: Connection) -> None:
        for key in self.gone:
            mirror.mark_gone(conn, self.table, key, self.now())

    async def _length(self, guess: int) -> int:
        """How many records the platform lists. It does not say: the place is looked for after which nothing follows."""
        low, high, place, stride = 0, None, max(guess, 1), 1
        while high is None or high - low > 1:
            if (await self.list(page=place, page_size=1)).returned:
                low = place
            else:
                high = place
            place = low + stride if high is None else max(high - stride, (low + high) // 2)
            stride *= 2
        return low

    async def _sample(self, size: int, known: int, listed: int) -> None:
        """Every record of mirror and platform together has one chance: those drawn from the mirror count, and of those
        drawn from the list the ones that the mirror lacks."""
        self.tally.population = longest = max(known, listed)
        rows, pages = (
            random.sample(range(1, length + 1), round(size * length / longest)) for length in (known, listed)
        )
        keys = await verifications.at(self.db, self.table, rows)
        await self._each(self._look, keys)
        if len(self.gone) == len(keys) > 2:  # and yet it lists many
            raise SuspiciouslyEmpty(f"onvoard denies each of the {len(keys)} {self.stream.name} asked about: outage?")
        await self._each(self._draw, pages)

    async def _each(self, look: Callable[[Any], Awaitable[None]], what: Iterable[Any]) -> None:
        for part in in_parts(what, PAGE):
            await side_by_side(*(look(each) for each in part))
            self.reader.progress.advance(self.tally.stream, len(part))

    async def _draw(self, place: int) -> None:
        page = await self.list(page=place, page_size=1)
        listed = {record.id: record for record in page.items}
        for key in await self.db.run(lambda conn: self._lacking(conn, listed)):
            found = await self._finding(key)
            if found.kind == "missing":  # and did not come in meanwhile
                self.tally.add(found)

    async def _all(self) -> None:
        """As a sweep walks: what should be in a stretch of time, and is not listed there, is looked for by its id."""
        self.tally.complete = True
        reached, seen, looked = self.upper, set[str](), set[str]()
        async for step in self.reader.walk(self.stream, self.upper, None):
            fresh = {item.id: item for item in step.page.items if item.id not in seen and item.id not in looked}
            span = None if step.reached is None else (step.reached, reached)
            wrong, held = await self.db.run(partial(self._page, records=fresh, span=span))
            self.tally.checked += len(fresh) - len(wrong)  # the wrong ones when they have been looked at
            seen |= fresh.keys()
            suspects = wrong | (held - seen - looked)
            if step.reached is not None:
                reached = step.reached
                seen = {i.id for i in step.page.items if (when := self.stream.when(i)) is None or when < reached}
            looked |= suspects
            self.reader.progress.advance(self.tally.stream, len(fresh) - len(wrong))
            await self._each(self._look, sorted(suspects))

    def _page(
        self, conn: Connection, records: Mapping[str, Any], span: tuple[datetime, datetime] | None
    ) -> tuple[set[str], set[str]]:
        """-> (those that the mirror does not hold like this, those that it holds of this span of time)"""
        held = verifications.rows(conn, self.table, records)
        wrong = {key for key in records if not (is_living(held.get(key)) and self._equal(held[key], records[key]))}
        return wrong, mirror.ids_between(conn, self.table, self.stream.dated_by, *span) if span else set()

    def _lacking(self, conn: Connection, records: Mapping[str, Any]) -> list[str]:
        """Those that the mirror does not hold, and could have read."""
        held = verifications.rows(conn, self.table, records)
        old = {key for key, record in records.items() if (self.stream.when(record) or EPOCH) < self.upper}
        return [key for key in old if not is_living(held.get(key))]

    def _equal(self, row: Row, record: Any) -> bool:
        return not differing(self.table, row, absorb.row_of(record))

    async def _look(self, key: str) -> None:
        self.tally.add(await self._finding(key))

    async def _finding(self, key: str) -> Finding:
        """The platform is asked for one record between two looks at the mirror's row, which have to be alike."""
        for _ in range(LOOKS):
            before = await self.db.run(lambda conn: self._row(conn, key))
            try:
                record = await self.stream.retrieve(key)
            except NotFound:
                record = None
            except RuleBroken:  # an id that no path can hold
                break
            with suppress(_Moved):
                return await self.db.run(partial(self._judge, key=key, before=before, record=record))
        return Finding(key, "absent")

    def _row(self, conn: Connection, key: str) -> Row | None:
        return verifications.rows(conn, self.table, [key]).get(key)

    def _judge(self, conn: Connection, key: str, before: Row | None, record: Any) -> Finding:
        if self._row(conn, key) != before:
            raise _Moved
        if record is not None:
            alike = before is not None and is_living(before) and self._equal(before, record)
            return Finding(key, "right") if alike else self._tried(conn, before, record)
        if not is_living(before):
            return Finding(key, "absent")
        self.gone.append(key)
        return Finding(key, "gone", repaired=self.repair)

    def _tried(self, conn: Connection, before: Row | None, record: Any) -> Finding:
        """What the mirror makes of the record by its own rules, such as those about the suppressed and the erased, is
        what it should hold: it is saved for a trial, or for good by a repair."""
        with verifications.trial(conn) as attempt:
            verifications.forget_answer(conn, self.table, record.id)
            self.stream.keep(conn, [record])
            after = self._row(conn, record.id)
            if before is not None and after is not None and not is_news(before, after):
                self._keep_edit_time(conn, before)
            found = self._told(before, after, record)
            if found.repaired:
                attempt.commit()
        return found

    def _keep_edit_time(self, conn: Connection, before: Row) -> None:
        """A repair is nobody's edit."""
        if "edited_at" in self.table.c:
            mirror.edited(conn, Platform.ONVOARD, before["id"], before["edited_at"])

    def _told(self, before: Row | None, after: Row | None, record: Any) -> Finding:
        kept = after is not None and verifications.was_answered(after)
        if before is None or not is_living(before):
            stale = (self.stream.when(record) or EPOCH) >= self.cursor - OVERLAP
            missing = Finding(record.id, "missing", (), stale, self.repair)
            return missing if kept and is_living(after) else Finding(record.id, "absent")
        said = absorb.row_of(record)
        if after is None or not kept:  # not for the mirror to keep; or older than what it holds, if its time is right
            columns = differing(self.table, before, said) if is_older(said, before) else ()
            return Finding(record.id, "different" if columns else "right", columns)
        columns = differing(self.table, before, after)
        stale = is_news(before, after) or is_older(before, said)
        return Finding(record.id, "different", columns, stale, self.repair) if columns else Finding(record.id, "right")

