"""`contact-bridge sync`, `backfill` and `import`: the work itself."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING

import click

from service.cli import output
from service.cli.context import Context, pass_context
from service.cli.moment import Moment
from service.text import clean

if TYPE_CHECKING:
    from service.bridge import Report
    from service.core.rules import Rule
    from service.store.database import Database

RESOURCES = ("contacts", "reviews", "activities", "resources", "summaries", "templates", "objectives")
LEASE_WAIT = 60.0
"""Seconds for which a command waits for another one that is at work on the same mirror."""


@click.command()
@click.option("--full", is_flag=True, help="Re-read every known record: edits and deletions that no cursor can see.")
@click.option("--allow-mass-change", is_flag=True, help="Lift the brake for this run.")
@click.option("--restored", is_flag=True, help="The mirror comes from a backup, and does not say so itself.")
@click.option("--include-history", is_flag=True, help="Let rules fire for what happened before they began.")
@click.option("--yes", is_flag=True, help="Do not ask, after the count of --include-history.")
@pass_context
def sync(
    ctx: Context, full: bool, allow_mass_change: bool, restored: bool, include_history: bool, yes: bool
) -> int:  # fmt: skip
    """Run one whole cycle: pull, reconcile, push, until nothing is left to push."""
    ctx.settings.require_platforms()
    database = ctx.database(create=True)
    history_of = _history_of(ctx, database, yes) if include_history else []
    from service import app, runs
    from service.alerts.watch import after_command
    from service.cli.progress import progress
    from service.store.lease import lease

    async def work() -> Report:
        async with app.open_bridge(ctx.settings, database) as bridge, lease(database, "cycle", wait=LEASE_WAIT):
            with progress() as shown:
                return await runs.sync(
                    bridge, full=full, allow_mass_change=allow_mass_change, restored=restored, history_of=history_of,
                    progress=shown,
                )  # fmt: skip

    async def work_and_tell() -> Report:
        try:
            report = await work()
        except Exception:
            await after_command(ctx.settings, database)
            raise
        await after_command(ctx.settings, database)
        return report

    report = ctx.run(work_and_tell())
    tell(report)
    return 3 if report.needs_person else 0


def _history_of(ctx: Context, database: Database, yes: bool) -> list[Rule]:
    """The rules, after the count of whom they would touch by what the mirror holds."""
    from service import backtesting
    from service.rules_file import ruleset

    rules = list(ruleset(ctx.settings).enabled)
    with database.begin(write=False) as conn:
        counts = backtesting.history(conn, rules)
    for name, number in counts.items():
        output.write_line(f"{name}: the history in the mirror is about {number} people for whom it has not fired")
    if any(counts.values()) and not yes and sys.stdin.isatty():
        click.confirm("Let the rules fire for them?", abort=True, err=True)
    return rules


@click.command()
@click.argument("resources", nargs=-1, type=click.Choice(RESOURCES))
@click.option("--since", type=Moment(), help="Only what was created from then on.")
@click.option("--until", type=Moment(), help="Only what was created before then.")
@pass_context
def backfill(ctx: Context, resources: tuple[str, ...], since: datetime | None, until: datetime | None) -> None:
    """Pull RESOURCES (all by default) into the mirror; goes on where an interrupted one stopped. Never pushes."""
    if since and until and since >= until:
        raise click.UsageError("--since must be before --until")
    ctx.settings.require_platforms()
    database = ctx.database(create=True)
    from service import app, runs
    from service.cli.progress import progress
    from service.store.lease import lease

    async def work() -> Report:
        async with app.open_bridge(ctx.settings, database) as bridge, lease(database, "backfill", wait=LEASE_WAIT):
            with progress() as shown:
                return await runs.backfill(bridge, resources or RESOURCES, since, until, shown)

    tell(ctx.run(work()))


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@pass_context
def import_(ctx: Context, file: str) -> int:
    """Import contacts exported from Digital Onboarding. Bad rows are named and left out (exit 3)."""
    database = ctx.database(create=True)
    from service import runs
    from service.cli.progress import progress
    from service.extract.importer import Imported

    async def work() -> Imported:
        with progress() as shown, open(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:  # noqa: ASYNC230
            return await runs.import_file(database, lines, shown)

    result = ctx.run(work())
    for bad in result.bad:
        click.echo(clean(f"{file}:{bad.line}: {bad.reason}"), err=True)
    bad_rows = f" {len(result.bad)} rows were bad and left out." if result.bad else ""
    output.write_line(f"Imported {result.rows} contacts.{bad_rows}")
    return 3 if result.bad else 0


PRUNED = {
    "runs": "runs that have left the mirror",
    "webhook_events": "webhook events that have left it",
    "outbox": "pushes that have left it",
    "outbox_said_once": "pushes that have lost what they said",
    "changes": "changes that have left it",
}


def tell(report: Report) -> None:
    """What a run came to, in a few lines."""
    read = [f"{number} {name.replace('_', ' ')}" for name, number in report.pulled.items() if number]
    output.write_line(f"Read: {', '.join(read) or 'nothing new'}")
    for what, number in sorted(report.pushed.items()):
        platform, operation, status = what.split(".")
        output.write_line(f"  {platform}: {operation.replace('_', ' ')} {status}: {number}")
    for kind, number in report.pruned.items():
        output.write_line(f"  {PRUNED[kind]}: {number}")
    for platform, why in report.held.items():
        output.write_line(f"Held towards {platform}: {why}. To let it pass: contact-bridge sync --allow-mass-change")
    if report.new_conflicts:
        output.write_line(f"New conflicts: {report.new_conflicts}. See: contact-bridge conflicts list")
    for name, why in report.stopped.items():
        output.write_line(f"The loader {name} is stopped: {why}. Nothing of it was pushed. See: contact-bridge check")
    if report.new_dead:
        output.write_line(f"New dead letters: {report.new_dead}. See: contact-bridge outbox list")
