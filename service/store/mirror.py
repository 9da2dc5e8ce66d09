"""What each side said: bulk upserts in which the database itself refuses older news and unchanged rows."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    Connection,
    Table,
    and_,
    bindparam,
    case,
    delete,
    false,
    func,
    null,
    or_,
    select,
    true,
    update,
)

from service.core.mapping import normal_email
from service.core.records import Platform
from service.store import bulk
from service.store import tables as t
from service.store.bulk import insert_for
from service.store.types import canonical

Row = dict[str, Any]
T = TypeVar("T")
LINK_PROPERTY = "custom_digital_onboarding_unique_id"
FOR_DECISIONS = [c for c in t.onvoard_contacts.c if c.name not in ("lists", "tags", "segments", "properties")]
"""Of an OnVoard contact. What is left out stands in `raw` as well, where the mapping finds it; JSON is dear to read."""
# Times that move without a change of content.
_TIMES = {"modified_datetime", "updated_at"}


def insert(conn: Connection, table: Table) -> Any:
    """The dialect's INSERT, which knows ON CONFLICT."""
    return insert_for(conn.dialect.name, table)


@cache
def _upsert(dialect: str, table: Table, key: str, names: tuple[str, ...]) -> Any:
    return _replacing(insert_for(dialect, table), key, names)


def _replacing(statement: Any, key: str, names: tuple[str, ...]) -> Any:
    values = {name: statement.excluded[name] for name in names if name != key}
    return statement.on_conflict_do_update(index_elements=[key], set_=values)


def put(conn: Connection, table: Table, key: str, row: Row) -> None:
    """A row in place of the one with its `key`; columns that it does not name stay as they are."""
    conn.execute(_upsert(conn.dialect.name, table, key, tuple(row)), row)


def put_all(conn: Connection, table: Table, key: str, rows: Sequence[Row]) -> None:
    """The same for many rows of the same columns."""
    if rows:
        names = tuple(rows[0])
        bulk.execute(conn, _upsert_many(conn.dialect.name, table, key, names), names, unique(rows, key))


@cache
def _upsert_many(dialect: str, table: Table, key: str, names: tuple[str, ...]) -> Any:
    return _replacing(bulk.insert(dialect, table, names), key, names)


def in_parts(items: Iterable[T], size: int = 5_000) -> Iterator[list[T]]:
    """Lists short enough for one statement: databases limit its parameters."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def content_hash(raw: Mapping[str, Any]) -> str:
    """Of all that a payload says, but the times."""
    said = {key: value for key, value in raw.items() if key not in _TIMES}
    return hashlib.blake2b(canonical(said), digest_size=16).hexdigest()


def onvoard_contact_row(row: Row, now: datetime) -> Row:
    """A contact as the client read it (columns of the table) -> with what the bridge derives from it."""
    properties = row.get("properties") or {}
    link = properties.get(LINK_PROPERTY)
    return row | {
        "email_key": normal_email(row.get("email")) or None,
        "link_unique_id": link if isinstance(link, str) and link else None,
        "content_hash": content_hash(row["raw"]),
        "edited_at": row.get("modified_at"),
        "own_modified_at": None,
        "seen_at": now,
        "deleted_at": None,
        "dirty": True,
    }


def digital_contact_row(row: Row, origin: str, refreshed_at: datetime | None) -> Row:
    return row | {
        "origin": origin,
        "email_key": normal_email(row.get("email")) or None,
        "unique_id_key": normal_email(row["unique_id"]),
        "content_hash": content_hash(row["raw"]),
        "refreshed_at": refreshed_at,
        "dirty": True,
    }


def save_onvoard_contacts(conn: Connection, rows: Sequence[Row], *, own: bool = False) -> None:
    """Rows of `onvoard_contact_row`. `own` says that they answer a write of ours: their time is nobody's edit."""
    rows = unique(rows, "id")
    if not own:
        known = {row.id: row for row in conn.execute(_STATE, {"ids": [row["id"] for row in rows]})}
        if bulk.copies(conn, rows):
            rows = _copied(conn, t.onvoard_contacts, rows, "id", known)
        # Most of what is read again is as it was: the database would find so too, but later.
        rows = [row for row in rows if (was := known.get(row["id"])) is None or not _is_as_it_was(row, was)]
    if rows:
        names = tuple(rows[0])
        bulk.execute(conn, _onvoard_contacts_upsert(conn.dialect.name, names, own), names, rows)


