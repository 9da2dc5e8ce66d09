"""Anybody's SQL: nothing gets through that writes, and the same question has the same answer on both databases."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, text

from service.errors import DatabaseUnavailable, UsageError
from service.store import readonly, tables
from service.store.database import Database

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
CONTACT = {
    "id": "o1", "email": "ann@x.com", "suppressed": False, "email_unsubscribed": True, "created_at": NOW,
    "lists": ["b", "a"], "tags": [], "properties": {"z": None, "a": {"y": 1.5, "x": True}}, "dirty": False,
}  # fmt: skip

WRITES = [
    "DELETE FROM persons",
    "DELETE FROM persons RETURNING id",
    "INSERT INTO facts (key, value) VALUES ('a', 'b')",
    "UPDATE persons SET state = 'erased'",
    "DROP TABLE persons",
    "CREATE TABLE mine (id INTEGER)",
    "CREATE TEMP TABLE mine (id INTEGER)",
    "SELECT 1; DELETE FROM persons",
    "COMMIT; DELETE FROM persons",
    "SELECT 1; COMMIT; DELETE FROM persons",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "",
    "-- nothing",
    "VACUUM",
    "ANALYZE",
    "REINDEX",
]
SQLITE_WRITES = [
    "PRAGMA query_only = OFF",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA user_version = 7",
    "PRAGMA writable_schema = ON",
    "ATTACH '{other}' AS other",
    "ATTACH ':memory:' AS other",
    "VACUUM INTO '{other}'",
    "SELECT load_extension('x')",
    "WITH gone AS (SELECT id FROM persons) DELETE FROM persons",
    "CREATE VIRTUAL TABLE v USING fts5(a)",
    "SAVEPOINT s",
]
POSTGRES_WRITES = [
    "WITH gone AS (DELETE FROM persons RETURNING id) SELECT * FROM gone",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "WITH a AS (SELECT set_config('transaction_read_only', 'off', true)), b AS (DELETE FROM persons RETURNING id) "
    "SELECT * FROM a, b",
    "SET TRANSACTION READ WRITE",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "SET default_transaction_read_only = off",
    "COPY persons TO PROGRAM 'cat > {other}'",
    "COPY persons TO '{other}'",
    "COPY persons TO STDOUT",
    "COPY persons FROM STDIN",
    "DO $$ BEGIN PERFORM set_config('transaction_read_only', 'off', true); DELETE FROM persons; END $$",
    "DO $$ BEGIN COMMIT; DELETE FROM persons; END $$",
    "SELECT nextval('persons_id_seq')",
    "SELECT * FROM persons FOR UPDATE",
    "EXPLAIN ANALYZE DELETE FROM persons",
    "SELECT query_to_xml('DELETE FROM persons', true, true, '')",
    "SELECT id INTO mine FROM persons",
    "PREPARE p AS DELETE FROM persons",
    "TRUNCATE persons",
    "ALTER SYSTEM SET work_mem = '1GB'",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'DELETE FROM persons RETURNING 1'",
    "LOCK TABLE persons",
    "CALL nothing()",
    "SELECT $1::text",
]


VALUES: list[tuple[str, tuple[Any, ...]]] = [
    ("SELECT email_unsubscribed AS a, lists AS b FROM onvoard_contacts", (True, ["b", "a"])),
    (
        "SELECT x.a FROM (SELECT properties AS a FROM onvoard_contacts) x",
        ({"z": None, "a": {"y": 1.5, "x": True}},),
    ),
    ("WITH x AS (SELECT tags FROM onvoard_contacts) SELECT tags FROM x", ([],)),
    ("SELECT COALESCE(lists, tags) AS lists FROM onvoard_contacts", (["b", "a"],)),
    ("SELECT email_opted_out, sms_opted_out FROM people", (True, False)),
    ("SELECT count(*), sum(review_count), avg(review_count), max(person_id) FROM people", (1, 0, 0.0, 1)),
    ("SELECT max(created_at) AS a FROM onvoard_contacts", ("2026-01-31T09:30:00.000000Z",)),
    ("SELECT properties ->> 'z', 'x%sy', 1.5, NULL FROM onvoard_contacts", (None, "x%sy", 1.5, None)),
    ("SELECT count(*) AS dirty, '5' AS properties FROM onvoard_contacts", (1, "5")),
    ("VALUES (1, 'ü')", (1, "ü")),
    ("SELECT 1 AS a;", (1,)),
    ("/* all */ SELECT 2 -- of them", (2,)),
]


def filled(url: str) -> Database:
    db = Database(url)
    with db.begin() as conn:
        conn.execute(insert(tables.onvoard_contacts), CONTACT)
        conn.execute(insert(tables.persons), {"onvoard_contact_id": "o1"})
    return db


@pytest.fixture
def db(mirror_url: str) -> Iterator[Database]:
    db = filled(mirror_url)
    yield db
    db.close()


def state(db: Database) -> list[Any]:
    with db.begin() as conn:
        return [
            conn.exec_driver_sql(f"SELECT count(*), max({column}) FROM {table}").one()
            for table, column in (("persons", "state"), ("facts", "key"), ("onvoard_contacts", "email"))
        ]


def refused(db: Database, statements: list[str], other: Path) -> None:
    before = state(db)
    for statement in statements:
        with pytest.raises(UsageError) as caught:
            readonly.query(db, statement.replace("{other}", str(other)))
        assert caught.value.exit_code == 2, statement
        assert state(db) == before, statement
        assert not other.exists(), statement
    with db.begin() as conn:  # nothing sticks to the pool's connections
        conn.execute(insert(tables.facts), {"key": "still", "value": "writable"})


def test_what_writes_is_refused(db: Database, tmp_path: Path) -> None:
    refused(db, WRITES, tmp_path / "other")


def test_what_writes_is_refused_by_sqlite(sqlite_mirror: str, tmp_path: Path) -> None:
    db = filled(sqlite_mirror)
    refused(db, SQLITE_WRITES, tmp_path / "other")
    db.close()


def test_what_writes_is_refused_by_postgres(postgres_mirror: str) -> None:
    db = filled(postgres_mirror)
    refused(db, POSTGRES_WRITES, Path("/tmp/contact-bridge-must-not-be-written"))
    db.close()


def test_a_write_is_told_apart_from_a_mistake(db: Database) -> None:
    with pytest.raises(UsageError, match="read-only"):
        readonly.query(db, "DELETE FROM persons")
    with pytest.raises(UsageError, match="nosuch"):
        readonly.query(db, "SELECT nosuch FROM people")
    with pytest.raises(UsageError, match="syntax error"):
        readonly.query(db, "SELEC 1")


def test_what_is_no_text(db: Database) -> None:
    for statement in ("SELECT '\0'", "SELECT '\udc80'"):
        with pytest.raises(UsageError):
            readonly.query(db, statement)


def test_both_databases_answer_alike(db: Database) -> None:
    found = readonly.query(db, "SELECT * FROM onvoard_contacts")
    row = dict(zip(found.columns, found.rows[0], strict=True))
    assert {name: row[name] for name in CONTACT} == {**CONTACT, "created_at": "2026-01-31T09:30:00.000000Z"}
    assert list(row["properties"]) == ["a", "z"]
    assert row["suppressed"] is False
    assert row["email_hard_bounced"] is None


def test_values(db: Database) -> None:
    for sql, expected in VALUES:
        row = readonly.query(db, sql).rows[0]
        assert row == expected, sql
        assert [type(value) for value in row] == [type(value) for value in expected], sql


def test_columns_of_one_name_are_told_apart(db: Database) -> None:
    found = readonly.query(
        db, "SELECT a.id, b.id, a.id AS id_2 FROM onvoard_contacts a JOIN onvoard_contacts b ON a.id = b.id"
    )
    assert found.columns == ["id", "id_2", "id_2_2"]


def test_no_rows_is_an_answer(db: Database) -> None:
    assert readonly.query(db, "SELECT id FROM outbox") == readonly.Result(["id"], [])


def test_looking_around_is_allowed(sqlite_mirror: str, postgres_mirror: str) -> None:
    sqlite, postgres = filled(sqlite_mirror), filled(postgres_mirror)
    assert readonly.query(sqlite, "PRAGMA table_info(people)").rows
    assert readonly.query(sqlite, "SELECT name FROM pragma_table_info('people')").rows
    assert readonly.query(sqlite, "SELECT value FROM json_each('[1]')").rows == [(1,)]
    assert readonly.query(postgres, "SELECT column_name FROM information_schema.columns").rows
    assert readonly.query(postgres, "EXPLAIN SELECT 1").rows
    assert readonly.query(
        postgres, "SELECT '1 day'::interval, now()::date, ARRAY[1.5, 2], 'NaN'::float, 'a'::bytea"
    ).rows
    sqlite.close()
    postgres.close()


def test_a_query_without_end_is_stopped(db: Database) -> None:
    began = time.monotonic()
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with pytest.raises(UsageError, match="too long"):
        readonly.query(db, endless, seconds=0.2)
    assert time.monotonic() - began < 5


def test_sleeping_is_stopped_too(postgres_mirror: str) -> None:
    db = Database(postgres_mirror)
    for sql in ("SELECT pg_sleep(60)", "SELECT set_config('statement_timeout', '0', false), pg_sleep(60)"):
        with pytest.raises(UsageError, match="too long"):
            readonly.query(db, sql, seconds=0.2)
    db.close()


def test_a_file_that_is_missing_is_not_made(sqlite_url: str, tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="unable to open"):
        readonly.query(Database(sqlite_url), "SELECT 1")
    assert list(tmp_path.iterdir()) == []


def test_a_name_with_special_characters(tmp_path: Path) -> None:
    path = tmp_path / "a?mode=rwc#b%20c.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (a)")
    connection.close()
    db = Database("sqlite://").engine.url.set(database=str(path))
    assert readonly.query(Database(db.render_as_string()), "SELECT count(*) FROM t").rows == [(0,)]


def test_while_somebody_writes(db: Database) -> None:
    with db.begin() as conn:
        conn.execute(text("DELETE FROM persons"))
        assert readonly.query(db, "SELECT count(*) FROM persons").rows == [(1,)]
