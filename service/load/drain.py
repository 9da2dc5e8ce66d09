"""The outbox, said to the platforms: lane after lane, each push on record before it leaves and settled
when answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence, Set
from datetime import UTC, datetime, timedelta
from typing import Any

from service.core.consent import check_payload
from service.core.mapping import normal_email
from service.core.records import Platform
from service.errors import (
    Denied,
    NotFound,
    OutcomeUnknown,
    PlatformError,
    RateLimited,
    Rejected,
    RuleBroken,
    ServerFailed,
    TooLarge,
    Unreachable,
    Verdict,
)
from service.load.settle import Settler
from service.platforms.digital_onboarding.client import DigitalOnboarding
from service.platforms.onvoard.client import OnVoard
from service.platforms.pace import Priority, priority
from service.progress import Progress
from service.store import mirror, outbox, rates
from service.store.database import Connection, Database
from service.store.outbox import Lane, Operation

Row = dict[str, Any]
ONVOARD_CHUNK = 64
"""Pushes to OnVoard whose intents are recorded, and whose answers are settled, together."""
_DIGITAL = Platform.DIGITAL_ONBOARDING
MAX_ATTEMPTS = 5
"""After so many failed cycles a push that alone makes the platform fail becomes a dead letter (law 6)."""


class Drain:
    """Pushes what is pending, for one run."""

    def __init__(
        self,
        onvoard: OnVoard,
        digital: DigitalOnboarding,
        db: Database,
        settler: Settler,
        now: Callable[[], datetime],
        progress: Progress,
        batch_size: int,
    ) -> None:
        self.onvoard, self.digital, self.db, self.settler = onvoard, digital, db, settler
        self.now, self.progress, self.batch_size = now, progress, batch_size
        self.only: Set[int] | None = None

    async def all(self, *, activities: bool, only: Set[int] | None = None) -> int:
        """Every pending push, or of them `only` these outbox rows; `activities` says whether OnVoard knows their types.
        -> how many were sent

        Raises the PlatformError that kept back some of a lane, after all that could be said of it.
        """
        self.only = only
        sent = 0
        for lane in Lane:
            if lane is Lane.ACTIVITY and not activities:
                continue
            sent += await self._lane(lane)
        return sent

    async def _lane(self, lane: Lane) -> int:
        """Both platforms side by side."""
        with priority(Priority.OPT_OUT if lane is Lane.OPT_OUT else Priority.OUTBOX):
            results = await asyncio.gather(self._onvoard(lane), self._digital(lane), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return sum(result for result in results if isinstance(result, int))

    async def _onvoard(self, lane: Lane) -> int:
        sent, after = 0, 0
        failure: BaseException | None = None
        while rows := await self._take(lane, Platform.ONVOARD, after):
            after = rows[-1]["id"]
            outcomes = await asyncio.gather(*(self._push(row) for row in rows), return_exceptions=True)
            failed = await self.db.run(
                lambda conn, rows=rows, outcomes=outcomes: self._settle_onvoard(conn, rows, outcomes)  # type: ignore[misc]
            )
            self.progress.advance("push to onvoard", len(rows))
            sent += len(rows)
            failure = failure or (failed[0] if failed else None)
            if len(failed) == len(rows) or any(_stops_everybody(error) for error in failed):
                break
        if failure is not None:
            raise failure
        return sent

    async def _take(self, lane: Lane, platform: Platform, after: int) -> list[Row]:
        def take(conn: Connection) -> list[Row]:
            reached, limit = after, ONVOARD_CHUNK
            if platform is Platform.DIGITAL_ONBOARDING:
                limit = rates.batch_size(conn, platform, self.batch_size)
            rows: list[Row] = []
            while not rows and (found := outbox.waiting(conn, lane, platform, limit, after=reached)):
                reached = found[-1]["id"]
                rows = [row for row in found if self.only is None or row["id"] in self.only]
            if lane is Lane.CHANGE and platform is Platform.ONVOARD:
                # What a patch leaves out may fall back to its default (traps 4), also what the lane before has said.
                out = mirror.unsubscribed(conn, [row["target"] for row in rows])
                for row in rows:
                    row["payload"] = row["payload"] | ({"email_unsubscribed": True} if row["target"] in out else {})
            outbox.mark_sending(conn, [row["id"] for row in rows], self.now())
            return rows

        return await self.db.run(take)

    async def _push(self, row: Row) -> Any:
        """One push to OnVoard -> what was answered: a contact, an activity, or `_Found`."""
        payload = row["payload"]
        if row["operation"] == Operation.CREATE_ACTIVITY:
            return await self._announce(row)
        check_payload(Platform.ONVOARD, payload)
        if row["operation"] == Operation.PATCH_CONTACT:
            return await self._patch(row)
        # Create-or-update would overwrite one that came into being since we last read: look first.
        found = await self.onvoard.contacts.list(email=payload["email"].strip(), page_size=100)
        same = [c for c in found.items if normal_email(c.email) == row["target"]]
        if same:
            return _Found(same[0], "it exists on OnVoard already: linked, not created")
        return await self.onvoard.contacts.create_or_update(**payload)

    async def _announce(self, row: Row) -> Any:
        """What is refused may be so because the contact was deleted or suppressed since we last read it."""
        at = datetime.fromtimestamp(row["payload"]["timestamp"], UTC)
        try:
            return await self.onvoard.contact_activities.create(**{**row["payload"], "timestamp": at})
        except Rejected:
            contact = await self.onvoard.contacts.retrieve(row["target"])
            if not contact.suppressed:
                raise
            return _Found(contact, "the contact is suppressed")

    async def _patch(self, row: Row) -> Any:
        """What is refused may be so because the contact was suppressed since we last read it: then that is the news.

        A fallen flag that is only said again must not take back what the person has said since: look first.
        """
        read, patch = self.onvoard.contacts.retrieve, self.onvoard.contacts.patch
        if row["lane"] == Lane.CHANGE and "email_unsubscribed" in row["payload"]:
            contact = await read(row["target"])
            if contact.email_unsubscribed is False:
                return _Found(contact, "opted in again meanwhile: looked at anew")
        try:
            return await patch(row["target"], **row["payload"])
        except Rejected:
            contact = await read(row["target"])
            if not contact.suppressed:
                raise
            return contact

    def _settle_onvoard(self, conn: Connection, rows: Sequence[Row], outcomes: Sequence[Any]) -> list[BaseException]:
        """-> the errors of those that have to be tried again"""
        failed: list[BaseException] = []
        for row, outcome in zip(rows, outcomes, strict=True):
            now = self.now()
            if isinstance(outcome, _Found):
                self.settler.found_on_onvoard(conn, row, outcome.contact, outcome.why, now)
            elif not isinstance(outcome, BaseException):
                settle = (
                    self.settler.activity
                    if row["operation"] == Operation.CREATE_ACTIVITY
                    else self.settler.onvoard_contact
                )
                settle(conn, row, outcome, now)
            elif isinstance(outcome, NotFound) and row["operation"] != Operation.CREATE_CONTACT:
                self.settler.gone_from_onvoard(conn, row, now)
            else:
                failed += self._failed(conn, [row], outcome)
        return failed

    def _failed(self, conn: Connection, rows: Sequence[Row], error: BaseException) -> list[BaseException]:
        """A push that did not get through. -> the error, where it is to be tried again"""
        ids, now = [row["id"] for row in rows], self.now()
        verdict = error.verdict if isinstance(error, PlatformError) else None
        # Nobody else is in this request, and it has failed time and again: it is not the platform.
        poison = isinstance(error, ServerFailed) and len(rows) == 1 and rows[0]["attempts"] >= MAX_ATTEMPTS
        # A 404 is not about a record that was to be made: the address is wrong, and a person has to look.
        if isinstance(error, RuleBroken | Rejected | TooLarge) or poison:
            outbox.mark(conn, ids, "dead", now, str(error))
            return []
        outbox.mark(conn, ids, "unknown" if verdict is Verdict.LOOK else "pending", now, _reason(error))
        return [error]

    async def _digital(self, lane: Lane) -> int:
        sent, after = 0, 0
        while rows := await self._take(lane, Platform.DIGITAL_ONBOARDING, after):
            after = rows[-1]["id"]
            for batch in _without_doubles(rows):
                await self._send_batch(batch)
            self.progress.advance("push to digital_onboarding", len(rows))
            sent += len(rows)
        return sent

    async def _send_batch(self, rows: Sequence[Row], *, whole: bool = True) -> None:
        """A refused batch is halved until the culprit stands alone (law 6), one that is not answered only once; those
        that follow a `whole` one are smaller where it was too much."""
        for row in rows:
            check_payload(Platform.DIGITAL_ONBOARDING, row["payload"])
        try:
            answer = await self.digital.upsert_contacts([row["payload"] for row in rows])
        except PlatformError as error:
            if whole:
                await self.db.run(lambda conn, error=error: rates.batch_failed(conn, _DIGITAL, len(rows), error))  # type: ignore[misc]
            if len(rows) > 1 and _may_be_one_of(rows, error, whole):
                middle = len(rows) // 2
                await self._send_batch(rows[:middle], whole=False)
                await self._send_batch(rows[middle:], whole=False)
                return
            if await self.db.run(lambda conn, error=error: self._failed(conn, rows, error)):  # type: ignore[misc]
                raise error from None
            return
        except RuleBroken as error:
            await self._send_apart(rows, error)
            return

        def settle(conn: Connection) -> None:
            self.settler.digital_batch(conn, rows, answer, self.now())
            rates.batch_passed(conn, _DIGITAL, len(rows), self.batch_size)

        await self.db.run(settle)

    async def _send_apart(self, rows: Sequence[Row], error: RuleBroken) -> None:
        """The client refuses one of them before anything is sent: find out which."""
        if len(rows) == 1:
            await self.db.run(lambda conn: self._failed(conn, rows, error))
            return
        for row in rows:
            await self._send_batch([row], whole=False)

    async def look_for(self, rows: Sequence[Row]) -> None:
        """Activities of unknown outcome: done if OnVoard has one with their `sync_id`, else sent again (law 5)."""
        for row in rows:
            try:
                found = await self._find_activity(row["payload"])
            except NotFound:
                await self.db.run(lambda conn, row=row: self.settler.gone_from_onvoard(conn, row, self.now()))  # type: ignore[misc]
                continue

            def settle(conn: Connection, row: Row = row, found: Any = found) -> None:
                if found is None:
                    outbox.mark(conn, [row["id"]], "pending", self.now(), row["last_error"])
                else:
                    self.settler.activity(conn, row, found, self.now())

            await self.db.run(settle)

    async def _find_activity(self, payload: dict[str, Any]) -> Any:
        at = datetime.fromtimestamp(payload["timestamp"], UTC)
        around = {"before": at + timedelta(seconds=2), "after": at - timedelta(seconds=2)}
        number = 1
        while True:
            page = await self.onvoard.contact_activities.list(
                contact_id=payload["contact_id"], activity_types=[payload["type"]], page=number, page_size=100,
                before=around["before"], after=around["after"],
            )  # fmt: skip
            for activity in page.items:
                if (activity.record_data or {}).get("sync_id") == payload["record_data"]["sync_id"]:
                    return activity
            if page.returned < min(100, page.page_size):
                return None
            number += 1


class _Found:
    """Instead of the push: a contact as it is now, and why that comes first."""

    def __init__(self, contact: Any, why: str) -> None:
        self.contact, self.why = contact, why


def _without_doubles(rows: Sequence[Row]) -> list[list[Row]]:
    """Batches in which no unique_id stands twice (traps 53), in order."""
    batches: list[list[Row]] = [[]]
    seen: set[str] = set()
    for row in rows:
        if row["target"] in seen:
            batches.append([])
            seen = set()
        batches[-1].append(row)
        seen.add(row["target"])
    return batches


def _may_be_one_of(rows: Sequence[Row], error: PlatformError, whole: bool) -> bool:
    """Whether it may be about some of them, or about how many they are."""
    if isinstance(error, ServerFailed):
        return any(row["attempts"] > 0 for row in rows)  # a second time
    unanswered = isinstance(error, OutcomeUnknown) and error.verdict is Verdict.RETRY
    return isinstance(error, Rejected | TooLarge) or (unanswered and whole)


def _stops_everybody(error: BaseException) -> bool:
    """Not about the record: nobody else would get through."""
    return not isinstance(error, PlatformError) or isinstance(error, Denied | NotFound | RateLimited | Unreachable)


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, PlatformError) else type(error).__name__
