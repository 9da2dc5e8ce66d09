"""Runs: work on record, whatever comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import structlog

from service.bridge import Bridge, Report, claim_accounts, local_now
from service.cycle import Cycle
from service.errors import SuspiciouslyEmpty
from service.extract.importer import Imported, import_export
from service.progress import Progress, Stopped
from service.store import cursors, people
from service.store.database import Database

_log = structlog.get_logger()


async def run(
    bridge: Bridge, kind: str, work: Callable[[Cycle], Awaitable[None]], progress: Progress | None = None
) -> Report:
    """One run on record, whatever comes of it."""
    started = bridge.now()

    await claim_accounts(bridge)
    run_id = await bridge.db.run(lambda conn: cursors.start_run(conn, kind, started))
    cycle = Cycle(bridge, run_id, started, progress)
    outcome = "failed"
    try:
        await work(cycle)
        await cycle.conclude()
        outcome = cycle.report.outcome
        return cycle.report
    except SuspiciouslyEmpty:
        outcome = "suspiciously empty"
        raise
    except (asyncio.CancelledError, Stopped):
        outcome = "interrupted"
        raise
    finally:
        counts = cycle.report.counts()
        await bridge.db.run(lambda conn: cursors.finish_run(conn, run_id, outcome, counts, bridge.now()))
        await bridge.db.tidy()
        seconds = round((bridge.now() - started).total_seconds(), 3)
        _log.info("run", run_id=run_id, kind=kind, outcome=outcome, seconds=seconds, **counts)


async def sync(
    bridge: Bridge, *, full: bool = False, allow_mass_change: bool = False, progress: Progress | None = None
) -> Report:
    """One whole cycle, until nothing is left to push."""

    async def work(cycle: Cycle) -> None:
        began = cycle.started_at.isoformat()
        await bridge.db.run(lambda conn: cursors.fact_once(conn, "first_sync_at", began))
        await cycle.take_up()
        await cycle.pull(full=full, allow_empty=allow_mass_change)
        await cycle.refresh(full=full)
        await cycle.reconcile_and_push(brake_on=not allow_mass_change)

    return await run(bridge, "sync", work, progress)


async def backfill(
    bridge: Bridge, resources: Sequence[str], since: datetime | None, until: datetime | None,
    progress: Progress | None = None,
) -> Report:  # fmt: skip
    """A full pull of the named resources into the mirror; never pushes."""

    async def work(cycle: Cycle) -> None:
        pulls: dict[str, tuple[str, ...]] = {
            "contacts": ("contact_property_types", "contacts"),
            "reviews": ("reviews",),
            "activities": ("activities",),
            "resources": ("resources", "resource_property_types", "activity_types", "webhooks", "records"),
            "summaries": ("summaries",),
        }
        timed = {"contacts", "reviews", "activities", "records"}
        for resource in resources:
            for name in pulls.get(resource, ()):
                work = cycle.onvoard.backfill(name, since, until) if name in timed else cycle.onvoard.listing(name)
                cycle.report.pulled[name] += await work
            if resource == "templates":
                cycle.report.pulled["templates"] += await cycle.digital.templates()
            if resource == "objectives":
                cycle.report.pulled["objectives"] += await cycle.digital.objectives()
        await bridge.db.run(lambda conn: people.adopt(conn, bridge.now()))

    return await run(bridge, "backfill", work, progress)


async def import_file(
    db: Database, lines: Iterable[str], progress: Progress, now: Callable[[], datetime] = local_now
) -> Imported:
    """A Digital Onboarding export into the mirror. No platform is asked."""
    run_id = await db.run(lambda conn: cursors.start_run(conn, "import", now()))
    counts: dict[str, Any] = {}
    outcome = "failed"
    try:
        result = await import_export(lines, db, run_id, now, progress)
        await db.run(lambda conn: people.adopt(conn, now()))
        outcome, counts = "partial" if result.bad else "ok", {"imported": result.rows, "bad_rows": len(result.bad)}
        return result
    finally:
        await db.run(lambda conn: cursors.finish_run(conn, run_id, outcome, counts, now()))
