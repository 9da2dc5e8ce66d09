"""`contact-bridge forget WHO`: the right to erasure, and a certificate of what was done where."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from service.cli import output
from service.cli.context import Context, pass_context
from service.errors import NobodyFound, UsageError

if TYPE_CHECKING:
    from service.forgetting import Certificate, Found

LEASE_WAIT = 60.0
"""Seconds to wait for a cycle that is at work on the same mirror."""


@click.command()
@click.argument("who")
@click.option("--yes", is_flag=True, help="Do not ask.")
@output.format_option("table", "json")
@pass_context
def forget(ctx: Context, who: str, yes: bool, output_format: str) -> int:
    """Erase a person: suppressed on OnVoard, opted out on Digital Onboarding, gone from the mirror. For good.

    WHO is an e-mail (everybody who has it), a unique_id, a contact id of either platform, or person:NUMBER.
    """
    if not yes and not sys.stdin.isatty():
        raise UsageError("forget asks first, and there is no terminal", hint="contact-bridge forget WHO --yes")
    ctx.settings.require_platforms()
    database = ctx.database()
    from service import app, forgetting
    from service.store import traces
    from service.store.lease import lease

    who = who.strip()

    async def look() -> list[Found]:
        async with app.open_bridge(ctx.settings, database) as bridge:
            return await forgetting.find(bridge, who)

    found = ctx.run(look())
    if not found:
        raise NobodyFound("nobody is called this, neither in the mirror nor, if it is an e-mail, on OnVoard")
    if len(found) > 1 and "@" not in who:
        _show_matches(found, output_format)
        return 1
    if not yes:
        for each in found:
            click.echo(f"  {_named(each)}", err=True)
        click.confirm("Erase for good, on both platforms and here?", abort=True, err=True)
    certificates: list[Certificate] = []

    async def work() -> None:
        async with app.open_bridge(ctx.settings, database) as bridge, lease(database, "cycle", wait=LEASE_WAIT):
            await forgetting.forget(bridge, found, who, certificates)

    try:
        ctx.run(work())
    finally:
        if certificates:
            with database.begin(write=False) as conn:
                scrubbed = not traces.is_due(conn)
            _tell(certificates, scrubbed, output_format)
    return 1 if any(each.rows_left for each in certificates) else 0


def _named(found: Found) -> str:
    ids = (found.onvoard_contact_id, found.digital_onboarding_contact_id)
    who = "nobody yet here" if found.person_id is None else f"person:{found.person_id}"
    return ", ".join([who, found.status, *(each for each in ids if each), found.email or "no e-mail"])


def _show_matches(found: Sequence[Found], output_format: str) -> None:
    rows = [asdict(each) for each in found]
    if output_format == "json":
        output.write_json({"matches": rows})
        return
    output.write_line(f"{len(found)} people are called this; nothing was done:")
    output.write_table(tuple(rows[0]), [list(row.values()) for row in rows])
    output.write_line(f"Next: contact-bridge forget person:{found[0].person_id}")


def _tell(certificates: Sequence[Certificate], scrubbed: bool, output_format: str) -> None:
    """The certificates; also where a platform has failed, as far as it went."""
    free_pages = "overwritten" if scrubbed else "in use by another process: due at the end of the next run"
    if output_format == "json":
        output.write_json({"people": [asdict(each) for each in certificates], "free_pages": free_pages})
        return
    for each in certificates:
        told = asdict(each)
        output.write_heading(f"Person {each.person_id}: {each.outcome}")
        output.write_pairs((name, told[name]) for name in ("run_id", "at") if told[name] is not None)
        _table("OnVoard", told["onvoard"])
        _table("Digital Onboarding", told["digital_onboarding"])
        _table("Rows erased here", [{"table": name, "rows": rows} for name, rows in told["rows_erased"].items()])
        if each.outcome != "failed":
            left = ", ".join(f"{rows} in {name}" for name, rows in each.rows_left.items()) or "none"
            output.write_line(f"Read back: rows that still say something: {left}")
            output.write_line("What remains, so that the person is never made again:")
            output.write_pairs((name, value) for name, value in each.remains.items() if value is not None)
    output.write_line(f"Free pages of the database: {free_pages}")


def _table(title: str, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        output.write_table(tuple(rows[0]), [list(row.values()) for row in rows], title)