_STATE = select(
    t.onvoard_contacts.c.id,
    t.onvoard_contacts.c.content_hash,
    t.onvoard_contacts.c.modified_at,
    t.onvoard_contacts.c.deleted_at,
).where(bulk.among(t.onvoard_contacts.c.id, "ids"))


def _is_as_it_was(row: Row, was: Any) -> bool:
    same = was.content_hash == row["content_hash"] and was.modified_at == row["modified_at"]
    return same and was.deleted_at is None


def _copied(conn: Connection, table: Table, rows: list[Row], key: str, known: Container[str]) -> list[Row]:
    """The new ones among many rows go into the table at once. -> the others"""
    if new := [row for row in rows if row[key] not in known]:
        bulk.copy(conn, table, tuple(new[0]), new)
    return [row for row in rows if row[key] in known]


@cache  # it takes a quarter as long to say as to carry out
def _onvoard_contacts_upsert(dialect: str, names: tuple[str, ...], own: bool) -> Any:
    table = t.onvoard_contacts
    statement = bulk.insert(dialect, table, names)
    new = statement.excluded
    differs = new.content_hash.is_distinct_from(table.c.content_hash)
    back = table.c.deleted_at.is_not(None)
    ours = true() if own else false()
    explained = or_(ours, table.c.own_modified_at == new.modified_at)
    values = {name: new[name] for name in names if name not in {"id", "edited_at", "own_modified_at", "dirty"}}
    values["edited_at"] = case(
        (and_(differs, ~func.coalesce(explained, false())), new.modified_at), else_=table.c.edited_at
    )
    values["own_modified_at"] = new.modified_at if own else table.c.own_modified_at
    values["dirty"] = or_(table.c.dirty, differs, back, ours)
    if "unexamined" in names:
        values["unexamined"] = or_(table.c.unexamined, and_(or_(differs, back), new.unexamined))
    not_older = or_(
        table.c.modified_at.is_(None), new.modified_at.is_(None), new.modified_at >= table.c.modified_at, ours
    )
    news = or_(differs, back, new.modified_at.is_distinct_from(table.c.modified_at), ours)
    return statement.on_conflict_do_update(index_elements=["id"], set_=values, where=and_(not_older, news))


def save_digital_contacts(conn: Connection, rows: Sequence[Row]) -> None:
    """Whole rows of `digital_contact_row`, already merged with what was known (`known_digital_contacts`)."""
    put_all(conn, t.digital_onboarding_contacts, "unique_id", rows)


def opted_out(conn: Connection, unique_id: str, flags: Iterable[str]) -> None:
    """The opt-outs alone, of a contact of which nothing else may be taken over."""
    table = t.digital_onboarding_contacts
    for flag in flags:
        news = (table.c.unique_id == unique_id, table.c[flag].is_not(True))
        conn.execute(update(table).where(*news).values({flag: True, "dirty": True}))


def without_address(conn: Connection, unique_id: str) -> None:
    """It has another one by now, which may not be kept."""
    for row in known_digital_contacts(conn, [unique_id]).values():
        if row["email"] is not None:
            bare = {**row, "email": None, "raw": {**row["raw"], "email": None}}
            save_digital_contacts(conn, [digital_contact_row(bare, row["origin"], row["refreshed_at"])])


