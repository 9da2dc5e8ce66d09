"""Pushes to Digital Onboarding: contacts and completions in batches, which are cut until a culprit stands alone
(law 6), and journeys one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from service.core.consent import check_payload
from service.core.records import Platform
from service.errors import (
    NotFound,
    OutcomeUnknown,
    PlatformError,
    Rejected,
    RuleBroken,
    ServerFailed,
    TooLarge,
    Verdict,
)
from service.load.batches import Batches
from service.load.queue import Queue, Row
from service.load.settle import Settler
from service.platforms.digital_onboarding.models import Journey
from service.progress import Progress
from service.store import mirror, outbox, rates
from service.store.database import Connection
from service.store.outbox import Lane, Operation

if TYPE_CHECKING:
    from service.platforms.digital_onboarding.client import DigitalOnboarding

T = TypeVar("T")
_PLATFORM = Platform.DIGITAL_ONBOARDING
UNCLEAR = "nobody can tell whether this further journey was started: look for it on Digital Onboarding"


class DigitalPushes:
    def __init__(
        self, client: DigitalOnboarding, queue: Queue, settler: Settler, progress: Progress, batch_size: int
    ) -> None:
        self.client, self.queue, self.settler, self.progress = client, queue, settler, progress
        self.db, self.now, self.batch_size = queue.db, queue.now, batch_size

    async def lane(self, lane: Lane) -> int:
        """-> how many were sent. Raises what kept back some of them, when nothing more can be done."""
        sent, after = 0, 0
        while rows := await self.db.run(lambda conn: self._take(conn, lane, after)):  # noqa: B023 - it runs at once
            after = rows[-1]["id"]
            number, failure = await self.queue.in_order(rows, self._send)
            self.progress.advance("push to digital_onboarding", number)
            sent += number
            if failure is not None:
                raise failure
        return sent

    async def _send(self, rows: Sequence[Row]) -> dict[str, BaseException]:
        journeys = [row for row in rows if row["operation"] == Operation.START_JOURNEY]
        contacts = [row for row in rows if row["operation"] != Operation.START_JOURNEY]
        failed = await self._start_all(journeys) if journeys else {}
        if contacts:
            await self._send_batch(contacts)
        return failed

    def _batch(self, rows: Sequence[Row]) -> Batches:
        """Each request is one."""
        batch = Batches(_PLATFORM, Lane(rows[0]["lane"]), self.now, 1)
        batch.begin()
        return batch

    async def _settled(self, batch: Batches, rows: Sequence[Row], settle: Callable[[Connection], T]) -> T:
        result, became = await self.db.run(lambda conn: (settle(conn), batch.count(conn, rows)))
        batch.add(became)
        return result

    def _take(self, conn: Connection, lane: Lane, after: int) -> list[Row]:
        size = rates.batch_size(conn, _PLATFORM, self.batch_size)
        return self.queue.take(conn, size, after, lane=lane, platform=_PLATFORM)

    async def _send_batch(self, rows: Sequence[Row], *, whole: bool = True) -> None:
        """A refused batch is halved until the culprit stands alone (law 6), one that is not answered only once; those
        that follow a `whole` one are smaller where it was too much."""
        bodies = await self._bodies(rows)
        for body in bodies:
            check_payload(_PLATFORM, body)
        batch = self._batch(rows)
        try:
            answer = await self.client.upsert_contacts(bodies)
        except PlatformError as error:
            if whole:
                await self.db.run(lambda conn, error=error: rates.batch_failed(conn, _PLATFORM, len(rows), error))  # type: ignore[misc]
            if len(rows) > 1 and _may_be_one_of(rows, error, whole):
                middle = len(rows) // 2
                await self._send_batch(rows[:middle], whole=False)
                await self._send_batch(rows[middle:], whole=False)
                return
            if await self._settled(batch, rows, partial(self.queue.failed, rows=rows, error=error)):
                raise error from None
            return
        except RuleBroken as error:
            await self._send_apart(rows, error)
            return

        def settle(conn: Connection) -> None:
            self.settler.digital_batch(conn, rows, answer, self.now())
            rates.batch_passed(conn, _PLATFORM, len(rows), self.batch_size)

        await self._settled(batch, rows, settle)

    async def _bodies(self, rows: Sequence[Row]) -> list[Row]:
        """What is sent. A written meta_public may replace the whole of it: the other keys are said again."""
        bodies = [row["payload"] for row in rows]
        setting = [row["target"] for row in rows if row["operation"] == Operation.SET_META]
        if not setting:
            return bodies
        known = await self.db.run(lambda conn: mirror.known_digital_contacts(conn, setting))
        others = {unique_id: contact["meta_public"] or {} for unique_id, contact in known.items()}
        return [
            body | {"meta_public": others.get(row["target"], {}) | body["meta_public"]}
            if row["operation"] == Operation.SET_META
            else body
            for row, body in zip(rows, bodies, strict=True)
        ]

    async def _send_apart(self, rows: Sequence[Row], error: RuleBroken) -> None:
        """The client refuses one of them before anything is sent: find out which."""
        if len(rows) == 1:
            await self._settled(self._batch(rows), rows, partial(self.queue.failed, rows=rows, error=error))
            return
        for row in rows:
            await self._send_batch([row], whole=False)

    async def _start_all(self, rows: Sequence[Row]) -> dict[str, BaseException]:
        """Journeys, side by side. A template that is gone is a dead letter."""
        batch = self._batch(rows)
        outcomes = await asyncio.gather(*(self._start(row) for row in rows), return_exceptions=True)

        def settle(conn: Connection) -> dict[str, BaseException]:
            failed: dict[str, BaseException] = {}
            started: list[tuple[Row, Journey]] = []
            for row, outcome in zip(rows, outcomes, strict=True):
                if isinstance(outcome, NotFound):
                    outbox.mark(conn, [row["id"]], "dead", self.now(), str(outcome))
                elif isinstance(outcome, BaseException):
                    failed |= self.queue.failed(conn, [row], outcome)
                else:
                    started.append((row, outcome))
            self.settler.journeys(conn, started, self.now())
            return failed

        return await self._settled(batch, rows, settle)

    async def _start(self, row: Row) -> Journey:
        payload = row["payload"]
        contact = {"unique_id": row["target"]}
        return await self.client.create_journey(payload["template_id"], contact=contact, name=payload.get("name"))

    async def look_for(self, row: Row) -> None:
        """A journey of unknown outcome. Nothing lists journeys; but an upsert that names a template creates one or
        updates the one that is there ("journey.template_id"), so afterwards there is one, however often it is sent.

        Where the mirror knows an earlier journey of the same template, that proves nothing: a person has to look.
        """
        template_id = row["payload"]["template_id"]
        if await self.db.run(lambda conn: mirror.knows_journey(conn, row["target"], template_id)):
            await self.db.run(lambda conn: outbox.mark(conn, [row["id"]], "dead", self.now(), UNCLEAR))
            return
        contact = {"unique_id": row["target"], "journey": {"template_id": template_id}}
        try:
            answer = await self.client.upsert_contacts([contact])
        except Rejected as error:
            await self.db.run(lambda conn, error=error: self.queue.failed(conn, [row], error))  # type: ignore[misc]
            return
        await self.db.run(lambda conn: self.settler.digital_batch(conn, [row], answer, self.now()))


def _may_be_one_of(rows: Sequence[Row], error: PlatformError, whole: bool) -> bool:
    """Whether it may be about some of them, or about how many they are."""
    if isinstance(error, ServerFailed):
        return any(row["attempts"] > 0 for row in rows)  # a second time
    unanswered = isinstance(error, OutcomeUnknown) and error.verdict is Verdict.RETRY
    return isinstance(error, Rejected | TooLarge) or (unanswered and whole)
