"""`contact-bridge jobs`: what the daemon does in turn, from any process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from service.cli import output
from service.cli.context import Context, pass_context
from service.cli.groups import DefaultGroup
from service.cli.sync import LEASE_WAIT, tell

if TYPE_CHECKING:
    from service.bridge import Report
    from service.settings import Settings
    from service.settings.turns import Turn
    from service.store.database import Connection

_COLUMNS = ("name", "turn", "next_run_at", "last_run_at", "outcome", "running", "paused_since", "missed")
_NAMES = click.argument("names", metavar="NAME...", nargs=-1, required=True)


@click.group(cls=DefaultGroup)
def jobs() -> None:
    """The daemon's jobs: when each ran and runs, and how it went. Alone: `list`."""


@jobs.command("list")
@output.format_option()
@pass_context
def list_(ctx: Context, output_format: str) -> None:
    """List all jobs. `next` in the past: no daemon has come round to it yet."""
    with ctx.database().begin(write=False) as conn:
        rows = _rows(conn, ctx.settings, datetime.now(UTC))
    output.write_rows(_COLUMNS, ([row[name] for name in _COLUMNS] for row in rows), output_format)


def _rows(conn: Connection, settings: Settings, now: datetime) -> list[dict[str, Any]]:
    from service import jobs as table
    from service.store import jobs as kept
    from service.store import reports

    paused, missed = kept.paused(conn), kept.missed(conn)
    running = {row["name"] for row in reports.leases(conn, now) if row["running"]}
    return [
        {
            "name": job.name,
            "turn": _text(table.turn_of(settings, job)),
            "next_run_at": table.next_turn(conn, settings, job, now),
            "last_run_at": last["started_at"] if (last := kept.last_run(conn, job.name)) else None,
            "outcome": last["outcome"] if last else None,
            "running": f"job:{job.name}" in running,
            "paused_since": paused.get(job.name),
            "missed": missed.get(job.name, 0),
        }
        for job in table.JOBS
    ]


def _text(turn: Turn) -> str:
    from service.core.rule_words import span

    return span(turn) if isinstance(turn, timedelta) else str(turn)


@jobs.command()
@click.argument("name")
@pass_context
def run(ctx: Context, name: str) -> int:
    """Run one job now, in this process, whether or not it is due, paused or in quiet hours."""
    from service import app
    from service import jobs as table
    from service.cli.progress import progress

    job = table.named(name)
    ctx.settings.require_platforms()
    database = ctx.database(create=True)

    async def work() -> Report:
        async with app.open_bridge(ctx.settings, database) as bridge:
            with progress() as shown:
                return await table.run_now(bridge, job, LEASE_WAIT, shown)

    report = ctx.run(work())
    tell(report)
    return 3 if report.needs_person else 0


@jobs.command()
@_NAMES
@pass_context
def pause(ctx: Context, names: tuple[str, ...]) -> None:
    """Let jobs rest, in every daemon on this mirror, until they are resumed. A run that is at work comes to its end."""
    from service import jobs as table
    from service.store import jobs as kept

    found = [table.named(name).name for name in names]
    with ctx.database().begin() as conn:
        kept.pause(conn, found, datetime.now(UTC))
    output.write_line(f"Paused: {', '.join(found)}. To let them go on: contact-bridge jobs resume {' '.join(found)}")


@jobs.command()
@_NAMES
@pass_context
def resume(ctx: Context, names: tuple[str, ...]) -> None:
    """Let paused jobs go on, from their next turn."""
    from service import jobs as table
    from service.store import jobs as kept

    found = [table.named(name).name for name in names]
    with ctx.database().begin() as conn:
        resumed = kept.resume(conn, found, datetime.now(UTC))
    output.write_line(f"Resumed: {', '.join(resumed)}." if resumed else "None of them was paused.")
