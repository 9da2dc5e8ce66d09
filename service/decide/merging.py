"""Linked people of whom a side changed: reconciled by the core, and what follows put on record in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from service.core import consent
from service.core.identity import Index
from service.core.mapping import FieldRule, normal_email
from service.core.reconcile import reconcile
from service.core.records import Decision, Native, Pair, Platform, Push, Snapshot
from service.decide import consent_lane, happenings
from service.decide.frame import EMAIL_TAKEN, Frame
from service.store import candidates, cursors, erasure, ledger, outbox, people
from service.store.database import Connection
from service.store.mirror import LINK_PROPERTY
from service.store.outbox import Lane, Operation

BATCH = 300

Row = dict[str, Any]


def merge_batch(conn: Connection, frame: Frame, after: str) -> str | None:
    """The next people after this person id. -> where to go on, None at the end"""
    ids = people.dirty_pairs(conn, int(after or 0), BATCH, asked_again=EMAIL_TAKEN)
    if not ids:
        return None
    outbox.supersede(conn, ids)
    looked = []
    for person, onvoard, digital, base in people.load_pairs(conn, ids):
        pair = Pair(read_onvoard(frame, onvoard), read_digital_onboarding(frame, digital), ledger.read_bases(base))
        looked.append(_Person(conn, frame, person, onvoard, digital, pair, reconcile(pair, frame.mapping)))
    addresses = {normal_email(p.value) for one in looked for p in one.decision.pushes if p.field == "email"}  # type: ignore[arg-type]
    index = candidates.index_around(conn, sorted(addresses), []) if addresses else Index({}, {})
    done = [one for one in looked if one.put_on_record(index)]
    people.settle_looks(conn, [one.onvoard["id"] for one in done], [one.digital["unique_id"] for one in done])
    return str(ids[-1])


def read_onvoard(frame: Frame, row: Row) -> Snapshot:
    raw = row["raw"] or {}
    return Snapshot(
        id=row["id"],
        fields=frame.mapping.read_onvoard(raw),
        opted_out=consent.onvoard_opted_out(row),
        edited_at=row["edited_at"],
        linked_unique_id=row["link_unique_id"] or "",
    )


def read_digital_onboarding(frame: Frame, row: Row) -> Snapshot:
    return Snapshot(
        id=row["unique_id"],
        fields=frame.mapping.read_digital_onboarding(row["raw"] or {}),
        opted_out=bool(row["unsubscribe_email"]),
        edited_at=row["edited_at"],
    )


@dataclass(slots=True)
class _Person:
    conn: Connection
    frame: Frame
    person: Any
    onvoard: Row
    digital: Row
    pair: Pair
    decision: Decision

    def put_on_record(self, index: Index) -> bool:
        """False where the person has to be looked at once more, when an address has become free."""
        self._consent()
        pushes, waits = self._addresses(index)
        if pushes is None:
            return True
        if self.person.conflict_id is not None:  # the address is free, or no longer wanted
            group = ledger.members(self.conn, self.person.conflict_id)
            ledger.thaw(self.conn, self.person.conflict_id, self.frame.now, by="no longer taken")
            people.touch(self.conn, group)
        for platform in Platform:
            self._stage(platform, [push for push in pushes if push.platform is platform])
        run = (self.frame.run_id, self.frame.now)
        ledger.record_losses(self.conn, self.person.id, self.decision.losses, *run)
        ledger.record_refusals(self.conn, self.person.id, self.decision.refusals, *run)
        if self.person.settled_at is None and not pushes and not self.decision.opt_outs:
            people.settle(self.conn, self.person.id, self.frame.now)
        agreed = ledger.advance(self.pair.bases, self.decision.settled, self.decision.consent)
        if agreed != self.pair.bases:
            ledger.put_bases(self.conn, self.person.id, agreed, self.frame.now)
        return not waits

    def _addresses(self, index: Index) -> tuple[list[Push] | None, bool]:
        """-> (what may be pushed: None where the new address is somebody else's, whether an address is still waited
        for)"""
        pushes = list(self.decision.pushes)
        for push in self.decision.pushes:
            if push.field != "email":
                continue
            address = normal_email(str(push.value))
            on_onvoard = push.platform is Platform.ONVOARD
            onvoard = [c.id for c in index.onvoard_with(address) if c.id != self.onvoard["id"]]
            digital = [c.id for c in index.digital_with(address) if c.id != self.digital["unique_id"]]
            if onvoard or digital:
                self._taken(onvoard, digital)
                return None, False
            leaving = (c for c in index.onvoard.values() if c.email == address and c.leaves)
            if on_onvoard and any(c.id != self.onvoard["id"] for c in leaving):
                pushes.remove(push)
                return pushes, True
        return pushes, False

    def _taken(self, onvoard: list[str], digital: list[str]) -> None:
        """Two existing people whom the edit would merge."""
        members = ledger.frozen_together(self.conn, onvoard, digital)
        conflict_id, new = ledger.open_conflict(
            self.conn, self.person.id, EMAIL_TAKEN,
            f"its new e-mail belongs to another contact: {', '.join((*onvoard, *digital))}",
            self.frame.now, run_id=self.frame.run_id, field="email",
            onvoard=self.onvoard["email"], digital_onboarding=self.digital["email"],
        )  # fmt: skip
        ledger.freeze(self.conn, {self.person.id, *members}, conflict_id)
        if new:
            people.touch(self.conn, members)  # their opt-outs are still looked at

    @property
    def _status(self) -> str:
        """Changes of people whose sides had agreed before this run wait for the brake's ruling. What a link still has
        to carry over, because the run that made it was killed, does not."""
        settled_at = self.person.settled_at
        return "held" if settled_at is not None and settled_at < self.frame.started_at else "pending"

    def _consent(self) -> None:
        first = self.pair.bases.onvoard.opted_out is None
        if first and self._unsuppressed():
            return
        for opt_out in self.decision.opt_outs:
            target = self.onvoard["id"] if opt_out.platform is Platform.ONVOARD else self.digital["unique_id"]
            staged = consent_lane.stage_opt_out(
                self.conn, self.frame, self.person.id, opt_out.platform, target,
                f"opted out on {opt_out.began}", self._status,
            )  # fmt: skip
            if staged and opt_out.began is Platform.DIGITAL_ONBOARDING and not first:
                happenings.unsubscribed(
                    self.conn, self.frame, self.person.id, self.onvoard, self.digital,
                    self.pair.bases.digital_onboarding.falls,
                )  # fmt: skip
        for opt_in in self.decision.opt_ins:
            consent_lane.opted_in_again(self.conn, self.frame, self.person.id, opt_in.platform)

    def _unsuppressed(self) -> bool:
        """One who was suppressed on OnVoard and is no longer: what the opt-outs on Digital Onboarding mean now is for
        a person to say."""
        fact = f"{erasure.UNSUPPRESSED}{self.onvoard['id']}"
        if cursors.fact(self.conn, fact) is None:
            return False
        cursors.forget_fact(self.conn, fact)
        stands = {side: self.pair.of(side).opted_out for side in Platform}
        if stands[Platform.DIGITAL_ONBOARDING] and not stands[Platform.ONVOARD]:
            why = "unsuppressed on onvoard; the opt-outs on Digital Onboarding stand"
            consent_lane.opted_in_again(self.conn, self.frame, self.person.id, Platform.ONVOARD, why)
        self.pair = Pair(self.pair.onvoard, self.pair.digital_onboarding, ledger.advance(self.pair.bases, {}, stands))
        self.decision = Decision(
            self.decision.pushes, self.decision.settled, self.decision.losses, self.decision.refusals
        )
        return True

    def _stage(self, platform: Platform, pushes: list[Push]) -> None:
        mapping = self.frame.mapping
        payload = mapping.payload(platform, {push.field: push.value for push in pushes})
        details = [detail for push in pushes for detail in _details(mapping.by_name[push.field], push)]
        unique_id = self.digital["unique_id"]
        if platform is Platform.ONVOARD and self._wants_link():
            payload.setdefault("properties", {})[LINK_PROPERTY] = unique_id
            old = self.pair.onvoard.linked_unique_id or None
            details.append({"field": LINK_PROPERTY, "old": old, "new": unique_id, "why": "linked"})
        if not payload:
            return
        on_onvoard = platform is Platform.ONVOARD
        if on_onvoard and self.onvoard["email_unsubscribed"] is True:
            # What a patch leaves out may fall back to its default (traps 4): a flag that has fallen is said again.
            payload["email_unsubscribed"] = True
        basis: dict[str, Native] = {push.field: push.source for push in pushes}
        outbox.stage(
            self.conn, person_id=self.person.id, platform=platform,
            operation=Operation.PATCH_CONTACT if on_onvoard else Operation.UPSERT_CONTACT, lane=Lane.CHANGE,
            target=self.onvoard["id"] if on_onvoard else unique_id,
            payload=payload if on_onvoard else {"unique_id": unique_id, **payload},
            details=details, basis={"fields": basis}, run_id=self.frame.run_id, now=self.frame.now,
            status=self._status if pushes else "pending",
        )  # fmt: skip

    def _wants_link(self) -> bool:
        return self.frame.link_property and self.pair.onvoard.linked_unique_id != self.digital["unique_id"]


def _details(rule: FieldRule, push: Push) -> list[Row]:
    """What a push changes, under the platform's own names; `before` is what an undo restores, by the mapping's name."""
    old, new = rule.by_column(push.platform, push.old), rule.by_column(push.platform, push.value)
    moved = [column for column in new if old[column] != new[column]] or list(new)
    kept = {"why": push.rule, "of": rule.name, "before": push.old}
    return [{"field": column, "old": old[column], "new": new[column], **kept} for column in moved]
