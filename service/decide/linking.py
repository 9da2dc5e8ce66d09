"""Who is who, on record: links, creations to be made, and conflicts where nobody may guess."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from service.core.identity import (
    Ambiguous,
    Index,
    MatchedBy,
    New,
    Same,
    Verdict,
    who_is_digital_onboarding,
    who_is_onvoard,
)
from service.core.mapping import CannotTake, plausible_email
from service.core.records import Native, Platform, Refusal, blank, shown
from service.decide import consent_lane
from service.decide.frame import AMBIGUOUS, ASKED_AGAIN, Frame
from service.decide.merging import change_payload
from service.store import adoption, candidates, consents, cursors, erasure, ledger, looks, outbox, people
from service.store.database import Connection
from service.store.mirror import LINK_PROPERTY
from service.store.outbox import Lane, Operation

BATCH = 500
_NAMESPACE = uuid.UUID("5f6f0c0e-6d0b-4f4e-8a51-7d1c5a0b9e42")

Row = dict[str, Any]


def meet(conn: Connection, frame: Frame) -> None:
    """Before anybody is linked: new contacts become persons, deleted ones leave theirs, groups are looked at whole."""
    looks.touch_groups(conn, AMBIGUOUS, *ASKED_AGAIN)
    people.release_deleted(conn)
    adoption.adopt(conn, frame.now)


def link_onvoard(conn: Connection, frame: Frame, after: str) -> str | None:
    """The next OnVoard contacts that changed: those without a counterpart are linked, to be created on the other side,
    or in conflict. -> where to go on, None at the end"""
    changed = looks.dirty(conn, Platform.ONVOARD, after, BATCH)
    if rows := candidates.unlinked_onvoard(conn, changed) if changed else []:
        _Batch(conn, frame, rows).onvoard()
    return changed[-1] if changed else None


def link_meant(conn: Connection, frame: Frame, after: str) -> str | None:
    """The same for OnVoard contacts that did not change: the next changed Digital Onboarding contacts without a partner
    may be theirs."""
    changed = looks.dirty(conn, Platform.DIGITAL_ONBOARDING, after, BATCH)
    if rows := candidates.meant_by(conn, changed) if changed else []:
        _Batch(conn, frame, rows).onvoard()
    return changed[-1] if changed else None


def link_digital_onboarding(conn: Connection, frame: Frame, after: str) -> str | None:
    """The same for Digital Onboarding contacts that no OnVoard contact has claimed."""
    changed = looks.dirty(conn, Platform.DIGITAL_ONBOARDING, after, BATCH)
    if rows := candidates.unlinked_digital(conn, changed) if changed else []:
        _Batch(conn, frame, rows).digital_onboarding()
    return changed[-1] if changed else None


class _Batch:
    def __init__(self, conn: Connection, frame: Frame, rows: list[Row]) -> None:
        self.conn, self.frame, self.rows = conn, frame, rows
        emails = [row["email_key"] for row in rows if row["email_key"]]
        # Who was suppressed and is no longer: the tombstone's unique_id is as good as the link property.
        self.named = cursors.facts_under(conn, erasure.UNSUPPRESSED)
        self.named |= {row["id"]: row["link_unique_id"] for row in rows if row.get("link_unique_id")}
        ids = [self.named.get(row["id"] or "") or row.get("unique_id") for row in rows]
        self.index: Index = candidates.index_around(conn, emails, [i for i in ids if i])
        self.named = dict(self.named.items() - self.index.separations)
        self.erased = erasure.erased_among(conn, emails, [])
        self.holders = people.holders(conn, {*emails, *self.named.values()})
        self.taken: set[str] = set()  # unique_ids
        self.links: list[tuple[str, str, MatchedBy]] = []
        self.unsettled: set[str] = set()  # contact ids that have to be looked at once more
        self.opted_out = consents.addresses_out(conn, emails)
        # A creation that may have taken effect comes first: whom it made is theirs, whatever addresses say by now.
        self.waiting, self.made = frame.creations_sent
        persons = [row["person_id"] for row in rows]
        outbox.supersede(conn, persons)
        self.staged = outbox.Staged(conn, persons)
        self.creations_open = outbox.creations_open(conn, persons)
        by_side = [[row for row in rows if ("unique_id" in row) is digital] for digital in (False, True)]
        consent_lane.spread_of_addresses(conn, frame, *by_side)

    def onvoard(self) -> None:
        for row in self.rows:
            contact = self.index.onvoard.get(row["id"])
            named = self.named.get(row["id"], "")
            verdict: Verdict = who_is_onvoard(replace(contact, link_unique_id=named), self.index) if contact else New()
            if isinstance(verdict, Same) and verdict.id in self.taken:
                verdict = Ambiguous(
                    "several OnVoard contacts could be the same Digital Onboarding contact", onvoard=(row["id"],)
                )
            if row["person_id"] in self.waiting:
                self.unsettled.add(row["id"])
            elif not self._stops(row, verdict):
                if self._unasked(row):
                    self.unsettled.add(row["id"])
                elif isinstance(verdict, Same):
                    self.taken.add(verdict.id)
                    self.unsettled.add(row["id"])
                    self.links.append((row["id"], verdict.id, verdict.by))
                else:
                    self._take_back_link(row)
                    if isinstance(verdict, New):
                        self._create_on_digital_onboarding(row)
        self._link()
        self.staged.write(self.conn)
        people.settle_looks(self.conn, contact_ids=[row["id"] for row in self.rows if row["id"] not in self.unsettled])

    def digital_onboarding(self) -> None:
        for row in self.rows:
            if row["unique_id"] in self.made:
                continue
            contact = self.index.digital_onboarding.get(row["unique_id"])
            verdict = who_is_digital_onboarding(contact, self.index) if contact else New()
            if not self._stops(row, verdict) and isinstance(verdict, New):
                self._create_on_onvoard(row)
        self.staged.write(self.conn)
        looked = {row["unique_id"] for row in self.rows} - self.made
        people.settle_looks(self.conn, unique_ids=looked)

    def _link(self) -> None:
        """At the end of the batch, or before anything is asked that rests on who is who."""
        links, self.links = self.links, []
        people.link_all(self.conn, links, self.frame.now)

    def _unasked(self, row: Row) -> bool:
        """It names a Digital Onboarding contact of whom nobody has told yet: that one is asked about first."""
        named = self.named.get(row["id"])
        return self.frame.asks and bool(named) and named not in self.index.digital_onboarding

    def _stops(self, row: Row, verdict: Verdict) -> bool:
        """Whether the person stands still: in a conflict that goes on, or in a new one."""
        if self.links and (row["conflict_id"] is not None or isinstance(verdict, Ambiguous)):
            self._link()
        if row["conflict_id"] is not None and ledger.conflict_kind(self.conn, row["conflict_id"]) != AMBIGUOUS:
            return True
        if isinstance(verdict, Ambiguous):
            self._freeze(row, verdict)
            return True
        if "unique_id_key" in row and ledger.holds_onvoard_contact(self.conn, row["conflict_id"]):
            return True  # that contact was asked first, and did not find it clear
        if row["conflict_id"] is not None:
            ledger.thaw(self.conn, row["conflict_id"], self.frame.now, by="no longer ambiguous")
        return False

    def _freeze(self, row: Row, verdict: Ambiguous) -> None:
        members = ledger.frozen_together(self.conn, verdict.onvoard, verdict.digital_onboarding)
        conflict_id = ledger.conflict_of(self.conn, members, AMBIGUOUS)
        if conflict_id is None:
            conflict_id, _ = ledger.open_conflict(
                self.conn, row["person_id"], AMBIGUOUS, verdict.reason, self.frame.now,
                run_id=self.frame.run_id, field="email",
                onvoard=", ".join(verdict.onvoard) or None,
                digital_onboarding=", ".join(verdict.digital_onboarding) or None,
            )  # fmt: skip
        self.staged.write(self.conn)  # that it may be cancelled
        ledger.freeze(self.conn, {row["person_id"], *members}, conflict_id)
        consent_lane.spread_over_address(self.conn, self.frame, row["email_key"])

    def _take_back_link(self, row: Row) -> None:
        """The link property names one from whom a person has told it apart: no lost mirror may link them again."""
        named = row["link_unique_id"]
        if not self.frame.link_property or (row["id"], named) not in self.index.separations:
            return
        unsaid = change_payload(self.frame.mapping, Platform.ONVOARD, {}, row, {})
        outbox.stage(
            self.conn, person_id=row["person_id"], platform=Platform.ONVOARD, operation=Operation.PATCH_CONTACT,
            lane=Lane.CHANGE, target=row["id"],
            payload={**unsaid, "properties": {LINK_PROPERTY: None}},
            details=[{"field": LINK_PROPERTY, "old": named, "new": None, "why": people.UNLINKED}],
            run_id=self.frame.run_id, now=self.frame.now, among=self.staged,
        )  # fmt: skip

    def _create_on_digital_onboarding(self, row: Row) -> None:
        """In two steps: this is the first, `unique_id` and e-mail alone (contract section 4)."""
        email, frame = row["email_key"], self.frame
        if Platform.DIGITAL_ONBOARDING not in frame.create_on or not plausible_email(email or ""):
            return
        if email in self.erased or row["person_id"] in self.creations_open:
            return
        unique_id = self.named.get(row["id"]) or (
            fresh_unique_id(row["id"]) if self.index.digital_keyed(email) else email
        )
        holder = self.holders.get(unique_id)
        theirs = holder is not None and holder.onvoard_contact_id is not None  # also when removed over there
        if theirs or unique_id in self.taken:
            unique_id = fresh_unique_id(row["id"])
        why = "no counterpart" if unique_id == email else "no counterpart; its address is somebody else's unique_id"
        payload = {"unique_id": unique_id, "email": row["email"].strip()}
        outbox.stage(
            self.conn, person_id=row["person_id"], platform=Platform.DIGITAL_ONBOARDING,
            operation=Operation.CREATE_CONTACT, lane=Lane.CREATION, target=unique_id, payload=payload,
            details=[{"field": key, "old": None, "new": value, "why": why} for key, value in payload.items()],
            basis={"fields": {"email": row["email"]}}, run_id=frame.run_id, now=frame.now, among=self.staged,
        )  # fmt: skip

    def _create_on_onvoard(self, row: Row) -> None:
        frame = self.frame
        if Platform.ONVOARD not in frame.create_on or not plausible_email(row["email"] or ""):
            return
        if row["former_onvoard_contact_id"] or row["email_key"] in self.erased:
            return
        if row["person_id"] in self.creations_open:
            return
        fields = frame.mapping.read_digital_onboarding(row["raw"])
        values, refusals = translated(frame, fields)
        payload = frame.mapping.payload(Platform.ONVOARD, values)
        if frame.link_property:
            payload.setdefault("properties", {})[LINK_PROPERTY] = row["unique_id"]
        if row["unsubscribe_email"] or row["email_key"] in self.opted_out:
            payload["email_unsubscribed"] = True
        staged = outbox.stage(
            self.conn, person_id=row["person_id"], platform=Platform.ONVOARD, operation=Operation.CREATE_CONTACT,
            lane=Lane.CREATION, target=row["email_key"], payload=payload, details=_details(frame, values),
            basis={"unique_id": row["unique_id"], "fields": fields, "opted_out": bool(row["unsubscribe_email"])},
            run_id=frame.run_id, now=frame.now, among=self.staged,
        )  # fmt: skip
        if staged:
            ledger.record_refusals(self.conn, row["person_id"], refusals, frame.run_id, frame.now)


def translated(frame: Frame, fields: dict[str, Native]) -> tuple[dict[str, Native], list[Refusal]]:
    """What OnVoard can be given of a Digital Onboarding contact, and what it cannot take; blanks are left out."""
    values: dict[str, Native] = {}
    refusals = []
    for name, value in fields.items():
        if blank(value):
            continue
        try:
            values[name] = frame.mapping.translate(frame.mapping.by_name[name], value, Platform.ONVOARD)
        except CannotTake as reason:
            refusals.append(Refusal(name, Platform.ONVOARD, value, str(reason)))
    return values, refusals


def _details(frame: Frame, values: dict[str, Native]) -> list[dict[str, Any]]:
    named = {frame.mapping.by_name[name].named(Platform.ONVOARD): shown(value) for name, value in values.items()}
    return [{"field": field, "old": None, "new": value, "why": "no counterpart"} for field, value in named.items()]


def fresh_unique_id(contact_id: str) -> str:
    """A unique_id that nobody has. It follows from the OnVoard contact, so that an attempt whose answer was lost is
    repeated under the same one."""
    return str(uuid.uuid5(_NAMESPACE, contact_id))
