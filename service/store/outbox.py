"""What is still to be said, in which order, and what came of it.

A row is written in the transaction of the decision that it carries out. Lanes go out one after the other: opt-outs
first (law 4), then creations on Digital Onboarding, then changes, then activities, then journeys and completions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import IntEnum, StrEnum
from functools import cache
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, literal, literal_column, or_, select, update

from service.core.consent import FLAGS
from service.core.records import Platform
from service.store import people
from service.store import tables as t
from service.store.bulk import insert_for
from service.store.mirror import in_parts
from service.store.planner import unindexed

Row = dict[str, Any]
_O = t.outbox
OPEN = ("pending", "held", "sending", "unknown")
"""What is still to leave, or may be under way."""
DISCARDED = "discarded by a person: "
_STATUS = unindexed(_O.c.status)
_OF_THEM = _O.c.person_id.in_(bindparam("people", expanding=True))


class Lane(IntEnum):
    OPT_OUT = 0
    CREATION = 1
    CHANGE = 2
    ACTIVITY = 3
    ACTION = 4


class Operation(StrEnum):
    PATCH_CONTACT = "patch_contact"  # OnVoard
    CREATE_CONTACT = "create_contact"  # on either platform
    UPSERT_CONTACT = "upsert_contact"  # Digital Onboarding
    CREATE_ACTIVITY = "create_activity"  # OnVoard
    START_JOURNEY = "start_journey"  # Digital Onboarding: {"unique_id", "template_id"}, perhaps a "name"
    COMPLETE_OBJECTIVE = "complete_objective"  # Digital Onboarding: {"unique_id", KEY: ISO 8601 time}
    SET_META = "set_meta_public"  # Digital Onboarding: {"unique_id", "meta_public": the keys to be set, null to clear}
    SET_PROPERTIES = "set_properties"  # OnVoard: {"properties": {KEY: value, null to clear}}
    READ_RECORD = "read_record"  # from either: what could not be kept (see `oddities`)


def fingerprint(platform: str, target: str | None, payload: Mapping[str, Any]) -> str:
    said = json.dumps([platform, target, payload], sort_keys=True, default=str)
    return hashlib.blake2b(said.encode(), digest_size=16).hexdigest()


_GIVEN_UP = (
    select(_O.c.person_id, _O.c.fingerprint, _O.c.status)
    .where(_OF_THEM, or_(_O.c.status == "dead", _O.c.last_error.startswith(DISCARDED, autoescape=True)))
)


class Staged:
    """Pushes for these persons that `stage` gathers, and `write` writes down: before anything else asks for them."""

    def __init__(self, conn: Connection, person_ids: Iterable[int]) -> None:
        self._rows: list[Row] = []
        found = [row for part in in_parts(person_ids) for row in conn.execute(_GIVEN_UP, {"people": part})]
        self._given_up = {(row.person_id, row.fingerprint) for row in found}
        # An opt-out is owed to the person, whatever an operator discards.
        self._dead = {(row.person_id, row.fingerprint) for row in found if row.status == "dead"}

    def add(self, row: Row) -> bool:
        """False where it has been given up."""
        given_up = self._dead if row["lane"] == Lane.OPT_OUT else self._given_up
        if (row["person_id"], row["fingerprint"]) in given_up:
            return False
        self._rows.append(row)
        return True

    def write(self, conn: Connection) -> None:
        rows, self._rows = self._rows, []
        if rows:
            conn.execute(_once(conn.dialect.name), rows)


@cache
def _once(dialect: str) -> Any:
    """What is said once and for all (`sync_id`) is not said again."""
    return insert_for(dialect, _O).on_conflict_do_nothing(index_elements=["sync_id"])


def stage(
    conn: Connection,
    *,
    person_id: int,
    platform: Platform,
    operation: Operation,
    lane: Lane,
    target: str | None,
    payload: Mapping[str, Any],
    details: Sequence[Mapping[str, Any]],
    run_id: int,
    now: datetime,
    basis: Mapping[str, Any] | None = None,
    status: str = "pending",
    sync_id: str | None = None,
    cause: str | None = None,
    refused: str | None = None,
    doubted: bool = False,
    among: Staged | None = None,
) -> bool:
    """Write one push down, or put it `among` others. False where it is a dead letter, or was one that is discarded, or
    was said once and for all (`sync_id`) and is to be written down at once. `cause`: the rule or loader that asks;
    `refused`: why it is a dead letter from the beginning; `doubted`: because it may have left already."""
    said_again = FLAGS[platform] if lane is not Lane.OPT_OUT else ()  # a flag beside a change makes it no other change
    row = {
        "person_id": person_id, "platform": platform.value, "operation": operation.value, "payload": dict(payload),
        "status": "dead" if refused else status, "last_error": refused, "attempts": int(doubted),
        "created_at": now, "updated_at": now, "run_id": run_id, "lane": int(lane), "target": target,
        "details": list(details), "basis": dict(basis or {}), "sync_id": sync_id, "cause": cause,
        "fingerprint": fingerprint(platform, target, {key: payload[key] for key in payload if key not in said_again}),
    }  # fmt: skip
    if among is not None:
        return among.add(row)
    alone = Staged(conn, [person_id])
    if not alone.add(row):
        return False
    if sync_id is not None:
        return put_once(conn, row)
    alone.write(conn)
    return True


def put_once(conn: Connection, row: Row) -> bool:
    """A row with a `sync_id`. -> False where there is one with that already"""
    once = _once(conn.dialect.name).returning(_O.c.id)
    return conn.execute(once, row).first() is not None


_UNSENT = and_(_OF_THEM, _STATUS.in_(["pending", "held"]), _O.c.lane < int(Lane.ACTIVITY))
_SUPERSEDE = (
    delete(_O).where(_UNSENT, _O.c.attempts == 0),
    update(_O)
    .where(_UNSENT, _O.c.lane != int(Lane.CREATION))
    .values(status="cancelled", last_error="superseded by a newer decision"),
)


def supersede(conn: Connection, person_ids: Iterable[int]) -> None:
    """What was decided for these people and did not leave yet is decided anew. A creation that may have taken effect
    stays: its unique_id was made for it."""
    whose = {"people": list(person_ids)}
    for statement in _SUPERSEDE:
        conn.execute(statement, whose)


_CREATION = (
    select(_O.c.person_id)
    .where(_OF_THEM, _O.c.lane == int(Lane.CREATION))
    .where(_STATUS.in_(["pending", "unknown"]))
)


def creations_open(conn: Connection, person_ids: Iterable[int]) -> set[int]:
    """Those of these persons for whom a contact is about to be made."""
    return set(conn.execute(_CREATION, {"people": list(person_ids)}).scalars())


def creations_sent(conn: Connection) -> tuple[set[int], set[str]]:
    """Creations on Digital Onboarding that may have taken effect, and are to be sent again. -> (for whom, under which
    unique_ids)"""
    theirs = (_O.c.lane == int(Lane.CREATION), _O.c.platform == Platform.DIGITAL_ONBOARDING.value)
    query = select(_O.c.person_id, _O.c.target).where(*theirs, _O.c.attempts > 0)
    rows = conn.execute(query.where(_O.c.status.in_(["pending", "unknown"]))).all()
    return {row.person_id for row in rows}, {row.target for row in rows}


_OPT_OUT = (
    select(_O.c.id)
    .where(_O.c.platform == bindparam("towards"), _O.c.target == bindparam("contact"))
    .where(_O.c.lane == literal_column("0"), _STATUS.in_(["pending", "held", "dead"]))  # as its index says it
)


def opt_out_open(conn: Connection, platform: Platform, target: str) -> bool:
    """An opt-out of this contact is on its way already, or was refused."""
    return conn.execute(_OPT_OUT, {"towards": platform.value, "contact": target}).first() is not None


_WAITING = (
    select(_O)
    .where(_O.c.status == "pending", _O.c.lane == bindparam("in_lane"), _O.c.platform == bindparam("towards"))
    .where(_O.c.id > bindparam("after"))
    .order_by(_O.c.id)
    .limit(bindparam("most"))
)


def waiting(conn: Connection, lane: Lane, platform: Platform, limit: int, *, after: int = 0) -> list[Row]:
    """The next rows of a lane, oldest first."""
    values = {"in_lane": int(lane), "towards": platform.value, "after": after, "most": limit}
    return [dict(row) for row in conn.execute(_WAITING, values).mappings()]


def anything_waits(conn: Connection, *, activities: bool) -> bool:
    """`activities`: whether these may leave."""
    return conn.execute(_ANY if activities else _ANY.where(_O.c.lane != int(Lane.ACTIVITY))).first() is not None


_ANY = select(_O.c.id).where(_O.c.status == "pending").limit(1)
_META = (
    select(_O.c.target)
    .distinct()
    .where(_O.c.status == "pending", _O.c.lane == int(Lane.ACTION))
    .where(_O.c.platform == Platform.DIGITAL_ONBOARDING.value, _O.c.operation == Operation.SET_META.value)
    .order_by(_O.c.target)
)


def meta_awaited(conn: Connection) -> list[str]:
    """The unique_ids whose meta_public is about to be written."""
    return list(conn.execute(_META).scalars())


_THESE = _O.c.id.in_(bindparam("ids", expanding=True))
_SENDING = (
    update(_O).where(_THESE).values(status="sending", attempts=_O.c.attempts + 1, updated_at=bindparam("now"))
)


def mark_sending(conn: Connection, ids: Sequence[int], now: datetime) -> None:
    """The intent, on record before the request leaves (law 5)."""
    conn.execute(_SENDING, {"ids": ids, "now": now})


def put_back(conn: Connection, ids: Sequence[int], now: datetime) -> None:
    """These were not sent after all; what was cancelled meanwhile stays so."""
    values = {"status": "pending", "attempts": _O.c.attempts - 1, "updated_at": now}
    conn.execute(update(_O).where(_O.c.id.in_(ids), _O.c.status == "sending").values(values))


_ALIVE = select(_O.c.id).where(_THESE, _O.c.status != "cancelled")
_MARK = (
    update(_O)
    .where(_THESE)
    .values(status=bindparam("to"), last_error=bindparam("reason"), updated_at=bindparam("now"))
)


def mark(conn: Connection, ids: Iterable[int], status: str, now: datetime, error: str | None = None) -> None:
    """With the reason, which stays on record whatever comes of it later. What was cancelled while it was on its way
    (its person was erased, say) does not come back."""
    rows = list(ids)
    if status != "done":
        rows = list(conn.execute(_ALIVE, {"ids": rows}).scalars())
    conn.execute(_MARK, {"ids": rows, "to": status, "reason": error, "now": now})
    if error is not None and rows:
        reason = {"at": now, "status": status, "reason": error}
        conn.execute(t.outbox_attempts.insert(), [{"push_id": row_id, **reason} for row_id in rows])


_OF_THE_ERASED = (
    select(_O.c.id).join(t.persons, t.persons.c.id == _O.c.person_id).where(_THESE, t.persons.c.state != "active")
)


def of_the_erased(conn: Connection, ids: Sequence[int]) -> set[int]:
    """Those of these rows whose person is suppressed or erased."""
    return set(conn.execute(_OF_THE_ERASED, {"ids": ids}).scalars())


_DECIDED = (
    select(*(_O.c[name] for name in ("id", "person_id", "platform", "operation", "status", "cause", "details")))
    .where(_O.c.run_id == bindparam("run"), _O.c.id > bindparam("after"))
    .order_by(_O.c.id)
    .limit(bindparam("most"))
)


def decided(conn: Connection, run_id: int, after: int, limit: int) -> list[Row]:
    """The pushes that a run has decided on, behind this one."""
    return [dict(row) for row in conn.execute(_DECIDED, {"run": run_id, "after": after, "most": limit}).mappings()]


_PLACE = (_O.c.person_id, _O.c.platform, _O.c.lane, _O.c.target)
_REFUSED = select(_O.c.id, *_PLACE).where(_OF_THEM, _STATUS == "dead")
_BURY = update(_O).where(_THESE).values(status="cancelled", updated_at=bindparam("now"))


def bury(conn: Connection, done: Iterable[Row], now: datetime) -> None:
    """What was refused earlier in the same place has been overtaken by what got through."""
    through = {tuple(row[column.name] for column in _PLACE): row["id"] for row in done}
    refused = conn.execute(_REFUSED, {"people": [person_id for person_id, *_ in through]}).all()
    if overtaken := [row_id for row_id, *place in refused if row_id < through.get(tuple(place), 0)]:
        conn.execute(_BURY, {"ids": overtaken, "now": now})


_HELD = select(_O.c.id).where(_O.c.run_id == bindparam("run"), _O.c.status == "held").limit(1)


def holds_back(conn: Connection, run_id: int) -> bool:
    """Whether anything that a run has decided waits for the brake's ruling."""
    return conn.execute(_HELD, {"run": run_id}).first() is not None


