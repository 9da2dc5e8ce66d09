"""What an earlier run left half-said."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, exists, not_, or_, select, update

from service.core.records import Platform
from service.store import people
from service.store import tables as t
from service.store.outbox import Lane, Operation, Row

_O = t.outbox
DECIDED_ANEW = "outcome unknown: decided anew"


def _becomes(status: str, *where: Any, **values: Any) -> Any:
    return update(_O).where(*where).values(status=status, updated_at=bindparam("now"), **values)


_IS_LIVING = exists().where(t.persons.c.id == _O.c.person_id, t.persons.c.state == "active")
_IS_CREATION = _O.c.lane == int(Lane.CREATION)
_TRACED = and_(
    _IS_LIVING,
    or_(_O.c.lane == int(Lane.CHANGE), and_(_IS_CREATION, _O.c.platform == Platform.ONVOARD.value)),
)
_AGAIN = or_(_O.c.status == "held", and_(_O.c.status == "unknown", _O.c.lane < int(Lane.ACTIVITY), not_(_TRACED)))
_LEFT_HALF_SAID = (
    update(_O).where(_O.c.status == "sending").values(status="unknown"),  # `updated_at` stays when it was sent
    # Its answer may have been lost as well.
    _becomes("unknown", _TRACED, _O.c.status == "pending", _O.c.attempts > 0),
    # The opt-outs of a suppressed person have nobody left who could decide them anew.
    _becomes("pending", _AGAIN, or_(_IS_CREATION, not_(_IS_LIVING))),
)
_REPEATABLE = (Operation.COMPLETE_OBJECTIVE.value, Operation.SET_META.value, Operation.SET_PROPERTIES.value)
_WHOM_AGAIN = select(_O.c.person_id).where(_AGAIN)
_DECIDE_ANEW = (
    delete(_O).where(_AGAIN, _O.c.attempts == 0),
    _becomes("cancelled", _AGAIN, last_error=DECIDED_ANEW),
    _becomes("pending", _O.c.status == "unknown", _O.c.operation.in_(_REPEATABLE)),
)
_UNKNOWN = (
    select(_O).where(_O.c.status == "unknown", or_(_TRACED, _O.c.lane >= int(Lane.ACTIVITY))).order_by(_O.c.id)
)


def take_up(conn: Connection, now: datetime) -> list[Row]:
    """At the start of a cycle: what a killed process left half-said, and what the brake held, is decided anew.

    -> what has to be looked for before anything else is said: activities and journeys, which may not be sent twice;
    changes and contacts made on OnVoard, because what they have left there is nobody's edit. The others are idempotent:
    a creation on Digital Onboarding is sent again as it was, a completion too (it has its own time), as is what rules
    and loaders set, and an opt-out is decided once more.
    """
    for statement in _LEFT_HALF_SAID:
        conn.execute(statement, {"now": now})
    people.touch(conn, list(conn.execute(_WHOM_AGAIN).scalars()))
    for statement in _DECIDE_ANEW:
        conn.execute(statement, {"now": now})
    return [dict(row) for row in conn.execute(_UNKNOWN).mappings()]
