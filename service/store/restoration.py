"""A mirror that was restored from a backup: how it knows, and what it doubts.

Each push takes a turn, counted here and outside of the mirror. A mirror that is behind the count outside was restored;
so was one to which OnVoard shows an activity of the bridge's own that it never sent. Whatever it has on record as not
sent may have been sent since; whatever it is about to ask for may have been asked for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, or_, select, update

from service.core.identity import MatchedBy
from service.core.records import Platform
from service.store import consents, cursors, erasure, goals, outbox, people
from service.store import tables as t
from service.store.outbox import Operation

Row = dict[str, Any]
MAYBE = "may have been made before the mirror was restored: look for it on Digital Onboarding"
FOUND = "it had been made before the mirror was restored"
_TURN, _RESTORED = "turn", "restored"
_O, _P, _R = t.outbox, t.persons, t.opt_outs
_OV, _DO = t.onvoard_contacts, t.digital_onboarding_contacts


@dataclass(frozen=True, slots=True)
class Restoration:
    """Noticed `at`; the mirror that was lost may have been at work `until` then. `run`: which has read everything anew
    and decided about it; None as long as none has."""

    at: datetime
    until: datetime
    why: str
    run: int | None = None

    @property
    def unread(self) -> bool:
        return self.run is None

    def doubts(self, run_id: int | None, happened_at: datetime | None = None) -> bool:
        """Whether what came up in a run, because of what happened then (None: nobody knows), may have been asked for
        before."""
        came_up = self.run is None or run_id is None or run_id <= self.run
        return came_up and (happened_at is None or happened_at <= self.until)


def read(conn: Connection) -> Restoration | None:
    """The last one, if there was any."""
    kept = cursors.fact(conn, _RESTORED)
    if kept is None:
        return None
    said = json.loads(kept)
    at, until = (datetime.fromisoformat(said[name]) for name in ("at", "until"))
    return Restoration(at, until, said["why"], said["run"])


def is_unread(conn: Connection) -> bool:
    restored = read(conn)
    return restored is not None and restored.unread


def _keep(conn: Connection, restored: Restoration) -> None:
    said = asdict(restored) | {"at": restored.at.isoformat(), "until": restored.until.isoformat()}
    cursors.set_fact(conn, _RESTORED, json.dumps(said))


def turn(conn: Connection) -> int:
    return int(cursors.fact(conn, _TURN) or 0)


def next_turn(conn: Connection) -> int:
    number = turn(conn) + 1
    cursors.set_fact(conn, _TURN, str(number))
    return number


_VALUES = (Operation.SET_META.value, Operation.SET_PROPERTIES.value)
_IN_DOUBT = (
    # What stands there by now may be newer: decided anew.
    update(_O)
    .where(_O.c.status.in_(["pending", "sending", "unknown"]), _O.c.operation.in_(_VALUES))
    .values(status="cancelled", attempts=0, last_error=FOUND.replace("had been", "may have been")),
    update(_O)
    .where(_O.c.status.in_(["pending", "sending"]))
    .values(status="unknown", attempts=case((_O.c.attempts == 0, 1), else_=_O.c.attempts)),
)


def begin(conn: Connection, why: str, now: datetime, until: datetime | None = None, turn: int | None = None) -> None:
    """From here on nothing is decided before everything was read anew. `until`: None where nobody knows; `turn`: from
    where on turns are counted."""
    if turn is not None:
        cursors.set_fact(conn, _TURN, str(turn))
    if is_unread(conn):
        return
    for statement in _IN_DOUBT:
        conn.execute(statement)
    _keep(conn, Restoration(now, until or now, why))


def made_good(conn: Connection, run_id: int) -> None:
    """Everything was read anew, and decided about, in this run."""
    restored = read(conn)
    if restored is not None and restored.unread:
        _keep(conn, Restoration(restored.at, restored.until, restored.why, run_id))


# --- What the platforms show, when everything was read anew.

_OPEN = select(_O).where(
    _O.c.status == "unknown", _O.c.operation.in_([Operation.START_JOURNEY.value, Operation.COMPLETE_OBJECTIVE.value])
)


def settle(conn: Connection, now: datetime) -> None:
    """What the backup has on record as not sent, and can be sent only once: done where the platforms show it. A journey
    that nothing shows is a dead letter."""
    rows = [dict(row) for row in conn.execute(_OPEN).mappings()]
    found, lost = list[int](), list[int]()
    for row in rows:
        if row["operation"] == Operation.COMPLETE_OBJECTIVE:
            keys = row["payload"].keys() - {"unique_id"}
            found += [row["id"]] * (keys <= {key for _, key in goals.completed(conn, [row["target"]])})
        else:
            began = goals.began_since(conn, row["target"], row["payload"]["template_id"], row["created_at"])
            (found if began else lost).append(row["id"])
    outbox.mark(conn, found, "done", now, FOUND)
    outbox.mark(conn, lost, "dead", now, MAYBE)


_MADE = (
    update(_DO)
    .where(~_DO.c.announced, _DO.c.inserted_at <= bindparam("until", type_=_DO.c.inserted_at.type))
    .where(_DO.c.unique_id.in_(
        select(_P.c.unique_id).where(
            _P.c.matched_by == MatchedBy.PROPERTY.value, _P.c.linked_at >= bindparam("since", type_=_P.c.linked_at.type)
        )
    ))
    .values(announced=True)
)  # fmt: skip


_CARRIED = (
    update(_R)
    .where(_R.c.platform == Platform.DIGITAL_ONBOARDING.value, _R.c.channel == consents.EMAIL)
    .where(_R.c.tell_at <= bindparam("until", type_=_R.c.tell_at.type))
    .where(_R.c.contact.in_(
        select(_P.c.unique_id).join(_OV, _OV.c.id == _P.c.onvoard_contact_id).where(_OV.c.email_unsubscribed.is_(True))
    ))
    .values(tell_at=None)
)  # fmt: skip


def told_before(conn: Connection, restored: Restoration) -> None:
    """Whom OnVoard's link property alone tells of, the lost mirror had linked: it made them over there, or has told of
    them. An opt-out that both sides show it had carried over, and told of where it had begun over there."""
    conn.execute(_MADE, {"until": restored.until, "since": restored.at})
    conn.execute(_CARRIED, {"until": restored.until})


# --- Who was erased since the backup was made.

_STONE = ("onvoard_contact_id", "digital_onboarding_id", "unique_id", "email_hash", "unique_id_hash")
_S = t.tombstones.c
_STONES = (
    select(*(_S[name] for name in (*_STONE, "erased_at")))
    .join(_P, _P.c.id == _S.person_id)
    .where(_P.c.state == erasure.ERASED)
    .order_by(_S.person_id)
)


def stones(conn: Connection) -> list[Row]:
    """What the mirror keeps of the erased: ids and keyed hashes."""
    return [dict(row) for row in conn.execute(_STONES).mappings()]


def bury_again(conn: Connection, kept: Sequence[Row], now: datetime) -> int:
    """Those of whom the backup still knows, or does not know yet, leave the mirror for good. -> how many"""
    people.take_turn(conn)
    here = {tuple(stone[name] for name in _STONE) for stone in stones(conn)}
    missing = [stone for stone in kept if tuple(stone[name] for name in _STONE) not in here]
    hashed = _hashed(conn) if any(stone["digital_onboarding_id"] is None for stone in missing) else {}
    for stone in missing:
        # One after the other: whoever is buried takes others along.
        while (person := _of(conn, stone, hashed.get(stone["unique_id_hash"]))) is not None:
            erasure.bury(conn, erasure.whom(conn, person, {}), erasure.ERASED, now)
        same = (_S.email_hash == stone["email_hash"], _S.unique_id_hash == stone["unique_id_hash"])
        if conn.execute(_STONES.where(*same)).first() is None:
            holder = people.new_person(conn, now, state=erasure.ERASED)
            conn.execute(t.tombstones.insert().values(person_id=holder, **stone))
    return len(missing)


def _hashed(conn: Connection) -> dict[str | None, str]:
    hasher = erasure.Hasher(conn)
    return {hasher(unique_id): unique_id for unique_id in conn.execute(select(_DO.c.unique_id)).scalars()}


def _of(conn: Connection, stone: Row, unique_id: str | None) -> Any:
    """Somebody whom a stone names by an id, and who is not erased. By an address alone nobody: it may have been
    somebody else's then."""
    theirs = select(_DO.c.unique_id).where(or_(
        _DO.c.id == stone["digital_onboarding_id"],
        and_(_DO.c.id.is_(None), _DO.c.unique_id == unique_id),
    ))  # fmt: skip
    same = or_(
        _P.c.onvoard_contact_id == stone["onvoard_contact_id"],
        _P.c.former_onvoard_contact_id == stone["onvoard_contact_id"],
        _P.c.unique_id.in_(theirs),
    )
    return conn.execute(select(_P).where(same, _P.c.state != erasure.ERASED)).first()
