"""What names an erased person in rows that are not their own: events, records and dead letters about them, the history
and the conflicts of others.

They are found by the tombstones' keyed hashes, so that nobody has to remember for whom to look, and a killed run is
made good by the next one. What living people's contacts show is left alone: it is theirs, as the platform has it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, Text, cast, delete, or_, select, update

from service.core.mapping import normal_email
from service.store import cursors
from service.store import tables as t
from service.store.erasure import SCRUB_DUE, Hasher, erased_among, of_the_living
from service.store.outbox import OPEN, Lane, Operation
from service.store.types import JsonDocument
from service.store.view_tables import MADE_BY_TRIGGERS

Row = dict[str, Any]
GONE = "(erased)"
_ADDRESS = re.compile(r"[^\s\"<>()\[\]{},;:\\/=&?|]+@[^\s\"<>()\[\]{},;:\\/=&?|]+")
_OF_THE_LIVING = {
    t.onvoard_contacts, t.digital_onboarding_contacts, t.bases, t.persons, t.tombstones, *MADE_BY_TRIGGERS,
}  # fmt: skip


class Redactor:
    """Knows the addresses of the erased when it meets them, and takes them out."""

    def __init__(self, conn: Connection) -> None:
        stones = t.tombstones.c
        self._hashes = {each for row in conn.execute(select(stones.email_hash, stones.unique_id_hash)) for each in row}
        self._hashes -= {None}
        self._conn, self.hash = conn, Hasher(conn)
        self._met: dict[str, bool] = {}

    def is_erased(self, address: str) -> bool:
        address = normal_email(address)
        if address not in self._met:
            known = self.hash(address) in self._hashes
            self._met[address] = known and not of_the_living(self._conn, [address])
        return self._met[address]

    def names(self, value: Any) -> bool:
        """Whether text, or any text in a JSON value, names somebody erased."""
        return self._hashes != set() and self(value) != value

    def __call__(self, value: Any) -> Any:
        """The value without them."""
        if isinstance(value, str):
            return _ADDRESS.sub(self._gone, value) if "@" in value else value
        if isinstance(value, dict):
            return {self(key): self(item) for key, item in value.items()}
        return [self(item) for item in value] if isinstance(value, list) else value

    def _gone(self, found: re.Match[str]) -> str:
        address = _bare(found[0])
        return found[0].replace(address, GONE) if self.is_erased(address) else found[0]


def kept(conn: Connection, rows: Iterable[Row], subject: str) -> list[Row]:
    """Rows as read from OnVoard, without those about somebody erased (the e-mail in `subject`), and without the
    mention of such people in the others."""
    rows = list(rows)
    if not erased_among(conn, (text for row in rows for text in _addresses(row)), ()):
        return rows
    redact = Redactor(conn)
    return [redact(row) for row in rows if not redact.is_erased(row[subject] or "")]


def silent(conn: Connection, rows: Iterable[Row]) -> list[Row]:
    """Rows as read, without those that name somebody erased anywhere."""
    rows = list(rows)
    if not erased_among(conn, (text for row in rows for text in _addresses(row)), ()):
        return rows
    redact = Redactor(conn)
    return [row for row in rows if not redact.names(row)]


def _addresses(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from map(_bare, _ADDRESS.findall(value)) if "@" in value else ()
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _addresses(item)


def _bare(token: str) -> str:
    """Without the punctuation around it, which is none of the address."""
    return token.strip(".'!*")


def find(conn: Connection) -> list[tuple[t.Table, Row]]:
    """(table, key) of each row that names somebody erased; a look at every text of the mirror. The key is a row of the
    primary key's columns."""
    redact, found = Redactor(conn), []
    for table in t.metadata.sorted_tables:
        for row in _with_addresses(conn, table) if table not in _OF_THE_LIVING else ():
            if not _is_owed(table, row) and redact.names(row):
                found.append((table, {column.name: row[column.name] for column in table.primary_key}))
    return found


def _with_addresses(conn: Connection, table: t.Table) -> Iterator[Row]:
    query = _where_addresses_are(table)
    rows = conn.execute(query, execution_options={"stream_results": True}).mappings() if query is not None else ()
    for row in rows:
        yield dict(row)


@cache
def _where_addresses_are(table: t.Table) -> Select[Any] | None:
    texts = [column for column in table.c if isinstance(column.type, Text | JsonDocument)]
    return select(table).where(or_(*(cast(column, Text).contains("@") for column in texts))) if texts else None


def _is_owed(table: t.Table, row: Row) -> bool:
    """A push that is still to be made; an opt-out also where it was refused."""
    refused = row.get("status") == "dead" and row.get("lane") == int(Lane.OPT_OUT)
    return table is t.outbox and (row["status"] in OPEN or refused)


def erase(conn: Connection, found: Iterable[tuple[t.Table, Row]]) -> Counter[str]:
    """What `find` found. -> rows by table"""
    redact, erased = Redactor(conn), Counter[str]()
    for table, key in found:
        where = [table.c[name] == value for name, value in key.items()]
        row = conn.execute(select(table).where(*where)).mappings().one_or_none()
        if row is None or not redact.names(dict(row)):
            continue
        values = _without(conn, table, dict(row), redact)
        conn.execute(delete(table).where(*where) if values is None else update(table).where(*where).values(values))
        erased[table.name] += 1
    return erased


def _without(conn: Connection, table: t.Table, row: Row, redact: Redactor) -> Row | None:
    """What is to be changed in a row; None where the row is about them, and goes."""
    if table in (t.facts, t.loader_rows) or row.get("operation") == Operation.READ_RECORD:
        return None
    if table in _SUBJECT and not _is_somebody_elses(conn, row[_SUBJECT[table]]):
        return None
    if table is t.webhook_events:
        row["payload"] = {}
    if table is t.outbox:  # an undo must not give back what was erased
        row["details"] = [each for each in row["details"] or () if not redact.names(each)]
        row["basis"] = {} if redact.names(row["basis"]) else row["basis"]
    return {column.name: _text(column, row, redact) for column in table.c}


_SUBJECT = {
    t.onvoard_reviews: "reviewer_contact_id",
    t.onvoard_activities: "contact_id",
    t.onvoard_resource_records: "context_id",
    t.digital_onboarding_journeys: "unique_id",
    t.digital_onboarding_objective_completions: "unique_id",
}


def _is_somebody_elses(conn: Connection, contact: str | None) -> bool:
    p = t.persons.c
    holds = or_(p.onvoard_contact_id == contact, p.unique_id == contact)
    query = select(p.id).where(holds, p.state == "active")
    return contact is not None and conn.execute(query).first() is not None


def _text(column: Any, row: Row, redact: Redactor) -> Any:
    """Where an address was all that stood there, nothing does; a key stays apart from others as a keyed hash, also from
    that of an earlier row that had the same one until it was erased."""
    value = row[column.name]
    new = redact(value)
    if new != value and column.unique:
        return redact.hash(f"{value} {row['id']}")
    if new == value or new != GONE:
        return new
    return None if column.nullable else redact.hash(value)


def is_due(conn: Connection) -> bool:
    return cursors.fact(conn, SCRUB_DUE) is not None


def done(conn: Connection) -> None:
    cursors.forget_fact(conn, SCRUB_DUE)
