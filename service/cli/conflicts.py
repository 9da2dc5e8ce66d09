"""`contact-bridge conflicts`: what needs a person's decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from service.cli import output
from service.cli.context import Context, pass_context
from service.cli.groups import DefaultGroup
from service.errors import NobodyFound

if TYPE_CHECKING:
    from service.core.mapping import FieldMap
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
    from service import app
    from service.store import reports

    mapping = app.field_map(ctx.settings)
    with ctx.database().begin(write=False) as conn:
        found = reports.conflict(conn, conflict_id)
        if found is None:
            raise NobodyFound(f"there is no conflict {conflict_id}", hint="contact-bridge conflicts list --all")
        people = _people(conn, found, mapping)
    if output_format == "json":
        output.write_json({**found, "people": people})
    else:
        _show(found, people)


def _people(conn: Connection, conflict: Mapping[str, Any], mapping: FieldMap) -> list[dict[str, Any]]:
    """The person whose conflict it is, and those who are frozen together with them."""
    from service.cli.explanation import explain_person
    from service.store import reports

    ids = {conflict["person_id"], *reports.frozen_by(conn, conflict["id"])} - {None}
    found = (explain_person(conn, person_id, mapping) for person_id in sorted(ids))
    return [
        {key: person[key] for key in ("person", "fields", "opted_out")} for person in found if person is not None
    ]


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
