"""OnVoard into the mirror: new records by cursor, everything by windows, single contacts by hint. To read once more
what is known is for `sweeping`."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from service import telemetry
from service.concurrency import side_by_side
from service.core import windows
from service.core.records import Platform
from service.core.windows import EPOCH, LEAD, PAGE, SECOND, Position
from service.errors import NotFound, RuleBroken, SuspiciouslyEmpty
from service.extract.keeping import Keeper
from service.extract.listings import listings
from service.extract.refused import refuse
from service.platforms.onvoard.wire import Page, is_last
from service.progress import Progress
from service.store import absorb, cursors, mirror, slices, verifications
from service.store import tables as t
from service.store.database import Connection, Database
from service.store.lease import lease
from service.store.mirror import Row
from service.store.tables import Table
from service.store.together import Together

if TYPE_CHECKING:
    from service.platforms.onvoard.client import OnVoard

_log = structlog.get_logger()

# Records become visible a little after the time that they bear.
OVERLAP = timedelta(seconds=60)
LEASE_WAIT = 600.0
"""Seconds for which a backfill waits for another one of the same stream, which does its work."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One list that is filtered by time. `fetch(before, after, page)` reads a page, `dated_by` names the time that it
    sorts by, `rows` makes of its records what `save` keeps: the database waits for nobody's Python. The first backfill,
    which is gone on with until it is done, may keep them by `fill`, and leave to its end what follows (`_hint`)."""

    name: str
    table: Table
    dated_by: str
    fetch: Callable[[datetime | None, datetime | None, int], Awaitable[Page[Any]]]
    rows: Callable[[Sequence[Any]], list[Row]]
    save: Callable[[Connection, list[Row]], None]
    retrieve: Callable[[str], Awaitable[Any]]
    fill: Callable[[Connection, list[Row]], None] | None = None

    def keep(self, conn: Connection, records: Sequence[Any]) -> None:
        self.save(conn, self.rows(records))

    def when(self, record: Any) -> datetime | None:
        return getattr(record, self.dated_by)  # type: ignore[no-any-return]

    @property
    def dates(self) -> Any:
        """The column of these times."""
        return self.table.c[self.dated_by]


@dataclass(frozen=True, slots=True)
class Step:
    """One page of a walk. With it, everything from `reached` up to the walk's beginning is read; None while one second
    fills several pages."""

    page: Page[Any]
    reached: datetime | None
    last: bool


class OnvoardReader:
    """Reads for one run. `now` is the local clock; `run_id` marks what a suppression leads to; what was read is to be
    swept `sweep_after` later."""

    def __init__(
        self, client: OnVoard, db: Database, run_id: int, now: Callable[[], datetime], progress: Progress,
        sweep_after: timedelta,
    ) -> None:  # fmt: skip
        self.client, self.db, self.run_id, self.now, self.progress = client, db, run_id, now, progress
        self.sweep_after = sweep_after
        self.refused: Counter[str] = Counter()  # records without an id, by stream
        self.streams = {stream.name: stream for stream in self._streams()}
        self.keepers = {name: Keeper(db, name, stream.save) for name, stream in self.streams.items()}
        self._saving = {name: Together(self._save_all(stream)) for name, stream in self.streams.items()}
        self.listings = listings(client)

    def _save_all(self, stream: Stream) -> Callable[[Sequence[Any]], Awaitable[None]]:
        return lambda records: self.db.run(lambda conn: stream.keep(conn, records))

    def _streams(self) -> list[Stream]:
        c = self.client

        def created(listing: Any) -> Callable[[datetime | None, datetime | None, int], Awaitable[Page[Any]]]:
            return lambda before, after, page: listing.list(
                page=page, page_size=PAGE, created_before=before, created_after=after
            )

        def happened(before: datetime | None, after: datetime | None, page: int) -> Awaitable[Page[Any]]:
            return c.contact_activities.list(page=page, page_size=PAGE, before=before, after=after)

        return [
            Stream("contacts", t.onvoard_contacts, "created_at", created(c.contacts),
                   self._contact_rows, self._save_contacts, c.contacts.retrieve),
            Stream("reviews", t.onvoard_reviews, "created_at", created(c.reviews),
                   absorb.record_rows, absorb.reviews, c.reviews.retrieve),
            Stream("activities", t.onvoard_activities, "occurred_at", happened,
                   absorb.activity_rows, self._save_activities, c.contact_activities.retrieve,
                   self._fill_activities),
            Stream("records", t.onvoard_resource_records, "created_at", created(c.resource_records),
                   absorb.record_rows, absorb.resource_records, c.resource_records.retrieve),
        ]  # fmt: skip

    def _contact_rows(self, contacts: Sequence[Any]) -> list[Row]:
        return absorb.contact_rows(contacts, self.now())

    def _save_contacts(self, conn: Connection, rows: list[Row]) -> None:
        absorb.onvoard_contacts(conn, rows, run_id=self.run_id, now=self.now())

    def _save_activities(self, conn: Connection, rows: list[Row]) -> None:
        absorb.want_reread(conn, absorb.activities(conn, rows, self.now()))

    def _fill_activities(self, conn: Connection, rows: list[Row]) -> None:
        absorb.activities(conn, rows, self.now())

    async def _refuse(self, name: str, page: Page[Any]) -> None:
        """A record without an id cannot be kept: a dead letter names it."""
        await refuse(self.db, Platform.ONVOARD, name, page.refused, self.run_id, self.now())
        self.refused[name] += len(page.refused)

    async def walk(self, stream: Stream, upper: datetime | None, lower: datetime | None) -> AsyncIterator[Step]:
        """Newest first from `upper` (None: from now) down to `lower` (None: to the beginning)."""
        position = Position(upper)
        after = lower - SECOND if lower is not None and lower > EPOCH else None
        while True:
            page = await stream.fetch(position.before, after, position.page)
            await self._refuse(stream.name, page)
            times = [when for when in map(stream.when, page.items) if when is not None]
            if is_last(page, PAGE):
                yield Step(page, lower or EPOCH, last=True)
                return
            following = position.after(times)
            yield Step(page, following.before if following.page == 1 else None, last=False)
            position = following

    @telemetry.pull("onvoard")
    async def new(self, name: str, *, allow_empty: bool = False) -> int:
        """Records since the cursor; everything, by windows, where there is none yet. -> how many were read"""
        stream = self.streams[name]
        since = await self.since(name)
        if since is None:
            async with self._backfilling(name):
                if (since := await self.since(name)) is None:  # nobody did it while we waited for them
                    return await self._backfill(stream, None, None, allow_empty)
        began, read = None, 0
        async with self.keepers[name] as keeper:
            async for step in self.walk(stream, None, since - OVERLAP):
                began = began or step.page.server_time
                read += len(step.page.items)
                await keeper.add(stream.rows(step.page.items))
                self.progress.advance(name, len(step.page.items))
            await keeper.flush(lambda conn: cursors.put(conn, f"onvoard.{name}", began or since, self.now()))
        return read

    async def since(self, name: str) -> datetime | None:
        """Until when a stream is known; None where it was never read whole."""
        return await self.db.run(lambda conn: cursors.get_time(conn, f"onvoard.{name}"))

    def _backfilling(self, name: str) -> AbstractAsyncContextManager[None]:
        return lease(self.db, f"backfill:{name}", wait=LEASE_WAIT)

    @telemetry.pull("onvoard")
    async def backfill(
        self, name: str, since: datetime | None = None, until: datetime | None = None, *, allow_empty: bool = False
    ) -> int:
        """Everything, or what was created from `since` to before `until`; goes on where a killed one stopped.

        Raises SuspiciouslyEmpty where the platform lists nothing, though the mirror knows several (law 12).
        """
        async with self._backfilling(name):
            return await self._backfill(self.streams[name], since, until, allow_empty)

    async def _backfill(
        self, stream: Stream, since: datetime | None, until: datetime | None, allow_empty: bool
    ) -> int:
        name, whole = stream.name, since is None and until is None
        key = f"onvoard.{name}" + (f" {since} {until}" if since or until else "")
        backlog = await self.db.run(lambda conn: cursors.backlog(conn, key))
        anything, upper = await self.begin(stream, since or EPOCH, until)
        if whole and not anything and not allow_empty:
            await self.suspect(stream)
        first = whole and await self.since(name) is None
        began = await self.db.run(lambda conn: cursors.windows_began(conn, key)) if first else None
        if not backlog and began is None:  # or it only has to be closed
            await self.db.run(lambda conn: cursors.open_window(conn, key, since or EPOCH, upper))
            backlog = await self.db.run(lambda conn: cursors.backlog(conn, key))
        async with Keeper(self.db, name, (first and stream.fill) or stream.save) as keeper:
            read = await side_by_side(*(self._window(stream, keeper, w, since, until, LEAD) for w in backlog))
            await keeper.flush()
            if rest := await self.db.run(lambda conn: cursors.backlog(conn, key)):
                read += await side_by_side(*(self._window(stream, keeper, w, since, until) for w in rest))
            await keeper.flush()
            if first and name in ("contacts", "activities"):
                await self._hint()
            await keeper.flush(lambda conn: self._backfilled(conn, key, stream, whole))
        return sum(read)

    async def _hint(self) -> None:
        """Whoever was active after they were read, is read again: their activity may have come first. Whichever of the
        two backfills ends last, sees everything."""
        since, after = await self.db.read(absorb.least_seen), ""
        while active := await self.db.read(partial(absorb.active_since, since=since, after=after)):
            await self.db.run(partial(absorb.want_reread, happened=active))
            *_, after = active

    def _backfilled(self, conn: Connection, key: str, stream: Stream, whole: bool) -> None:
        began = cursors.windows_began(conn, key)
        cursors.close_windows(conn, key)
        if whole and began is not None:
            if cursors.get(conn, f"onvoard.{stream.name}") is None:
                swept_at = min(began, self.now())
                slices.make(conn, stream.name, stream.dates, began, swept_at, self.sweep_after)
            cursors.put(conn, f"onvoard.{stream.name}", began, self.now())

    async def suspect(self, stream: Stream) -> None:
        """An empty list is taken for an outage where the mirror knows better."""
        known = await verifications.count(self.db, stream.table)
        if known > 1:
            what = "nobody" if stream.name == "contacts" else f"no {stream.name}"
            raise SuspiciouslyEmpty(
                f"onvoard lists {what}, but the mirror knows {known}: taken for an outage, nothing was changed",
                hint="if it is true: contact-bridge sync --full --allow-mass-change",
            )

    async def begin(self, stream: Stream, lower: datetime, until: datetime | None) -> tuple[bool, datetime]:
        """-> (whether there is anything, the upper bound: frozen at the platform's clock)"""
        page = await stream.fetch(until, lower - SECOND if lower > EPOCH else None, 1)
        return page.returned > 0, until or windows.whole(page.server_time) + SECOND

    async def cut(self, stream: Stream, lower: datetime, upper: datetime) -> list[tuple[datetime, datetime]]:
        """Find out how much there is, and cut it into windows of about as many records each.

        There is no total (traps 32): pages 2, 4, 8 … tell how far it goes, and a few pages between where to cut.
        """
        after = lower - SECOND if lower > EPOCH else None
        extent = 2
        while not is_last(await stream.fetch(upper, after, extent), PAGE):
            extent *= 2
        pages = windows.sample_pages(extent)
        sampled = await side_by_side(*(stream.fetch(upper, after, number) for number in pages))
        marks = [when for page in sampled for when in map(stream.when, page.items[-1:]) if when is not None]
        return windows.cut(lower, upper, marks)

    async def _window(
        self, stream: Stream, keeper: Keeper, window: dict[str, Any], since: datetime | None, until: datetime | None,
        pages: int | None = None,
    ) -> int:  # fmt: skip
        """Read a window; or no more than about so many `pages` of it, and cut what is left."""
        read, steps = 0, 0
        async for step in self.walk(stream, window["reached"], window["lower"]):
            steps += 1
            items = self._within(stream, step.page.items, since, until)
            moved = {} if step.reached is None else {window["id"]: (step.reached, step.last)}
            await keeper.add(stream.rows(items), cursors.move_windows, moved)
            read += len(items)
            self.progress.advance(stream.name, len(items))
            if pages is not None and steps >= pages and step.reached is not None and not step.last:
                await self._split(stream, keeper, window, step.reached)
                break
        return read

    async def _split(self, stream: Stream, keeper: Keeper, window: dict[str, Any], at: datetime) -> None:
        spans = await self.cut(stream, window["lower"], at)
        await keeper.flush(lambda conn: cursors.split_window(conn, window["id"], at, spans))

    @staticmethod
    def _within(stream: Stream, items: Sequence[Any], since: datetime | None, until: datetime | None) -> list[Any]:
        """The platform filters by whole seconds, and does not say which side of the boundary it means."""
        return [
            item
            for item in items
            if (when := stream.when(item)) is None
            or ((since is None or when >= since) and (until is None or when < until))
        ]

    async def reread(self, stream: Stream, record_id: str) -> None:
        try:
            record = await stream.retrieve(record_id)
        except RuleBroken as error:  # an id that no path can hold
            _log.warning("not re-read", stream=stream.name, reason=str(error))
        except NotFound:
            await self.db.run(lambda conn: mirror.mark_gone(conn, stream.table, record_id, self.now()))
        else:
            await self._saving[stream.name].add(record)

    async def follow_hints(self) -> int:
        """Re-read the contacts to whom something happened. -> how many"""
        contacts, read = self.streams["contacts"], 0
        while batch := await self.db.run(lambda conn: absorb.wanted(conn, PAGE)):
            await side_by_side(*(self.reread(contacts, contact_id) for contact_id in batch))
            await self.db.run(lambda conn, ids=tuple(batch): absorb.reread_done(conn, ids, self.now()))  # type: ignore[misc]
            read += len(batch)
            self.progress.advance("contacts", len(batch))
        return read

    @telemetry.pull("onvoard")
    async def listing(self, name: str) -> int:
        """The short lists without a time: read whole, page by page; what is gone leaves the mirror. -> how many"""
        listed, read, number = self.listings[name], set[str](), 1
        while True:
            page = await listed.fetch(number)
            await self._refuse(name, page)
            rows = [absorb.row_of(item) for item in page.items]
            await self.db.run(lambda conn, rows=rows: mirror.save_records(conn, listed.table, rows, listed.key))  # type: ignore[misc]
            read |= {row[listed.key] for row in rows}
            self.progress.advance(name, len(rows))
            if is_last(page, PAGE):
                break
            number += 1
        known = await self.db.run(lambda conn: mirror.keys(conn, listed.table, listed.key))
        for key in sorted(known - read):
            if await listed.is_gone(key):
                await self.db.run(lambda conn, key=key: mirror.mark_gone(conn, listed.table, key, self.now()))  # type: ignore[misc]
        return len(read)
