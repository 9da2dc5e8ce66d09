"""Postgres' triggers: what is inserted by the statement, the rest row by row where something shown changes; and
before either, whoever's turn it is (`turns`)."""

from __future__ import annotations

from collections.abc import Iterator

from service.store.view_rows.definition import (
    ACTIVITIES,
    CONTACTS,
    OTHERS,
    OWNERS,
    PERSONS,
    RENEWED,
    Source,
    each,
    had_any,
    moved,
)
from service.store.view_rows.turns import ADDING, ALONE, SHOWING

_DIFFERS = "IS DISTINCT FROM"
# A plan is kept for the session, the first one is made while tables are empty, and to plan or compile costs more than
# a row.
_PLANNED = "SET jit = off SET plan_cache_mode = force_generic_plan"
_BY_INDEX = f"{_PLANNED} SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off"
# Without figures about a table Postgres gathers pages before it reads them, though there is but one: from version 18 on
# another process is asked for each, and that takes longer than to read it.
_ROW_BY_ROW = f"{_BY_INDEX} SET enable_bitmapscan = off"
_LOCKED = (
    "IF cardinality(ids) = 0 THEN RETURN; END IF",
    "PERFORM 1 FROM persons WHERE id = ANY (ids) ORDER BY id FOR NO KEY UPDATE",
)
_FRESH = "REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT"
_ROW = "FOR EACH ROW"


def statements() -> Iterator[tuple[str, str]]:
    yield _function(
        "people_rows_renew(ids bigint[])", "void", *_LOCKED,
        "DELETE FROM people_rows WHERE person_id = ANY (ids)",
        f"{RENEWED} = ANY (ids)",
        planned=_ROW_BY_ROW,
    )  # fmt: skip
    yield _function(
        "people_rows_active(ids bigint[])", "void", *_LOCKED,
        "UPDATE people_rows r SET last_activity_at = s.last_activity_at FROM people_source s\n"
        "WHERE s.person_id = r.person_id AND r.person_id = ANY (ids)",
        planned=_ROW_BY_ROW,
    )  # fmt: skip
    yield _function(
        "contact_owners_renew(contacts text[])", "void",
        "IF cardinality(contacts) = 0 THEN RETURN; END IF",
        "DELETE FROM contact_owners WHERE contact_id = ANY (contacts)",
        f"INSERT INTO contact_owners (contact_id, person_id)\n{OWNERS.format(among='= ANY (contacts)')}",
    )  # fmt: skip
    yield from _of_persons()
    for source in OTHERS:
        yield from _of(source, "people_rows_renew")
    yield from _of(ACTIVITIES, "people_rows_active")


def _of_persons() -> Iterator[tuple[str, str]]:
    yield from _before(PERSONS, f"IF TG_OP = 'INSERT' THEN {ADDING}; ELSE {ALONE}; END IF")
    yield from _trigger(
        "persons_inserted", "AFTER INSERT", "persons", _FRESH,
        f"{RENEWED} IN (SELECT id FROM fresh)",
        "INSERT INTO contact_owners (contact_id, person_id)\n"
        "SELECT onvoard_contact_id, id FROM fresh WHERE onvoard_contact_id IS NOT NULL\n"
        "ON CONFLICT (contact_id) DO UPDATE SET person_id = EXCLUDED.person_id",
        _own("SELECT former_onvoard_contact_id FROM fresh WHERE former_onvoard_contact_id IS NOT NULL"),
        planned=_ROW_BY_ROW,
    )  # fmt: skip
    shown = f"AFTER UPDATE OF {PERSONS.columns()}"
    when = f"{_ROW} WHEN ({PERSONS.changes(_DIFFERS)})"
    yield from _calling("persons_updated", shown, "persons", when, "people_rows_renew(ARRAY[NEW.id])")
    where, when = f"AFTER UPDATE OF {', '.join(CONTACTS)}", f"{_ROW} WHEN ({moved(_DIFFERS)})"
    owned = f"contact_owners_renew(ARRAY[{each('OLD')}, {each('NEW')}])"
    yield from _calling("persons_moved", where, "persons", when, owned)
    gone = "DELETE FROM people_rows WHERE person_id = OLD.id"
    yield from _trigger("persons_deleted", "AFTER DELETE", "persons", _ROW, gone)
    when, owned = f"{_ROW} WHEN ({had_any()})", f"contact_owners_renew(ARRAY[{each('OLD')}])"
    yield from _calling("persons_left", "AFTER DELETE", "persons", when, owned)


def _of(source: Source, renew: str) -> Iterator[tuple[str, str]]:
    table, old, new = source.table, f"OLD.{source.key}", f"NEW.{source.key}"
    yield from _before(source, SHOWING)
    # Most of what is new is nobody's yet, and that is one look at an index.
    known = f"JOIN contact_owners w ON w.contact_id = n.{source.key} " if source.whose == CONTACTS else ""
    people = f"SELECT p.id FROM fresh n {known}JOIN persons p ON {source.of(f'n.{source.key}', persons='p.')}"
    yield from _trigger(f"{table}_inserted", "AFTER INSERT", table, _FRESH, _renew(renew, people))
    people = f"SELECT id FROM persons WHERE {source.of(old, new)}"
    when = f"{_ROW} WHEN ({source.changes(_DIFFERS)})"
    yield from _trigger(f"{table}_updated", f"AFTER UPDATE OF {source.columns()}", table, when, _renew(renew, people))
    people = f"SELECT id FROM persons WHERE {source.of(old)}"
    yield from _trigger(f"{table}_deleted", "AFTER DELETE", table, _ROW, _renew(renew, people))


def _before(source: Source, lock: str) -> Iterator[tuple[str, str]]:
    when = f"BEFORE INSERT OR DELETE OR UPDATE OF {source.columns()}"
    yield from _reading_nothing(f"{source.table}_turn", when, source.table, "FOR EACH STATEMENT", lock)


def _renew(function: str, people: str) -> str:
    return f"PERFORM {function}(ARRAY({people}))"


def _own(contacts: str) -> str:
    return f"PERFORM contact_owners_renew(ARRAY({contacts}))"


def _calling(name: str, when: str, table: str, scope: str, call: str) -> Iterator[tuple[str, str]]:
    yield from _reading_nothing(name, when, table, scope, f"PERFORM {call}")


def _reading_nothing(name: str, when: str, table: str, scope: str, does: str) -> Iterator[tuple[str, str]]:
    """A trigger that reads no table itself: to set what a plan depends on costs as much as what it does."""
    yield _function(f"{name}()", "trigger", does, "RETURN NULL", planned="")
    yield _created(name, when, table, scope)


def _trigger(
    name: str, when: str, table: str, scope: str, *does: str, planned: str = _BY_INDEX
) -> Iterator[tuple[str, str]]:
    yield _function(f"{name}()", "trigger", *does, "RETURN NULL", planned=planned)
    yield _created(name, when, table, scope)


def _created(name: str, when: str, table: str, scope: str) -> tuple[str, str]:
    text = f"CREATE TRIGGER {name} {when} ON {table} {scope} EXECUTE FUNCTION {name}()"
    return f"DROP TRIGGER {name} ON {table}", text


def _function(signature: str, returns: str, *does: str, planned: str = _BY_INDEX) -> tuple[str, str]:
    body = ";\n".join((*does, "END"))
    text = f"CREATE FUNCTION {signature} RETURNS {returns} LANGUAGE plpgsql {planned} AS $$\nBEGIN\n{body} $$"
    return f"DROP FUNCTION {signature}", text
