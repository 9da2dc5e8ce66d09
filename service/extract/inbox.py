"""Webhook events into the mirror: what each of them is about is read again, and nothing that it says is taken for
data. So neither its shape (traps 39) nor its order or age (traps 40) matters."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from service.concurrency import side_by_side
from service.core.mapping import normal_email
from service.core.records import Platform
from service.errors import BridgeError, Denied, PlatformError, RateLimited, RuleBroken, Unreachable, Verdict
from service.extract.digital_onboarding import DigitalReader
from service.extract.onvoard import OnvoardReader
from service.platforms.onvoard import events
from service.store import inbox
from service.store.database import Connection

BATCH = 500
AT_ONCE = 8
"""So many questions are under way before the first answer says that the platform is down."""
SAME_SECOND = timedelta(seconds=1)
"""Two edits within one second are one event of Digital Onboarding's, whose `t` is whole: it is looked into when that
second is over."""
AGAIN = timedelta(minutes=1)
GIVE_UP_AFTER = timedelta(hours=24)
"""By then a sweep has read whatever an event was about."""

Row = dict[str, Any]
_NO_EVENT = events.Event(None, "")


@dataclass(slots=True)
class _Look:
    """What became of one event. `error` while it could not be looked into, `until` where it is too early to."""

    row: Row
    subject: str | None
    event: events.Event = _NO_EVENT
    status: str = "processed"
    reason: str | None = None
    error: BridgeError | None = None
    until: datetime | None = None


class Inbox:
    """Looks into what waits, under the lease `cycle`: a question to Digital Onboarding is a write.

    `refresh` is the setting, `longest` the longest that a contact there is left alone (`inbox.quiet_until`).
    """

    def __init__(
        self, onvoard: OnvoardReader, digital: DigitalReader, refresh: Literal["probe", "list", "off"],
        longest: timedelta,
    ) -> None:  # fmt: skip
        self.onvoard, self.digital, self.refresh, self.longest = onvoard, digital, refresh, longest
        self.db, self.now = onvoard.db, onvoard.now
        self.counts: Counter[str] = Counter()
        self._down: PlatformError | None = None  # what keeps every call from getting through
        self._failed: BridgeError | None = None
        self._halves = (
            (Platform.ONVOARD, self._look_on_onvoard),
            (Platform.DIGITAL_ONBOARDING, self._look_on_digital_onboarding),
        )

    async def empty(self) -> None:
        """Everything that is due; `counts` is how many events were processed, ignored, failed or postponed.

        Raises the first PlatformError, after all else was done: those events are tried again.
        """
        while rows := await self.db.run(lambda conn: inbox.waiting(conn, self.now(), BATCH)):
            for platform, look_into in self._halves:
                if of_it := [row for row in rows if row["platform"] == platform.value]:
                    await self._finish(await look_into(of_it))
            self.onvoard.progress.advance("webhook events", len(rows))
        if self._failed is not None:
            raise self._failed

    # OnVoard

    @staticmethod
    def _begin(row: Row) -> _Look:
        event = events.read(row["payload"])
        return _Look(row, row["subject"] or event.contact_id, event)

    async def _look_on_onvoard(self, rows: Sequence[Row]) -> list[_Look]:
        looks = [self._begin(row) for row in rows]
        failed = await self._reread("reviews", (look.event.review_id for look in looks))
        for look in looks:
            look.error = failed.get(look.event.review_id or "")
        read = await self._find_contacts(looks)
        failed = await self._reread("contacts", {look.subject for look in looks if look.error is None} - read)
        ids = {look.subject for look in looks if look.subject}
        standing = await self.db.run(lambda conn: inbox.onvoard_standing(conn, ids))
        for look in looks:
            look.error = look.error or failed.get(look.subject or "")
            look.reason = standing.get(look.subject or "")
            look.status = "ignored" if look.reason in (inbox.SUPPRESSED, inbox.UNKNOWN) else "processed"
        return looks

    async def _reread(self, stream: str, ids: Iterable[str | None]) -> dict[str, BridgeError]:
        """Each of them once. -> what went wrong, by id"""
        failed: dict[str, BridgeError] = {}

        async def one(record_id: str) -> None:
            if self._down is not None:
                failed[record_id] = self._down
                return
            try:
                await self.onvoard.reread(self.onvoard.streams[stream], record_id)
            except (PlatformError, RuleBroken) as error:
                failed[record_id] = error
                if isinstance(error, Denied | RateLimited | Unreachable):
                    self._down = error

        await side_by_side(*(one(each) for each in sorted({each for each in ids if each})), at_once=AT_ONCE)
        return failed

    async def _find_contacts(self, looks: Sequence[_Look]) -> set[str | None]:
        """Whom the events are about that name nobody by id. -> the contacts that were read in order to find out"""
        reviews = [look.event.review_id for look in looks if look.event.review_id]
        of_reviews = await self.db.run(lambda conn: inbox.contacts_of_reviews(conn, reviews))
        for look in looks:
            look.subject = look.subject or of_reviews.get(look.event.review_id or "")
        unnamed = [look for look in looks if look.subject is None and look.event.email and look.error is None]
        emails = {normal_email(look.event.email) for look in unnamed}
        found: dict[str, str | None] = {**await self.db.run(lambda conn: inbox.contacts_with(conn, emails))}
        read: set[str | None] = set()
        for look in unnamed:
            email = normal_email(look.event.email)
            try:
                if email not in found:
                    found[email] = await self._contact_with(email)
                    read.add(found[email])
                look.subject = found[email]
            except PlatformError as error:
                look.error = error
        return read

    async def _contact_with(self, email: str) -> str | None:
        """The id of OnVoard's contact with this address, which is saved; None where there is none."""
        page = await self.onvoard.client.contacts.list(email=email, page_size=1)
        await self.db.run(lambda conn: self.onvoard.streams["contacts"].keep(conn, page.items))
        return page.items[0].id if page.items else None

    # Digital Onboarding

    async def _look_on_digital_onboarding(self, rows: Sequence[Row]) -> list[_Look]:
        since_last = self.now() - max(row["received_at"] for row in rows)
        await asyncio.sleep(max(0.0, (SAME_SECOND - since_last).total_seconds()))
        looks = [_Look(row, row["subject"]) for row in rows]
        ids = {row["subject"] for row in rows}
        known, stones, quiet = await self.db.run(lambda conn: self._known(conn, ids))
        asked = [i for i in known if known[i]["removed_at"] is None and i not in quiet and i not in stones]
        error = await self._ask([known[i]["unique_id"] for i in asked])
        after = await self.db.run(lambda conn: inbox.digital_contacts(conn, ids))
        for look in looks:
            subject = look.subject or ""
            if subject in stones:
                look.status, look.reason = "ignored", inbox.SUPPRESSED
            elif self.refresh == "off":
                look.status, look.reason = "ignored", "digital_onboarding.refresh is off"
            elif subject in known and subject in quiet:
                look.until = quiet[subject]
            elif subject in after:
                look.error, look.reason = error, inbox.digital_standing(known.get(subject), after[subject])
                look.status = "ignored" if look.reason == inbox.DELETED else "processed"
            else:
                look.error, look.status, look.reason = error, "ignored", inbox.UNKNOWN
        return looks

    def _known(self, conn: Connection, ids: set[str]) -> tuple[dict[str, Row], set[str], dict[str, datetime]]:
        """-> (those that the mirror knows, those that are suppressed, until when some are left alone)"""
        now = self.now()
        quiet = inbox.quiet_until(conn, ids, self.longest, now)
        return (
            inbox.digital_contacts(conn, ids),
            inbox.suppressed_there(conn, ids),
            {subject: until for subject, until in quiet.items() if until > now},
        )

    async def _ask(self, unique_ids: Sequence[str]) -> BridgeError | None:
        try:
            if self.refresh == "list":
                await self.digital.list_all()
            elif self.refresh == "probe":
                await self.digital.probe_all(unique_ids)
        except PlatformError as error:
            return error
        return None

    # Both

    async def _finish(self, looks: Sequence[_Look]) -> None:
        """On record. What failed is tried again, if that may help."""
        now = self.now()
        for look in looks:
            if look.error is not None:
                hopeless = not isinstance(look.error, PlatformError) or look.error.verdict is Verdict.GIVE_UP
                if hopeless or now - look.row["received_at"] >= GIVE_UP_AFTER:
                    look.status, look.reason = "failed", str(look.error)
                else:
                    look.until = now + AGAIN
                    self._failed = self._failed or look.error
            self.counts["postponed" if look.until else look.status] += 1

        def keep(conn: Connection) -> None:
            told = [(look.row["id"], look.status, look.reason, look.subject) for look in looks if look.until is None]
            inbox.finish(conn, told, now)
            inbox.postpone(conn, {look.row["id"]: look.until for look in looks if look.until is not None})

        await self.db.run(keep)
