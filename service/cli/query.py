"""`contact-bridge query`: read-only SQL on the mirror."""

from __future__ import annotations

import click

from service.cli import output
from service.cli.context import Context, pass_context


@click.command()
@click.argument("sql")
@output.format_option()
@pass_context
def query(ctx: Context, sql: str, output_format: str) -> None:
    """Run read-only SQL on the mirror; the database itself refuses to write.

    Tables and views are listed in the documentation: begin with people, reviews and activities.
    """
    from service.store import readonly

    result = readonly.query(ctx.database(), sql)
    output.write_rows(result.columns, result.rows, output_format)
