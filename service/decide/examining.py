"""Rules, the first half: what happened on OnVoard is looked at once, and a rule that it is about fires for the person.

A happening is examined in the transaction that records for whom a rule fired (law 5); `acting` does what was fired for.
What has no time of its own (a tag, a list, a segment, a property) happens when the bridge first sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from service.core.records import Source
from service.core.rules import ActivityOf, Rule, may_fire
from service.core.windows import EPOCH
from service.decide.frame import Frame
from service.store import adoption, firings, watching
from service.store.database import Connection
from service.store.types import iso
from service.store.watching import Watch

Row = dict[str, Any]
Found = tuple[Rule, int, str, datetime]
"""A rule, for whom, because of what, and when that happened."""
BATCH = 500


def meet(conn: Connection, frame: Frame) -> None:
    """New rules begin, those that are gone or switched off end, and whoever saves records knows what is watched. New
    contacts become persons."""
    if frame.rules.enabled:
        adoption.adopt(conn, frame.now)
    known = firings.states(conn)
    since: dict[Source, list[datetime]] = {}
    for rule in frame.rules.enabled:
        since.setdefault(rule.when.source, []).append(_begun(conn, frame, rule, known.pop(rule.name, None)))
    firings.switch_off(conn, [name for name, state in known.items() if state["enabled"]])
    watching.keep(conn, Watch({source: min(times) for source, times in since.items()}))


def _begun(conn: Connection, frame: Frame, rule: Rule, state: Row | None) -> datetime:
    """From when on a rule applies: as its file says, else from its own first run, or from when it was switched on again
    or given another condition."""
    same = state is not None and state["condition"] == rule.condition
    goes_on = state is not None and same and state["enabled"]
    since: datetime = rule.since or (state["since"] if state is not None and goes_on else _now(conn, frame, rule))
    if state is None or not goes_on:
        if rule.lasts:
            firings.forget_members(conn, rule.name)
        firings.begin(conn, rule.name, since, rule.condition, anew=True)
        if rule.since is not None or rule.lasts:
            look_again(conn, rule, since)
    elif since != state["since"]:  # its file says so
        firings.begin(conn, rule.name, since, rule.condition, anew=False)
        look_again(conn, rule, since)
    return since


def _now(conn: Connection, frame: Frame, rule: Rule) -> datetime:
    """Behind the newest record that is known: OnVoard's clock dates them, and ours may differ. What is known is
    history; one that is dated in the future holds nothing up for longer than a day."""
    newest = firings.newest(conn, rule.when.source)
    if newest is None:
        return EPOCH
    return min(newest, frame.started_at + timedelta(days=1)) + (timedelta.resolution if rule.lasts else timedelta())


def look_again(conn: Connection, rule: Rule, since: datetime) -> None:
    """Have everything examined that the rule may be about."""
    types = rule.when.types if isinstance(rule.when, ActivityOf) else ()
    firings.mark(conn, rule.when.source, None if rule.lasts else since, types)


def include_history(conn: Connection, rule: Rule) -> None:
    """What happened before the rule's beginning counts as well, and so do those for whom its condition holds already,
    as far as it has not fired for them."""
    since = rule.since or EPOCH
    firings.begin(conn, rule.name, since, rule.condition, anew=False)
    if rule.lasts:
        firings.forget_members(conn, rule.name)
    look_again(conn, rule, since)


def activities(conn: Connection, frame: Frame, after: str) -> str | None:
    return _happened(conn, frame, Source.ACTIVITIES, after)


def reviews(conn: Connection, frame: Frame, after: str) -> str | None:
    return _happened(conn, frame, Source.REVIEWS, after)


def _happened(conn: Connection, frame: Frame, source: Source, after: str) -> str | None:
    """The next records of a kind. -> where to go on, None at the end"""
    rows = firings.unexamined(conn, source, after, BATCH)
    if not rows:
        return None
    states, found = firings.states(conn), list[Found]()
    for row in rows:
        at, person_id = row["at"] or frame.now, _whose(row)
        if person_id is None or row.get("deleted_at") is not None:
            continue
        for rule in frame.rules.about(source):
            if at >= states[rule.name]["since"] and rule.when.holds(row):
                found.append((rule, person_id, f"{source} {row['id']}", at))
    _fire(conn, frame, found)
    # Whose contact is not known yet is looked at again.
    firings.examined(conn, source, [row["id"] for row in rows if _whose(row) is not None])
    return str(rows[-1]["id"])


def _whose(row: Row) -> int | None:
    whose: int | None = row["former"] if row["person_id"] is None else row["person_id"]
    return whose


def contacts(conn: Connection, frame: Frame, after: str) -> str | None:
    """The next contacts that changed: for whom a lasting condition begins to hold, or no longer does. When a rule is
    new, those for whom it holds already are history, but for contacts that are younger than the rule's beginning."""
    rows = firings.unexamined(conn, Source.CONTACTS, after, BATCH)
    rules = frame.rules.about(Source.CONTACTS)
    if not rows:
        firings.examined_all(conn, [rule.name for rule in rules], frame.now)
        return None
    states = firings.states(conn)
    before = firings.members(conn, [rule.name for rule in rules], [row["id"] for row in rows])
    joined, left, found = list[Row](), list[tuple[str, str]](), list[Found]()
    for row in rows:
        for rule in rules:
            holds, held = row["deleted_at"] is None and rule.when.holds(row), (rule.name, row["id"]) in before
            if held and not holds:
                left.append((rule.name, row["id"]))
            if holds == held or not holds:
                continue
            joined.append({"rule": rule.name, "contact_id": row["id"], "since": frame.now})
            person_id = _whose(row)
            if person_id is not None and _begins(row, states[rule.name]):
                found.append((rule, person_id, f"since {iso(frame.now)}", frame.now))
    firings.leave(conn, left)
    firings.join(conn, joined)
    _fire(conn, frame, found)
    firings.examined(conn, Source.CONTACTS, [row["id"] for row in rows])
    return str(rows[-1]["id"])


def _begins(contact: Row, state: Row) -> bool:
    """Whether a condition that is found to hold began to do so after the rule had begun."""
    created: datetime | None = contact["at"]
    return state["examined_at"] is not None or (created is not None and created >= state["since"])


def _fire(conn: Connection, frame: Frame, found: Sequence[Found]) -> None:
    """The oldest happening first; not where the rule has fired for this person already."""
    if not found:
        return
    before = firings.fired(conn, {rule.name for rule, *_ in found}, {person_id for _, person_id, *_ in found})
    rows = []
    for rule, person_id, happening, at in sorted(found, key=lambda each: each[3]):
        earlier = before.setdefault((rule.name, person_id), {})
        if happening in earlier or not may_fire(rule, at, earlier.values()):
            continue
        earlier[happening] = at
        rows.append({
            "rule": rule.name, "person_id": person_id, "happening": happening, "happened_at": at, "status": "due",
            "run_id": frame.run_id, "created_at": frame.now, "updated_at": frame.now,
        })  # fmt: skip
    firings.fire(conn, rows)
