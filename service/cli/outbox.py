"""`contact-bridge outbox`: pending and dead pushes."""

from __future__ import annotations

import click

from service.cli import output
from service.cli.context import Context, pass_context
from service.cli.groups import DefaultGroup


@click.group(cls=DefaultGroup)
def outbox() -> None:
    """Pushes that wait, were sent without an answer, are held, or were refused. Alone: `list`."""


@outbox.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that are done or cancelled.")
@output.format_option()
@pass_context
def list_(ctx: Context, everything: bool, output_format: str) -> None:
    """List what is still to be pushed, and what could not be."""
    from service.store import reports

    with ctx.database().begin(write=False) as conn:
        rows = reports.outbox(conn, everything=everything)
    if not rows and output_format == "table":
        output.write_line("The outbox is empty.")
        return
    columns = reports.OUTBOX_COLUMNS
    output.write_rows(columns, ([row[name] for name in columns] for row in rows), output_format)
