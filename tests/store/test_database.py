"""Transactions, the writer thread, and what the databases' failures are called."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, insert, select, text

from service.errors import DatabaseError, DatabaseUnavailable, UsageError
from service.store import database as module
from service.store.database import Connection, Database

things = Table("things", MetaData(), Column("id", Integer, primary_key=True), Column("email", Text, unique=True))
PERSON = "eve@example.com"
whose: ContextVar[str] = ContextVar("whose", default="nobody")


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    db = Database(database_url)
    with db.begin() as conn:
        things.create(conn)
    yield db
    db.close()


def ids(db: Database) -> list[int]:
    with db.begin(write=False) as conn:
        return list(conn.execute(select(things.c.id).order_by(things.c.id)).scalars())


def add(db: Database, number: int, email: str | None = None) -> None:
    with db.begin() as conn:
        conn.execute(insert(things), {"id": number, "email": email})


def test_a_transaction_is_kept_whole_or_not_at_all(db: Database) -> None:
    add(db, 1)
    with pytest.raises(KeyError), db.begin() as conn:
        conn.execute(insert(things), {"id": 2})
        raise KeyError
    assert ids(db) == [1]


def test_ddl_is_part_of_the_transaction(db: Database) -> None:
    with pytest.raises(KeyError), db.begin() as conn:
        conn.execute(text("CREATE TABLE half (id INTEGER)"))
        raise KeyError
    with pytest.raises(DatabaseError, match="half"), db.begin() as conn:
        conn.execute(text("SELECT * FROM half"))


async def test_work_runs_in_one_other_thread_with_the_callers_context(db: Database) -> None:
    whose.set("mine")
    seen = set(await asyncio.gather(*(db.run(lambda _: (threading.get_ident(), whose.get())) for _ in range(5))))
    assert len(seen) == 1
    assert seen != {(threading.get_ident(), "mine")}
    assert {context for _, context in seen} == {"mine"}


async def test_work_that_fails_leaves_nothing(db: Database) -> None:
    def work(conn: object) -> None:
        conn.execute(insert(things), {"id": 7})  # type: ignore[attr-defined]
        raise KeyError

    with pytest.raises(KeyError):
        await db.run(work)
    assert ids(db) == []


async def test_inline_work_stays_in_the_callers_thread(sqlite_url: str) -> None:
    db = Database(sqlite_url, inline=True)
    assert await db.run(lambda _: threading.get_ident()) == threading.get_ident()
    db.close()


async def test_closing_twice_is_fine_and_leaves_no_thread(sqlite_url: str) -> None:
    others = set(threading.enumerate())
    db = Database(sqlite_url)
    await db.run(lambda conn: conn.execute(text("SELECT 1")))
    assert {thread.name for thread in set(threading.enumerate()) - others} == {"mirror_0"}
    db.close()
    db.close()
    assert set(threading.enumerate()) <= others


def test_many_writers_wait_for_each_other(db: Database) -> None:
    add(db, 1, "0")

    def count(other: Database) -> None:
        for _ in range(20):
            with other.begin() as conn:
                seen = conn.execute(select(things.c.email).with_for_update()).scalar_one()
                conn.execute(things.update().values(email=str(int(seen or 0) + 1)))

    others = [Database(str(db.url.render_as_string(hide_password=False))) for _ in range(3)]
    threads = [threading.Thread(target=count, args=(other,)) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for other in others:
        other.close()
    with db.begin() as conn:
        assert conn.execute(select(things.c.email)).scalar_one() == "60"


def test_reading_waits_for_no_writer(db: Database) -> None:
    add(db, 1)
    with db.begin() as conn:
        conn.execute(insert(things), {"id": 2})
        assert ids(db) == [1]


def test_sqlite_is_set_up_for_a_mirror_with_personal_data(sqlite_url: str) -> None:
    db = Database(sqlite_url)
    with db.begin() as conn:
        pragmas = ("journal_mode", "busy_timeout", "foreign_keys", "secure_delete", "synchronous")
        found = [conn.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in pragmas]
    db.close()
    assert found == ["wal", 30_000, 1, 1, 1]


def test_postgres_speaks_utc_and_does_not_wait_for_ever(postgres_database: str) -> None:
    db = Database(postgres_database)
    with db.begin() as conn:
        names = ("timezone", "lock_timeout", "statement_timeout", "application_name")
        found = [conn.exec_driver_sql(f"SHOW {name}").scalar_one() for name in names]
    db.close()
    assert found == ["UTC", "30s", "10min", "contact-bridge"]


async def test_what_is_submitted_is_done_in_its_lanes_order_and_waits_for_no_disk(db: Database) -> None:
    def told(conn: Connection) -> str:
        done.append(len(done))
        return "off" if db.dialect == "sqlite" else str(conn.execute(text("SHOW synchronous_commit")).scalar_one())

    done: list[int] = []
    if db.dialect == "postgresql":  # the tests' server waits for no disk at all
        await db.run(lambda conn: conn.execute(text("SET synchronous_commit = on")))
    submitted = [db.submit(told, "one") for _ in range(3)]
    last = db.submit(lambda _: list(done), "one")
    assert last.result(10) == [0, 1, 2] and all(each.done() for each in submitted)
    assert {each.result() for each in submitted} == {"off"}
    assert await db.run(told) == ("off" if db.dialect == "sqlite" else "on")
    with pytest.raises(ZeroDivisionError):
        db.submit(lambda _: 1 / 0, "one").result(10)


async def test_a_lane_waits_for_no_other_on_postgres_and_for_all_on_sqlite(db: Database) -> None:
    free = threading.Event()
    first = db.submit(lambda _: free.wait(10), "one")
    second = db.submit(lambda _: free.is_set(), "two")
    if db.dialect == "postgresql":
        assert second.result(10) is False
    else:
        assert not second.done()
    free.set()
    assert first.result(10) is True
    assert second.result(10) is (db.dialect == "sqlite")


def test_a_refused_statement_tells_the_rule_but_nobodys_address(db: Database) -> None:
    add(db, 1, PERSON)
    with pytest.raises(DatabaseError, match=r"things.*email") as caught:
        add(db, 2, PERSON)
    assert PERSON not in str(caught.value)
    assert "INSERT" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_the_drivers_own_errors_are_translated_too(db: Database) -> None:
    """As a COPY or a bulk upsert on the raw connection raises them."""
    with pytest.raises(DatabaseError, match="missing"), db.begin() as conn:
        raw = conn.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection | psycopg.Connection)
        raw.execute("SELECT * FROM missing")
    assert ids(db) == []


def test_nobody_listens() -> None:
    db = Database("postgresql://me:sesame@127.0.0.1:1/mirror?application_name=x&sslpassword=sesame")
    with (
        pytest.raises(DatabaseUnavailable, match=r"postgresql://me:\*\*\*@127.0.0.1:1/mirror: .*refused") as caught,
        db.begin(),
    ):
        pass
    db.close()
    assert "sesame" not in str(caught.value) + repr(db)


def test_a_folder_that_is_missing_and_a_file_that_is_something_else(tmp_path: Path) -> None:
    other = tmp_path / "letter.db"
    other.write_text("Dear Eve, this is no database at all.\n" * 50)
    for path, reason in ((tmp_path / "no" / "where.db", "unable to open"), (other, "not a database")):
        db = Database(f"sqlite:///{path}")
        with pytest.raises(DatabaseUnavailable, match=reason), db.begin():
            pass
        db.close()


def test_a_locked_database_is_unavailable(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.05)
    one, other = Database(sqlite_url), Database(sqlite_url)
    with one.begin(), pytest.raises(DatabaseUnavailable, match="locked"), other.begin():
        pass
    one.close()
    other.close()


def test_a_connection_that_was_cut_is_replaced(postgres_database: str, postgres_url: str) -> None:
    db = Database(postgres_database)
    with pytest.raises(DatabaseUnavailable), db.begin() as conn:
        own = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", (own,))
        conn.exec_driver_sql("SELECT 1")
    with db.begin() as conn:
        assert conn.exec_driver_sql("SELECT 1").scalar_one() == 1
    db.close()


@pytest.mark.parametrize("rests", [True, False])
def test_a_connection_that_is_cut_between_two_transactions(
    postgres_database: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch, rests: bool
) -> None:
    """One that was at rest is replaced at once, one that was just used after one failure."""
    monkeypatch.setattr("service.store.postgres.driver.AT_REST", 0.0 if rests else 60.0)
    db = Database(postgres_database)
    with db.begin() as conn:
        own = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", (own,))
    if not rests:
        with pytest.raises(DatabaseUnavailable), db.begin() as conn:
            conn.exec_driver_sql("SELECT 1")
    with db.begin() as conn:
        assert conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() != own
    db.close()


@pytest.mark.parametrize(
    "url", ["mysql://me:sesame@host/x", "sesame", "://sesame", "postgresql://me:sesame@host:port/x"]
)
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        Database(url)
    assert "sesame" not in str(caught.value)


def test_memory_is_one_database(tmp_path: Path) -> None:
    db = Database("sqlite://")
    with db.begin() as conn:
        things.create(conn)
    asyncio.run(db.run(lambda conn: conn.execute(insert(things), {"id": 3})))
    assert ids(db) == [3]
    assert db.file is None
    db.close()
