"""Pushes to OnVoard: contacts and activities, each by itself, looked at before what could do harm."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from service.core.consent import check_payload
from service.core.mapping import normal_email
from service.core.records import Platform
from service.errors import Denied, NotFound, PlatformError, RateLimited, Rejected, Unreachable
from service.load.batches import LINE, Batches
from service.load.flight import Answered, Flight
from service.load.queue import Queue, Row
from service.load.settle import Settler
from service.progress import Progress
from service.store import outbox, people
from service.store.database import Connection
from service.store.outbox import Lane, Operation

if TYPE_CHECKING:
    from service.platforms.onvoard.client import OnVoard


class OnvoardPushes:
    def __init__(self, client: OnVoard, queue: Queue, settler: Settler, progress: Progress) -> None:
        self.client, self.queue, self.settler, self.progress = client, queue, settler, progress
        self.db, self.now = queue.db, queue.now
        self.looks_first = False  # for activities that the mirror may not know of

    async def lane(self, lane: Lane) -> int:
        """-> how many were sent. Raises what kept back some of them, when nothing more can be done."""
        take = partial(self.queue.take, lane=lane, platform=Platform.ONVOARD)
        batches = Batches(Platform.ONVOARD, lane, self.now, LINE)
        flight = Flight(self.db, self.now, take, self._push, self._settle, _stops_everybody, batches)
        return await flight.run(lambda number: self.progress.advance("push to onvoard", number))

    async def _push(self, row: Row) -> Any:
        """One push to OnVoard -> what was answered: a contact, an activity, or `_Found`."""
        payload = row["payload"]
        if row["operation"] == Operation.CREATE_ACTIVITY:
            return await self._announce(row)
        check_payload(Platform.ONVOARD, payload)
        if row["operation"] in (Operation.PATCH_CONTACT, Operation.SET_PROPERTIES):
            return await self._patch(row)
        # Create-or-update would overwrite one that came into being since we last read: look first.
        found = await self._with_its_address(row)
        return found or await self.client.contacts.create_or_update(**payload)

    async def _with_its_address(self, row: Row) -> _Found | None:
        same = await self._having(row["payload"]["email"])
        return _Found(same[0], "it exists on OnVoard already: linked, not created") if same else None

    async def _announce(self, row: Row) -> Any:
        """What is refused may be so because the contact was deleted or suppressed since we last read it."""
        if self.looks_first and (found := await self._find_activity(row["payload"])) is not None:
            return found
        at = datetime.fromtimestamp(row["payload"]["timestamp"], UTC)
        try:
            return await self.client.contact_activities.create(**{**row["payload"], "timestamp": at})
        except Rejected:
            contact = await self.client.contacts.retrieve(row["target"])
            if not contact.suppressed:
                raise
            return _Found(contact, "the contact is suppressed")

    async def _patch(self, row: Row) -> Any:
        """What is refused may be so because the contact was suppressed since we last read it: then that is the news.

        A fallen flag that is only said again must not take back what the person has said since: look first.
        """
        read, patch = self.client.contacts.retrieve, self.client.contacts.patch
        if row["lane"] != Lane.OPT_OUT and "email_unsubscribed" in row["payload"]:
            contact = await read(row["target"])
            if contact.email_unsubscribed is False:
                return _Found(contact, "opted in again meanwhile: looked at anew")
        try:
            return await patch(row["target"], **row["payload"])
        except Rejected:
            contact = await read(row["target"])
            if contact.suppressed:
                return contact
            if holder := await self._other_with(row["payload"].get("email"), row["target"]):
                return _Found(holder, "its new e-mail belongs to another contact: looked at anew")
            raise

    async def _other_with(self, email: str | None, contact_id: str) -> Any:
        """Whoever on OnVoard has been given this address since we last read them; None where nobody has."""
        same = await self._having(email) if email else ()
        return next((c for c in same if c.id != contact_id and not c.suppressed), None)

    async def _having(self, email: str) -> list[Any]:
        page = await self.client.contacts.list(email=email.strip(), page_size=100)
        return [contact for contact in page.items if normal_email(contact.email) == normal_email(email)]

    def _settle(self, conn: Connection, answered: Answered) -> dict[str, BaseException]:
        """-> the errors of those that have to be tried again, by target"""
        people.turn_to_show(conn)  # before any row is locked
        failed, now = dict[str, BaseException](), self.now()
        created: dict[str, list[tuple[Row, Any]]] = {}  # more than one where two of them had one address
        contacts: list[tuple[Row, Any]] = []
        activities: list[tuple[Row, Any]] = []
        # As a pull does, in the order of the contacts, so that the two do not wait for each other.
        for row, outcome in sorted(answered, key=_answered):
            if isinstance(outcome, _Found):
                self.settler.found_on_onvoard(conn, row, outcome.contact, outcome.why, now)
            elif isinstance(outcome, NotFound) and row["operation"] != Operation.CREATE_CONTACT:
                self.settler.gone_from_onvoard(conn, row, now)
            elif isinstance(outcome, BaseException):
                failed |= self.queue.failed(conn, [row], outcome)
            elif row["operation"] == Operation.CREATE_CONTACT:
                created.setdefault(outcome.id, []).append((row, outcome))
            else:
                (activities if row["operation"] == Operation.CREATE_ACTIVITY else contacts).append((row, outcome))
        for some in zip_longest(*created.values()):
            self.settler.onvoard_creations(conn, [each for each in some if each is not None], now)
        if contacts:
            self.settler.onvoard_contacts(conn, contacts, now)
        if activities:
            self.settler.activities(conn, activities, now)
        return failed

    async def look_for(self, row: Row) -> None:
        """An activity of unknown outcome: done if OnVoard has one with its `sync_id`, else to be sent again (law 5). A
        contact that was perhaps made: whoever has its address by now, else it is made."""
        if row["operation"] == Operation.CREATE_CONTACT:
            contact = await self._with_its_address(row)
            await self.db.run(lambda conn: self._looked_for(conn, row, contact))
            return
        try:
            found = await self._find_activity(row["payload"])
        except NotFound:
            await self.db.run(lambda conn: self.settler.gone_from_onvoard(conn, row, self.now()))
            return

        def settle(conn: Connection) -> None:
            if found is None:
                outbox.mark(conn, [row["id"]], "pending", self.now(), row["last_error"])
            else:
                self.settler.activities(conn, [(row, found)], self.now())

        await self.db.run(settle)

    def _looked_for(self, conn: Connection, row: Row, found: _Found | None) -> None:
        if found is None:
            outbox.mark(conn, [row["id"]], "pending", self.now(), row["last_error"])
        else:
            self.settler.found_on_onvoard(conn, row, found.contact, found.why, self.now())

    async def _find_activity(self, payload: dict[str, Any]) -> Any:
        at = datetime.fromtimestamp(payload["timestamp"], UTC)
        around = {"before": at + timedelta(seconds=2), "after": at - timedelta(seconds=2)}
        number = 1
        while True:
            page = await self.client.contact_activities.list(
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


def _answered(answered: tuple[Row, Any]) -> str:
    """The id of the record that an answer shows, or was to show."""
    row, outcome = answered
    record = outcome.contact if isinstance(outcome, _Found) else outcome
    return str(getattr(record, "id", row["target"]))


def _stops_everybody(error: BaseException) -> bool:
    """Not about the record: nobody else would get through."""
    return not isinstance(error, PlatformError) or isinstance(error, Denied | NotFound | RateLimited | Unreachable)
