"""SQLite's triggers, row by row."""

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

_IS_NOT = "IS NOT"
# In place of whoever had the contact once.
_OWNED_FIRST = """INSERT INTO contact_owners (contact_id, person_id) VALUES (NEW.onvoard_contact_id, NEW.id)
ON CONFLICT (contact_id) DO UPDATE SET person_id = excluded.person_id"""
_LATER = """UPDATE people_rows SET last_activity_at = NEW.occurred_at
WHERE person_id {those} AND (last_activity_at IS NULL OR last_activity_at < NEW.occurred_at)"""


def statements() -> Iterator[tuple[str, str]]:
    # Two thirds cheaper than renewing what a new person cannot have yet; a first pull makes a million of them.
    yield _trigger("persons_inserted", "INSERT", "persons", "", f"{RENEWED} = NEW.id")
    new = "NEW.onvoard_contact_id IS NOT NULL AND NEW.former_onvoard_contact_id IS NULL"
    yield _trigger("persons_owning", "INSERT", "persons", new, _OWNED_FIRST)
    back = "NEW.former_onvoard_contact_id IS NOT NULL"
    yield _trigger("persons_owning_again", "INSERT", "persons", back, _owned(each("NEW")))

    shown = f"UPDATE OF {PERSONS.columns()}"
    yield _trigger("persons_updated", shown, "persons", PERSONS.changes(_IS_NOT), _renewed("= NEW.id"))
    contacts = f"UPDATE OF {', '.join(CONTACTS)}"
    yield _trigger("persons_moved", contacts, "persons", moved(_IS_NOT), _owned(f"{each('OLD')}, {each('NEW')}"))
    gone = "DELETE FROM people_rows WHERE person_id = OLD.id"
    yield _trigger("persons_deleted", "DELETE", "persons", "", gone)
    yield _trigger("persons_left", "DELETE", "persons", had_any(), _owned(each("OLD")))
    for source in (*OTHERS, ACTIVITIES):
        table, old, new = source.table, f"OLD.{source.key}", f"NEW.{source.key}"
        shown = f"UPDATE OF {source.columns()}"
        known, those = _known(source, new), _those(source.of(new))
        added = _LATER.format(those=those) if source is ACTIVITIES else _renewed(those)
        yield _trigger(f"{table}_inserted", "INSERT", table, f"EXISTS ({known})", added)
        renewed = _renewed(_those(source.of(old, new)))
        yield _trigger(f"{table}_updated", shown, table, source.changes(_IS_NOT), renewed)
        yield _trigger(f"{table}_deleted", "DELETE", table, "", _renewed(_those(source.of(old))))


def _trigger(name: str, event: str, table: str, when: str, body: str) -> tuple[str, str]:
    condition = f"\nWHEN {when}" if when else ""
    text = f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW{condition}\nBEGIN\n{body};\nEND"
    return f"DROP TRIGGER {name}", text


def _known(source: Source, key: str) -> str:
    """Most of what is new is nobody's yet: a first pull pays for this question alone, so it asks one index."""
    if source.whose == CONTACTS:
        return f"SELECT 1 FROM contact_owners WHERE contact_id = {key}"
    return f"SELECT 1 FROM persons WHERE {source.of(key)}"


def _those(persons: str) -> str:
    return f"IN (SELECT id FROM persons WHERE {persons})"


def _renewed(whose: str) -> str:
    return f"DELETE FROM people_rows WHERE person_id {whose};\n{RENEWED} {whose}"


def _owned(contacts: str) -> str:
    owners = OWNERS.format(among=f"IN ({contacts})")
    into = "INSERT INTO contact_owners (contact_id, person_id)"
    return f"DELETE FROM contact_owners WHERE contact_id IN ({contacts});\n{into}\n{owners}"
