"""One row of a loader's result -> the push that carries it out, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from service.core import loaders, targets
from service.core.consent import opted_out_anywhere
from service.core.loaders import Key, Loader, Survey, Target
from service.core.records import Platform, same
from service.decide.frame import Frame
from service.decide.happenings import sync_id
from service.store import goals, loaded
from service.store.database import Connection
from service.store.outbox import Lane, Operation
from service.store.restoration import MAYBE
from service.store.types import iso

Row = dict[str, Any]
DUE, STAGED, DONE, DEAD, SKIPPED = "due", "staged", "done", "dead", "skipped"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a row becomes without a push."""

    status: str
    reason: str | None = None
    person_id: int | None = None


@dataclass(frozen=True, slots=True)
class Push:
    """`once`: its sync_id, where it may be said only once. `refused`: why nobody can carry it out. `doubted`: it may
    have left already. `counts`: the brake counts it."""

    person_id: int
    settled_at: datetime | None
    operation: Operation
    target: str
    payload: Row
    details: Sequence[Row]
    once: str | None = None
    lane: Lane = Lane.ACTION
    refused: str | None = None
    doubted: bool = False
    counts: bool = True


@dataclass
class Knowledge:
    """What the rows of one batch are judged by."""

    conn: Connection
    frame: Frame
    loader: Loader
    survey: Survey
    people: Mapping[str, Sequence[Row]]

    @cached_property
    def _unique_ids(self) -> list[str]:
        return [each["unique_id"] for found in self.people.values() for each in found if each["unique_id"]]

    @cached_property
    def completed(self) -> set[tuple[str, str]]:
        return goals.completed(self.conn, self._unique_ids)

    @cached_property
    def started(self) -> set[tuple[str, str]]:
        return goals.started(self.conn, self._unique_ids)

    @cached_property
    def objectives(self) -> list[Row]:
        return goals.objectives(self.conn)

    @cached_property
    def templates(self) -> list[Row]:
        return goals.templates(self.conn)

    @cached_property
    def _property_types(self) -> dict[str, str | None]:
        return loaded.property_types(self.conn)

    @cached_property
    def _record_types(self) -> dict[tuple[str, str], str | None]:
        return loaded.record_types(self.conn)

    def as_property(self, column: str, value: Any) -> Any:
        there = self._property_types.get(loaders.property_key(column))
        return loaders.sent_as(value, there or self.survey.types.get(column))

    def as_data(self, kind: str, column: str, value: Any) -> Any:
        """`kind`: `custom.KEY`."""
        there = self._record_types.get((kind, column))
        return loaders.sent_as(value, there or self.survey.kinds[kind.removeprefix("custom.")].get(column))


def feed(known: Knowledge, row: Row, key: str, *, in_flight: bool) -> Push | Outcome:
    """`key`: whom the row is about, as the loader's key names them; `in_flight`: earlier values may still arrive."""
    person = _person(known, key)
    if isinstance(person, Outcome):
        return person
    target = known.loader.target
    if target.clears:
        return _values(known, row, person, in_flight)
    if row["found"] is None:  # it has left, and what has happened stays
        return Outcome(DONE, person_id=person["id"])
    if target is Target.JOURNEYS:
        return _journey(known, row["found"], person, known.frame.doubts(row["run_id"]))
    return (_activity if target is Target.ACTIVITIES else _completion)(known, row["found"], person)


def _person(known: Knowledge, key: str) -> Row | Outcome:
    found, column = known.people.get(key, ()), known.loader.key
    if not found:
        return Outcome(SKIPPED, "there is no such person") if column is Key.PERSON_ID else Outcome(
            DUE, f"waits: nobody has this {column}"
        )
    if len(found) > 1:
        return Outcome(DUE, f"waits: {len(found)} people have this {column}")
    [person] = found
    status, why = _barred(person, known.loader.target.platform)
    return Outcome(status, why, person["id"]) if why else person


def _barred(person: Row, platform: Platform) -> tuple[str, str]:
    """Why nothing is pushed about somebody, for now or for good; "" where it is."""
    if person["state"] != "active" or person["suppressed"]:
        return SKIPPED, "suppressed or erased"
    if person["conflict_id"] is not None:
        return DUE, f"waits for conflict {person['conflict_id']}"
    if platform is Platform.ONVOARD and person["contact_id"] is None:
        gone = person["former_onvoard_contact_id"] is not None or person["onvoard_contact_id"] is not None
        return (SKIPPED, "deleted on OnVoard") if gone else (DUE, "waits: not on OnVoard")
    if platform is Platform.DIGITAL_ONBOARDING and person["unique_id"] is None:
        return DUE, "waits: not on Digital Onboarding"
    if platform is Platform.DIGITAL_ONBOARDING and person["removed_at"] is not None:
        return SKIPPED, "removed on Digital Onboarding"
    return "", ""


