"""The analysts' views: the contract's columns, and the same results on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from service.store import migrate, readonly, tables
from service.store.database import Database

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
# fmt: off
PEOPLE = [
    "person_id", "email", "unique_id", "onvoard_contact_id", "digital_onboarding_contact_id", "name_first", "name_last",
    "phone", "matched_by", "linked_at", "status", "email_opted_out", "sms_opted_out", "review_count", "avg_rating",
    "last_activity_at",
]
# fmt: on


@pytest.fixture
def db(mirror_url: str) -> Iterator[Database]:
    db = Database(mirror_url)
    with db.begin() as conn:
        fill(conn)
    yield db
    db.close()


def put(conn: Connection, table: str, *rows: dict[str, Any]) -> None:
    for row in rows:
        conn.execute(insert(tables.metadata.tables[table]), row)


def fill(conn: Connection) -> None:
    put(
        conn,
        "onvoard_contacts",
        {"id": "o1", "email": "Ann@x.com", "phone": " ", "properties": {"first_name": "Annie", "last_name": "Lee"}},
        {
            "id": "o2",
            "email": "bob@x.com",
            "phone": "+1",
            "properties": {"first_name": " "},
            "email_hard_bounced": True,
        },
        {"id": "o3", "email": " ", "properties": None, "email_unsubscribed": False},
        {"id": "o4", "email": "gone@x.com", "deleted_at": NOW},
        {"id": "o5", "suppressed": True},
        {"id": "o6", "email": "con@x.com", "email_marked_as_spam": True},
        {"id": "o8", "email": "new@x.com", "properties": {"first_name": 7, "last_name": ["x"]}},
    )
    put(
        conn,
        "digital_onboarding_contacts",
        {
            "id": "d1",
            "unique_id": "u1",
            "email": "ann@x.com",
            "name_first": "Ann",
            "name_last": "",
            "phone_mobile": "+44",
        },
        {"id": None, "unique_id": "u3", "email": "cy@x.com", "unsubscribe_email": False, "unsubscribe_sms": True},
        {"id": "d4", "unique_id": "u4", "email": "gone@x.com", "unsubscribe_email": True},
        {"id": "d6", "unique_id": "u6", "email": "other@x.com"},
    )
    put(
        conn,
        "persons",
        {"id": 1, "onvoard_contact_id": "o1", "unique_id": "u1", "matched_by": "email", "linked_at": NOW},
        {"id": 2, "onvoard_contact_id": "o2"},
        {"id": 3, "onvoard_contact_id": "o3", "unique_id": "u3", "matched_by": "manual", "linked_at": NOW},
        {"id": 4, "unique_id": "u4", "former_onvoard_contact_id": "o4"},
        {"id": 5, "onvoard_contact_id": "o5", "state": "suppressed"},
        {"id": 6, "onvoard_contact_id": "o6", "unique_id": "u6", "conflict_id": 1},
        {"id": 7, "state": "erased", "conflict_id": 1},
        {"id": 8, "onvoard_contact_id": "o8", "former_onvoard_contact_id": "o7", "unique_id": "not there yet"},
        {"id": 9},
        {"id": 10, "former_onvoard_contact_id": "o4"},
    )
    put(
        conn,
        "tombstones",
        {"person_id": 5, "onvoard_contact_id": "o5", "digital_onboarding_id": "d5", "unique_id": "u5"},
    )
    put(conn, "tombstones", {"person_id": 7, "onvoard_contact_id": "o70", "digital_onboarding_id": "d7"})
    fill_happenings(conn)


def fill_happenings(conn: Connection) -> None:
    stars = [
        ("o1", 5, "PUBLISHED"),
        ("o1", 4, "PUBLISHED"),
        ("o1", 1, "PENDING"),
        ("o7", 3, "PUBLISHED"),
        ("o8", 4, "PUBLISHED"),
    ]
    for number, (contact, rating, status) in enumerate(stars):
        put(conn, "onvoard_reviews", {
            "id": f"r{number}", "reviewer_contact_id": contact, "rating": rating, "status": status, "assets": [],
        })  # fmt: skip
    put(
        conn,
        "onvoard_reviews",
        {"id": "r8", "reviewer_contact_id": "o1", "rating": 1, "status": "PUBLISHED", "deleted_at": NOW},
    )
    put(conn, "onvoard_reviews", {"id": "r9", "reviewer_contact_id": None, "rating": 2.5, "status": "PUBLISHED"})
    for number, contact in enumerate(["o1", "o1", "o4", "o7", "o8", "nobody"]):
        at = NOW + timedelta(minutes=number, microseconds=number)
        put(conn, "onvoard_activities", {
            "id": f"a{number}", "contact_id": contact, "occurred_at": at, "record_data": {"b": 1, "a": 2.5},
        })  # fmt: skip
    put(
        conn,
        "changes",
        {"id": 1, "person_id": 1, "platform": "onvoard", "field": "phone", "new_value": "+44", "at": NOW},
    )


def ask(db: Database, sql: str) -> list[dict[str, Any]]:
    found = readonly.query(db, sql)
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def test_people_in_full(db: Database) -> None:
    found = readonly.query(db, "SELECT * FROM people ORDER BY person_id")
    assert found.columns == PEOPLE
    at = "2026-01-31T09:30:00.000000Z"
    only = "digital_onboarding_only"
    last = {1: "2026-01-31T09:31:00.000001Z", 4: "2026-01-31T09:32:00.000002Z", 8: "2026-01-31T09:34:00.000004Z"}
    ov = "onvoard_only"
    assert found.rows == [
        (1, "Ann@x.com", "u1", "o1", "d1", "Ann", "Lee", "+44", "email", at, "linked", False, False, 2, 4.5, last[1]),
        (2, "bob@x.com", None, "o2", None, None, None, "+1", None, None, ov, True, False, 0, None, None),
        (3, "cy@x.com", "u3", "o3", None, None, None, None, "manual", at, "linked", False, True, 0, None, None),
        (4, "gone@x.com", "u4", None, "d4", None, None, None, None, None, only, True, False, 0, None, last[4]),
        (5, None, "u5", "o5", "d5", None, None, None, None, None, "suppressed", True, True, 0, None, None),
        (6, "con@x.com", "u6", "o6", "d6", None, None, None, None, None, "conflict", True, False, 0, None, None),
        (7, None, None, "o70", "d7", None, None, None, None, None, "erased", True, True, 0, None, None),
        (8, "new@x.com", None, "o8", None, "7", '["x"]', None, None, None, ov, False, False, 2, 3.5, last[8]),
    ]  # fmt: skip

    # The flags are booleans in conditions, too.
    assert ask(db, "SELECT count(*) AS n FROM people WHERE email_opted_out AND NOT sms_opted_out") == [{"n": 3}]
    assert ask(db, "SELECT count(*) AS n FROM people WHERE email_opted_out IS NULL OR sms_opted_out IS NULL") == [
        {"n": 0}
    ]
    assert ask(db, "SELECT sms_opted_out, count(*) AS n FROM people GROUP BY sms_opted_out ORDER BY n") == [
        {"sms_opted_out": True, "n": 3},
        {"sms_opted_out": False, "n": 5},
    ]


def test_a_deleted_contact_is_no_side_even_before_its_person_is_told(db: Database) -> None:
    with db.begin() as conn:
        conn.execute(
            tables.onvoard_contacts.update().where(tables.onvoard_contacts.c.id == "o1").values(deleted_at=NOW)
        )
    found = ask(
        db, "SELECT status, email, onvoard_contact_id, name_first, review_count FROM people WHERE person_id = 1"
    )
    assert found == [{
        "status": "digital_onboarding_only", "email": "ann@x.com", "onvoard_contact_id": None,
        "name_first": "Ann", "review_count": 2,
    }]  # fmt: skip


def test_reviews_activities_and_history_know_their_person(db: Database) -> None:
    found = readonly.query(db, "SELECT * FROM reviews ORDER BY id")
    said = [column.name for column in tables.onvoard_reviews.c if column.name not in ("raw", "unexamined")]
    assert found.columns == ["person_id", *said]
    people = [(row[found.columns.index("id")], row[0]) for row in found.rows]
    assert people == [("r0", 1), ("r1", 1), ("r2", 1), ("r3", 8), ("r4", 8), ("r8", 1), ("r9", None)]

    found = readonly.query(db, "SELECT * FROM activities ORDER BY id")
    assert found.columns == ["person_id", "id", "contact_id", "contact_email", "type", "occurred_at", "record_data"]
    assert [row[0] for row in found.rows] == [1, 1, 4, 8, 8, None]
    assert found.rows[0][-2:] == ("2026-01-31T09:30:00.000000Z", {"a": 2.5, "b": 1})

    assert ask(db, "SELECT * FROM field_history") == [{
        "person_id": 1, "platform": "onvoard", "field": "phone", "old_value": None, "new_value": "+44", "rule": None,
        "run_id": None, "at": "2026-01-31T09:30:00.000000Z", "source": None, "said_at": None, "losing_value": None,
    }]  # fmt: skip

    example = (
        "SELECT person_id, count(*) AS review_count, avg(rating) AS average_rating FROM reviews GROUP BY person_id"
    )
    rows = readonly.query(db, f"{example} ORDER BY 2, 3").rows  # contract section 7
    assert rows == [(None, 1, 2.5), (8, 2, 3.5), (1, 4, 2.75)]


def test_one_person_is_found_by_index(sqlite_url: str) -> None:
    """The flat join lets a condition start from any table's index."""
    db = Database(sqlite_url)
    migrate.upgrade(db)
    found = readonly.query(db, "EXPLAIN QUERY PLAN SELECT * FROM people WHERE person_id = 1")
    assert [row[3] for row in found.rows if row[3].startswith("SCAN")] == []
    db.close()
