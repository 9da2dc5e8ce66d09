"""What is told about rules: what they led to, and what they would have led to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select

from service.core.records import Source
from service.store import tables as t
from service.store.firings import AT, OF, SAYS, TABLES

Row = dict[str, Any]
_P, _OV, _DO, _F, _S = t.persons, t.onvoard_contacts, t.digital_onboarding_contacts, t.rule_firings, t.rule_states
_STATUSES = ("due", "staged", "done", "dead", "skipped")


def rules(conn: Connection) -> list[Row]:
    """Each rule that ever ran: name, enabled, since, examined_at; how often it fired, by what became of it (`waiting`:
    for its person, or in the outbox); when it last did, and what came of that."""
    counts: dict[str, dict[str, int]] = {}
    query = select(_F.c.rule, _F.c.status, func.count().label("n")).group_by(_F.c.rule, _F.c.status)
    for row in conn.execute(query):
        counts.setdefault(row.rule, {})[row.status] = int(row.n)
    newest = select(func.max(_F.c.id)).group_by(_F.c.rule)
    last = {row["rule"]: row for row in conn.execute(select(_F).where(_F.c.id.in_(newest))).mappings()}
    states = conn.execute(select(_S.c.name, _S.c.enabled, _S.c.since, _S.c.examined_at).order_by(_S.c.name)).mappings()
    return [
        {
            **state,
            "fired": sum(counts.get(state["name"], {}).values()),
            "waiting": sum(counts.get(state["name"], {}).get(status, 0) for status in ("due", "staged")),
            **{status: counts.get(state["name"], {}).get(status, 0) for status in _STATUSES[2:]},
            "last_fired_at": last[state["name"]]["created_at"] if state["name"] in last else None,
            "last_result": _told(last[state["name"]]) if state["name"] in last else None,
        }
        for state in states
    ]


def _told(firing: Any) -> str:
    status = "waiting" if firing["status"] == "due" else firing["status"]
    return f"{status}: {firing['reason']}" if firing["reason"] else str(status)


def of_person(conn: Connection, person_id: int) -> list[Row]:
    """What rules have fired for somebody, newest first."""
    columns = ("rule", "happening", "happened_at", "status", "reason", "run_id", "created_at")
    query = select(*(_F.c[name] for name in columns)).where(_F.c.person_id == person_id)
    return [dict(row) for row in conn.execute(query.order_by(_F.c.id.desc())).mappings()]


def past(conn: Connection, source: Source, since: datetime | None, types: Iterable[str] = ()) -> Iterator[Row]:
    """The records of a kind that the mirror holds, oldest first: id, at, what conditions ask for, and whose they are:
    person_id, email, state, unique_id, and whether they are opted out of e-mail."""
    table, at = TABLES[source], AT[source]
    whose = or_(_P.c.onvoard_contact_id == OF[source], _P.c.former_onvoard_contact_id == OF[source])
    columns = (
        table.c.id, at.label("at"), _P.c.id.label("person_id"), _P.c.state, _P.c.onvoard_contact_id, _P.c.unique_id,
        func.coalesce(_OV.c.email, _DO.c.email).label("email"), _DO.c.unsubscribe_email,
        _OV.c.email_unsubscribed, _OV.c.email_marked_as_spam, _OV.c.email_hard_bounced,
    )  # fmt: skip
    source_ = table.join(_P, whose) if table is not _OV else _OV.join(_P, _P.c.onvoard_contact_id == _OV.c.id)
    if table is not _OV:
        source_ = source_.outerjoin(_OV, _OV.c.id == _P.c.onvoard_contact_id)
    query = select(*columns, *SAYS[source]).select_from(source_.outerjoin(_DO, _DO.c.unique_id == _P.c.unique_id))
    where = [at >= since] if since is not None else []
    where += [table.c.type.in_(sorted(types))] if types else []
    rows = conn.execute(query.where(and_(True, *where)).order_by(at, table.c.id), execution_options={"yield_per": 1000})
    for row in rows.mappings():
        yield dict(row)
