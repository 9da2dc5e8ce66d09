"""`contact-bridge db`: the database's migrations."""

from __future__ import annotations

import click

from service.cli import output
from service.cli.context import Context, pass_context


@click.group()
def db() -> None:
    """Migrate the database."""


@db.command()
@click.argument("revision", default="head")
@pass_context
def upgrade(ctx: Context, revision: str) -> None:
    """Bring the database to the newest revision, or up to REVISION."""
    from service.store import migrate

    database = ctx.unchecked_database()
    before = migrate.current(database)
    migrate.upgrade(database, revision)
    _tell(before, migrate.current(database), database.name)


@db.command()
@click.argument("revision", default="-1")
@pass_context
def downgrade(ctx: Context, revision: str) -> None:
    """Go back one step, or down to REVISION. Undoing the first step drops the mirror."""
    from service.store import migrate

    database = ctx.unchecked_database()
    before = migrate.current(database)
    migrate.downgrade(database, revision)
    _tell(before, migrate.current(database), database.name)


@db.command()
@pass_context
def current(ctx: Context) -> None:
    """Show the revision that the database is at."""
    from service.store import migrate

    database = ctx.unchecked_database()
    found, newest = migrate.current(database), migrate.head()
    if found is None:
        output.write_line(f"{database.name}: not migrated yet")
    else:
        output.write_line(f"{database.name}: {found}{' (head)' if found == newest else ''}")
    if found != newest:
        output.write_line("Next: contact-bridge db upgrade")


def _tell(before: str | None, after: str | None, name: str) -> None:
    moved = f"{before or 'empty'} -> {after or 'empty'}" if before != after else f"is at {after or 'empty'} already"
    output.write_line(f"{name}: {moved}")
