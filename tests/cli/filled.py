"""A small mirror in which something of everything is the case."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert

from service.core.mapping import normal_email
from service.store import tables as t

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EVIL = "\x1b]0;owned\x07"
SECRET_OF_THE_SUPPRESSED = "Susan Suppressed"


def fill(conn: Connection) -> None:
    _contacts(conn)
    _persons(conn)
    _ann(conn)
    _conflict_about_bob(conn)
    _operations(conn)


def _onvoard(conn: Connection, key: str, email: str, name: str = "", **more: Any) -> None:
    first, _, last = name.partition(" ")
    properties = {"first_name": first, "last_name": last, "city": more.pop("city", None)}
    raw = {"id": key, "email": email, "name": name, "phone": "", "properties": properties, **more}
    columns = {"id": key, "email": email, "name": name, "properties": properties, "email_key": normal_email(email)}
    conn.execute(insert(t.onvoard_contacts).values(raw=raw, edited_at=NOW, **columns, **more))


def _digital(conn: Connection, key: str, unique_id: str, email: str, *, dirty: bool = False, **more: Any) -> None:
    raw = {"id": key, "unique_id": unique_id, "email": email, **more}
    own = {"email_key": normal_email(email), "unique_id_key": normal_email(unique_id), "edited_at": NOW, "dirty": dirty}
    conn.execute(insert(t.digital_onboarding_contacts).values(raw=raw, origin="import", **raw, **own))


def _contacts(conn: Connection) -> None:
    _onvoard(conn, "ov-1", "Ann@Example.com", "Ann Lee", phone="+15550100", city="Paris", email_unsubscribed=True)
    _digital(
        conn, "do-1", "a-1", "ann@example.com", name_first="Anna", name_last="Lee" + EVIL, phone_mobile="+15550100",
        city="Paris", state="CA", unsubscribe_email=False,
    )  # fmt: skip
    conn.execute(insert(t.onvoard_contacts).values(id="ov-2", suppressed=True, raw={"id": "ov-2", "suppressed": True}))
    _onvoard(conn, "ov-3", "bob@example.com", "Bob One")
    _onvoard(conn, "ov-4", "BOB@example.com", "Bob Two")
    _digital(conn, "do-3", "b-3", "bob@example.com", name_first="Bob", name_last="Three")
    _digital(conn, "do-9", "new@example.com", "new@example.com", dirty=True, name_first="New", name_last="Comer")


def _persons(conn: Connection) -> None:
    people: list[dict[str, Any]] = [
        {"id": 1, "onvoard_contact_id": "ov-1", "unique_id": "a-1", "matched_by": "email", "linked_at": NOW},
        {"id": 2, "onvoard_contact_id": "ov-2", "state": "suppressed"},
        {"id": 3, "onvoard_contact_id": "ov-3", "conflict_id": 1},
        {"id": 4, "onvoard_contact_id": "ov-4", "conflict_id": 1},
        {"id": 5, "unique_id": "b-3", "conflict_id": 1},
    ]
    for person in people:
        conn.execute(insert(t.persons).values(created_at=NOW, **person))
    conn.execute(
        insert(t.tombstones).values(
            person_id=2, onvoard_contact_id="ov-2", digital_onboarding_id="do-2", unique_id="s-2", email_hash="00",
            erased_at=NOW,
        )
    )  # fmt: skip


def _change(conn: Connection, person_id: int, platform: str, field: str, new: str | None, *, age: int = 1) -> None:
    conn.execute(
        insert(t.changes).values(
            run_id=1, person_id=person_id, platform=platform, field=field, old_value=None, new_value=new,
            rule="newer record", at=NOW - timedelta(hours=age),
        )
    )  # fmt: skip


def _ann(conn: Connection) -> None:
    """Phone carried over and standing, name carried over and then edited, city equal from the beginning."""
    onvoard = {"email": "Ann@Example.com", "name": ["Ann", "Lee"], "phone": "+15550100", "city": "Paris", "state": ""}
    conn.execute(
        insert(t.bases).values(
            person_id=1, agreed_at=NOW, onvoard={"fields": onvoard, "opted_out": False},
            digital_onboarding={"fields": onvoard | {"email": "ann@example.com", "state": "CA"}, "opted_out": False},
        )
    )  # fmt: skip
    _change(conn, 1, "digital_onboarding", "phone_mobile", "+15550100")
    _change(conn, 1, "digital_onboarding", "name_last", "Lee", age=2)
    _change(conn, 2, "digital_onboarding", "name_last", SECRET_OF_THE_SUPPRESSED)


def _conflict_about_bob(conn: Connection) -> None:
    conn.execute(
        insert(t.conflicts).values(
            person_id=3, kind="identity", status="open", reason=f"several contacts{EVIL}", created_at=NOW
        )
    )
    conn.execute(
        insert(t.conflicts).values(
            person_id=1, kind="both_changed", field="city", status="resolved", reason="tie", onvoard_value="Rome",
            digital_onboarding_value="Paris", kept="digital_onboarding", created_at=NOW, resolved_at=NOW,
            resolved_by="rule",
        )
    )  # fmt: skip


def _push(conn: Connection, person_id: int, platform: str, status: str, **more: Any) -> None:
    row = {"operation": "upsert_contact", "payload": {"unique_id": "a-1", "flag": True}, "lane": 2, "attempts": 1}
    row |= more
    conn.execute(
        insert(t.outbox).values(person_id=person_id, platform=platform, status=status, created_at=NOW, **row)
    )


def _operations(conn: Connection) -> None:
    _push(conn, 1, "digital_onboarding", "pending")
    _push(conn, 1, "onvoard", "dead", last_error=f"refused {EVIL}")
    _push(conn, 1, "onvoard", "done")
    _push(conn, 2, "digital_onboarding", "pending", payload={"unique_id": SECRET_OF_THE_SUPPRESSED})
    runs = (("import", "failed", 5), ("sync", "ok", 3), ("sync", "failed", 2), ("backfill", "ok", 4))
    for kind, outcome, started in runs:
        times = {"started_at": NOW - timedelta(hours=started), "finished_at": NOW - timedelta(hours=started - 1)}
        conn.execute(insert(t.runs).values(kind=kind, outcome=outcome, counts={"pushed": 1}, **times))
    conn.execute(insert(t.cursors).values(stream="contacts", value="2026-03-01T11:00:00.000000Z", updated_at=NOW))
    conn.execute(insert(t.cursors).values(stream="page", value="17", updated_at=NOW - timedelta(seconds=30)))
    conn.execute(
        insert(t.holds).values(platform="onvoard", since=NOW, changed=60, linked=100, reason="60 of 100", run_id=2)
    )
    for name, hours in (("contacts", 1), ("reviews", -1)):
        conn.execute(insert(t.leases).values(name=name, owner="here", expires_at=NOW + timedelta(hours=hours)))
