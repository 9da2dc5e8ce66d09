"""Who has to be read again, because something happened to them after they were read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.store import absorb, mirror
from service.store import tables as t
from service.store.database import Database

START = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
WHO = st.sampled_from(["ct_1", "ct_2", "ct_3"])
WHEN = st.integers(-200, 200).map(lambda minutes: START + timedelta(minutes=minutes))
CONTACT = st.tuples(st.just("contact"), WHO, WHEN)
ACTIVITY = st.tuples(st.just("activity"), WHO, st.none() | WHEN)
OURS = st.tuples(st.just("ours"), WHO, WHEN)


def save(conn: Any, number: int, kind: str, who: str, at: datetime | None) -> None:
    if kind == "contact":
        assert at is not None
        raw = {"id": who, "number": number}
        mirror.save_onvoard_contacts(conn, [mirror.onvoard_contact_row({"id": who, "raw": raw}, at)])
    else:
        row: dict[str, Any] = {"id": f"ac_{number}", "contact_id": who, "contact_email": None, "occurred_at": at}
        row |= {"type": "clicked", "sync_id": "ours" if kind == "ours" else None, "record_data": None, "raw": {}}
        absorb.activities(conn, [row], START)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(CONTACT | ACTIVITY | OURS, max_size=8))
def test_after_a_backfill_it_does_not_matter_what_came_first(
    db: Database, records: list[tuple[str, str, datetime | None]]
) -> None:
    read, happened = dict[str, datetime](), list[tuple[str, datetime | None]]()
    with db.begin() as conn:
        for table in (t.onvoard_contacts, t.onvoard_activities):
            conn.execute(table.delete())
        for number, (kind, who, at) in enumerate(records):
            save(conn, number, kind, who, at)
            if kind == "contact":
                assert at is not None
                read[who] = at
            elif kind == "activity":
                happened.append((who, at))
        since, after = absorb.least_seen(conn), ""
        while active := absorb.active_since(conn, since, after):
            absorb.want_reread(conn, active)
            *_, after = active
        wanted = {who for who, at in happened if who in read and (at is None or read[who] <= at + absorb.HINT_HOLDS)}
        assert set(absorb.wanted(conn, 100)) == wanted
