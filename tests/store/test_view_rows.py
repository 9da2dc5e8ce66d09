"""The rows behind `people`, `reviews` and `activities` are what a look at all tables would find, whoever wrote them and
however: after each statement, and after two writers at once."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Table, delete, insert, text, update
from sqlalchemy.exc import IntegrityError

from service.store import adoption, mirror
from service.store import tables as t
from service.store.database import Database

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
ROWS = ("SELECT * FROM people_rows ORDER BY person_id", "SELECT * FROM people_source ORDER BY person_id")
OWNERS = (
    "SELECT contact_id, person_id FROM contact_owners ORDER BY contact_id",
    """SELECT contact, COALESCE(
        (SELECT p.id FROM persons p WHERE p.onvoard_contact_id = contact),
        (SELECT MIN(p.id) FROM persons p WHERE p.former_onvoard_contact_id = contact))
    FROM (SELECT onvoard_contact_id AS contact FROM persons UNION SELECT former_onvoard_contact_id FROM persons) c
    WHERE contact IS NOT NULL ORDER BY contact""",
)


def check(conn: Connection) -> None:
    for kept, found in (ROWS, OWNERS):
        assert conn.execute(text(kept)).all() == conn.execute(text(found)).all()


KEYS = {
    t.persons: t.persons.c.id,
    t.onvoard_contacts: t.onvoard_contacts.c.id,
    t.digital_onboarding_contacts: t.digital_onboarding_contacts.c.unique_id,
    t.onvoard_reviews: t.onvoard_reviews.c.id,
    t.onvoard_activities: t.onvoard_activities.c.id,
    t.tombstones: t.tombstones.c.person_id,
}
NUMBER = st.integers(1, 3)
CONTACT, PARTNER = st.sampled_from(["c1", "c2", "c3"]), st.sampled_from(["u1", "u2", "u3"])
WORD, FLAG = st.sampled_from([None, " ", "x", "y"]), st.none() | st.booleans()
TIME = st.sampled_from([None, NOW, NOW + timedelta(days=1)])
PROPERTIES = st.sampled_from([None, {}, {"first_name": "x", "last_name": "y"}, {"first_name": ["x"], "last_name": 7}])
VALUES: dict[Table, dict[str, st.SearchStrategy[Any]]] = {
    t.persons: {
        "onvoard_contact_id": st.none() | CONTACT,
        "unique_id": st.none() | PARTNER,
        "former_onvoard_contact_id": st.none() | CONTACT,
        "matched_by": WORD,
        "linked_at": TIME,
        "state": st.sampled_from(["active", "active", "suppressed", "erased"]),
        "conflict_id": st.none() | NUMBER,
    },
    t.onvoard_contacts: {
        "email": WORD,
        "phone": WORD,
        "properties": PROPERTIES,
        "suppressed": FLAG,
        "email_unsubscribed": FLAG,
        "email_marked_as_spam": FLAG,
        "email_hard_bounced": FLAG,
        "deleted_at": TIME,
    },
    t.digital_onboarding_contacts: {
        "id": WORD,
        "email": WORD,
        "name_first": WORD,
        "name_last": WORD,
        "phone_mobile": WORD,
        "unsubscribe_email": FLAG,
        "unsubscribe_sms": FLAG,
    },
    t.onvoard_reviews: {
        "reviewer_contact_id": st.none() | CONTACT,
        "status": st.sampled_from(["PUBLISHED", "PUBLISHED", "PENDING"]),
        "rating": st.sampled_from([None, 1.0, 4.0]),
        "deleted_at": TIME,
    },
    t.onvoard_activities: {"contact_id": st.none() | CONTACT, "occurred_at": TIME},
    t.tombstones: {"onvoard_contact_id": WORD, "digital_onboarding_id": WORD, "unique_id": WORD},
}
IDS = {t.persons: NUMBER, t.onvoard_contacts: CONTACT, t.digital_onboarding_contacts: PARTNER,
       t.onvoard_reviews: WORD.filter(bool), t.onvoard_activities: WORD.filter(bool), t.tombstones: NUMBER}  # fmt: skip


@st.composite
def writes(draw: st.DrawFn) -> tuple[str, Table, Any, dict[str, Any]]:
    table = draw(st.sampled_from(list(KEYS)))
    how = draw(st.sampled_from(["put", "put", "put", "move", "delete"]))
    values = {name: draw(one) for name, one in VALUES[table].items()}
    if how == "move" and table is not t.persons:  # to another key; a person's is for good
        values = {KEYS[table].name: draw(IDS[table])}
    return how, table, draw(IDS[table]), values


def carry_out(conn: Connection, how: str, table: Table, key: Any, values: dict[str, Any]) -> None:
    column = KEYS[table]
    if how == "put":
        mirror.put(conn, table, column.name, {column.name: key, **values})
    elif how == "move":
        conn.execute(update(table).where(column == key).values(values))
    else:
        conn.execute(delete(table).where(column == key))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(writes(), min_size=5, max_size=15))
def test_the_rows_are_what_a_look_at_all_tables_finds(db: Database, given: list[Any]) -> None:
    with db.begin() as conn:
        for table in KEYS:
            conn.execute(delete(table))
        check(conn)
        for write in given:
            point = conn.begin_nested()
            try:
                carry_out(conn, *write)
            except IntegrityError as refused:  # a key that is taken: the rows are as before
                assert not re.search("people_rows|contact_owners", str(refused.orig))
                point.rollback()
            else:
                point.commit()
            check(conn)


def test_a_contact_that_somebody_had_once_is_its_new_person_s(db: Database) -> None:
    """Theirs came back under another id, and then this one came back too."""
    with db.begin() as conn:
        conn.execute(insert(t.onvoard_contacts).values(id="c1", raw={}, content_hash="", dirty=True))
        conn.execute(insert(t.persons).values(onvoard_contact_id="c2", former_onvoard_contact_id="c1"))
        check(conn)
        adoption.adopt(conn, NOW)
        check(conn)
        assert conn.execute(text("SELECT count(*) FROM persons")).scalar() == 2


def test_a_contact_that_came_back_and_was_given_to_somebody_else_stays_theirs(db: Database) -> None:
    """By a pull of another process, by `people link`, or because it was suppressed for a time."""
    with db.begin() as conn:
        conn.execute(insert(t.onvoard_contacts).values(id="c1", raw={}, content_hash="", dirty=True))
        conn.execute(insert(t.persons).values(id=1, former_onvoard_contact_id="c1"))
        conn.execute(insert(t.persons).values(id=2, onvoard_contact_id="c1"))
        for _ in range(2):
            adoption.adopt(conn, NOW)
            check(conn)
        held = conn.execute(text("SELECT id, onvoard_contact_id, former_onvoard_contact_id FROM persons ORDER BY id"))
        assert held.all() == [(1, None, None), (2, "c1", None)]


def test_what_many_rows_of_one_statement_change_is_seen(db: Database) -> None:
    contacts = [{"id": f"c{number}", "raw": {}, "content_hash": "", "dirty": True} for number in range(3)]
    with db.begin() as conn:
        conn.execute(insert(t.onvoard_contacts), contacts)
        adoption.adopt(conn, NOW)
        check(conn)
        review = {"status": "PUBLISHED", "rating": 4.0, "raw": {}}
        reviews = [review | {"id": f"r{number}", "reviewer_contact_id": f"c{number % 3}"} for number in range(6)]
        mirror.save_records(conn, t.onvoard_reviews, reviews)
        check(conn)
        conn.execute(update(t.onvoard_contacts).values(email="ann@x.com", suppressed=True))
        check(conn)
        assert conn.execute(text("SELECT DISTINCT email, review_count, sms_opted_out FROM people")).one() == (
            "ann@x.com", 2, True,
        )  # fmt: skip
        conn.execute(delete(t.persons))
        check(conn)
        assert conn.execute(text("SELECT count(*) FROM people")).scalar() == 0


@pytest.fixture
def both(postgres_mirror: str) -> Iterator[tuple[Database, Database]]:
    with closing(Database(postgres_mirror)) as one, closing(Database(postgres_mirror)) as other:
        with one.begin() as conn:
            conn.execute(insert(t.onvoard_contacts).values(id="c1", email="old@x.com", raw={}))
            conn.execute(insert(t.digital_onboarding_contacts).values(unique_id="u1", name_first="Old", raw={}))
            conn.execute(insert(t.persons).values(id=1, unique_id="u1"))
        yield one, other


Write = Callable[[Connection], object]
WRITES: dict[str, Write] = {
    "edit on OnVoard": lambda conn: conn.execute(update(t.onvoard_contacts).values(email="new@x.com")),
    "edit on Digital Onboarding": lambda conn: conn.execute(
        update(t.digital_onboarding_contacts).values(name_first="New")
    ),
    "review": lambda conn: conn.execute(
        insert(t.onvoard_reviews).values(id="r1", reviewer_contact_id="c1", status="PUBLISHED", rating=4.0, raw={})
    ),
    "activity": lambda conn: conn.execute(
        insert(t.onvoard_activities).values(id="a1", contact_id="c1", occurred_at=NOW, raw={})
    ),
    "link": lambda conn: conn.execute(update(t.persons).where(t.persons.c.id == 1).values(onvoard_contact_id="c1")),
    "adoption": lambda conn: conn.execute(insert(t.persons).values(id=2, onvoard_contact_id="c1")),
}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("edit on OnVoard", "link"),
        ("link", "edit on OnVoard"),
        ("review", "adoption"),
        ("adoption", "review"),
        ("activity", "adoption"),
        ("adoption", "activity"),
        ("edit on OnVoard", "edit on Digital Onboarding"),
        ("review", "edit on Digital Onboarding"),
        ("activity", "edit on Digital Onboarding"),
        ("edit on Digital Onboarding", "activity"),
    ],
)
def test_two_writers_at_once_leave_a_row_that_shows_both(
    both: tuple[Database, Database], first: str, second: str
) -> None:
    one, other = both
    if "edit on Digital Onboarding" in (first, second):
        with one.begin() as conn:
            WRITES["link"](conn)

    def later() -> None:
        with other.begin() as conn:
            WRITES[second](conn)

    with one.begin() as conn:
        WRITES[first](conn)
        late = threading.Thread(target=later)
        late.start()
        late.join(0.3)
        assert late.is_alive()  # waits for this transaction
    late.join()
    with one.begin(write=False) as conn:
        check(conn)
