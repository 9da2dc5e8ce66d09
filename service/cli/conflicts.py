"""`contact-bridge conflicts`: what needs a person's decision."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from service.cli import output
from service.cli.context import Context, pass_context
from service.cli.groups import DefaultGroup
from service.cli.people import in_turn
from service.errors import BridgeError, NobodyFound

if TYPE_CHECKING:
    from service.store.reports import Connection


@click.group(cls=DefaultGroup)
def conflicts() -> None:
    """What the bridge does not decide by itself. Alone: `list`."""


@conflicts.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that are resolved.")
@output.format_option()
@pass_context
def list_(ctx: Context, everything: bool, output_format: str) -> None:
    """List the open conflicts."""
    from service.store import reports

    with ctx.database().begin(write=False) as conn:
        rows = reports.conflicts(conn, everything=everything)
    if not rows and output_format == "table":
        output.write_line("No conflicts." if everything else "No open conflicts.")
        return
    columns = reports.CONFLICT_COLUMNS
    output.write_rows(columns, ([row[name] for name in columns] for row in rows), output_format)


@conflicts.command("show")
@click.argument("conflict_id", metavar="ID", type=click.IntRange(min=1))
@output.format_option("table", "json")
@pass_context
def show(ctx: Context, conflict_id: int, output_format: str) -> None:
    """Show one conflict with both sides of its people."""
    from service import explanation
    from service.mapping_file import field_map
    from service.store import reports

    mapping = field_map(ctx.settings)
    with ctx.database().begin(write=False) as conn:
        found = reports.conflict(conn, conflict_id)
        if found is None:
            raise NobodyFound(f"there is no conflict {conflict_id}", hint="contact-bridge conflicts list --all")
        people = explanation.people_of_conflict(conn, found, mapping)
    if output_format == "json":
        output.write_json({**found, "people": people})
    else:
        _show(found, people)


def _show(conflict: Mapping[str, Any], people: Sequence[Mapping[str, Any]]) -> None:
    output.write_pairs((name, value) for name, value in conflict.items() if value is not None)
    for each in people:
        person = each["person"]
        title = f"Person {person['person_id']} ({person['status']})"
        rows = [[field["field"], field["onvoard"], field["digital_onboarding"]] for field in each["fields"]]
        rows.append(["opted out of e-mail", each["opted_out"]["onvoard"], each["opted_out"]["digital_onboarding"]])
        rows.insert(0, ["id", person["onvoard_contact_id"], person["unique_id"]])
        output.write_table(["", "OnVoard", "Digital Onboarding"], rows, title)
        output.write_line(f"Next: contact-bridge explain person:{person['person_id']}")
    if conflict["status"] == "open":
        resolve_it = f"contact-bridge conflicts resolve {conflict['id']} --keep onvoard|digital-onboarding"
        output.write_line(f"To resolve it: {resolve_it}")


@conflicts.command("resolve")
@click.argument("ids", metavar="ID...", nargs=-1, type=click.IntRange(min=1))
@click.option("--keep", required=True, type=click.Choice(["onvoard", "digital-onboarding"]), help="Whose side stands.")
@click.option("--reason", metavar="TEXT", help="Why; it is kept with the conflict.")
@click.option("--kind", metavar="KIND", help="Instead of IDs: all open ones of this kind.")
@click.option("--field", metavar="FIELD", help="Instead of IDs: all open ones about this field.")
@click.option("--all", "everything", is_flag=True, help="Instead of IDs: all open ones.")
@click.option("--yes", is_flag=True, help="Do not ask before many are resolved.")
@pass_context
def resolve(
    ctx: Context, ids: Sequence[int], keep: str, reason: str | None, kind: str | None, field: str | None,
    everything: bool, yes: bool,
) -> int:  # fmt: skip
    """Resolve conflicts in favour of one side; the next sync carries it out."""
    filtered = everything or kind is not None or field is not None
    if bool(ids) == filtered:
        raise click.UsageError("name conflicts by their IDs, or all of them by --kind, --field or --all")
    from service import resolving
    from service.core.records import Platform
    from service.mapping_file import field_map

    database, mapping = ctx.database(), field_map(ctx.settings)
    side = Platform(keep.replace("-", "_"))
    if filtered:
        with database.begin(write=False) as conn:
            ids = _open_ones(conn, kind, field)
        if not ids:
            output.write_line("No open conflicts of that sort.")
            return 0
        if not yes and sys.stdin.isatty():
            click.confirm(f"Resolve {len(ids)} conflicts and keep {keep}?", abort=True)

    def work(conn: Connection) -> dict[int, str | BridgeError]:
        came_to: dict[int, str | BridgeError] = {}
        for conflict_id in dict.fromkeys(ids):
            try:
                came_to[conflict_id] = resolving.resolve(conn, mapping, conflict_id, side, reason, datetime.now(UTC))
            except BridgeError as error:  # before anything was written
                if not filtered:
                    raise
                came_to[conflict_id] = error
        return came_to

    left = False
    for conflict_id, what in ctx.run(in_turn(database, work)).items():
        left |= isinstance(what, BridgeError)
        told = f"left open: {what}" if isinstance(what, BridgeError) else f"kept {keep}. The next sync: {what}."
        output.write_line(f"{conflict_id}: {told}")
    output.write_line("To carry it out: contact-bridge sync")
    return 3 if left else 0


def _open_ones(conn: Connection, kind: str | None, field: str | None) -> list[int]:
    from service.store import reports

    wanted = {name: value for name, value in (("kind", kind), ("field", field)) if value is not None}
    return [row["id"] for row in reports.conflicts(conn) if wanted.items() <= row.items()]
