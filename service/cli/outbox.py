"""`contact-bridge outbox`: pending and dead pushes."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from service.cli import output
from service.cli.context import Context, pass_context
from service.cli.groups import DefaultGroup
from service.errors import NobodyFound

_ALL = "contact-bridge outbox list --all"
_IDS = click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.IntRange(min=1))


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


@outbox.command()
@click.argument("push_id", metavar="ID", type=click.IntRange(min=1))
@output.format_option("table", "json")
@pass_context
def show(ctx: Context, push_id: int, output_format: str) -> None:
    """Show one push: what it says, about whom, and why each attempt failed."""
    from service.store import reports

    with ctx.database().begin(write=False) as conn:
        found = reports.push(conn, push_id)
    if found is None:
        raise NobodyFound(f"the outbox holds no {push_id}", hint=_ALL)
    if output_format == "json":
        output.write_json(found)
        return
    details, reasons = found.pop("details") or (), found.pop("reasons")
    output.write_pairs((name, value) for name, value in found.items() if value is not None)
    changes = ("field", "old", "new", "why")
    if details:
        output.write_table(changes, [[each.get(name) for name in changes] for each in details], "What it changes")
    if reasons:
        output.write_table(("at", "status", "reason"), [list(each.values()) for each in reasons], "What came of it")
    if found["person_id"] is not None:
        output.write_line(f"Next: contact-bridge explain person:{found['person_id']}")
    if found["status"] == "dead":
        output.write_line(f"Next: contact-bridge outbox retry {push_id}, or contact-bridge outbox discard {push_id}")


@outbox.command()
@_IDS
@pass_context
def retry(ctx: Context, ids: tuple[int, ...]) -> None:
    """Let dead letters leave once more, at the next sync."""
    from service import dead_letters

    with ctx.database().begin() as conn:
        dead_letters.retry(conn, ids, datetime.now(UTC))
    output.write_line(f"{len(set(ids))} will be sent again: contact-bridge sync")


@outbox.command()
@_IDS
@pass_context
def discard(ctx: Context, ids: tuple[int, ...]) -> None:
    """Give dead letters up: they are never sent, and stay on record as cancelled."""
    from service import dead_letters

    with ctx.database().begin() as conn:
        dead_letters.discard(conn, ids, datetime.now(UTC))
    output.write_line(f"{len(set(ids))} discarded.")
