"""The schema's versions: where a database stands, and how it gets to where this program needs it."""

from __future__ import annotations

import io
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from service.errors import NewerDatabase, NotMigrated, UsageError
from service.resources import migrations_dir
from service.store.database import Database

# Alembic is imported where it migrates: every command asks where the database stands, and few move it.
if TYPE_CHECKING:
    from alembic.config import Config

UPGRADE = "contact-bridge db upgrade"
HEAD = "0015_people_turn"
"""The newest revision, as `migrations/versions` has it (a test compares them)."""
_one_at_a_time = Lock()  # alembic keeps what it is doing in a global


def upgrade(db: Database, revision: str = "head") -> str | None:
    """Migrates up, in one transaction, after any other process that is at it. -> the revision reached

    NewerDatabase where the database has a revision that this version does not know; UsageError for a wrong `revision`.
    """
    from alembic import command

    return _migrate(db, lambda config: command.upgrade(config, revision))


def downgrade(db: Database, revision: str = "-1") -> str | None:
    """Migrates down, one step unless told otherwise; the first step's reverse drops the mirror. -> as `upgrade`"""
    if current(db) is None:
        raise UsageError(f"{db.name} is not migrated: there is nothing to downgrade", hint=UPGRADE)
    from alembic import command

    return _migrate(db, lambda config: command.downgrade(config, revision))


def current(db: Database) -> str | None:
    """The database's revision; None where there is none, or no database file (which is not created)."""
    if db.file is not None and not db.file.exists():
        return None
    with db.begin(write=False) as connection:
        return _revision(connection)


def head() -> str:
    """The revision that this version of contact-bridge works with."""
    return HEAD


def require_current(db: Database, create: bool = False) -> None:
    """Returns where the database is at `head()`; else NotMigrated or NewerDatabase, each naming what to do.

    With `create`, an SQLite database that does not exist or holds no table is migrated on the spot.
    """
    revision, wanted = current(db), head()
    if revision is None and create and db.dialect == "sqlite" and _empty(db):
        upgrade(db)
        return
    if revision == wanted:
        return
    if revision is None:
        raise NotMigrated(f"{db.name} is not migrated: run `{UPGRADE}`", hint=UPGRADE)
    _refuse_unknown(db, revision)
    raise NotMigrated(f"{db.name} is at {revision}, and {wanted} is needed: run `{UPGRADE}`", hint=UPGRADE)


def script(dialect: str, revisions: str = "head") -> str:
    """The SQL of an upgrade, for who runs migrations by hand. `dialect`: `sqlite` or `postgresql`."""
    from alembic import command

    config, printed = _config(), io.StringIO()
    config.output_buffer = printed
    config.attributes["dialect"] = dialect
    with _one_at_a_time:
        command.upgrade(config, revisions, sql=True)
    return printed.getvalue()


def _migrate(db: Database, act: Callable[[Config], None]) -> str | None:
    from alembic.util.exc import CommandError

    with _one_at_a_time, db.migrating() as connection:
        revision = _revision(connection)
        if revision is not None:
            _refuse_unknown(db, revision)
        config = _config()
        config.attributes["connection"] = connection
        try:
            act(config)
        except CommandError as failure:
            raise UsageError(f"{db.name} cannot be migrated so: {failure}", hint="contact-bridge db current") from None
        return _revision(connection)


def _refuse_unknown(db: Database, revision: str) -> None:
    from alembic.script import ScriptDirectory

    known = {known.revision for known in ScriptDirectory.from_config(_config()).walk_revisions()}
    if revision not in known:
        raise NewerDatabase(
            f"{db.name} is at {revision}, which this version does not know: a newer contact-bridge made it; "
            "upgrade contact-bridge",
            hint="pip install --upgrade contact-bridge",
        )


def _config() -> Config:
    from alembic.config import Config

    config = Config(stdout=io.StringIO())
    # Alembic reads the path as a configuration file's value, in which `%` is special.
    config.set_main_option("script_location", str(migrations_dir()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _empty(db: Database) -> bool:
    if db.file is not None and not db.file.exists():
        return True
    with db.begin(write=False) as connection:
        return not inspect(connection).get_table_names()
