"""Up and down on filled databases, equality with the declared schema, what a database of another version is told."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Boolean, Column, Connection, Float, Integer, func, insert, inspect, select, text, update
from sqlalchemy.engine.interfaces import ReflectedIndex

from service.errors import BridgeError, DatabaseError, NewerDatabase, NotMigrated, UsageError
from service.store import migrate, mirror, views
from service.store import tables as t
from service.store.database import Database
from service.store.tables import metadata
from service.store.types import Json, UtcDateTime
from service.store.view_tables import MADE_BY_TRIGGERS

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    db = Database(database_url)
    yield db
    db.close()


def value(column: Column[object]) -> object:
    if isinstance(column.type, UtcDateTime):
        return NOW
    if isinstance(column.type, type(Json)):
        return {"a": [1, "ü"]}
    if isinstance(column.type, Boolean):
        return True
    return 1 if isinstance(column.type, Integer | Float) else "x"


def fill(conn: Connection) -> None:
    """A row in every table, a value in every column. Triggers make those of the views."""
    for table in metadata.sorted_tables:
        if table not in MADE_BY_TRIGGERS:
            conn.execute(insert(table), {column.name: value(column) for column in table.c})


def counts(conn: Connection) -> set[int | None]:
    return {conn.execute(select(func.count()).select_from(table)).scalar() for table in metadata.sorted_tables}


def view_texts(conn: Connection) -> dict[str, str]:
    """As the database keeps them."""
    if conn.dialect.name == "sqlite":
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'view'"
    else:
        query = "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'"
    return {row[0]: row[1].strip() for row in conn.exec_driver_sql(query)}


def trigger_texts(conn: Connection) -> dict[str, str]:
    """And those of functions."""
    if conn.dialect.name == "sqlite":
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
    else:
        query = """
            SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
            UNION ALL SELECT p.proname || '()', pg_get_functiondef(p.oid)
            FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'public'"""
    return {row[0]: row[1].strip() for row in conn.exec_driver_sql(query)}


def test_up_down_and_up_again_on_a_filled_database(db: Database) -> None:
    assert migrate.upgrade(db) == migrate.head() == migrate.current(db)
    with db.begin() as conn:
        fill(conn)
        assert counts(conn) == {1}
    assert migrate.downgrade(db, "base") is None
    with db.begin() as conn:
        assert inspect(conn).get_table_names() == ["alembic_version"]
        assert view_texts(conn) == trigger_texts(conn) == {}
    assert migrate.upgrade(db) == migrate.head()
    with db.begin() as conn:
        fill(conn)
        assert counts(conn) == {1}


def test_each_step_back_and_forth_loses_no_row_that_the_older_revision_could_hold(db: Database) -> None:
    migrate.upgrade(db)
    with db.begin() as conn:
        fill(conn)
    kept, made = set(metadata.tables), {table.name for table in MADE_BY_TRIGGERS}
    while migrate.current(db) != "0001_mirror":
        migrate.downgrade(db)
        with db.begin() as conn:
            kept &= set(inspect(conn).get_table_names())
    migrate.upgrade(db)
    with db.begin() as conn:
        held = {name for name in metadata.tables if conn.execute(text(f"SELECT count(*) FROM {name}")).scalar() == 1}
    assert held - kept == made
    assert kept <= held
    assert {"persons", "outbox", "webhook_events", "onvoard_contacts"} <= kept


def test_the_migrations_make_what_is_declared(db: Database) -> None:
    """`alembic check`, and what that does not look at: views, defaults, partial indexes, names of constraints."""
    migrate.upgrade(db)
    with db.begin() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        migrated = fingerprint(conn)
    migrate.downgrade(db, "base")
    with db.begin() as conn:
        metadata.create_all(conn)
        views.create(conn)
        assert fingerprint(conn) == migrated


def fingerprint(conn: Connection) -> object:
    """All that the database itself says about the schema, but for alembic's own table."""
    seen = inspect(conn)
    tables = {name: [{**column, "type": repr(column["type"])} for column in seen.get_columns(name)]
              for name in seen.get_table_names() if name != "alembic_version"}  # fmt: skip
    rules = {
        name: (
            seen.get_pk_constraint(name),
            sorted(seen.get_unique_constraints(name), key=str),
            sorted(seen.get_foreign_keys(name), key=str),
            sorted(
                (index["name"], index["column_names"], index["unique"], where(index))
                for index in seen.get_indexes(name)
            ),
        )
        for name in tables
    }
    return tables, rules, view_texts(conn), trigger_texts(conn)


def where(index: ReflectedIndex) -> list[str]:
    return [str(option) for name, option in index.get("dialect_options", {}).items() if name.endswith("_where")]


def test_the_views_and_what_keeps_their_rows_are_the_declared_ones(db: Database) -> None:
    migrate.upgrade(db)
    with db.begin() as conn:
        migrated, triggers = view_texts(conn), trigger_texts(conn)
        views.drop(conn)
        assert view_texts(conn) == trigger_texts(conn) == {}
        views.create(conn)
        assert view_texts(conn) == migrated
        assert trigger_texts(conn) == triggers != {}
        assert set(migrated) == set(views.declared(conn.dialect.name))


def test_two_upgrades_at_once(database_url: str) -> None:
    code = "import sys; from service.store import database, migrate; migrate.upgrade(database.Database(sys.argv[1]))"
    started = [subprocess.Popen([sys.executable, "-c", code, database_url], cwd=ROOT) for _ in range(2)]
    assert [process.wait(timeout=60) for process in started] == [0, 0]
    db = Database(database_url)
    assert migrate.current(db) == migrate.head()
    db.close()


