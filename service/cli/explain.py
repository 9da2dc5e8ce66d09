"""`contact-bridge explain WHO`: both sides of a person, and where each value came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from service.cli import output
from service.cli.context import Context, pass_context
from service.errors import NobodyFound

Explained = Mapping[str, Any]

_HISTORY_SHOWN = 20


@click.command()
@click.argument("who")
@output.format_option("table", "json")
@pass_context
def explain(ctx: Context, who: str, output_format: str) -> None:
    """Show both sides of a person, where each field's value came from, when and by which rule.

    WHO is an e-mail, a unique_id, a contact id of either platform, or person:NUMBER.
    """
    from service import explanation
    from service.mapping_file import field_map

    mapping = field_map(ctx.settings)
    with ctx.database().begin(write=False) as conn:
        found = explanation.explain(conn, who.strip(), mapping)
    if not found:
        raise NobodyFound(
            f"nobody in the mirror is called {who!r}", hint="contact-bridge backfill, or import, if they are new"
        )
    if output_format == "json":
        output.write_json(found[0] if len(found) == 1 else {"matches": found})
    elif len(found) > 1:
        _show_matches(found)
    else:
        _show(found[0])


def _show_matches(found: Sequence[Explained]) -> None:
    columns = ("person_id", "status", "email", "onvoard_contact_id", "unique_id", "digital_onboarding_contact_id")
    output.write_line(f"{len(found)} people are called this:")
    output.write_table(columns, [[each["person"][name] for name in columns] for each in found])
    numbers = [each["person"]["person_id"] for each in found if each["person"]["person_id"] is not None]
    if numbers:
        output.write_line(f"Next: contact-bridge explain person:{numbers[0]}")


def _show(found: Explained) -> None:
    output.write_pairs((name, value) for name, value in found["person"].items() if value is not None)
    if "erased_at" in found["person"]:
        output.write_line("Personal data of this person is not kept.")
    _show_fields(found)
    _table("Pending pushes", found["pushes"], ("id", "platform", "operation", "status", "attempts", "last_error"))
    _table(
        "Conflicts", found["conflicts"],
        ("id", "kind", "field", "status", "reason", "onvoard_value", "digital_onboarding_value", "kept"),
    )  # fmt: skip
    _table("Rules that fired", found["rules"], ("rule", "happening", "happened_at", "status", "reason", "run_id"))
    history = found["history"]
    columns = ("at", "run_id", "platform", "field", "old_value", "new_value", "rule", "source", "said_at")
    _table("History, newest first", history[:_HISTORY_SHOWN], columns)
    if len(history) > _HISTORY_SHOWN:
        output.write_line(f"and {len(history) - _HISTORY_SHOWN} earlier ones: --format json shows them")


def _show_fields(found: Explained) -> None:
    if not found["fields"]:
        return
    rows = [
        [each["field"], each["onvoard"], each["digital_onboarding"], _base(each["base"]), _source(each["source"])]
        for each in found["fields"]
    ]
    opted_out, source = found["opted_out"], found["opted_out_source"]
    rows.append(
        ["opted out", opted_out["onvoard"], opted_out["digital_onboarding"], None, _source(source) if source else None]
    )
    output.write_table(("field", "OnVoard", "Digital Onboarding", "agreed", "where from"), rows, "Fields")
    lost = [{"field": each["field"], **value} for each in found["fields"] for value in each["losing_values"]]
    _table(
        "What gave way, or went nowhere", sorted(lost, key=lambda row: row["at"], reverse=True),
        ("at", "run_id", "field", "platform", "value", "rule"),
    )  # fmt: skip


def _base(base: Mapping[str, str | None]) -> str | None:
    """What was agreed on; both where a platform spells it in its own way."""
    values = list(dict.fromkeys(value or "(blank)" for value in base.values() if value is not None))
    return " / ".join(values) if len(values) > 1 or values != ["(blank)"] else None


def _source(source: Mapping[str, Any]) -> str:
    """Who said it, and when; then in which run it was carried over, and by which rule."""
    said = str(source["text"])
    if source["said_at"] is not None:
        said += f" (said {output.short(source['said_at'])})"
    if source["at"] is None:
        return said
    return f"{said}; {output.short(source['at'])}, run {source['run_id']}: {source['rule']}"


def _table(title: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Of an erased person fewer columns are told."""
    if rows:
        told = [name for name in columns if name in rows[0]]
        output.write_table(told, [[row[name] for name in told] for row in rows], title)
