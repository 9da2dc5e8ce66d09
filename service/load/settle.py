"""What came of a push, on record in one transaction: the base becomes what the platform returned, not what was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from service.core import consent
from service.core.identity import MatchedBy
from service.core.mapping import FieldMap, normal_email
from service.core.records import Bases, Native, Platform, Refusal, native
from service.store import absorb, erasure, ledger, mirror, outbox, people
from service.store import tables as t
from service.store.database import Connection
from service.store.outbox import Lane, Operation

Row = dict[str, Any]


class Settler:
    """Everything that the answers of one run change in the mirror."""

    def __init__(self, mapping: FieldMap, run_id: int) -> None:
        self.mapping, self.run_id = mapping, run_id

    def onvoard_contact(self, conn: Connection, row: Row, contact: Any, now: datetime) -> None:
        """The answer to a patch, or to a creation."""
        known = mirror.raw_of(conn, contact.id) if row["lane"] == Lane.OPT_OUT else {}
        absorb.onvoard_contacts(conn, [contact], run_id=self.run_id, now=now, own=True)
        if contact.suppressed:
            outbox.mark(conn, [row["id"]], "cancelled", now, "the contact is suppressed")
            return
        fields = self.mapping.read_onvoard(contact.raw)
        if row["lane"] == Lane.CREATION:
            self._created_on_onvoard(conn, row, contact, fields, now)
        elif row["lane"] == Lane.OPT_OUT:
            self._opted_out(conn, row, Platform.ONVOARD, consent.onvoard_opted_out(absorb.row_of(contact)), now)
            self._edited_meanwhile(conn, row, self.mapping.read_onvoard(known), fields, contact.modified_at)
        else:
            self._agreed(conn, row, Platform.ONVOARD, fields, now)
        self._history(conn, row, Platform.ONVOARD, fields, now)

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
        for row in rows:
            platform = Platform(row["platform"])
            shown = self._shown(conn, platform, row["target"])
            source = native(row["basis"].get("fields") or {})
            arrived = self._arrived(conn, row["person_id"], platform, source, shown, now)
            if arrived == source.keys() != set():
                outbox.mark(conn, [row["id"]], "done", now)
                self._history(conn, row, platform, shown, now)
            else:
                outbox.mark(conn, [row["id"]], "cancelled", now, outbox.DECIDED_ANEW)
        people.touch(conn, {row["person_id"] for row in rows})

    def _shown(self, conn: Connection, platform: Platform, target: str) -> dict[str, Native]:
        if platform is Platform.ONVOARD:
            return self.mapping.read_onvoard(mirror.raw_of(conn, target))
        known = mirror.known_digital_contacts(conn, [target]).get(target) or {}
        return self.mapping.read_digital_onboarding(known.get("raw") or {})

    def _arrived(
        self, conn: Connection, person_id: int, platform: Platform, source: Mapping[str, Native],
        shown: Mapping[str, Native], now: datetime,
    ) -> set[str]:  # fmt: skip
        """The fields of a push that a platform shows as they were sent: on these the two sides have agreed."""
        key, region = self.mapping.key, self.mapping.region(shown)
        known = [rule for name, rule in self.mapping.by_name.items() if name in source and name in shown]
        same = {r.name for r in known if key(r, source[r.name], region) == key(r, shown[r.name], region)}
        settled = {side: {n: each[n] for n in same} for side, each in ((platform, shown), (platform.other, source))}
        ledger.put_bases(conn, person_id, ledger.advance(ledger.get_bases(conn, person_id), settled), now)
        return same

    def found_on_onvoard(self, conn: Connection, row: Row, contact: Any, why: str, now: datetime) -> None:
        """The contact is not what the push rests on: it is read, and decided about anew."""
        absorb.onvoard_contacts(conn, [contact], run_id=self.run_id, now=now)
        if contact.id != row["target"] and not mirror.raw_of(conn, contact.id):  # nobody may know who that is
            outbox.mark(conn, [row["id"]], "dead", now, "the e-mail belongs to somebody who was erased")
            return
        link = (contact.properties or {}).get(mirror.LINK_PROPERTY)
        if row["lane"] == Lane.CREATION and link == row["basis"]["unique_id"] and not contact.suppressed:
            # An earlier attempt, whose answer was lost, made it.
            kept = people.link(conn, contact.id, row["basis"]["unique_id"], MatchedBy.CREATED, now)
            shown = self.mapping.read_onvoard(contact.raw)
            self._arrived(conn, kept, Platform.ONVOARD, native(row["basis"]["fields"]), shown, now)
            outbox.mark(conn, [row["id"]], "done", now)
            self._history(conn, row | {"person_id": kept}, Platform.ONVOARD, shown, now)
            return
        outbox.mark(conn, [row["id"]], "cancelled", now, why)
        people.touch(conn, [row["person_id"]])

    def gone_from_onvoard(self, conn: Connection, row: Row, now: datetime) -> None:
        mirror.mark_gone(conn, t.onvoard_contacts, row["target"], now)
        outbox.mark(conn, [row["id"]], "cancelled", now, "the contact was deleted on OnVoard")

    def activity(self, conn: Connection, row: Row, activity: Any, now: datetime) -> None:
        absorb.activities(conn, [activity])
        self._acted(conn, row, now)

    def journey(self, conn: Connection, row: Row, journey: Any, now: datetime) -> None:
        """The answer to a start; None where only an upsert said that there is one, without its id: then it has ours."""
        answered = {} if journey is None else absorb.row_of(journey)
        started = {
            "id": answered.get("id") or row["sync_id"], "unique_id": row["target"],
            "template_id": row["payload"]["template_id"], "name": row["payload"].get("name"),
            "slug": answered.get("slug"), "web_client_url": answered.get("web_client_url"), "started_at": now,
            "raw": answered.get("raw") or {},
        }  # fmt: skip
        mirror.save_records(conn, t.digital_onboarding_journeys, [started])
        self._acted(conn, row, now)

    def _completed(self, conn: Connection, row: Row, now: datetime) -> None:
        said = {key: value for key, value in row["payload"].items() if key != "unique_id"}
        mirror.save_completions(conn, absorb.completions_in(row["target"], said, set(said), "push"))
        self._acted(conn, row, now)

    def _acted(self, conn: Connection, row: Row, now: datetime) -> None:
        outbox.mark(conn, [row["id"]], "done", now)
        ledger.record_changes(conn, row, {}, self.run_id, now)

    def digital_batch(self, conn: Connection, rows: Sequence[Row], answer: Any, now: datetime) -> None:
        """The answer to a batch of upserts."""
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
        absorb.digital_contacts(
            conn, stored, origin="push", asked_at=answer.asked_at, run_id=self.run_id, now=now, created=first
        )
        for unique_id, row in by_id.items():
            answered = created.get(unique_id) or existing.get(unique_id)
            if answered is None:
                outbox.mark(conn, [row["id"]], "dead", now, "the answer does not mention this contact")
            elif row["id"] in erased:
                self._erased(conn, row, answered, now)
            elif unique_id in created and unique_id not in first:
                self._removed_there(conn, row, answered, now)
            else:
                self._digital_contact(conn, row, answered, unique_id in first, now)
                if row["lane"] == Lane.OPT_OUT and unique_id in known:
                    read = self.mapping.read_digital_onboarding
                    was, shows = read(known[unique_id]["raw"] or {}), read(answered.raw)
                    self._edited_meanwhile(conn, row, was, shows, answered.updated_at)

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

    def _digital_contact(self, conn: Connection, row: Row, contact: Any, is_first: bool, now: datetime) -> None:
        platform = Platform.DIGITAL_ONBOARDING
        fields = self.mapping.read_digital_onboarding(contact.raw)
        if row["operation"] == Operation.START_JOURNEY:
            self.journey(conn, row, None, now)
            return
        if row["operation"] == Operation.COMPLETE_OBJECTIVE:
            self._completed(conn, row, now)
            return
        if row["lane"] == Lane.CREATION:
            self._created_on_digital_onboarding(conn, row, contact, is_first, now)
        elif row["lane"] == Lane.OPT_OUT:
            self._opted_out(conn, row, platform, contact.unsubscribe_email is True, now)
        else:
            self._agreed(conn, row, platform, fields, now)
        self._history(conn, row, platform, fields, now)

    def _created_on_digital_onboarding(
        self, conn: Connection, row: Row, contact: Any, is_first: bool, now: datetime
    ) -> None:
        person = people.person_by_id(conn, row["person_id"])
        holder = people.person_of(conn, unique_id=contact.unique_id)
        if person is None or person.onvoard_contact_id is None:
            outbox.mark(conn, [row["id"]], "cancelled", now, "the person has gone meanwhile")
            return
        taken = holder is not None and holder.onvoard_contact_id not in (None, person.onvoard_contact_id)
        if taken or person.unique_id not in (None, contact.unique_id):
            outbox.mark(conn, [row["id"]], "cancelled", now, "the contact belongs to somebody else: looked at anew")
            people.touch(conn, [person.id])
            return
        same_address = normal_email(contact.email) == normal_email(row["payload"].get("email"))
        there_before = MatchedBy.EMAIL if same_address else MatchedBy.UNIQUE_ID
        by = MatchedBy.CREATED if is_first else there_before
        kept = people.link(conn, person.onvoard_contact_id, contact.unique_id, by, now)
        if is_first:  # its address is OnVoard's of that time, and no edit
            source = native(row["basis"].get("fields") or {})
            shown = self.mapping.read_digital_onboarding(contact.raw)
            self._arrived(conn, kept, Platform.DIGITAL_ONBOARDING, source, shown, now)
        outbox.mark(conn, [row["id"]], "done", now)
        row["person_id"] = kept

    def _created_on_onvoard(
        self, conn: Connection, row: Row, contact: Any, fields: Mapping[str, Native], now: datetime
    ) -> None:
        unique_id = row["basis"]["unique_id"]
        kept = people.link(conn, contact.id, unique_id, MatchedBy.CREATED, now)
        row["person_id"] = kept
        source = native(row["basis"]["fields"])
        both_out = row["basis"]["opted_out"] and consent.onvoard_opted_out(absorb.row_of(contact))
        agreed = ledger.advance(
            Bases(),
            {Platform.ONVOARD: {k: v for k, v in fields.items() if k in source}, Platform.DIGITAL_ONBOARDING: source},
            dict.fromkeys(Platform, both_out) if both_out or not row["basis"]["opted_out"] else None,
        )
        ledger.put_bases(conn, kept, agreed, now)
        outbox.mark(conn, [row["id"]], "done", now)

    def _agreed(
        self, conn: Connection, row: Row, platform: Platform, fields: Mapping[str, Native], now: datetime
    ) -> None:
        source = native(row["basis"].get("fields") or {})
        # What an answer leaves out is taken for written as it was sent.
        answered = {name: fields.get(name, value) for name, value in source.items()}
        bases = ledger.get_bases(conn, row["person_id"])
        settled = {platform: answered, platform.other: {name: source[name] for name in answered}}
        ledger.put_bases(conn, row["person_id"], ledger.advance(bases, settled), now)
        unheard = self._unheard(row, platform, source, answered)
        ledger.record_refusals(conn, row["person_id"], unheard, self.run_id, now)
        outbox.mark(conn, [row["id"]], "done", now)
        outbox.bury(conn, row, now)
        people.touch(conn, [row["person_id"]])

    def _unheard(
        self, row: Row, platform: Platform, source: Mapping[str, Native], answered: Mapping[str, Native]
    ) -> list[Refusal]:
        """The values that a platform accepted and did not take: its answer shows what was there before."""
        before = native({d["of"]: d["before"] for d in row["details"] if d.get("of") in source and "undoes" not in d})
        found = []
        for name, value in before.items():
            rule = self.mapping.by_name.get(name)
            if rule is None:
                continue
            sent, was, shows = (self.mapping.key(rule, each) for each in (source[name], value, answered[name]))
            if was == shows != sent:
                found.append(Refusal(name, platform, source[name], "accepted, but the answer shows what was there"))
        return found

    def _opted_out(self, conn: Connection, row: Row, platform: Platform, shows: bool, now: datetime) -> None:
        if not shows:
            reason = f"{platform} accepted the opt-out, but its answer does not show it"
            outbox.mark(conn, [row["id"]], "dead", now, reason)
            return
        # The opt-out of an address has not been agreed on before both sides show it.
        if not row["basis"].get("of_address") or people.opted_out(conn, row["person_id"], platform.other):
            bases = ledger.get_bases(conn, row["person_id"])
            ledger.put_bases(conn, row["person_id"], consent.confirmed(bases), now)
        outbox.mark(conn, [row["id"]], "done", now)

    def _erased(self, conn: Connection, row: Row, contact: Any, now: datetime) -> None:
        """Of a suppressed person nothing is kept but that it was done."""
        done = all(getattr(contact, flag) is True for flag in row["payload"] if flag in erasure.OPT_OUTS)
        error = None if done else "accepted, but the answer does not show the opt-out"
        outbox.mark(conn, [row["id"]], "done" if done else "dead", now, error)
        ledger.record_changes(conn, row, {}, self.run_id, now)
        if done:
            erasure.wipe_opt_out(conn, [row["id"]])

    def _removed_there(self, conn: Connection, row: Row, contact: Any, now: datetime) -> None:
        absorb.removed_on_digital_onboarding(conn, [absorb.row_of(contact)], self.run_id, now)
        status = "done" if row["lane"] == Lane.OPT_OUT else "cancelled"
        outbox.mark(conn, [row["id"]], status, now, "the contact had been removed on Digital Onboarding")

    def _history(
        self, conn: Connection, row: Row, platform: Platform, fields: Mapping[str, Native], now: datetime
    ) -> None:
        named: dict[str, str] = {}
        for rule in self.mapping.rules:
            if rule.name in fields:
                named |= rule.by_column(platform, fields[rule.name])
        ledger.record_changes(conn, row, named, self.run_id, now)