_KNOWN = (
    select(t.digital_onboarding_contacts)
    .where(t.digital_onboarding_contacts.c.unique_id.in_(bindparam("ids", expanding=True)))
    .order_by(t.digital_onboarding_contacts.c.unique_id)
    .with_for_update()
)


def known_digital_contacts(conn: Connection, unique_ids: Iterable[str]) -> dict[str, Row]:
    """By unique_id, and locked: they are about to be merged with what the platform says now."""
    rows = conn.execute(_KNOWN, {"ids": list(unique_ids)}).mappings()
    return {row["unique_id"]: dict(row) for row in rows}


def moved_at(before: Row, row: Row, now: datetime) -> datetime:
    """When a user changed a contact of Digital Onboarding's, as it was and as it is: a time that a write of ours has
    moved is not the change's, and then it is when we hear of it."""
    edited: datetime | None = row["edited_at"]
    return edited if edited is not None and edited != before["edited_at"] else now


def save_records(
    conn: Connection, table: Table, rows: Sequence[Row], key: str = "id", known_keys: Container[str] | None = None
) -> None:
    """Any other record: the last word counts, and an unchanged one is not written. `known_keys`: those that
    the mirror has, for whoever has asked (`known`)."""
    rows = unique(rows, key)
    if bulk.copies(conn, rows):
        if known_keys is None:
            known_keys = known(conn, table, [row[key] for row in rows], key)
        rows = _copied(conn, table, rows, key, known_keys)
    if rows:
        names = tuple(rows[0])
        bulk.execute(conn, _records_upsert(conn.dialect.name, table, names, key), names, rows)


def known(conn: Connection, table: Table, ids: Sequence[str], key: str = "id") -> set[str]:
    """Those of the keys that the mirror has."""
    return set(conn.execute(_known(table, key), {"ids": ids}).scalars())


@cache
def _known(table: Table, key: str) -> Any:
    return select(table.c[key]).where(bulk.among(table.c[key], "ids"))


@cache
def _records_upsert(dialect: str, table: Table, names: tuple[str, ...], key: str) -> Any:
    statement = bulk.insert(dialect, table, names)
    values: dict[str, Any] = {name: statement.excluded[name] for name in names if name != key}
    if "deleted_at" in table.c:
        values["deleted_at"] = null()
    where = statement.excluded.raw.is_distinct_from(table.c.raw)
    return statement.on_conflict_do_update(index_elements=[key], set_=values, where=where)


def unique(rows: Iterable[Row], key: str) -> list[Row]:
    """The last row of each key, in the order of keys: none is touched twice, and two writers of known rows do not wait
    for each other. (Of new ones they may: those are copied before; `Database` begins again who is given up.)"""
    last = {row[key]: row for row in rows}
    return [last[name] for name in sorted(last)]


def knows_journey(conn: Connection, unique_id: str, template_id: str) -> bool:
    journeys = t.digital_onboarding_journeys.c
    query = select(journeys.id).where(journeys.unique_id == unique_id, journeys.template_id == template_id)
    return conn.execute(query.limit(1)).first() is not None


def save_completions(conn: Connection, rows: Sequence[Row]) -> None:
    """(unique_id, objective_key, completed_at, origin): kept once; a time that was unknown may be learned later."""
    if rows:
        table, statement = t.digital_onboarding_objective_completions, None
        statement = insert(conn, table)
        statement = statement.on_conflict_do_update(
            index_elements=["unique_id", "objective_key"],
            set_={"completed_at": statement.excluded.completed_at},
            where=and_(table.c.completed_at.is_(None), statement.excluded.completed_at.is_not(None)),
        )
        conn.execute(statement, list({(row["unique_id"], row["objective_key"]): row for row in rows}.values()))


def ids_between(conn: Connection, table: Table, dated_by: str, lower: datetime, upper: datetime) -> set[str]:
    """The ids that the mirror holds as alive, of the times from `lower` to before `upper`."""
    when: Column[Any] = table.c[dated_by]
    query = select(table.c.id).where(when >= lower, when < upper)
    if "deleted_at" in table.c:
        query = query.where(table.c.deleted_at.is_(None))
    return set(conn.execute(query).scalars())


