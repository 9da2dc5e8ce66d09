"""`contact-bridge plan`, `apply` and `undo`: look before it leaps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.cli import output
from service.cli.context import Context, pass_context
from service.cli.sync import LEASE_WAIT, tell

if TYPE_CHECKING:
    from service.bridge import Report
    from service.plans import Plan

COLUMNS = ("person_id", "email", "platform", "operation", "field", "old", "new", "why")
STAYING = ("person_id", "email", "platform", "field", "value", "why")
SAVE = click.option("-o", "--output", "file", type=click.Path(dir_okay=False, path_type=Path), help="Save it to FILE.")


@click.command()
@click.option("--full", is_flag=True, help="Re-read every known OnVoard record first.")
@SAVE
@output.format_option("table", "json")
@pass_context
def plan(ctx: Context, full: bool, file: Path | None, output_format: str) -> None:
    """Pull and reconcile, push nothing: show each change that a sync would make."""
    ctx.settings.require_platforms()
    database = ctx.database()
    from service import app, planning
    from service.cli.progress import progress
    from service.store.lease import lease

    async def work() -> Plan:
        async with app.open_bridge(ctx.settings, database) as bridge, lease(database, "cycle", wait=LEASE_WAIT):
            with progress() as shown:
                return await planning.plan(bridge, full=full, progress=shown)

    _show(ctx.run(work()), file, output_format)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@pass_context
def apply(ctx: Context, file: Path) -> int:
    """Push exactly the saved plan in FILE; refused if what it rests on has moved."""
    ctx.settings.require_platforms()
    database = ctx.database()
    from service import app, planning, plans
    from service.cli.progress import progress
    from service.store.lease import lease

    saved = plans.load(file)

    async def work() -> Report:
        async with app.open_bridge(ctx.settings, database) as bridge, lease(database, "cycle", wait=LEASE_WAIT):
            with progress() as shown:
                return await planning.apply(bridge, saved, shown)

    report = ctx.run(work())
    tell(report)
    return 3 if report.needs_person else 0


@click.command()
@click.argument("run", type=click.IntRange(min=1))
@SAVE
@output.format_option("table", "json")
@pass_context
def undo(ctx: Context, run: int, file: Path | None, output_format: str) -> None:
    """Make a plan that restores what RUN changed, where nobody has edited it since. It raises no consent."""
    ctx.settings.require_platforms()
    database = ctx.database()
    from service import app, undoing

    async def work() -> Plan:
        async with app.open_bridge(ctx.settings, database) as bridge:
            return await undoing.undo(bridge, run)

    _show(ctx.run(work()), file, output_format)


def _show(plan: Plan, file: Path | None, output_format: str) -> None:
    if file is not None:
        plan.save(file)
    if output_format == "json":
        output.write_json(plan.shown())
        return
    _table("Changes", plan.changes)
    _table("Held by the brake", plan.held)
    _table("What a platform cannot take", plan.not_transferable, STAYING)
    if not plan.changes and not plan.held:
        output.write_line("Nothing to change.")
    output.write_line(", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in _plain(plan.summary).items()))
    if file is not None:
        output.write_line(f"Saved. To do exactly this: contact-bridge apply {file}")


def _table(title: str, entries: list[dict[str, Any]], columns: tuple[str, ...] = COLUMNS) -> None:
    if entries:
        output.write_table(columns, [[entry[name] for name in columns] for entry in entries], title)


def _plain(summary: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in summary.items() if not isinstance(value, dict)}
