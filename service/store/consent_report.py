"""What a compliance officer asks about each opt-out: where and when it was seen first, when the other side too."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select

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
_R, _P = t.opt_outs, t.persons


def report(conn: Connection, since: datetime | None = None) -> Iterator[Row]:
    """One row per opt-out, the people in order; `since`: those first seen from then on. `delay_seconds` runs from
    the first sight of it here to the other side's confirmation.

    `state`: confirmed; lifted (its own platform showed an opt-in again); pending, sending, unknown, held or dead, as
    the push to the other side is; alone (there is no other side); stands (the other platform knows no such flag).
    """
    pushed = _pushed(conn)
    # A group is a person's rows of one channel, or a contact's that no person holds.
    for _, group in groupby(_seen(conn), key=lambda row: (row["person_id"], row["alone"], row["channel"])):
        for entry in _episodes(list(group)):
            if since is None or entry["first_seen_at"] >= since:
                yield _finished(entry, pushed.get(entry["person_id"], {}))


def _seen(conn: Connection) -> list[Row]:
    """All opt-outs with the person they are of, in order of people, channels and time."""
    ov, do, tomb = t.onvoard_contacts, t.digital_onboarding_contacts, t.tombstones
    on_onvoard = _R.c.platform == Platform.ONVOARD.value
    holds = or_(
        and_(on_onvoard, or_(_P.c.onvoard_contact_id == _R.c.contact, _P.c.former_onvoard_contact_id == _R.c.contact)),
        and_(~on_onvoard, _P.c.unique_id == _R.c.contact),
    )
    person = select(func.min(_P.c.id)).where(holds).correlate(_R).scalar_subquery()
    rows = select(_R, person.label("person_id")).subquery()
    query = (
        select(
            rows, _P.c.onvoard_contact_id, _P.c.unique_id, _P.c.state.label("person_state"),
            func.coalesce(ov.c.email, do.c.email, rows.c.email_key).label("email"),
            (tomb.c.digital_onboarding_id.is_not(None)).label("was_linked"),
        )
        .select_from(
            rows.outerjoin(_P, _P.c.id == rows.c.person_id)
            .outerjoin(ov, ov.c.id == _P.c.onvoard_contact_id)
            .outerjoin(do, do.c.unique_id == _P.c.unique_id)
            .outerjoin(tomb, tomb.c.person_id == _P.c.id)
        )
    )  # fmt: skip
    found = [dict(row) for row in conn.execute(query).mappings()]
    for row in found:
        row["alone"] = "" if row["person_id"] else row["contact"]
    groups = ("person_id", "alone", "channel", "seen_at", "id")
    return sorted(found, key=lambda row: tuple(row[name] or 0 if name == "person_id" else row[name] for name in groups))


def _episodes(rows: list[Row]) -> Iterator[Row]:
    """A first sight begins one; that the other platform shows it too, then or later, is the confirmation."""
    entry: Row | None = None
    for row in rows:
        if entry is None or (entry["lifted_at"] and entry["lifted_at"] <= row["seen_at"]):
            if entry is not None:
                yield entry
            entry = {
                **{key: row[key] for key in ("person_id", "email", "channel", "source", "lifted_at", "person_state")},
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


def _pushed(conn: Connection) -> dict[int, Row]:
    """The last opt-out that was pushed, or waits to be, by person. The other side of a suppressed person has left the
    mirror: its answer is on record here alone."""
    o = t.outbox.c
    query = select(o.person_id, o.platform, o.status, o.updated_at).where(o.lane == int(Lane.OPT_OUT)).order_by(o.id)
    return {row["person_id"]: dict(row) for row in conn.execute(query).mappings() if row["status"] != "cancelled"}


def _finished(entry: Row, push: Row) -> Row:
    other = Platform(entry["first_seen_on"]).other.value
    if entry["confirmed_at"] is None and entry["person_state"] not in (None, "active") and push.get("status") == "done":
        entry |= {"confirmed_on": push["platform"], "confirmed_at": push["updated_at"]}
    if entry["confirmed_at"] is not None:
        entry["delay_seconds"] = max(0, round((entry["confirmed_at"] - entry["first_seen_at"]).total_seconds()))
    return {name: entry.get(name) for name in COLUMNS} | {"state": _state(entry, push, other)}


def _state(entry: Row, push: Row, other: str) -> str:
    if entry["lifted_at"]:
        return "lifted"
    if entry["confirmed_at"]:
        return "confirmed"
    if push.get("platform") == other and push["status"] != "done" and entry["channel"] != SMS:
        return str(push["status"])
    if entry["channel"] == SMS and entry["first_seen_on"] == Platform.DIGITAL_ONBOARDING.value:
        return "stands"
    return "alone" if entry["alone"] else "pending"