def keys(conn: Connection, table: Table, key: str) -> set[str]:
    return set(conn.execute(_keys(table, key)).scalars())


@cache
def _keys(table: Table, key: str) -> Any:
    return select(table.c[key])


def some_contacts(conn: Connection, limit: int) -> list[str]:
    """The newest living OnVoard contacts."""
    table = t.onvoard_contacts
    query = select(table.c.id).where(table.c.deleted_at.is_(None)).order_by(table.c.created_at.desc()).limit(limit)
    return list(conn.execute(query).scalars())


def raw_of(conn: Connection, contact_id: str) -> Row:
    """The payload of an OnVoard contact as it was last heard; nothing where it is not known."""
    c = t.onvoard_contacts.c
    return conn.execute(select(c.raw).where(c.id == contact_id)).scalar() or {}


def edited(conn: Connection, platform: Platform, key: str, at: datetime | None) -> None:
    """Somebody edited this contact (id, or unique_id), at about that time."""
    ov, do = t.onvoard_contacts, t.digital_onboarding_contacts
    table, column = (ov, ov.c.id) if platform is Platform.ONVOARD else (do, do.c.unique_id)
    conn.execute(update(table).where(column == key).values(edited_at=at))


def unsubscribed(conn: Connection, contact_ids: Collection[str]) -> set[str]:
    """Those of these OnVoard contacts that have opted out, as far as is known."""
    if not contact_ids:
        return set()
    c = t.onvoard_contacts.c
    chosen = select(c.id).where(c.id.in_(contact_ids), c.email_unsubscribed.is_(True))
    return set(conn.execute(chosen).scalars())


def mark_gone(conn: Connection, table: Table, key: str, now: datetime) -> None:
    """A record that its platform no longer has: `deleted_at` where the table has one, else its row goes."""
    (primary,) = table.primary_key.columns
    if "deleted_at" not in table.c:
        conn.execute(delete(table).where(primary == key))
        return
    values = {"deleted_at": now} | ({"dirty": True} if "dirty" in table.c else {})
    conn.execute(update(table).where(primary == key, table.c.deleted_at.is_(None)).values(values))


def due_for_refresh(conn: Connection, before: datetime, after: str, limit: int) -> list[str]:
    """unique_ids whose last answer is older than `before`, in order, from `after` on; removed ones are left alone."""
    return list(conn.execute(_due(), {"before": before, "after": after, "most": limit}).scalars())


@cache
def _due() -> Any:
    c = t.digital_onboarding_contacts.c
    older = or_(c.refreshed_at.is_(None), c.refreshed_at < bindparam("before"))
    query = select(c.unique_id).where(c.unique_id > bindparam("after"), c.removed_at.is_(None), older)
    return query.order_by(c.unique_id).limit(bindparam("most"))


def objective_keys(conn: Connection) -> set[str]:
    return set(conn.execute(select(t.digital_onboarding_objectives.c.key)).scalars()) - {None}


def sync_ids_known(conn: Connection, sync_ids: Iterable[str]) -> set[str]:
    column = t.onvoard_activities.c.sync_id
    return set(conn.execute(select(column).where(column.in_(list(sync_ids)))).scalars())


_LINK_FITS = (
    select(t.onvoard_contact_property_types.c.value_type)
    .where(t.onvoard_contact_property_types.c.key == LINK_PROPERTY)
    .where(func.coalesce(t.onvoard_contact_property_types.c.value_type, "STRING") == "STRING")
)


def link_property_fits(conn: Connection) -> bool:
    """Whether OnVoard has the link property, and as text: under one of another type every write would be refused."""
    return conn.execute(_LINK_FITS).first() is not None


def activity_type_accessors(conn: Connection) -> set[str]:
    return keys(conn, t.onvoard_activity_types, "accessor")
