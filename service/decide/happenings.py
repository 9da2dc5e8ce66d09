"""What happens on Digital Onboarding becomes a custom activity on OnVoard: once, with its own time (law 5).

`sync_id` follows from what happened, so the same happening gets the same one however often it is heard of.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from service.core.records import Platform
from service.decide.frame import Frame
from service.store import announcements, consents, mirror, outbox, restoration
from service.store.announcements import CONTACT_ADDED, JOURNEY_STARTED, OBJECTIVE_COMPLETED, UNSUBSCRIBED
from service.store.database import Connection
from service.store.outbox import Lane, Operation
from service.store.types import iso

__all__ = ["CONTACT_ADDED", "JOURNEY_STARTED", "OBJECTIVE_COMPLETED", "UNSUBSCRIBED", "announce", "unsubscribed"]

_NAMESPACE = uuid.UUID("7c3fb0a4-5d1e-4d4b-9c57-0f3c2b1a6e8d")
BATCH = 500

Row = dict[str, Any]


def sync_id(kind: str, *parts: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join((kind, *parts))))


def announce(conn: Connection, frame: Frame) -> None:
    """All happenings since `activities.since` of people whom OnVoard knows, that were not announced yet."""
    if frame.restored is not None:
        restoration.told_before(conn, frame.restored)
    for source in announcements.SOURCES:
        while rows := source(conn, frame.activities_since, BATCH):
            _stage(conn, frame, rows)
            announcements.done(conn, source, rows)


def unsubscribed(conn: Connection, frame: Frame, person_id: int, onvoard: Row, digital: Row, falls: int) -> None:
    """An e-mail opt-out that began on Digital Onboarding after the two sides had agreed; `falls` counts those before
    it. Of one that began earlier, or is of another channel, `announce` tells."""
    consents.told(conn, digital["unique_id"])
    # A time that a probe of ours has moved is not the opt-out's: then it was when we heard of it.
    theirs = digital["edited_at"] is not None and digital["edited_at"] == digital["updated_at"]
    at = digital["edited_at"] if theirs else digital["refreshed_at"] or frame.now
    if at < frame.activities_since:
        return
    row = {
        "kind": UNSUBSCRIBED, "person_id": person_id, "contact_id": onvoard["id"], "unique_id": digital["unique_id"],
        "key": str(falls), "at": at, "data": {"channel": "email"},
    }  # fmt: skip
    _stage(conn, frame, [row])


def _key(frame: Frame, row: Row) -> str:
    """A restored mirror counts opt-outs anew: those that it hears of later are told from those told before."""
    key: str = row["key"]
    if row["kind"] != UNSUBSCRIBED or frame.restored is None or frame.anew or row["at"] <= frame.restored.at:
        return key
    return f"{key} {iso(frame.restored.at)}"


def _stage(conn: Connection, frame: Frame, rows: Sequence[Row]) -> None:
    """`rows`: kind, person_id, contact_id, unique_id, key (what tells two happenings of one kind apart), at, data."""
    by_id = {sync_id(row["kind"], row["unique_id"], _key(frame, row)): row for row in rows}
    known = mirror.sync_ids_known(conn, by_id)  # an earlier mirror of this account announced it
    staged = outbox.Staged(conn, {row["person_id"] for row in rows})
    for once, row in by_id.items():
        if once in known:
            continue
        at: datetime = row["at"]
        data = {"sync_id": once, "unique_id": row["unique_id"], **row["data"]}
        outbox.stage(
            conn, person_id=row["person_id"], platform=Platform.ONVOARD, operation=Operation.CREATE_ACTIVITY,
            lane=Lane.ACTIVITY, target=row["contact_id"], sync_id=once,
            payload={
                "contact_id": row["contact_id"], "type": row["kind"], "timestamp": int(at.timestamp()),
                "record_data": data,
            },
            details=[{"field": row["kind"], "old": None, "new": iso(at), "why": "happened on digital_onboarding"}],
            run_id=frame.run_id, now=frame.now, among=staged,
        )  # fmt: skip
    staged.write(conn)
