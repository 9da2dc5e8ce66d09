"""Fields of linked people that stay as they are until a person has decided, while all else about them goes on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from service.core import oscillation
from service.core.mapping import Authority
from service.core.oscillation import Carry
from service.core.records import Decision, Pair, Platform, Push, shown
from service.decide.frame import Frame
from service.store import history, ledger
from service.store.database import Connection

Looked = tuple[int, Pair, Decision]
"""A person, both sides, and what is decided about them."""


def held(conn: Connection, frame: Frame, looked: Sequence[Looked]) -> dict[int, set[str]]:
    """By person: the fields to leave alone. Whoever has to be asked is."""
    fields: dict[int, set[str]] = {person_id: set() for person_id, *_ in looked}
    _oscillating(conn, frame, looked, fields)
    if frame.restored is not None:
        _doubted(conn, frame, looked, fields)
    return fields


def _oscillating(conn: Connection, frame: Frame, looked: Sequence[Looked], fields: dict[int, set[str]]) -> None:
    """What both sides keep turning back (`core.oscillation`)."""
    agreed_before = [person_id for person_id, pair, decision in looked if decision.pushes and pair.bases.onvoard.fields]
    if not agreed_before:
        return
    carries_of = history.carried(conn, agreed_before, frame.now - oscillation.MEMORY)
    often = {person_field for person_field, carries in carries_of.items() if len(carries) >= oscillation.LIMIT}
    known = ledger.oscillations(conn, {person_id for person_id, _ in often}) if often else {}
    for person_id, pair, decision in looked:
        for push in decision.pushes:
            key = (person_id, push.field)
            # Where the operator has said since whose word counts, there is nothing to ask.
            if key not in often or frame.mapping.by_name[push.field].authority is not Authority.BOTH:
                continue
            if key in known and known[key] is None:
                fields[person_id].add(push.field)
            elif why := _turns_back(frame, pair, push, carries_of[key], known.get(key)):
                fields[person_id].add(push.field)
                _ask(conn, frame, person_id, pair, ledger.OSCILLATION, push.field, why)


def _turns_back(frame: Frame, pair: Pair, push: Push, carried: Sequence[Carry], since: datetime | None) -> str | None:
    """Why a person is to be asked, where `push` would only turn a value back once more. `since`: when one last was."""
    rule = frame.mapping.by_name[push.field]
    region = next(filter(None, (frame.mapping.region(pair.of(side).fields) for side in Platform)), "")
    coming = Carry(push.platform.other, push.old, push.source, push.said_at, frame.now)
    counted = [carry for carry in carried if since is None or carry.at > since]
    run = oscillation.turns(counted, coming, lambda value: frame.mapping.key(rule, value, region))
    return None if len(run) < oscillation.LIMIT else oscillation.reason(run, coming)


def _doubted(conn: Connection, frame: Frame, looked: Sequence[Looked], fields: dict[int, set[str]]) -> None:
    """On a restored mirror nobody knows which of two new values was carried over and which was edited since."""
    known = ledger.open_fields(conn, [person_id for person_id, *_ in looked], ledger.RESTORED)
    for person_id, pair, decision in looked:
        pushes = {push.field: push for push in decision.pushes}
        asked = {field: conflict_id for (whose, field), conflict_id in known.items() if whose == person_id}
        for conflict_id in (asked[field] for field in asked.keys() - pushes.keys()):
            ledger.thaw(conn, conflict_id, frame.now, by="both sides agree")
        doubted = {name for name, push in pushes.items() if frame.anew and _clashes(frame, pair, push)}
        for field in doubted - asked.keys() - fields[person_id]:
            why = "both sides show another value than the backup of the mirror"
            _ask(conn, frame, person_id, pair, ledger.RESTORED, field, why)
        fields[person_id] |= doubted | (asked.keys() & pushes.keys())


def _clashes(frame: Frame, pair: Pair, push: Push) -> bool:
    """Whether both sides show another value than they agreed on, and neither has the authority."""
    agreed = all(push.field in pair.bases.of(side).fields for side in Platform)
    return push.lost and agreed and frame.mapping.by_name[push.field].authority is Authority.BOTH


def _ask(conn: Connection, frame: Frame, person_id: int, pair: Pair, kind: str, field: str, why: str) -> None:
    values = {side: shown(pair.of(side).fields[field]) for side in Platform}
    ledger.open_conflict(
        conn, person_id, kind, why, frame.now, run_id=frame.run_id, field=field,
        onvoard=values[Platform.ONVOARD], digital_onboarding=values[Platform.DIGITAL_ONBOARDING],
    )  # fmt: skip


def without(decision: Decision, fields: Collection[str]) -> Decision:
    return replace(
        decision,
        pushes=tuple(push for push in decision.pushes if push.field not in fields),
        losses=tuple(loss for loss in decision.losses if loss.field not in fields),
    )
