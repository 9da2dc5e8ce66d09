"""Linked people of whom a side changed: reconciled by the core, and what follows put on record in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from service.core import consent
from service.core.identity import Index
from service.core.mapping import FieldMap, FieldRule, normal_email
from service.core.reconcile import reconcile
from service.core.records import BOTH_SIDES, Bases, Decision, Native, Pair, Platform, Push, Snapshot
from service.decide import consent_lane, happenings, holding
from service.decide.frame import ASKED_AGAIN, EMAIL_TAKEN, LINK_EDITED, Frame
from service.store import candidates, cursors, erasure, ledger, looks, outbox, people
from service.store.database import Connection
from service.store.mirror import LINK_PROPERTY
from service.store.outbox import Lane, Operation
from service.store.types import iso

BATCH = 300

Row = dict[str, Any]


def merge_onvoard(conn: Connection, frame: Frame, after: str) -> str | None:
    """The next linked people whose OnVoard contact changed. -> where to go on, None at the end"""
    return _merge(conn, frame, Platform.ONVOARD, after)


def merge_digital_onboarding(conn: Connection, frame: Frame, after: str) -> str | None:
    """The same for those whose contact on Digital Onboarding alone did."""
    return _merge(conn, frame, Platform.DIGITAL_ONBOARDING, after)


def _merge(conn: Connection, frame: Frame, side: Platform, after: str) -> str | None:
    changed = looks.dirty(conn, side, after, BATCH)
    if ids := looks.linked(conn, side, changed, asked_again=ASKED_AGAIN) if changed else []:
        _decide(conn, frame, ids)
    return changed[-1] if changed else None


def _decide(conn: Connection, frame: Frame, ids: Sequence[int]) -> None:
    outbox.supersede(conn, ids)
    pairs = people.load_pairs(conn, ids)
    batch = _Batch(conn, frame, pairs)
    looked = []
    for person, onvoard, digital, base in pairs:
        pair = read_pair(frame.mapping, onvoard, digital, base)
        looked.append(_Person(batch, person, onvoard, digital, pair, reconcile(pair, frame.mapping)))
    held = holding.held(conn, frame, [(one.person.id, one.pair, one.decision) for one in looked])
    for one in looked:
        if fields := held[one.person.id]:
            one.decision = holding.without(one.decision, fields)
    addresses = {normal_email(p.value) for one in looked for p in one.decision.pushes if p.field == "email"}  # type: ignore[arg-type]
    index = candidates.index_around(conn, sorted(addresses), []) if addresses else Index({}, {})
    done = [one for one in looked if one.put_on_record(index)]
    batch.write()
    people.settle_looks(conn, [one.onvoard["id"] for one in done], [one.digital["unique_id"] for one in done])


class _Batch:
    """What is asked about all people of a batch at once, and what is written about them all at its end."""

    def __init__(self, conn: Connection, frame: Frame, pairs: Sequence[tuple[Any, Row, Row, Any]]) -> None:
        self.conn, self.frame = conn, frame
        # Contacts that are to be opted out because their address is.
        self.due = consent_lane.due_by_address(conn, [pair[1] for pair in pairs], [pair[2] for pair in pairs])
        self.come_back = cursors.facts_under(conn, erasure.UNSUPPRESSED)
        self.staged = outbox.Staged(conn, [pair[0].id for pair in pairs])
        self.agreed: dict[int, Bases] = {}
        self.settled: list[int] = []

    def write(self) -> None:
        self.staged.write(self.conn)
        people.settle(self.conn, self.settled, self.frame.now)
        ledger.put_all_bases(self.conn, self.agreed, self.frame.now)
        self.settled, self.agreed = [], {}

    def freeze(self, person_ids: Set[int], conflict_id: int) -> None:
        """Nothing that was decided for them leaves."""
        self.staged.write(self.conn)
        ledger.freeze(self.conn, person_ids, conflict_id)


def read_pair(mapping: FieldMap, onvoard: Row, digital: Row, base: Any) -> Pair:
    """Rows of `people.load_pairs` as the core knows them."""
    return Pair(_read_onvoard(mapping, onvoard), _read_digital_onboarding(mapping, digital), ledger.read_bases(base))


def _read_onvoard(mapping: FieldMap, row: Row) -> Snapshot:
    return Snapshot(
        id=row["id"],
        fields=mapping.read_onvoard(row["raw"] or {}),
        opted_out=consent.onvoard_opted_out(row),
        edited_at=row["edited_at"],
        linked_unique_id=row["link_unique_id"] or "",
    )


def _read_digital_onboarding(mapping: FieldMap, row: Row) -> Snapshot:
    return Snapshot(
        id=row["unique_id"],
        fields=mapping.read_digital_onboarding(row["raw"] or {}),
        opted_out=bool(row["unsubscribe_email"]),
        edited_at=row["edited_at"],
    )


@dataclass(slots=True)
class _Person:
    batch: _Batch
    person: Any
    onvoard: Row
    digital: Row
    pair: Pair
    decision: Decision

    @property
    def conn(self) -> Connection:
        return self.batch.conn

    @property
    def frame(self) -> Frame:
        return self.batch.frame

    def put_on_record(self, index: Index) -> bool:
        """False where the person has to be looked at once more, when an address has become free."""
        self._consent()
        if self._link_edited():
            return True
        pushes, waits = self._addresses(index)
        if pushes is None:
            return not waits
        if self.person.conflict_id is not None:  # the address is free, or no longer wanted; the link is as it was
            group = ledger.members(self.conn, self.person.conflict_id)
            ledger.thaw(self.conn, self.person.conflict_id, self.frame.now, by="no longer so")
            people.touch(self.conn, group)
        for platform in BOTH_SIDES:
            self._stage(platform, [push for push in pushes if push.platform is platform])
        run = (self.frame.run_id, self.frame.now)
        ledger.record_losses(self.conn, self.person.id, self.decision.losses, *run)
        ledger.record_refusals(self.conn, self.person.id, self.decision.refusals, *run)
        if self.person.settled_at is None and not pushes and not self.decision.opt_outs:
            self.batch.settled.append(self.person.id)
        agreed = ledger.advance(self.pair.bases, self.decision.settled, self.decision.consent)
        if self.pair.onvoard.linked_unique_id == self.digital["unique_id"]:
            agreed = ledger.advance(agreed, {Platform.ONVOARD: {LINK_PROPERTY: self.digital["unique_id"]}})
        if agreed != self.pair.bases:
            self.batch.agreed[self.person.id] = agreed
        return not waits

    def _addresses(self, index: Index) -> tuple[list[Push] | None, bool]:
        """-> (what may be pushed: None where the new address is somebody else's, whether an address is still waited
        for, or another conflict to end)"""
        pushes = list(self.decision.pushes)
        for push in self.decision.pushes:
            if push.field != "email":
                continue
            address = normal_email(str(push.value))
            on_onvoard = push.platform is Platform.ONVOARD
            mine = self.onvoard["id"], self.digital["unique_id"], self.person.conflict_id
            onvoard, digital = index.others_with(address, *mine)
            if onvoard or digital:
                return None, self._taken(onvoard, digital, "its new e-mail belongs to another contact")
            leaving = (c for c in index.onvoard.values() if c.email == address and c.moves_to)
            if on_onvoard and any(c.id != self.onvoard["id"] for c in leaving):
                self.batch.write()  # what the others have agreed on counts
                if circle := candidates.circle(self.conn, self.onvoard["id"], address):
                    why = "its new e-mail belongs to another contact, which waits for this one's"
                    return None, self._taken(circle, [], why)
                pushes.remove(push)
                return pushes, True
        return pushes, False

    def _link_edited(self) -> bool:
        """Whether OnVoard's link property, which showed this link, was edited to name somebody else: then a person
        says who is who. One that was removed is written again: the link stands, unless a restored mirror may not know
        that it was cut."""
        unique_id, named = self.digital["unique_id"], self.pair.onvoard.linked_unique_id
        was = self.pair.bases.onvoard.fields.get(LINK_PROPERTY)
        if not self.frame.link_property or was != unique_id or named == unique_id or not (named or self._may_be_cut()):
            return False
        members = ledger.frozen_together(self.conn, [], [named])
        how = f"was edited, and names another contact: {named}" if named else "is gone since the mirror's backup"
        conflict_id, new = ledger.open_conflict(
            self.conn, self.person.id, LINK_EDITED, f"its link property on OnVoard {how}", self.frame.now,
            run_id=self.frame.run_id, field=LINK_PROPERTY, onvoard=named or None, digital_onboarding=unique_id,
        )  # fmt: skip
        self.batch.freeze({self.person.id, *members}, conflict_id)
        if new:
            people.touch(self.conn, members)
        return True

    def _may_be_cut(self) -> bool:
        asked = self.frame.restored is not None and self.person.conflict_id is not None
        return self.frame.anew or (asked and ledger.conflict_kind(self.conn, self.person.conflict_id) == LINK_EDITED)

    def _taken(self, onvoard: list[str], digital: list[str], why: str) -> bool:
        """Two existing people whom the edit would merge; those who ask for each other's address are one question.
        -> whether somebody stays in another conflict, with whose end this one may clear"""
        members = ledger.frozen_together(self.conn, onvoard, digital)
        asked = ledger.conflict_of(self.conn, members, EMAIL_TAKEN)
        if asked is not None and self.person.id in ledger.members(self.conn, asked):
            return len(ledger.free_for(self.conn, members, asked)) < len(members)
        conflict_id, new = ledger.open_conflict(
            self.conn, self.person.id, EMAIL_TAKEN, f"{why}: {', '.join((*onvoard, *digital))}",
            self.frame.now, run_id=self.frame.run_id, field="email",
            onvoard=self.onvoard["email"], digital_onboarding=self.digital["email"],
        )  # fmt: skip
        free = ledger.free_for(self.conn, members, conflict_id)
        self.batch.freeze({self.person.id, *free}, conflict_id)
        if new:
            people.touch(self.conn, free)  # their opt-outs are still looked at
        return len(free) < len(members)

    @property
    def _status(self) -> str:
        return self.frame.status(self.person.settled_at)

    def _consent(self) -> None:
        first = self.pair.bases.onvoard.opted_out is None
        if first and self._unsuppressed():
            return
        for opt_out in self.decision.opt_outs:
            target = self.onvoard["id"] if opt_out.platform is Platform.ONVOARD else self.digital["unique_id"]
            staged = consent_lane.stage_opt_out(
                self.conn, self.frame, self.person.id, opt_out.platform, target,
                f"opted out on {opt_out.began}", self._status, among=self.batch.staged,
            )  # fmt: skip
            if staged and opt_out.began is Platform.DIGITAL_ONBOARDING and not first:
                happenings.unsubscribed(
                    self.conn, self.frame, self.person.id, self.onvoard, self.digital,
                    self.pair.bases.digital_onboarding.falls,
                )  # fmt: skip
        reached = {opt_out.platform for opt_out in self.decision.opt_outs}
        for platform, target in zip(BOTH_SIDES, (self.onvoard["id"], self.digital["unique_id"]), strict=True):
            if (platform, target) in self.batch.due and platform not in reached:
                consent_lane.stage_opt_out(
                    self.conn, self.frame, self.person.id, platform, target, consent_lane.OF_THE_ADDRESS,
                    self._status, of_address=True, among=self.batch.staged,
                )  # fmt: skip
        for opt_in in self.decision.opt_ins:
            consent_lane.opted_in_again(self.conn, self.frame, self.person.id, opt_in.platform)
        agreed = {self.pair.bases.of(side).opted_out for side in BOTH_SIDES}
        shown_now = {self.pair.of(side).opted_out for side in BOTH_SIDES}
        if len(agreed) == 2 and len(shown_now) == 1:
            consent_lane.agree_again(self.conn, self.frame, self.person.id)

    def _unsuppressed(self) -> bool:
        """One who was suppressed on OnVoard and is no longer: what opt-outs on Digital Onboarding alone mean now is for
        a person to say."""
        if self.onvoard["id"] not in self.batch.come_back:
            return False
        cursors.forget_fact(self.conn, f"{erasure.UNSUPPRESSED}{self.onvoard['id']}")
        stands = {side: self.pair.of(side).opted_out for side in BOTH_SIDES}
        if stands[Platform.ONVOARD] or not stands[Platform.DIGITAL_ONBOARDING]:
            return False
        why = consent_lane.UNSUPPRESSED
        consent_lane.opted_in_again(self.conn, self.frame, self.person.id, Platform.ONVOARD, why)
        self.pair = Pair(self.pair.onvoard, self.pair.digital_onboarding, ledger.advance(self.pair.bases, {}, stands))
        self.decision = Decision(
            self.decision.pushes, self.decision.settled, self.decision.losses, self.decision.refusals
        )
        return True

    def _stage(self, platform: Platform, pushes: list[Push]) -> None:
        mapping = self.frame.mapping
        values = {push.field: push.value for push in pushes}
        payload = change_payload(mapping, platform, values, self.onvoard, self.digital)
        details = [detail for push in pushes for detail in _details(mapping.by_name[push.field], push)]
        unique_id = self.digital["unique_id"]
        if platform is Platform.ONVOARD and self._wants_link():
            payload.setdefault("properties", {})[LINK_PROPERTY] = unique_id
            old = self.pair.onvoard.linked_unique_id or None
            details.append({"field": LINK_PROPERTY, "old": old, "new": unique_id, "why": "linked"})
        if not details:
            return
        on_onvoard = platform is Platform.ONVOARD
        basis: dict[str, Native] = {push.field: push.source for push in pushes}
        outbox.stage(
            self.conn, person_id=self.person.id, platform=platform,
            operation=Operation.PATCH_CONTACT if on_onvoard else Operation.UPSERT_CONTACT, lane=Lane.CHANGE,
            target=self.onvoard["id"] if on_onvoard else unique_id,
            payload=payload, details=details, basis={"fields": basis}, run_id=self.frame.run_id, now=self.frame.now,
            status=self._status if pushes else "pending", among=self.batch.staged,
        )  # fmt: skip

    def _wants_link(self) -> bool:
        return self.frame.link_property and self.pair.onvoard.linked_unique_id != self.digital["unique_id"]


def sides_of(mapping: FieldMap, onvoard: Row, digital: Row) -> dict[Platform, dict[str, Native]]:
    """The mapped fields of both rows of a person."""
    return {
        Platform.ONVOARD: mapping.read_onvoard(onvoard["raw"] or {}),
        Platform.DIGITAL_ONBOARDING: mapping.read_digital_onboarding(digital["raw"] or {}),
    }


def change_payload(
    mapping: FieldMap, platform: Platform, values: Mapping[str, Native], onvoard: Row, digital: Row
) -> Row:
    """The body that writes these fields of a linked person on `platform`; `onvoard`, `digital`: both rows."""
    body = mapping.payload(platform, values)
    if platform is Platform.DIGITAL_ONBOARDING:
        return {"unique_id": digital["unique_id"], **body}
    if onvoard["email_unsubscribed"] is True:
        # What a patch leaves out may fall back to its default (traps 4): a flag that has fallen is said again.
        body["email_unsubscribed"] = True
    return body


def _details(rule: FieldRule, push: Push) -> list[Row]:
    """What a push changes, under the platform's own names; `before` is what an undo restores, by the mapping's name."""
    old, new = rule.by_column(push.platform, push.old), rule.by_column(push.platform, push.value)
    moved = [column for column in new if old[column] != new[column]] or list(new)
    kept: Row = {"why": push.rule, "of": rule.name, "before": push.old, "source": push.platform.other.value}
    if push.said_at is not None:
        kept["said_at"] = iso(push.said_at)
    if push.lost:
        kept["lost"] = True
    return [{"field": column, "old": old[column], "new": new[column], **kept} for column in moved]
