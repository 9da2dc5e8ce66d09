"""Two processes that write the same at the same moment, on Postgres: SQLite has one writer at a time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, insert, select, update

from service.errors import RolledBack
from service.store import adoption, cursors, people
from service.store import tables as t
from service.store.database import Connection, Database

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


@pytest.fixture
def both(postgres_mirror: str) -> Iterator[tuple[Database, Database]]:
    one, other = Database(postgres_mirror), Database(postgres_mirror)
    yield one, other
    one.close()
    other.close()


def test_a_contact_is_adopted_once(both: tuple[Database, Database]) -> None:
    one, other = both
    with one.begin() as conn:
        conn.execute(insert(t.onvoard_contacts).values(id="c1", raw={}, content_hash="", dirty=True))

    def adopt() -> None:
        with other.begin() as conn:
            adoption.adopt(conn, NOW)

    with one.begin() as conn:
        adoption.adopt(conn, NOW)
        late = threading.Thread(target=adopt)
        late.start()
        late.join(0.5)  # waits for this transaction
        assert late.is_alive()
    late.join()
    with one.begin(write=False) as conn:
        assert conn.execute(select(func.count()).select_from(t.persons)).scalar() == 1


async def test_who_decides_about_people_and_who_reads_contacts_do_not_wait_for_each_other(
    both: tuple[Database, Database],
) -> None:
    """The one locks a contact and then changes its person, while the other writes that contact."""
    one, other = both
    attempts: list[str] = []
    with one.begin() as conn:
        conn.execute(insert(t.onvoard_contacts).values(id="c1", raw={}, content_hash="", dirty=True))
        conn.execute(insert(t.persons).values(id=1, onvoard_contact_id="c1"))
    locked = threading.Event()

    def decide(conn: Connection) -> None:
        attempts.append("decide")
        people.take_turn(conn)
        conn.execute(update(t.onvoard_contacts).values(dirty=False))
        locked.set()
        time.sleep(0.3)  # meanwhile the other one comes
        conn.execute(update(t.persons).values(state="erased"))

    def read(conn: Connection) -> None:
        attempts.append("read")
        conn.execute(update(t.onvoard_contacts).values(email="ann@x.com"))

    async def read_then() -> None:
        await asyncio.to_thread(locked.wait, 20)
        await other.run(read)

    await asyncio.gather(one.run(decide), read_then())
    assert sorted(attempts) == ["decide", "read"]


async def test_what_ends_as_a_deadlock_is_begun_again(both: tuple[Database, Database]) -> None:
    """Each has written what the other writes next."""
    begun: list[str] = []
    meet = threading.Barrier(2)

    def cross(first: str, second: str) -> Callable[[Connection], None]:
        def work(conn: Connection) -> None:
            begun.append(first)
            cursors.set_fact(conn, first, first)
            if len(begun) <= 2:
                meet.wait(10)
            cursors.set_fact(conn, second, first)

        return work

    one, other = both
    await asyncio.gather(one.run(cross("a", "b")), other.run(cross("b", "a")))
    assert len(begun) > 2  # who is begun again may be so once more
    with one.begin() as conn:
        assert cursors.fact(conn, "a") == cursors.fact(conn, "b")


async def test_what_always_ends_so_is_told(both: tuple[Database, Database]) -> None:
    begun: list[int] = []

    def work(conn: Connection) -> None:
        begun.append(1)
        conn.exec_driver_sql("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$")

    with pytest.raises(RolledBack, match="SerializationFailure, time and again"):
        await both[0].run(work)
    assert len(begun) == 5