def _unread(person: Row) -> bool:
    """Whether nobody knows what stands beside the keys that are to be set."""
    return person["meta_public"] is None and person["refreshed_at"] is None


def _values(known: Knowledge, row: Row, person: Row, in_flight: bool) -> Push | Outcome:
    """Properties, or meta_public: what differs from what is shown there; all of it where something is on its way."""
    loader, on_onvoard = known.loader, known.loader.target is Target.CONTACT_PROPERTIES
    if not on_onvoard and _unread(person):
        return Outcome(DUE, "waits: what its meta_public holds is not known yet", person["id"])
    wanted = _wanted(loader, row)
    if on_onvoard:
        wanted = {loaders.property_key(name): known.as_property(name, value) for name, value in wanted.items()}
    shows = (person["properties"] if on_onvoard else person["meta_public"]) or {}
    if not in_flight:
        wanted = {key: value for key, value in wanted.items() if not same(shows.get(key), value)}
    if not wanted:
        return Outcome(DONE, person_id=person["id"])
    field = "{}" if on_onvoard else "meta_public.{}"
    details = [{"field": field.format(key), "old": shows.get(key), "new": value} for key, value in wanted.items()]
    who = (person["id"], person["settled_at"])
    if on_onvoard:
        return Push(*who, Operation.SET_PROPERTIES, person["contact_id"], {"properties": wanted}, details)
    payload = {"unique_id": person["unique_id"], "meta_public": wanted}
    return Push(*who, Operation.SET_META, person["unique_id"], payload, details)


def _wanted(loader: Loader, row: Row) -> dict[str, Any]:
    """By column. What the loader itself has set it may take back, and nothing else."""
    found, sent = (loaders.values_of(loader, row[name] or {}) for name in ("found", "sent"))
    mine = {name for name, value in sent.items() if value is not None}
    wanted = {name: value for name, value in found.items() if value is not None or name in mine}
    if loader.missing is loaders.Missing.CLEAR:
        wanted |= dict.fromkeys(mine - found.keys())
    return wanted


def _activity(known: Knowledge, found: Row, person: Row) -> Push | Outcome:
    at = loaders.moment(found["occurred_at"])
    assert at is not None
    if at < known.frame.activities_since:
        return Outcome(SKIPPED, "older than BRIDGE_ACTIVITIES__SINCE", person["id"])
    kind = loaders.activity_type(str(found["type"]))
    once = sync_id(known.loader.cause, str(found["id"]))
    data = {
        name: known.as_data(kind, name, value)
        for name, value in loaders.values_of(known.loader, found).items()
        if value is not None
    }
    payload = {
        "contact_id": person["contact_id"], "type": kind, "timestamp": int(at.timestamp()),
        "record_data": {"sync_id": once, **data},
    }  # fmt: skip
    return Push(
        person["id"], person["settled_at"], Operation.CREATE_ACTIVITY, person["contact_id"], payload,
        [{"field": kind, "old": None, "new": iso(at)}], once, Lane.ACTIVITY, counts=False,
    )  # fmt: skip


def _completion(known: Knowledge, found: Row, person: Row) -> Push | Outcome:
    named, at = str(found["objective"]), loaders.moment(found["completed_at"])
    assert at is not None
    key, refused = targets.meant(targets.objective_key, named, known.objectives)
    if (person["unique_id"], key) in known.completed:
        return Outcome(SKIPPED, "completed already", person["id"])
    known.completed.add((person["unique_id"], key))
    said = {"objective": named, "completed_at": iso(at)} if refused else {key: iso(at)}  # a name may be a field's
    return Push(
        person["id"], person["settled_at"], Operation.COMPLETE_OBJECTIVE, person["unique_id"],
        {"unique_id": person["unique_id"], **said}, [{"field": key, "old": None, "new": iso(at)}],
        sync_id(known.loader.cause, str(person["id"]), key), refused=refused,
    )  # fmt: skip


def _journey(known: Knowledge, found: Row, person: Row, doubted: bool) -> Push | Outcome:
    """Once per person and template; it sends mail."""
    named = str(found["template"])
    if opted_out_anywhere(person):
        return Outcome(SKIPPED, "opted out of e-mail", person["id"])
    template, refused = targets.meant(targets.template_id, named, known.templates)
    if (person["unique_id"], template) in known.started:
        return Outcome(SKIPPED, "that journey was started already", person["id"])
    known.started.add((person["unique_id"], template))
    payload = {"unique_id": person["unique_id"], "template_id": template}
    return Push(
        person["id"], person["settled_at"], Operation.START_JOURNEY, person["unique_id"], payload,
        [{"field": "journey.template_id", "old": None, "new": template}],
        sync_id(known.loader.cause, str(person["id"]), template), refused=refused or (MAYBE if doubted else None),
        doubted=doubted,
    )  # fmt: skip
