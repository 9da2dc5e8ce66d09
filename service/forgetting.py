"""The right to erasure, from the bridge's side: suppressed on OnVoard, opted out on Digital Onboarding, erased from the
mirror, each read back; and a certificate of it that names nobody.

Platforms first: a person whom one of them did not confirm stays in the mirror, and the same command goes on from
there. Erased is for good: an unsuppression on OnVoard brings nobody back, and whatever shows up there or in an export
under one of their addresses or ids is neither stored nor carried over, but opted out on Digital Onboarding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service import restoring
from service.bridge import Bridge
from service.core.mapping import normal_email, plausible_email
from service.cycle import Cycle
from service.errors import Garbled, NotFound
from service.logs import mask_email
from service.platforms.onvoard.models import Contact
from service.runs import run
from service.store import absorb, adoption, erasure, people, reports, traces
from service.store.database import Connection
from service.store.erasure import OPT_OUTS, Whom
from service.store.types import iso

NUMBERED = "person:"
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """Somebody who may be meant. `person_id` None: OnVoard alone knows them. `email` is masked."""

    person_id: int | None
    status: str
    onvoard_contact_id: str | None
    digital_onboarding_contact_id: str | None = None
    email: str | None = None


@dataclass(slots=True)
class Certificate:
    """What was done about one person, where, and how it was verified; without personal data.

    `outcome`: erased, already erased, failed. `rows_left` is what reading back has found, by table: nothing.
    """

    run_id: int
    person_id: int | None
    outcome: str = "failed"
    at: datetime | None = None
    onvoard: list[Row] = field(default_factory=list)
    digital_onboarding: list[Row] = field(default_factory=list)
    rows_erased: dict[str, int] = field(default_factory=dict)
    rows_left: dict[str, int] = field(default_factory=dict)
    remains: Row = field(default_factory=dict)


async def find(bridge: Bridge, who: str) -> list[Found]:
    """WHO is an e-mail, a unique_id, a platform's contact id, or person:NUMBER. Somebody whom the mirror does not know
    is looked for on OnVoard, if it is an e-mail."""
    await adoption.adopt_in_parts(bridge.db, bridge.now())  # a contact that no cycle has looked at is somebody too
    found = await bridge.db.run(lambda conn: _in_mirror(conn, who, bridge.now()))
    if not found and plausible_email(who):
        page = await bridge.onvoard.contacts.list(email=who)
        same = [contact for contact in page.items if normal_email(contact.email) == normal_email(who)]
        found = [Found(None, "on OnVoard alone", contact.id, email=mask_email(who)) for contact in same]
    return found


def _in_mirror(conn: Connection, who: str, now: datetime) -> list[Found]:
    number = who.removeprefix(NUMBERED)
    if who.startswith(NUMBERED) and number.isascii() and number.isdecimal() and len(number) < 19:
        ids = [int(number)]
    else:
        ids = [row["person_id"] or _of_deleted(conn, row, now) for row in reports.find(conn, who)]
        ids += erasure.buried(conn, who)
    return [_shown(conn, person) for each in dict.fromkeys(ids) if (person := reports.person(conn, each)) is not None]


def _of_deleted(conn: Connection, row: Row, now: datetime) -> int:
    return people.new_person(conn, now, former_onvoard_contact_id=row["onvoard_contact_id"])


def _shown(conn: Connection, person: Row) -> Found:
    contact_id = person["onvoard_contact_id"] or person["former_onvoard_contact_id"]
    onvoard = reports.onvoard_contact(conn, contact_id) or {}
    digital = reports.digital_onboarding_contact(conn, person["unique_id"]) or {}
    email = onvoard.get("email") or digital.get("email")
    digital_id = digital.get("id") or person["erased_digital_onboarding_id"]
    status = person["status"] or "deleted on OnVoard"
    return Found(person["id"], status, contact_id, digital_id, mask_email(email) if email else None)


async def forget(bridge: Bridge, found: Iterable[Found], who: str, certificates: list[Certificate]) -> None:
    """Under the lease `cycle`. Each person has a certificate, also one about whom a platform failed: that PlatformError
    is raised then, and the others are left as they were."""

    async def work(cycle: Cycle) -> None:
        for each in found:
            certificates.append(Certificate(cycle.report.run_id, each.person_id))
            await _Forgetting(bridge, each, who, certificates[-1]).carry_out()

    await run(bridge, "forget", work)


class _Forgetting:
    def __init__(self, bridge: Bridge, found: Found, who: str, certificate: Certificate) -> None:
        self.bridge, self.db, self.found, self.told = bridge, bridge.db, found, certificate
        self.who: Whom | None = None
        self._texts = [who]  # by which a tombstone may tell what its unique_id was

    async def carry_out(self) -> None:
        if self.found.status == erasure.ERASED:
            self.told.outcome = "already erased"
        else:
            contact = await self._suppress()
            opted_out = await self._opt_out(contact)
            await self.db.run(lambda conn: self._erase(conn, contact, opted_out))
            await restoring.remember_erased(self.bridge)
        await self.db.run(self._read_back)

    async def _suppress(self) -> Row:
        """-> their OnVoard contact as it was before, as far as it is still there"""
        contact: Row = {}
        for contact_id in await self.db.run(self._contact_ids):
            try:
                before = await self.bridge.onvoard.contacts.retrieve(contact_id)
                if not before.suppressed:
                    await self.bridge.onvoard.contacts.suppress(contact_id)
                after = await self.bridge.onvoard.contacts.retrieve(contact_id)
            except NotFound:
                self.told.onvoard.append({"contact_id": contact_id, "done": "deleted before", "verified": "404"})
                continue
            if not after.suppressed:
                raise Garbled("onvoard", "GET /v2/contacts/:contact_id", "it does not show the suppression")
            done = "suppressed before" if before.suppressed else "suppressed"
            since = f", since {iso(after.suppressed_at)}" if after.suppressed_at else ""
            verified = f"read back: suppressed{since}"
            self.told.onvoard.append({"contact_id": contact_id, "done": done, "verified": verified})
            contact = contact or self._row(before)
        return contact

    def _row(self, contact: Contact) -> Row:
        self._texts.append(contact.email or "")
        return absorb.row_of(contact)

    def _contact_ids(self, conn: Connection) -> list[str]:
        person = people.person_by_id(conn, self.found.person_id) if self.found.person_id else None
        first = self.found.onvoard_contact_id
        others = erasure.whom(conn, person, {}).contact_ids if person else set()
        return [*([first] if first else []), *sorted(others - {first})]

    async def _opt_out(self, contact: Row) -> set[str]:
        """-> the unique_ids that are confirmed"""
        confirmed = set()
        for partner in await self.db.run(lambda conn: self._partners(conn, contact)):
            told: Row = {"contact_id": partner["id"], "unique_id": _impersonal(partner["unique_id"])}
            if partner["unique_id"] is None:
                told |= {"done": "opted out before", "verified": "by the answer of then: its unique_id is not kept"}
            elif partner.get("removed_at") is not None:  # to ask would make it anew
                told |= {"done": "removed there before", "verified": "by an earlier answer"}
            else:
                told |= await self._say_opt_out(partner["unique_id"])
            self.told.digital_onboarding.append(told)
            confirmed.add(partner["unique_id"])
        return confirmed

    def _partners(self, conn: Connection, contact: Row) -> Sequence[Row]:
        if self.found.person_id is None:
            return ()
        who = erasure.whom(conn, people.person_by_id(conn, self.found.person_id), contact)
        return [*who.partners, *who.shared] or erasure.partners_before(conn, self.found.person_id, self._texts)

    async def _say_opt_out(self, unique_id: str) -> Row:
        answer = await self.bridge.digital.upsert_contacts([{"unique_id": unique_id, **OPT_OUTS}])
        shown = [contact for contact in (*answer.new, *answer.existing) if contact.unique_id == unique_id]
        if not shown or not all(getattr(contact, flag) is True for contact in shown for flag in OPT_OUTS):
            raise Garbled("digital_onboarding", "POST /v1/contacts", "its answer does not show the opt-out")
        anew = any(contact.unique_id == unique_id for contact in answer.new)
        done = "opted out; it had been removed there, and an empty one was made" if anew else "opted out"
        return {"done": done, "verified": "its answer shows e-mail and SMS opted out"}

    def _erase(self, conn: Connection, contact: Row, opted_out: set[str]) -> None:
        now, known = self.bridge.now(), self.found.person_id
        person_id = known or people.new_person(conn, now, onvoard_contact_id=self.found.onvoard_contact_id)
        self.told.person_id, self.told.at, self.told.outcome = person_id, now, "erased"
        self.who, erased = erasure.forget(conn, person_id, contact, opted_out, self.told.run_id, now)
        self.told.rows_erased = dict(erased + traces.erase(conn, traces.find(conn)))

    def _read_back(self, conn: Connection) -> None:
        assert self.told.person_id is not None
        who = self.who or erasure.whom(conn, people.person_by_id(conn, self.told.person_id), {})
        named = Counter(table.name for table, _ in traces.find(conn))
        self.told.rows_left = dict(erasure.left(conn, who) + named)
        self.told.remains = erasure.stone(conn, self.told.person_id)
        self.told.at = self.told.at or self.told.remains["erased_at"]


def _impersonal(unique_id: str | None) -> str | None:
    return "(an address)" if unique_id and "@" in unique_id else unique_id
