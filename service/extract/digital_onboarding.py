"""Digital Onboarding into the mirror. It documents no way to read contacts: they are asked about by an upsert of their
`unique_id` alone (a probe), which is a write and is only made where writes are allowed (contract section 4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from service import telemetry
from service.core.records import Platform
from service.errors import OutcomeUnknown, PlatformError, Rejected, SuspiciouslyEmpty, TooLarge
from service.extract.refused import refuse
from service.platforms.digital_onboarding.models import Contact
from service.platforms.digital_onboarding.wire import Listing
from service.platforms.payload import Refused
from service.progress import Progress
from service.store import absorb, mirror, people, rates
from service.store import tables as t
from service.store.database import Connection, Database

if TYPE_CHECKING:
    from service.platforms.digital_onboarding.client import DigitalOnboarding

_log = structlog.get_logger()

LISTED = 100
"""Contacts a page of the undocumented list."""
READ = datetime.max.replace(tzinfo=UTC)
"""When a list was asked for: reading moves no time, so each one that it shows is a user's."""


class DigitalReader:
    def __init__(
        self,
        client: DigitalOnboarding,
        db: Database,
        run_id: int,
        now: Callable[[], datetime],
        progress: Progress,
        batch_size: int,
    ) -> None:
        self.client, self.db, self.run_id, self.now, self.progress = client, db, run_id, now, progress
        self.batch_size = batch_size
        self.refused: Counter[str] = Counter()  # records without an id, by stream

    @telemetry.pull("digital_onboarding", "templates")
    async def templates(self) -> int:
        return await self._listing("templates", await self.client.list_templates(), t.digital_onboarding_templates)

    @telemetry.pull("digital_onboarding", "objectives")
    async def objectives(self) -> int:
        return await self._listing("objectives", await self.client.list_objectives(), t.digital_onboarding_objectives)

    async def _listing(self, name: str, listing: Listing[Any], table: t.Table) -> int:
        """All of a kind, in one answer; what it no longer names leaves the mirror, unless it names nothing at all
        (law 12)."""
        await self._refuse(name, listing.refused)
        rows = [absorb.row_of(item) for item in listing.items]

        def keep(conn: Connection) -> None:
            mirror.save_records(conn, table, rows)
            gone = mirror.keys(conn, table, "id") - {row["id"] for row in rows}
            for key in gone if rows else ():
                mirror.mark_gone(conn, table, key, self.now())

        await self.db.run(keep)
        self.progress.advance(name, len(rows))
        return len(rows)

    async def _refuse(self, stream: str, refused: Sequence[Refused]) -> None:
        await refuse(self.db, Platform.DIGITAL_ONBOARDING, stream, refused, self.run_id, self.now())
        self.refused[stream] += len(refused)

    @telemetry.pull("digital_onboarding", "contacts")
    async def probe_due(self, before: datetime) -> int:
        """Ask about every contact whose last answer is older than `before`. -> how many were asked about"""
        after, asked = "", 0
        while ids := await self.db.run(
            lambda conn, after=after: mirror.due_for_refresh(conn, before, after, self._size(conn))  # type: ignore[misc]
        ):
            asked += await self.probe(ids)
            after = ids[-1]
        return asked

    async def probe_all(self, unique_ids: Sequence[str]) -> int:
        """Ask about these, a batch at a time. -> how many were asked about"""
        start = asked = 0
        while start < len(unique_ids):
            batch = unique_ids[start : start + await self.db.run(self._size)]
            start += len(batch)
            asked += await self.probe(batch)
        return asked

    def _size(self, conn: Connection) -> int:
        return rates.batch_size(conn, Platform.DIGITAL_ONBOARDING, self.batch_size)

    async def probe(self, unique_ids: Sequence[str], *, whole: bool = True) -> int:
        """Ask about these. Those that had to be made anew become conflicts; if that is everybody, something else is
        wrong (law 12). The batches that follow a `whole` one are smaller where it was too much."""
        if not unique_ids:
            return 0
        try:
            answer = await self.client.upsert_contacts([{"unique_id": unique_id} for unique_id in unique_ids])
        except PlatformError as error:
            return await self._probe_apart(unique_ids, error, whole)
        await self._refuse("contacts", answer.refused)
        wanted = set(unique_ids)
        new, existing = ([c for c in found if c.unique_id in wanted] for found in (answer.new, answer.existing))

        def keep(conn: Connection) -> int:
            rates.batch_passed(conn, Platform.DIGITAL_ONBOARDING, len(unique_ids), self.batch_size)
            return self.keep(conn, existing, new, answer.asked_at)

        gone = await self.db.run(keep)
        self.progress.advance("digital_onboarding contacts", len(unique_ids))
        if gone == len(unique_ids) > 2:
            raise SuspiciouslyEmpty(
                f"digital_onboarding knows none of the {gone} contacts asked about: nothing else was done",
                hint="contact-bridge conflicts list",
            )
        return len(unique_ids)

    async def _probe_apart(self, unique_ids: Sequence[str], error: PlatformError, whole: bool) -> int:
        """A batch that is refused, or too large, in halves, one that is not answered only once; one that is refused
        alone stays as it was last known."""
        if whole:
            platform = Platform.DIGITAL_ONBOARDING
            await self.db.run(lambda conn: rates.batch_failed(conn, platform, len(unique_ids), error))
        refused = isinstance(error, Rejected | TooLarge)
        if not refused and not (isinstance(error, OutcomeUnknown) and whole and len(unique_ids) > 1):
            raise error
        if len(unique_ids) == 1:
            _log.warning("probe refused", platform="digital_onboarding", error=str(error))
            return 0
        middle = len(unique_ids) // 2
        halves = (unique_ids[:middle], unique_ids[middle:])
        return sum([await self.probe(half, whole=False) for half in halves])

    def keep(self, conn: Connection, existing: Sequence[Contact], new: Sequence[Contact], at: datetime) -> int:
        """-> how many turned out to have been removed: made anew by asking (`new`), or by somebody else"""
        people.turn_to_show(conn)  # before any row is locked
        known = mirror.known_digital_contacts(conn, [c.unique_id for c in existing if c.unique_id])
        anew = [c for c in existing if absorb.recreated(known.get(c.unique_id or ""), absorb.row_of(c))]
        gone = [absorb.row_of(contact) for contact in (*new, *anew)]
        absorb.removed_on_digital_onboarding(conn, gone, self.run_id, self.now())
        still = [contact for contact in existing if contact not in anew]
        absorb.digital_contacts(conn, still, origin="refresh", asked_at=at, run_id=self.run_id, now=self.now())
        return len(gone)

    @telemetry.pull("digital_onboarding", "contacts")
    async def list_all(self) -> int:
        """The undocumented list, for those whose token may call it (`digital_onboarding.refresh = "list"`)."""
        read = 0
        async for found in self.listed():
            await self.db.run(lambda conn, found=found: self.keep(conn, found, (), READ))  # type: ignore[misc]
            read += len(found)
            self.progress.advance("digital_onboarding contacts", len(found))
        return read

    async def listed(self) -> AsyncIterator[list[Contact]]:
        """Page by page, those that `keep` can take."""
        read = 0
        while True:
            listing = await self.client.list_contacts(limit=LISTED, offset=read)
            await self._refuse("contacts", listing.refused)
            yield [contact for contact in listing.items if contact.unique_id]
            returned = len(listing.items) + len(listing.refused)
            read += returned
            if returned < LISTED:
                return
