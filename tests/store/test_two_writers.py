"""Two processes that write the same at the same moment, on Postgres: SQLite has one writer at a time."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from service.errors import RolledBack
from service.platforms.digital_onboarding.models import Contact
from service.store import absorb, adoption, cursors, erasure, people
from service.store import tables as t
from service.store.database import Connection, Database
from service.store.view_tables import people_rows

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


def test_who_adds_persons_waits_for_nobody_who_adds_others(both: tuple[Database, Database]) -> None:
    """But for whoever changes what they show, who in turn waits for them."""
    one, other = both
    with one.begin() as conn:
        conn.execute(insert(t.onvoard_contacts), [{"id": each, "raw": {}, "content_hash": ""} for each in ("c1", "c2")])
    shown = threading.Event()

    def show() -> None:
        with other.begin() as conn:
            conn.execute(insert(t.onvoard_reviews).values(id="rv_1", reviewer_contact_id="c1", status="PUBLISHED"))
        shown.set()

    with one.begin() as conn:
        conn.execute(insert(t.persons).values(onvoard_contact_id="c1"))
        with other.begin() as beside:
            beside.execute(insert(t.persons).values(onvoard_contact_id="c2"))
            late = threading.Thread(target=show)
            late.start()
        assert not shown.wait(0.5)
    late.join(20)
    with one.begin(write=False) as conn:
        rows = conn.execute(select(people_rows.c.onvoard_contact_id, people_rows.c.review_count)).all()
    assert sorted(map(tuple, rows)) == [("c1", 1), ("c2", 0)]


def kept(table: t.Table, **values: Any) -> dict[str, Any]:
    return dict.fromkeys(table.c.keys()) | {"raw": {}} | values


ANN = "ann@x.com"
READING: dict[str, Callable[[Connection], None]] = {
    "activities": lambda conn: absorb.activities(
        conn, [kept(t.onvoard_activities, id="a1", contact_id="c1", contact_email=ANN)], NOW
    ) and None,
    "reviews": lambda conn: absorb.reviews(
        conn, [kept(t.onvoard_reviews, id="r1", reviewer_contact_id="c1", reviewer_email=ANN)]
    ),
    "records": lambda conn: absorb.resource_records(
        conn, [kept(t.onvoard_resource_records, id="rr1", context_id="c1", data={"mail": ANN})]
    ),
    "contacts": lambda conn: absorb.onvoard_contacts(conn, [contact("y")], run_id=1, now=NOW),
    "digital": lambda conn: absorb.digital_contacts(conn, [DIGITAL], origin="refresh", asked_at=NOW, run_id=1, now=NOW),
}


def contact(content: str) -> dict[str, Any]:
    values = {"suppressed": False, "properties": {}, "content_hash": content, "modified_at": NOW, "dirty": True}
    return kept(t.onvoard_contacts, id="c1", email=ANN, email_key=ANN, **values)


DIGITAL = Contact(**{
    **dict.fromkeys(field.name for field in dataclasses.fields(Contact)),
    "id": "do_1", "unique_id": "u1", "email": ANN, "raw": {"unique_id": "u1", "email": ANN}, "extras": {},
})  # fmt: skip


@pytest.mark.parametrize("reads_first", [True, False])
@pytest.mark.parametrize("stream", READING)
def test_nothing_comes_back_of_who_is_erased_while_they_are_read(
    both: tuple[Database, Database], stream: str, reads_first: bool
) -> None:
    one, other = both
    with one.begin() as conn:
        conn.execute(insert(t.onvoard_contacts).values({**contact("x"), "unexamined": False}))
        conn.execute(insert(t.persons).values(id=1, onvoard_contact_id="c1"))

    def erase(conn: Connection) -> None:
        erasure.forget(conn, 1, {}, set(), 1, NOW)

    first, second = (READING[stream], erase) if reads_first else (erase, READING[stream])

    def then() -> None:
        with other.begin() as conn:
            second(conn)

    with one.begin() as conn:
        first(conn)
        late = threading.Thread(target=then)
        late.start()
        late.join(0.5)  # waits for this transaction
        assert late.is_alive()
    late.join(20)
    with one.begin(write=False) as conn:
        for table in (t.onvoard_activities, t.onvoard_reviews, t.onvoard_resource_records):
            assert conn.execute(select(table)).all() == []
        assert conn.execute(select(t.digital_onboarding_contacts.c.unique_id)).all() == []
        assert conn.execute(select(t.onvoard_contacts.c.email)).scalars().all() == [None]


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
