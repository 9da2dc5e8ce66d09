"""The mirror against Digital Onboarding, as far as it can be asked (`digital_onboarding.refresh`)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from functools import partial

from service.cycle import Cycle
from service.errors import SuspiciouslyEmpty
from service.extract.digital_onboarding import READ
from service.platforms.digital_onboarding.models import Contact
from service.store import absorb, verifications
from service.store import tables as t
from service.store.database import Connection
from service.store.lease import lease
from service.store.mirror import Row, in_parts
from service.store.verifications import differing, is_living, is_news, is_older
from service.verifying.tally import Finding, Tally

LEASE_WAIT = 60.0
"""Seconds for which it waits for a sync that is at work."""
_TABLE = t.digital_onboarding_contacts


class ComparedDigitalOnboarding:
    """Its contacts. Whoever asks holds the lease `cycle`, so that no answer is older than that of a push meanwhile."""

    def __init__(self, cycle: Cycle, stream: str, repair: bool) -> None:
        self.reader, self.db, self.now, self.repair = cycle.digital, cycle.bridge.db, cycle.bridge.now, repair
        self.mode = cycle.bridge.settings.digital_onboarding.refresh
        self.tally = Tally(stream)

    async def compare(self, sample: int | None) -> Tally:
        """A sample where it is probed; the list is always read whole, as `refresh` reads it."""
        if self.mode == "off":
            self.tally.skipped = "digital_onboarding.refresh is off: it cannot be asked"
            return self.tally
        async with lease(self.db, "cycle", wait=LEASE_WAIT):
            await (self._list() if self.mode == "list" else self._probe(sample))
        return self.tally

    async def _probe(self, sample: int | None) -> None:
        self.tally.population = known = await verifications.count(self.db, _TABLE)
        self.tally.complete = sample is None or known <= sample
        if sample is not None and known > sample:
            places = random.sample(range(1, known + 1), sample)
            for part in in_parts(await verifications.at(self.db, _TABLE, places)):
                await self._ask(part)
            return
        async for keys in self._in_order():
            await self._ask(keys)

    async def _ask(self, keys: Sequence[str]) -> None:
        """What a probe answers is kept in any case, and so is that somebody had been removed."""
        asked_at = self.now()
        before = await self.db.run(lambda conn: verifications.rows(conn, _TABLE, keys))
        await self.reader.probe_all(keys)
        after = await self.db.run(lambda conn: verifications.rows(conn, _TABLE, keys))
        for key in before.keys() & after.keys():
            self.tally.add(_answered(before[key], after[key], asked_at))

    async def _list(self) -> None:
        self.tally.complete = True
        known, listed = await self._known(), set[str]()
        async for page in self.reader.listed():
            fresh = {contact.unique_id or "": contact for contact in page if contact.unique_id not in listed}
            listed |= fresh.keys()
            for found in await self.db.run(partial(self._judge_all, contacts=fresh)):
                self.tally.add(found)
            self.reader.progress.advance(self.tally.stream, len(fresh))
        if not listed and len(known) > 1:
            raise SuspiciouslyEmpty(
                f"digital_onboarding lists nobody, but the mirror knows {len(known)}: taken for an outage"
            )
        unlisted = known.keys() - listed
        if unlisted:  # whom another's removal has moved to a page that was read already is listed once more
            async for page in self.reader.listed():
                unlisted -= {contact.unique_id for contact in page}
        for key in sorted(unlisted):
            self.tally.add(Finding(known[key], "gone"))

    async def _known(self) -> dict[str, str]:
        """unique_id -> what the contact is called in a report"""
        known: dict[str, str] = {}
        async for keys in self._in_order():
            rows = await self.db.run(partial(verifications.rows, table=_TABLE, keys=keys))
            known |= {key: _id(row) for key, row in rows.items()}
        return known

    async def _in_order(self) -> AsyncIterator[list[str]]:
        """All that the mirror knows, some thousands at a time."""
        after = ""
        while keys := await self.db.run(partial(verifications.keys_after, table=_TABLE, after=after)):
            yield keys
            after = keys[-1]

    def _judge_all(self, conn: Connection, contacts: Mapping[str, Contact]) -> list[Finding]:
        held = verifications.rows(conn, _TABLE, contacts)
        return [self._judge(conn, held.get(key), contact) for key, contact in contacts.items()]

    def _judge(self, conn: Connection, before: Row | None, contact: Contact) -> Finding:
        said = absorb.row_of(contact)
        if before is not None and is_living(before) and not differing(_TABLE, before, said):
            return Finding(_id(before), "right")
        with verifications.trial(conn) as attempt:
            self.reader.keep(conn, [contact], (), READ)
            after = verifications.rows(conn, _TABLE, [said["unique_id"]]).get(said["unique_id"])
            found = _told(before, after, repaired=self.repair)
            if found.repaired:
                attempt.commit()
        return found


def _id(row: Row) -> str:
    """Its own id, for a unique_id may be an address; an imported row need not have one."""
    return str(row["id"] or row["unique_id"])


def _told(before: Row | None, after: Row | None, *, repaired: bool, asked: bool = False) -> Finding:
    """`asked` by a probe, which may move the time of the last change itself."""
    if after is None:
        return Finding("", "absent")
    if before is None or not is_living(before) or not is_living(after):
        kind = "gone" if is_living(before) else "missing" if is_living(after) else "absent"
        return Finding(_id(after), kind, repaired=repaired and kind != "absent")
    columns = tuple(name for name in differing(_TABLE, before, after) if not (asked and name == "updated_at"))
    if not columns:
        return Finding(_id(after), "right")
    stale = is_news(before, after) or (not asked and is_older(before, after))
    return Finding(_id(after), "different", columns, stale, repaired)


def _answered(before: Row, after: Row, asked_at: datetime) -> Finding:
    """Who was refused, or is somebody erased, has not been answered for."""
    if is_living(after) and (after["refreshed_at"] is None or after["refreshed_at"] < asked_at):
        return Finding(_id(before), "absent")
    return _told(before, after, repaired=True, asked=True)