def changed_people(conn: Connection, run_id: int, platform: Platform) -> tuple[int, int]:
    """-> (people whose records the run would change on a platform, those of them who would be opted out)"""
    mine = and_(_O.c.run_id == run_id, _O.c.platform == platform.value, _O.c.status == "held")
    people_ = func.count(_O.c.person_id.distinct())
    changed = conn.execute(select(people_).where(mine)).scalar_one()
    opted_out = conn.execute(select(people_).where(mine, _O.c.lane == int(Lane.OPT_OUT))).scalar_one()
    return int(changed), int(opted_out)


def release(conn: Connection, run_id: int, platform: Platform, *, lane: Lane | None = None) -> None:
    where = [_O.c.run_id == run_id, _O.c.platform == platform.value, _O.c.status == "held"]
    if lane is not None:
        where.append(_O.c.lane == int(lane))
    conn.execute(update(_O).where(*where).values(status="pending"))


def to_be_said(conn: Connection) -> list[Row]:
    """All that waits or is held, with the person's e-mail and contacts, in the order in which it would leave."""
    p, ov, do = t.persons, t.onvoard_contacts, t.digital_onboarding_contacts
    source = (
        _O.outerjoin(p, p.c.id == _O.c.person_id)
        .outerjoin(ov, ov.c.id == p.c.onvoard_contact_id)
        .outerjoin(do, do.c.unique_id == p.c.unique_id)
    )
    query = (
        select(
            _O,
            func.coalesce(ov.c.email, do.c.email).label("email"),
            p.c.onvoard_contact_id,
            p.c.unique_id,
            ov.c.raw.label("onvoard_raw"),
        )
        .select_from(source)
        .where(_O.c.status.in_(["pending", "held"]))
        .order_by(_O.c.lane, _O.c.id)
    )
    return [dict(row) for row in conn.execute(query).mappings()]


