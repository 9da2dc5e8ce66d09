"""What is known of one person, put together: both sides, the base, where each value came from, and what is pending.

Of a suppressed or erased person only ids, states and times are told, whatever the mirror may still hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.core import consent
from service.core.mapping import FieldMap, FieldRule
from service.core.records import Base, Bases, Native, Platform, shown
from service.store import firing_reports, ledger, reports
from service.store.reports import Connection
from service.text import SIDES

Row = Mapping[str, Any]

NUMBERED = "person:"
"""Where an address means several people, their number still means one."""
_ABOUT_A_VALUE = ("both_changed", ledger.NOT_TRANSFERABLE, ledger.OSCILLATION, ledger.RESTORED)
_IMPERSONAL = {
    "pushes": ("id", "platform", "operation", "status", "attempts", "created_at", "updated_at"),
    "conflicts": ("id", "kind", "field", "status", "created_at", "resolved_at", "resolved_by"),
    "rules": ("rule", "happened_at", "status", "run_id", "created_at"),
    "history": ("id", "run_id", "platform", "field", "rule", "at", "source", "said_at"),
}


def explain(conn: Connection, who: str, mapping: FieldMap) -> list[dict[str, Any]]:
    """Everybody who may be meant by an e-mail, a unique_id, a contact id of either platform, or person:NUMBER."""
    number = who.removeprefix(NUMBERED)
    if who.startswith(NUMBERED) and number.isascii() and number.isdecimal() and len(number) < 19:
        found = explain_person(conn, int(number), mapping)
        return [found] if found else []
    explained = [
        explain_contact(conn, match["onvoard_contact_id"], match["unique_id"], mapping)
        if match["person_id"] is None
        else explain_person(conn, match["person_id"], mapping)
        for match in reports.find(conn, who)
    ]
    return [each for each in explained if each is not None]


def people_of_conflict(conn: Connection, conflict: Row, mapping: FieldMap) -> list[dict[str, Any]]:
    """The person whose conflict it is, and those who are frozen together with them, each with both sides."""
    ids = {conflict["person_id"], *reports.frozen_by(conn, conflict["id"])} - {None}
    found = (explain_person(conn, person_id, mapping) for person_id in sorted(ids))
    return [{key: person[key] for key in ("person", "fields", "opted_out")} for person in found if person is not None]


def explain_person(conn: Connection, person_id: int, mapping: FieldMap) -> dict[str, Any] | None:
    """Everything about a person; None if there is none with this number."""
    person = reports.person(conn, person_id)
    if person is None:
        return None
    told: dict[str, Any] = {
        "pushes": reports.pushes_of(conn, person_id),
        "conflicts": reports.conflicts_of(conn, person_id),
        "history": reports.changes(conn, person_id),
        "rules": firing_reports.of_person(conn, person_id),
    }
    if person["state"] != "active":
        reduced = {part: [{key: row[key] for key in keys} for row in told[part]] for part, keys in _IMPERSONAL.items()}
        nothing: dict[str, Any] = {"fields": [], "opted_out": dict.fromkeys(Platform), "opted_out_source": None}
        return {"person": _tombstone(person), **nothing, **reduced}
    sides = Sides.read(conn, person["onvoard_contact_id"], person["unique_id"], mapping)
    how = _Provenance(sides, ledger.get_bases(conn, person_id), told, person["matched_by"], mapping)
    return {"person": _identity(person, sides), **how.told(), **told}


def explain_contact(
    conn: Connection, onvoard_id: str | None, unique_id: str | None, mapping: FieldMap
) -> dict[str, Any]:
    """A contact that is in the mirror and that no cycle has looked at yet."""
    sides = Sides.read(conn, onvoard_id, unique_id, mapping)
    told: dict[str, Any] = {"pushes": [], "conflicts": [], "history": [], "rules": []}
    how = _Provenance(sides, Bases(), told, None, mapping)
    deleted = (sides.rows[Platform.ONVOARD] or {}).get("deleted_at") is not None
    status = "deleted on OnVoard" if deleted else "not reconciled yet"
    person = {"person_id": None, "status": status, "matched_by": None, "linked_at": None}
    return {"person": _identity(person, sides), **how.told(), **told}


@dataclass(frozen=True)
class Sides:
    """The two records of a person, as the mirror last heard them, with their mapped fields."""

    rows: Mapping[Platform, Row | None]
    fields: Mapping[Platform, Mapping[str, Native]]

    @classmethod
    def read(cls, conn: Connection, onvoard_id: str | None, unique_id: str | None, mapping: FieldMap) -> Sides:
        onvoard = reports.onvoard_contact(conn, onvoard_id)
        digital = reports.digital_onboarding_contact(conn, unique_id)
        return cls(
            {Platform.ONVOARD: onvoard, Platform.DIGITAL_ONBOARDING: digital},
            {
                Platform.ONVOARD: mapping.read_onvoard((onvoard or {}).get("raw") or {}),
                Platform.DIGITAL_ONBOARDING: mapping.read_digital_onboarding((digital or {}).get("raw") or {}),
            },
        )

    def opted_out(self) -> dict[Platform, bool | None]:
        """Of e-mail; None where there is no record."""
        onvoard, digital = self.rows[Platform.ONVOARD], self.rows[Platform.DIGITAL_ONBOARDING]
        return {
            Platform.ONVOARD: None if onvoard is None else consent.onvoard_opted_out(onvoard),
            Platform.DIGITAL_ONBOARDING: None if digital is None else digital["unsubscribe_email"] is True,
        }


def _identity(person: Row, sides: Sides) -> dict[str, Any]:
    onvoard, digital = sides.rows[Platform.ONVOARD] or {}, sides.rows[Platform.DIGITAL_ONBOARDING] or {}
    return {
        "person_id": person.get("person_id", person.get("id")),
        # The view shows nobody who is gone from both platforms.
        "status": person["status"] or "gone",
        "email": onvoard.get("email") or digital.get("email"),
        "onvoard_contact_id": onvoard.get("id"),
        "unique_id": digital.get("unique_id"),
        "digital_onboarding_contact_id": digital.get("id"),
        "matched_by": person["matched_by"],
        "linked_at": person["linked_at"],
        "frozen_by_conflict": person.get("conflict_id"),
        "deleted_onvoard_contact_id": person.get("former_onvoard_contact_id"),
        "onvoard_edited_at": onvoard.get("edited_at"),
        "digital_onboarding_edited_at": digital.get("edited_at"),
    }


def _tombstone(person: Row) -> dict[str, Any]:
    return {
        "person_id": person["id"],
        "status": person["status"] or person["state"],
        "email": None,
        "onvoard_contact_id": person["onvoard_contact_id"] or person["erased_onvoard_contact_id"],
        "unique_id": person["erased_unique_id"],
        "digital_onboarding_contact_id": person["erased_digital_onboarding_id"],
        "matched_by": person["matched_by"],
        "linked_at": person["linked_at"],
        "erased_at": person["erased_at"],
    }


class _Provenance:
    """Where each field's value came from: the newest write of the bridge that still stands, or else the platforms."""

    def __init__(
        self,
        sides: Sides,
        bases: Bases,
        told: Mapping[str, Sequence[Row]],
        matched_by: str | None,
        mapping: FieldMap,
    ) -> None:
        self.sides, self.bases, self.mapping = sides, bases, mapping
        self.history, self.conflicts = told["history"], told["conflicts"]
        self.created_on = self._created_on(matched_by)

    def _created_on(self, matched_by: str | None) -> Platform | None:
        """The platform on which the bridge itself made this person's contact."""
        if matched_by != "created":
            return None
        digital = self.sides.rows[Platform.DIGITAL_ONBOARDING]
        return Platform.DIGITAL_ONBOARDING if digital and digital["created_by_bridge"] else Platform.ONVOARD

    def told(self) -> dict[str, Any]:
        opted_out = self.sides.opted_out()
        return {"fields": self.fields(), "opted_out": opted_out, "opted_out_source": self._opt_out(opted_out)}

    def _opt_out(self, opted_out: Mapping[Platform, bool | None]) -> dict[str, Any] | None:
        """Where the opt-out of e-mail came from; None where there is none."""
        sides = [side for side in Platform if opted_out[side]]
        if not sides:
            return None
        flags = {name for names in consent.FLAGS.values() for name in names}
        change = next((c for c in self.history if c["field"] in flags and opted_out[Platform(c["platform"])]), None)
        if change is None:
            both = "opted out on both sides" if len(sides) > 1 else f"opted out on {SIDES[sides[0]]}"
            return self._said(both, sides[0] if len(sides) == 1 else None)
        origin = Platform(change["source"] or Platform(change["platform"]).other)
        return self._said(f"opted out on {SIDES[origin]}", origin, change)

    def fields(self) -> list[dict[str, Any]]:
        """One entry per mapped field that a side knows."""
        known = [rule for rule in self.mapping.rules if any(rule.name in side for side in self.sides.fields.values())]
        return [self._field(rule) for rule in known]

    def _field(self, rule: FieldRule) -> dict[str, Any]:
        now = {side: fields.get(rule.name) for side, fields in self.sides.fields.items()}
        base = {side: self.bases.of(side).fields.get(rule.name) for side in Platform}
        return {
            "field": rule.name,
            **{side.value: shown(value) for side, value in now.items()},
            "base": {side.value: shown(value) for side, value in base.items()},
            "in_step": None not in now.values() and len({self._key(rule, side) for side in Platform}) == 1,
            "names": {side.value: rule.named(side) for side in Platform},
            "source": self._source(rule),
            "losing_values": self._losing(rule),
        }

    def _losing(self, rule: FieldRule) -> list[dict[str, Any]]:
        """The values of this field that gave way, or could not be carried over, newest first: each as it stood on
        `platform`. What a conflict tells of a run is not told twice."""
        found = []
        for conflict in self.conflicts:
            decided = conflict["kept"] is not None or conflict["kind"] == ledger.NOT_TRANSFERABLE
            if conflict["field"] != rule.name or conflict["kind"] not in _ABOUT_A_VALUE or not decided:
                continue
            for side in Platform:
                value = conflict[f"{side}_value"]
                if value is not None and side.value != conflict["kept"]:
                    at = conflict["resolved_at"] or conflict["created_at"]
                    found.append(_lost(value, side, conflict["reason"], at, conflict["run_id"]))
        known = {(row["platform"], row["run_id"]) for row in found}
        for change in self._changes(rule):
            if change["losing_value"] is not None and (change["platform"], change["run_id"]) not in known:
                side = Platform(change["platform"])
                found.append(_lost(change["losing_value"], side, change["rule"], change["at"], change["run_id"]))
        return sorted(found, key=lambda row: row["at"], reverse=True)

    def _key(self, rule: FieldRule, side: Platform, value: Native | None = None) -> str:
        fields = self.sides.fields[side]
        meant = fields.get(rule.name, "") if value is None else value
        return self.mapping.key(rule, meant, self.mapping.region(fields))

    def _source(self, rule: FieldRule) -> dict[str, Any]:
        present = [side for side in Platform if rule.name in self.sides.fields[side]]
        if len(present) == 1:
            return self._said(f"as on {SIDES[present[0]]}", present[0])
        change = self._newest_change(rule)
        if change is None:
            return self._untouched(rule)
        target = Platform(change["platform"])
        written = self._key(rule, target, self._as_written(rule, target, change))
        if written != self._key(rule, target):
            return self._said(f"edited on {SIDES[target]} after the bridge wrote it", target, change, edited=True)
        if written != self._key(rule, target.other) and self._edited(rule) == [target.other]:
            text = f"edited on {SIDES[target.other]} after the bridge carried it over"
            return self._said(text, target.other, change, edited=True)
        if change["source"] == target:
            return self._said(f"given back to {SIDES[target]} as it was", target, change)
        return self._said(f"as on {SIDES[target.other]}", target.other, change)

    def _newest_change(self, rule: FieldRule) -> Row | None:
        return next(iter(self._changes(rule)), None)

    def _changes(self, rule: FieldRule) -> list[Row]:
        """The history is newest first, and names fields as the platform does that was written to."""
        names = {side: (rule.name, *rule.columns(side)) for side in Platform}
        return [change for change in self.history if change["field"] in names[change["platform"]]]

    def _as_written(self, rule: FieldRule, target: Platform, change: Row) -> Native:
        """The field as it would be if the column that was written still showed what was written."""
        now, written = self.sides.fields[target].get(rule.name), change["new_value"] or ""
        columns = rule.columns(target)
        if not isinstance(now, tuple) or len(columns) == 1:
            return str(written)
        return tuple(written if column == change["field"] else part for column, part in zip(columns, now, strict=True))

    def _edited(self, rule: FieldRule) -> list[Platform]:
        """The sides that no longer show what they showed at the last agreement."""
        found = []
        for side in Platform:
            base: Base = self.bases.of(side)
            if rule.name in base.fields and self._key(rule, side, base.fields[rule.name]) != self._key(rule, side):
                found.append(side)
        return found

    def _untouched(self, rule: FieldRule) -> dict[str, Any]:
        """Both sides know the field and the bridge never wrote it."""
        edited = self._edited(rule)
        if self._key(rule, Platform.ONVOARD) == self._key(rule, Platform.DIGITAL_ONBOARDING):
            if self.created_on is not None and not edited:
                origin = self.created_on.other
                return self._said(f"as on {SIDES[origin]} when the bridge created the other contact", origin)
            return self._said("equal on both sides" if edited else "equal at first link")
        if len(edited) == 1:
            return self._said(f"edited on {SIDES[edited[0]]}", edited[0])
        return self._said("each side has its own")

    def _said(
        self, text: str, platform: Platform | None = None, change: Row | None = None, *, edited: bool = False
    ) -> dict[str, Any]:
        """`platform` is the side that said the value, and `said_at` when its record was edited, where that is known.

        `rule`, `at` and `run_id` tell which write of the bridge brought the value here; `edited`: somebody has edited
        it since.
        """
        told = {key: change[key] if change else None for key in ("rule", "at", "run_id")}
        row = self.sides.rows[platform] if platform else None
        said_at = change["said_at"] if change and not edited else (row or {}).get("edited_at")
        return {"text": text, "platform": platform.value if platform else None, "said_at": said_at, **told}


def _lost(value: str, side: Platform, rule: str | None, at: Any, run_id: int | None) -> dict[str, Any]:
    return {"value": value, "platform": side.value, "rule": rule, "at": at, "run_id": run_id}
