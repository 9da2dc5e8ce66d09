"""Alembic's entry. `service.store.migrate` hands over an open connection, already in its transaction; from the
`alembic` command, `-x url=...` names the database, and `--sql` prints what would be run.
"""

from alembic import context

from service.store.database import Database
from service.store.tables import metadata

OPTIONS = {"target_metadata": metadata, "compare_type": True, "render_as_batch": True}


def migrate_online(connection) -> None:
    context.configure(connection=connection, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


def named_database() -> Database:
    return Database(context.get_x_argument(as_dictionary=True).get("url", "sqlite:///bridge.db"))


if context.is_offline_mode():
    dialect = context.config.attributes.get("dialect") or named_database().dialect
    context.configure(dialect_name=dialect, literal_binds=True, dialect_opts={"paramstyle": "named"}, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()
elif (given := context.config.attributes.get("connection")) is not None:
    migrate_online(given)
else:
    database = named_database()
    with database.migrating() as opened:
        migrate_online(opened)
    database.close()