def test_a_second_upgrade_waits_for_the_first(database_url: str) -> None:
    first, second = Database(database_url), Database(database_url)
    done = threading.Event()
    thread = threading.Thread(target=lambda: (migrate.upgrade(second), done.set()))
    with first.migrating():
        thread.start()
        assert not done.wait(0.3)
    thread.join()
    assert migrate.current(first) == migrate.head()
    first.close()
    second.close()


def test_a_migration_that_fails_leaves_the_database_as_it_was(db: Database) -> None:
    with db.begin() as conn:
        conn.execute(text("CREATE TABLE facts (key TEXT)"))
    with pytest.raises(DatabaseError, match="facts"):
        migrate.upgrade(db)
    with db.begin() as conn:
        assert inspect(conn).get_table_names() == ["facts"]


def test_dropping_a_parent_in_a_migration_does_not_cascade(sqlite_url: str) -> None:
    db = Database(sqlite_url)
    migrate.upgrade(db)
    with db.begin() as conn:
        fill(conn)
    with db.migrating() as conn:
        views.drop(conn)
        conn.execute(text("CREATE TABLE rebuilt AS SELECT * FROM persons"))
        conn.execute(text("DROP TABLE persons"))
        conn.execute(text("ALTER TABLE rebuilt RENAME TO persons"))
        conn.execute(text("CREATE UNIQUE INDEX again ON persons (id)"))
        views.create(conn)
    with pytest.raises(DatabaseError, match="foreign key"), db.migrating() as conn:
        conn.execute(text("DELETE FROM persons"))
    with db.begin() as conn:
        assert counts(conn) == {1}
        assert conn.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
    db.close()


def test_nothing_is_printed(db: Database) -> None:
    with redirect_stdout(StringIO()) as printed:
        migrate.upgrade(db)
        migrate.downgrade(db)
        migrate.current(db)
    assert printed.getvalue() == ""


def test_an_unmigrated_database_says_which_command_to_run(db: Database) -> None:
    with pytest.raises(NotMigrated, match="contact-bridge db upgrade") as caught:
        migrate.require_current(db)
    assert caught.value.exit_code == 2
    assert db.file is None or not db.file.exists()


def test_only_sqlite_is_created_and_only_when_empty(sqlite_url: str, postgres_database: str) -> None:
    sqlite, postgres = Database(sqlite_url), Database(postgres_database)
    with pytest.raises(NotMigrated):
        migrate.require_current(postgres, create=True)
    with sqlite.begin() as conn:
        conn.execute(text("CREATE TABLE mine (id INTEGER)"))
    with pytest.raises(NotMigrated):
        migrate.require_current(sqlite, create=True)
    with sqlite.begin() as conn:
        conn.execute(text("DROP TABLE mine"))
    migrate.require_current(sqlite, create=True)
    assert migrate.current(sqlite) == migrate.head()
    sqlite.close()
    postgres.close()


def test_an_empty_file_counts_as_none(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "mirror.db").touch()
    db = Database(sqlite_url)
    migrate.require_current(db, create=True)
    migrate.require_current(db)
    db.close()


def test_a_newer_database_is_left_alone(db: Database) -> None:
    migrate.upgrade(db)
    with db.begin() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999_future'"))
    for attempt in (migrate.require_current, migrate.upgrade, migrate.downgrade):
        with pytest.raises(NewerDatabase, match=r"9999_future.*upgrade contact-bridge"):
            attempt(db)


def test_wrong_revisions(db: Database) -> None:
    with pytest.raises(UsageError, match="nothing to downgrade"):
        migrate.downgrade(db)
    with pytest.raises(BridgeError, match="nosuch"):
        migrate.upgrade(db, "nosuch")


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_the_sql_can_be_had_without_a_database(dialect: str) -> None:
    script = migrate.script(dialect)
    assert "CREATE VIEW people" in script
    assert script.count("CREATE TABLE") == len(metadata.tables) + 1


def test_the_newest_revision_is_the_one_that_commands_ask_for() -> None:
    from alembic.script import ScriptDirectory

    assert ScriptDirectory.from_config(migrate._config()).get_current_head() == migrate.HEAD


def test_no_contact_becomes_news_by_an_upgrade(db: Database) -> None:
    migrate.upgrade(db)
    raws = [{"id": f"ct_{number}", "name": "Zoë", "modified_datetime": f"at {number}"} for number in range(1_203)]
    with db.begin() as conn:
        for raw in raws:
            contact = {"id": raw["id"], "modified_at": None, "raw": raw}
            mirror.save_onvoard_contacts(conn, [mirror.onvoard_contact_row(contact, NOW)])
        unique = {"unique_id": "u", "email": None, "raw": {"unique_id": "u", "updated_at": "then"}}
        mirror.save_digital_contacts(conn, [mirror.digital_contact_row(unique, "import", None)])
        conn.execute(update(t.onvoard_contacts).where(t.onvoard_contacts.c.id == "ct_7").values(content_hash="odd"))
        now = hashes(conn)
    migrate.downgrade(db, "0005_freshness")
    with db.begin() as conn:
        before = hashes(conn)
    assert {key for key in now if now[key] == before[key]} == {"ct_7"}
    assert before["u"] == "427a3cce85fab36b80582063d2bff835"
    migrate.upgrade(db)
    with db.begin() as conn:
        assert hashes(conn) == now


def hashes(conn: Connection) -> dict[str, str]:
    ov, do = t.onvoard_contacts.c, t.digital_onboarding_contacts.c
    return {
        key: hashed
        for query in (select(ov.id, ov.content_hash), select(do.unique_id, do.content_hash))
        for key, hashed in conn.execute(query)
    }
