"""What a compliance officer asks about each opt-out: where and when it was seen first, when the other side too."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, case, func, or_, select

from service.core.records import Platform
from service.store import tables as t
from service.store.consents import SMS
from service.store.outbox import Lane

Row = dict[str, Any]
COLUMNS = (
    "person_id", "email", "channel", "first_seen_on", "source", "first_seen_at", "confirmed_on", "confirmed_at",
    "delay_seconds", "lifted_at", "state",
)  # fmt: skip
OPEN = ("pending", "sending", "unknown", "held", "dead")
PART = 1_000
"""Rows that are fetched at once."""
_KEPT = (
    "person_id", "email", "channel", "source", "lifted_at", "person_state", "push_platform", "push_status",
    "push_updated_at",
)  # fmt: skip
_R, _P = t.opt_outs, t.persons


def report(conn: Connection, since: datetime | None = None) -> Iterator[Row]:
    """One row per opt-out, the people in order; `since`: those first seen from then on. `delay_seconds` runs from
    the first sight of it here to the other side's confirmation.

    `state`: confirmed; lifted (its own platform showed an opt-in again); pending, sending, unknown, held or dead, as
    the push to the other side is; alone (there is no other side); stands (the other platform knows no such flag).
    """
    # A group is a person's rows of one channel, or a contact's that no person holds.
    for _, group in groupby(_seen(conn), key=lambda row: (row["person_id"], row["alone"], row["channel"])):
        for entry in _episodes(list(group)):
            if since is None or entry["first_seen_at"] >= since:
                yield _finished(entry)


def _seen(conn: Connection) -> Iterator[Row]:
    """All opt-outs with the person they are of and the last push about them (`push_…`), in order of people, channels
    and time; never all of them in memory."""
    ov, do, tomb, pushed = t.onvoard_contacts, t.digital_onboarding_contacts, t.tombstones, _pushed()
    rows = select(_R, _holder().label("person_id")).subquery()
    alone = case((rows.c.person_id.is_(None), rows.c.contact), else_="").label("alone")
    query = (
        select(
            rows, alone, _P.c.onvoard_contact_id, _P.c.unique_id, _P.c.state.label("person_state"),
            func.coalesce(ov.c.email, do.c.email, rows.c.email_key).label("email"),
            (tomb.c.digital_onboarding_id.is_not(None)).label("was_linked"),
            *pushed.c,
        )
        .select_from(
            rows.outerjoin(_P, _P.c.id == rows.c.person_id)
            .outerjoin(ov, ov.c.id == _P.c.onvoard_contact_id)
            .outerjoin(do, do.c.unique_id == _P.c.unique_id)
            .outerjoin(tomb, tomb.c.person_id == _P.c.id)
            .outerjoin(pushed, pushed.c.push_person_id == rows.c.person_id)
        )
        .order_by(func.coalesce(rows.c.person_id, 0), alone, rows.c.channel, rows.c.seen_at, rows.c.id)
        .execution_options(yield_per=PART)
    )  # fmt: skip
    return map(dict, conn.execute(query).mappings())


def _holder() -> Any:
    """The person of an opt-out's contact. Under one condition for both platforms SQLite would walk through all people
    for each opt-out."""
    theirs = or_(_P.c.onvoard_contact_id == _R.c.contact, _P.c.former_onvoard_contact_id == _R.c.contact)
    of_onvoard, of_digital = (
        select(func.min(_P.c.id)).where(where).correlate(_R).scalar_subquery()
        for where in (theirs, _P.c.unique_id == _R.c.contact)
    )
    return case((_R.c.platform == Platform.ONVOARD.value, of_onvoard), else_=of_digital)


def _episodes(rows: list[Row]) -> Iterator[Row]:
    """A first sight begins one; that the other platform shows it too, then or later, is the confirmation."""
    entry: Row | None = None
    for row in rows:
        if entry is None or (entry["lifted_at"] and entry["lifted_at"] <= row["seen_at"]):
            if entry is not None:
                yield entry
            entry = {
                **{key: row[key] for key in _KEPT},
                "first_seen_on": row["platform"], "first_seen_at": row["seen_at"],
                **_known_already(row, rows),
                "alone": not (row["onvoard_contact_id"] and (row["unique_id"] or row["was_linked"])),
            }  # fmt: skip
        elif row["platform"] != entry["first_seen_on"] and entry["confirmed_at"] is None:
            entry |= {"confirmed_on": row["platform"], "confirmed_at": row["seen_at"]}
    if entry is not None:
        yield entry


def _known_already(row: Row, rows: list[Row]) -> Row:
    """The other platform's opt-out from before, if it still stood."""
    for other in rows:
        stood = other["seen_at"] <= row["seen_at"] and (not other["lifted_at"] or other["lifted_at"] > row["seen_at"])
        if other["platform"] != row["platform"] and stood:
            return {"confirmed_on": other["platform"], "confirmed_at": row["seen_at"]}
    return {"confirmed_on": None, "confirmed_at": None}


def _pushed() -> Any:
    """The last opt-out that was pushed, or waits to be, by person. The other side of a suppressed person has left the
    mirror: its answer is on record here alone."""
    o = t.outbox.c
    last = select(func.max(o.id)).where(o.lane == int(Lane.OPT_OUT), o.status != "cancelled").group_by(o.person_id)
    columns = {name: o[name].label(f"push_{name}") for name in ("person_id", "platform", "status", "updated_at")}
    return select(*columns.values()).where(o.id.in_(last)).subquery()


def _finished(entry: Row) -> Row:
    other, pushed = Platform(entry["first_seen_on"]).other.value, entry["push_status"] == "done"
    if entry["confirmed_at"] is None and entry["person_state"] not in (None, "active") and pushed:
        entry |= {"confirmed_on": entry["push_platform"], "confirmed_at": entry["push_updated_at"]}
    if entry["confirmed_at"] is not None:
        entry["delay_seconds"] = max(0, round((entry["confirmed_at"] - entry["first_seen_at"]).total_seconds()))
    return {name: entry.get(name) for name in COLUMNS} | {"state": _state(entry, other)}


def _state(entry: Row, other: str) -> str:
    if entry["lifted_at"]:
        return "lifted"
    if entry["confirmed_at"]:
        return "confirmed"
    if entry["push_platform"] == other and entry["push_status"] != "done" and entry["channel"] != SMS:
        return str(entry["push_status"])
    if entry["channel"] == SMS and entry["first_seen_on"] == Platform.DIGITAL_ONBOARDING.value:
        return "stands"
    return "alone" if entry["alone"] else "pending"
