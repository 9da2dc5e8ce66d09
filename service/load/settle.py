"""What came of a push, on record in one transaction: the base becomes what the platform returned, not what was sent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from service.core import consent
from service.core.identity import MatchedBy
from service.core.mapping import FieldMap, normal_email
from service.core.records import Bases, Native, Platform, native
from service.load.settlement import Settlement
from service.store import absorb, erasure, history, ledger, mirror, outbox, people
from service.store import tables as t
from service.store.database import Connection
from service.store.outbox import Lane, Operation
from service.store.recovery import DECIDED_ANEW

Row = dict[str, Any]
SUPPRESSED = "the contact is suppressed"


class Settler:
    """Everything that the answers of one run change in the mirror."""

    def __init__(self, mapping: FieldMap, run_id: int) -> None:
        self.mapping, self.run_id = mapping, run_id

    def _absorb(self, conn: Connection, contacts: Iterable[Any], now: datetime, *, own: bool) -> None:
        absorb.onvoard_contacts(conn, absorb.contact_rows(contacts, now), run_id=self.run_id, now=now, own=own)

    def onvoard_contacts(self, conn: Connection, answered: Sequence[tuple[Row, Any]], now: datetime) -> None:
        """The answers to patches."""
        said = {row["target"]: mirror.raw_of(conn, row["target"]) for row, _ in answered if row["lane"] == Lane.OPT_OUT}
        self._absorb(conn, (contact for _, contact in answered), now, own=True)
        settlement = self._begin(conn, (row["person_id"] for row, _ in answered), now)
        for row, contact in answered:
            if contact.suppressed:
                outbox.mark(conn, [row["id"]], "cancelled", now, SUPPRESSED)
                continue
            fields = self.mapping.read_onvoard(contact.raw)
            if row["lane"] == Lane.OPT_OUT:
                self._opted_out(settlement, row, consent.onvoard_opted_out(absorb.row_of(contact)))
                known = self.mapping.read_onvoard(said[row["target"]])
                self._edited_meanwhile(conn, row, known, fields, contact.modified_at)
            elif row["operation"] == Operation.SET_PROPERTIES:
                settlement.done(row)
            else:
                settlement.agreed(row, fields)
            settlement.told(row, fields)
        settlement.write()

    def _begin(self, conn: Connection, person_ids: Iterable[int], now: datetime) -> Settlement:
        return Settlement(conn, self.mapping, self.run_id, person_ids, now)

    def _edited_meanwhile(
        self, conn: Connection, row: Row, known: Mapping[str, Native], fields: Mapping[str, Native],
        at: datetime | None,
    ) -> None:  # fmt: skip
        """The answer to an opt-out shows what somebody has changed since we last read: what waits for this person was
        decided without it, and is decided anew. The time that we moved, `at`, is as near to that edit as we know."""
        by_name = self.mapping.by_name
        if any(
            self.mapping.key(by_name[name], known[name]) != self.mapping.key(by_name[name], value)
            for name, value in fields.items()
            if name in known
        ):
            mirror.edited(conn, Platform(row["platform"]), row["target"], at)
            outbox.supersede(conn, [row["person_id"]])
            people.touch(conn, [row["person_id"]])

    def looked_at(self, conn: Connection, rows: Sequence[Row], now: datetime) -> None:
        """Changes whose answers were lost, when their contacts have been read again: what has arrived is agreed on, and
        is no edit of that side. Whatever else stands there is decided about."""
        settlement = self._begin(conn, (row["person_id"] for row in rows), now)
        for row in rows:
            shown = self._shown(conn, Platform(row["platform"]), row["target"])
            if settlement.arrived(row, shown):
                settlement.done(row)
                settlement.told(row, shown)
            else:
                outbox.mark(conn, [row["id"]], "cancelled", now, DECIDED_ANEW)
        settlement.write()
        people.touch(conn, {row["person_id"] for row in rows})

    def _shown(self, conn: Connection, platform: Platform, target: str) -> dict[str, Native]:
        if platform is Platform.ONVOARD:
            return self.mapping.read_onvoard(mirror.raw_of(conn, target))
        known = mirror.known_digital_contacts(conn, [target]).get(target) or {}
        return self.mapping.read_digital_onboarding(known.get("raw") or {})

    def found_on_onvoard(self, conn: Connection, row: Row, contact: Any, why: str, now: datetime) -> None:
        """The contact is not what the push rests on: it is read, and decided about anew."""
        self._absorb(conn, [contact], now, own=False)
        if contact.id != row["target"] and not mirror.raw_of(conn, contact.id):  # nobody may know who that is
            outbox.mark(conn, [row["id"]], "dead", now, "the e-mail belongs to somebody who was erased")
            return
        link = (contact.properties or {}).get(mirror.LINK_PROPERTY)
        if row["lane"] == Lane.CREATION and link == row["basis"]["unique_id"] and not contact.suppressed:
            # An earlier attempt, whose answer was lost, made it.
            kept = people.link(conn, contact.id, row["basis"]["unique_id"], MatchedBy.CREATED, now)
            row, settlement = row | {"person_id": kept}, self._begin(conn, [kept], now)
            shown = self.mapping.read_onvoard(contact.raw)
            settlement.arrived(row, shown)
            settlement.done(row)
            settlement.told(row, shown)
            settlement.write()
            return
        outbox.mark(conn, [row["id"]], "cancelled", now, why)
        people.touch(conn, [row["person_id"]])

    def gone_from_onvoard(self, conn: Connection, row: Row, now: datetime) -> None:
        mirror.mark_gone(conn, t.onvoard_contacts, row["target"], now)
        outbox.mark(conn, [row["id"]], "cancelled", now, "the contact was deleted on OnVoard")

    def activities(self, conn: Connection, answered: Sequence[tuple[Row, Any]], now: datetime) -> None:
        absorb.activities(conn, absorb.activity_rows(activity for _, activity in answered), now, own=True)
        settlement = self._begin(conn, (), now)
        for row, _ in answered:
            settlement.done(row)
            settlement.told(row)
        settlement.write()

    def journeys(self, conn: Connection, answered: Sequence[tuple[Row, Any]], now: datetime) -> None:
        settlement = self._begin(conn, (), now)
        for row, journey in answered:
            self._journey(settlement, row, journey)
        settlement.write()

    @staticmethod
    def _journey(settlement: Settlement, row: Row, journey: Any) -> None:
        """The answer to a start; None where only an upsert said that there is one, without its id: then it has ours,
        and began when the start was sent."""
        answered = {} if journey is None else absorb.row_of(journey)
        started = {
            "id": answered.get("id") or row["sync_id"], "unique_id": row["target"],
            "template_id": row["payload"]["template_id"], "name": row["payload"].get("name"),
            "slug": answered.get("slug"), "web_client_url": answered.get("web_client_url"),
            "started_at": settlement.now if answered else row["updated_at"], "raw": answered.get("raw") or {},
        }  # fmt: skip
        mirror.save_records(settlement.conn, t.digital_onboarding_journeys, [started])
        settlement.done(row)
        settlement.told(row)

    def digital_batch(self, conn: Connection, rows: Sequence[Row], answer: Any, now: datetime) -> None:
        """The answer to a batch of upserts."""
        people.turn_to_show(conn)  # before any row is locked, and anybody's erasure looked up
        by_id = {row["target"]: row for row in rows}
        created = {c.unique_id: c for c in answer.new if c.unique_id in by_id}
        known = mirror.known_digital_contacts(conn, by_id)
        for contact in answer.existing:
            if contact.unique_id in by_id and absorb.recreated(known.get(contact.unique_id), absorb.row_of(contact)):
                created[contact.unique_id] = contact
        existing = {c.unique_id: c for c in answer.existing if c.unique_id in by_id and c.unique_id not in created}
        first = frozenset(u for u in created if by_id[u]["lane"] == Lane.CREATION) | self._ours(by_id, existing)
        stored = [c for u, c in (created | existing).items() if u in existing or u in first]
        erased = outbox.of_the_erased(conn, [row["id"] for row in rows])
        stored = [c for c in stored if by_id[c.unique_id]["id"] not in erased]
        opted_out = {u for u, row in by_id.items() if row["lane"] == Lane.OPT_OUT}
        absorb.digital_contacts(
            conn, stored, origin="push", asked_at=answer.asked_at, run_id=self.run_id, now=now, created=first,
            opted_out=opted_out,
        )  # fmt: skip
        settled: list[tuple[Row, Any]] = []
        for unique_id, row in by_id.items():
            answered = created.get(unique_id) or existing.get(unique_id)
            if answered is None:
                outbox.mark(conn, [row["id"]], "dead", now, "the answer does not mention this contact")
            elif row["id"] in erased:
                self._erased(conn, row, answered, now)
            elif unique_id in created and unique_id not in first:
                self._removed_there(conn, row, answered, now)
            else:
                settled.append((row, answered))
        self._digital_contacts(conn, settled, first, now)
        read = self.mapping.read_digital_onboarding
        for row, contact in settled:
            if row["lane"] == Lane.OPT_OUT and row["target"] in known:
                was = read(known[row["target"]]["raw"] or {})
                self._edited_meanwhile(conn, row, was, read(contact.raw), contact.updated_at)

    @staticmethod
    def _ours(by_id: Mapping[str, Row], existing: Mapping[str, Any]) -> frozenset[str]:
        """Creations that are answered as existing because an earlier attempt, whose answer was lost, made them."""
        return frozenset(
            unique_id
            for unique_id, contact in existing.items()
            if by_id[unique_id]["lane"] == Lane.CREATION
            and contact.inserted_at is not None
            and contact.inserted_at >= by_id[unique_id]["created_at"]
        )

    def _digital_contacts(
        self, conn: Connection, answered: Sequence[tuple[Row, Any]], first: Collection[str], now: datetime
    ) -> None:
        """`first`: the unique_ids that these pushes brought into being."""
        settlement = self._begin(conn, (row["person_id"] for row, _ in answered), now)
        made = {row["target"]: row["person_id"] for row, _ in answered if row["lane"] == Lane.CREATION}
        whose = {person.id: person for person in people.persons_by_id(conn, made.values())}
        holders = people.holders(conn, made)
        completions: list[Row] = []
        for row, contact in answered:
            if row["operation"] == Operation.START_JOURNEY:
                self._journey(settlement, row, None)
                continue
            if row["operation"] == Operation.COMPLETE_OBJECTIVE:
                said = {key: value for key, value in row["payload"].items() if key != "unique_id"}
                completions += absorb.completions_in(row["target"], said, set(said), "push")
                settlement.done(row)
                settlement.told(row)
                continue
            if row["operation"] == Operation.SET_META:
                self._meta_public(settlement, row, contact.meta_public)
                continue
            fields = self.mapping.read_digital_onboarding(contact.raw)
            if row["lane"] == Lane.CREATION:
                held = whose.get(row["person_id"]), holders.get(row["target"])
                row = self._created_on_digital_onboarding(settlement, row, *held, contact, row["target"] in first)
            elif row["lane"] == Lane.OPT_OUT:
                self._opted_out(settlement, row, contact.unsubscribe_email is True)
            else:
                settlement.agreed(row, fields)
            settlement.told(row, fields)
        mirror.save_completions(conn, completions)
        settlement.write()

    @staticmethod
    def _meta_public(settlement: Settlement, row: Row, shows: Mapping[str, Any] | None) -> None:
        said = row["payload"]["meta_public"]
        if shows is not None and any(shows.get(key) != value for key, value in said.items()):
            reason = "accepted, but the answer shows another meta_public"
            outbox.mark(settlement.conn, [row["id"]], "dead", settlement.now, reason)
            return
        settlement.done(row)
        settlement.told(row)

    def _created_on_digital_onboarding(
        self, settlement: Settlement, row: Row, person: Any, holder: Any, contact: Any, is_first: bool
    ) -> Row:
        """`holder`: who has that contact already. -> the row, of the person that the link has made of both"""
        conn, now = settlement.conn, settlement.now
        if person is None or person.onvoard_contact_id is None:
            outbox.mark(conn, [row["id"]], "cancelled", now, "the person has gone meanwhile")
            return row
        taken = holder is not None and holder.onvoard_contact_id not in (None, person.onvoard_contact_id)
        if taken or person.unique_id not in (None, contact.unique_id):
            outbox.mark(conn, [row["id"]], "cancelled", now, "the contact belongs to somebody else: looked at anew")
            people.touch(conn, [person.id])
            return row
        same_address = normal_email(contact.email) == normal_email(row["payload"].get("email"))
        there_before = MatchedBy.EMAIL if same_address else MatchedBy.UNIQUE_ID
        by = MatchedBy.CREATED if is_first else there_before
        if holder is None:
            settlement.link(person.id, person.onvoard_contact_id, contact.unique_id, by)
        else:
            kept = people.link(conn, person.onvoard_contact_id, contact.unique_id, by, now)
            row = row | {"person_id": kept}
        if is_first:  # its address is OnVoard's of that time, and no edit
            settlement.arrived(row, self.mapping.read_digital_onboarding(contact.raw))
        settlement.done(row)
        return row

    def onvoard_creations(self, conn: Connection, answered: Sequence[tuple[Row, Any]], now: datetime) -> None:
        """The answers to creations, each of another contact."""
        self._absorb(conn, (contact for _, contact in answered), now, own=True)
        suppressed = [row["id"] for row, contact in answered if contact.suppressed]
        if suppressed:
            outbox.mark(conn, suppressed, "cancelled", now, SUPPRESSED)
        made = [(row, contact) for row, contact in answered if not contact.suppressed]
        links = [(contact.id, row["basis"]["unique_id"], MatchedBy.CREATED) for row, contact in made]
        kept = people.link_all(conn, links, now)
        settlement = self._begin(conn, kept, now)
        for (row, contact), person_id in zip(made, kept, strict=True):
            self._created_on_onvoard(settlement, row | {"person_id": person_id}, contact)
        settlement.write()

    def _created_on_onvoard(self, settlement: Settlement, row: Row, contact: Any) -> None:
        fields, source = self.mapping.read_onvoard(contact.raw), native(row["basis"]["fields"])
        both_out = row["basis"]["opted_out"] and consent.onvoard_opted_out(absorb.row_of(contact))
        agreed = ledger.advance(
            Bases(),
            {Platform.ONVOARD: {k: v for k, v in fields.items() if k in source}, Platform.DIGITAL_ONBOARDING: source},
            dict.fromkeys(Platform, both_out) if both_out or not row["basis"]["opted_out"] else None,
        )
        settlement.begin(row["person_id"], agreed)
        settlement.done(row)
        settlement.told(row, fields)

    @staticmethod
    def _opted_out(settlement: Settlement, row: Row, shows: bool) -> None:
        conn, platform = settlement.conn, Platform(row["platform"])
        if not shows:
            reason = f"{platform} accepted the opt-out, but its answer does not show it"
            outbox.mark(conn, [row["id"]], "dead", settlement.now, reason)
            return
        # The opt-out of an address has not been agreed on before both sides show it.
        if not row["basis"].get("of_address") or people.opted_out(conn, row["person_id"], platform.other):
            settlement.opted_out(row["person_id"])
        settlement.done(row)

    def _erased(self, conn: Connection, row: Row, contact: Any, now: datetime) -> None:
        """Of a suppressed person nothing is kept but that it was done."""
        done = all(getattr(contact, flag) is True for flag in row["payload"] if flag in erasure.OPT_OUTS)
        error = None if done else "accepted, but the answer does not show the opt-out"
        outbox.mark(conn, [row["id"]], "done" if done else "dead", now, error)
        history.record(conn, history.lines(row, {}, self.run_id, now))
        if done:
            erasure.wipe_opt_out(conn, [row["id"]])

    def _removed_there(self, conn: Connection, row: Row, contact: Any, now: datetime) -> None:
        absorb.removed_on_digital_onboarding(conn, [absorb.row_of(contact)], self.run_id, now)
        status = "done" if row["lane"] == Lane.OPT_OUT else "cancelled"
        outbox.mark(conn, [row["id"]], status, now, "the contact had been removed on Digital Onboarding")
