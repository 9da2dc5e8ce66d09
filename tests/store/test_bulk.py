"""Many rows at once: what comes back is what went in, by every way into both databases."""

from __future__ import annotations

import asyncio
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from service.store import bulk, mirror
from service.store import tables as t
from service.store.database import Database

LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
TEXT = st.none() | st.text(LETTERS, max_size=8)
KEYS = st.text(LETTERS, min_size=1, max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
OFFSETS = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])
TIMES = st.none() | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=OFFSETS)  # noqa: DTZ001
REVIEWS = st.fixed_dictionaries({
    "id": st.text("abc\"'\\%:?é\n\t", min_size=1, max_size=4),
    "title": TEXT,
    "rating": st.none() | st.floats(-1e9, 1e9),
    "is_verified": st.none() | st.booleans(),
    "num_upvotes": st.none() | st.integers(-(2**31), 2**31 - 1),
    "created_at": TIMES,
    "assets": st.none() | st.lists(JSON, max_size=3),
    "raw": st.dictionaries(KEYS, JSON, max_size=3),
})  # fmt: skip


def stored(conn: Any) -> dict[str, dict[str, Any]]:
    columns = ("id", "title", "rating", "is_verified", "num_upvotes", "created_at", "assets", "raw")
    rows = conn.execute(select(*(t.onvoard_reviews.c[name] for name in columns))).mappings()
    return {row["id"]: dict(row) for row in rows}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(REVIEWS, min_size=1, max_size=6), st.sampled_from([1, 100]))
def test_rows_come_back_as_they_were(
    db: Database, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]], few: int
) -> None:
    monkeypatch.setattr(bulk, "FEW", few)
    wanted = {row["id"]: row for row in rows}
    with db.begin() as conn:
        conn.execute(delete(t.onvoard_reviews))
        mirror.save_records(conn, t.onvoard_reviews, rows)
        assert stored(conn) == wanted
        conn.execute(delete(t.onvoard_reviews))
        conn.execute(t.onvoard_reviews.insert(), list(wanted.values()))  # SQLAlchemy's own way
        assert stored(conn) == wanted


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(REVIEWS, max_size=6), st.lists(REVIEWS, max_size=6))
def test_many_rows_are_upserted_as_one_would_be(
    db: Database, monkeypatch: pytest.MonkeyPatch, before: list[dict[str, Any]], now: list[dict[str, Any]]
) -> None:
    with db.begin() as conn:
        monkeypatch.setattr(bulk, "FEW", 1)
        conn.execute(delete(t.onvoard_reviews))
        mirror.save_records(conn, t.onvoard_reviews, before)
        mirror.save_records(conn, t.onvoard_reviews, now)
        together = stored(conn)
        monkeypatch.setattr(bulk, "FEW", 100)
        conn.execute(delete(t.onvoard_reviews))
        for row in (*{row["id"]: row for row in before}.values(), *{row["id"]: row for row in now}.values()):
            mirror.save_records(conn, t.onvoard_reviews, [row])
        assert stored(conn) == together


async def test_who_writes_what_another_process_is_writing_waits_and_finds_it(postgres_mirror: str) -> None:
    rows = [{"id": f"rv_{number}", "title": "new", "raw": {"title": "new"}} for number in range(200)]
    with closing(Database(postgres_mirror)) as ours, psycopg.connect(postgres_mirror) as other:
        other.execute("INSERT INTO onvoard_reviews (id, title, raw) VALUES ('rv_7', 'old', '{}')")
        saved = ours.submit(lambda conn: mirror.save_records(conn, t.onvoard_reviews, rows), "reviews")
        while other.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() != (1,):
            assert not saved.done()
        other.commit()
        await asyncio.wait_for(asyncio.wrap_future(saved), 30)
        titles = other.execute("SELECT title, count(*) FROM onvoard_reviews GROUP BY title").fetchall()
    assert titles == [("new", 200)]


def test_thousands_of_ids_are_looked_for_at_once(db: Database) -> None:
    ids = [f"rv_{number}'\"\\é" for number in range(40_000)]
    chosen = select(t.onvoard_reviews.c.id).where(bulk.among(t.onvoard_reviews.c.id, "ids"))
    with db.begin() as conn:
        mirror.save_records(conn, t.onvoard_reviews, [{"id": each, "raw": {}} for each in (*ids[:3], "another")])
        assert set(conn.execute(chosen, {"ids": ids}).scalars()) == set(ids[:3])
        assert conn.execute(chosen, {"ids": []}).first() is None


def test_a_contact_that_is_read_again_is_written_only_if_something_is_new(db: Database) -> None:
    at = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)

    def row(name: str, modified: datetime | None) -> dict[str, Any]:
        raw = {"id": "ct_1", "name": name, "modified_datetime": str(modified)}
        return mirror.onvoard_contact_row({"id": "ct_1", "name": name, "modified_at": modified, "raw": raw}, at)

    def save(name: str, modified: datetime | None) -> bool:
        """Whether it was written."""
        with db.begin() as conn:
            conn.execute(t.onvoard_contacts.update().values(dirty=False, seen_at=None))
            mirror.save_onvoard_contacts(conn, [row(name, modified)])
            return conn.execute(select(t.onvoard_contacts.c.seen_at)).scalar_one() is not None

    assert save("a", at)
    assert not save("a", at)
    assert save("b", at)
    assert save("b", at + timedelta(seconds=1))
    assert not save("a", at)  # older news
    assert save("b", None)
    assert not save("b", None)
    with db.begin() as conn:
        mirror.mark_gone(conn, t.onvoard_contacts, "ct_1", at)
    assert save("b", None)