def done_in(conn: Connection, run_id: int) -> list[Row]:
    query = select(_O).where(_O.c.run_id == run_id, _O.c.status == "done").order_by(_O.c.id)
    return [dict(row) for row in conn.execute(query).mappings()]


def take_back(conn: Connection, ids: Sequence[int]) -> None:
    """These are not to leave now: their people are decided anew another time."""
    for part in in_parts(ids):
        theirs = _O.c.id.in_(part)
        people.touch(conn, set(conn.execute(select(_O.c.person_id).where(theirs)).scalars()) - {None})
        conn.execute(delete(_O).where(theirs, _O.c.attempts == 0, _O.c.sync_id.is_(None)))


def by_ids(conn: Connection, ids: Iterable[int]) -> list[Row]:
    return [dict(row) for row in conn.execute(select(_O).where(_O.c.id.in_(list(ids))).order_by(_O.c.id)).mappings()]


def retry(conn: Connection, ids: Sequence[int], now: datetime) -> None:
    """These dead letters may leave once more; what their people's records say by then is decided anew. What a rule or a
    loader asked for in vain, and never left, is asked for anew."""
    loaded = select(_O.c.sync_id).where(_O.c.id.in_(ids), _O.c.cause.startswith("loader "))
    conn.execute(update(t.loader_rows).where(t.loader_rows.c.sync_id.in_(loaded)).values(status="staged", reason=None))
    conn.execute(delete(_O).where(_O.c.id.in_(ids), _O.c.cause.is_not(None), _O.c.attempts == 0))
    mark(conn, ids, "pending", now)
    people.touch(conn, set(conn.execute(select(_O.c.person_id).where(_O.c.id.in_(ids))).scalars()) - {None})


def discard(conn: Connection, ids: Sequence[int], now: datetime) -> None:
    """These dead letters are given up: what they said is not said again."""
    why = literal(DISCARDED) + func.coalesce(_O.c.last_error, "")
    conn.execute(update(_O).where(_O.c.id.in_(ids)).values(status="cancelled", last_error=why, updated_at=now))


_NEW_DEAD = select(func.count()).select_from(_O).where(_O.c.status == "dead", _O.c.updated_at >= bindparam("since"))


def new_dead(conn: Connection, since: datetime) -> int:
    return int(conn.execute(_NEW_DEAD, {"since": since}).scalar_one())


_HOW = (_O.c.platform, _O.c.operation, _O.c.status)
_COUNTS = select(*_HOW, func.count()).where(_O.c.run_id == bindparam("run")).group_by(*_HOW)


def counts(conn: Connection, run_id: int) -> dict[str, int]:
    """How many pushes of a run ended how, by `platform.operation.status`."""
    rows = conn.execute(_COUNTS, {"run": run_id})
    return {f"{platform}.{operation}.{status}": n for platform, operation, status, n in rows}
