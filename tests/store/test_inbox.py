"""The inbox's rules on both databases, without any platform."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from service.core.records import Platform
from service.store import inbox
from service.store import tables as t
from service.store.database import Database
from service.store.inbox import UNCHANGED, Incoming

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
DO = Platform.DIGITAL_ONBOARDING


def event(number: int, after: float = 0, subject: str | None = "id-1", **more: Any) -> Incoming:
    at = NOON + timedelta(seconds=after)
    return Incoming(f"do_{number}", DO, "contact.updated", {"contact_id": subject}, at, subject, **more)


def kept(db: Database) -> dict[str, Any]:
    with db.begin(write=False) as conn:
        return {row.id: row for row in conn.execute(select(t.webhook_events))}


def test_the_first_of_two_with_one_id_stands_also_within_a_batch(db: Database) -> None:
    with db.begin() as conn:
        inbox.keep(conn, [event(1, subject="a"), event(1, subject="b"), event(2)])
        inbox.finish(conn, [("do_1", "processed", None, "a")], NOON)
        inbox.keep(conn, [event(1, subject="c")])
    first = kept(db)["do_1"]
    assert len(kept(db)) == 2
    assert (first.subject, first.payload, first.status) == ("a", {"contact_id": "a"}, "processed")


def test_what_is_put_off_comes_back_in_its_time_the_oldest_first(db: Database) -> None:
    with db.begin() as conn:
        assert inbox.next_due(conn) is None
        inbox.keep(conn, [event(1, after=3), event(2, after=1), event(3, after=2, fault="it names no contact")])
        assert [row["id"] for row in inbox.waiting(conn, NOON, 10)] == ["do_2", "do_1"]
        assert inbox.next_due(conn) == NOON + timedelta(seconds=1)
        later = NOON + timedelta(minutes=1)
        inbox.postpone(conn, {"do_2": later, "do_3": later})
        assert [row["id"] for row in inbox.waiting(conn, later - timedelta(seconds=1), 10)] == ["do_1"]
        inbox.finish(conn, [("do_1", "failed", "refused", None)], NOON)
        assert inbox.next_due(conn) == later
        assert [row["id"] for row in inbox.waiting(conn, later, 10)] == ["do_2"]
    assert kept(db)["do_3"].processed_at == NOON + timedelta(seconds=2), "what is done with stays as it is"


def answered(db: Database, *reasons: str | None) -> datetime | None:
    """Until when `id-1` is left alone after these answers, a second apart, the last of them at noon."""
    with db.begin() as conn:
        for number, reason in enumerate(reasons):
            at = NOON - timedelta(seconds=len(reasons) - 1 - number)
            inbox.keep(conn, [event(number), event(number + 100), event(number + 200, subject="id-2")])
            done = [(f"do_{number}", "processed", reason, "id-1"), (f"do_{number + 100}", "processed", reason, "id-1")]
            inbox.finish(conn, done, at)
        return inbox.quiet_until(conn, {"id-1", "id-2"}, timedelta(hours=6), NOON).get("id-1")


@pytest.mark.parametrize(
    ("reasons", "seconds"),
    [
        ([], None),
        ([None], None),
        ([UNCHANGED], 2),
        ([UNCHANGED, UNCHANGED, inbox.STILL_OPTED_OUT], 8),
        ([UNCHANGED, UNCHANGED, inbox.OPTED_OUT], None),
        ([UNCHANGED, None, UNCHANGED], 2),
        ([UNCHANGED] * 40, 6 * 3600),
    ],
)
def test_each_answer_without_news_doubles_the_wait_and_news_end_it(
    db: Database, reasons: list[str | None], seconds: int | None
) -> None:
    until = answered(db, *reasons)
    assert until == (None if seconds is None else NOON + timedelta(seconds=seconds))
