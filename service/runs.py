"""Runs: work on record, whatever comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from service import restoring, telemetry
from service.bridge import Bridge, Report, claim_accounts, local_now, stream_name
from service.core.records import Platform
from service.core.rules import Rule
from service.cycle import TIMED, Cycle
from service.decide import examining
from service.errors import DatabaseError, Denied, PlatformError, SuspiciouslyEmpty
from service.extract.importer import Imported, import_export
from service.headway import Headway
from service.platforms.pace import Priority, priority
from service.progress import Progress, Stopped
from service.store import adoption, cursors, health, oddities, restoration, traces
from service.store.database import Connection, Database

_log = structlog.get_logger()

# Pushes have their own, lane by lane; every other kind of run is a live pull.
_PRIORITIES = {
    "inbox": Priority.WEBHOOK,
    "reconcile": Priority.OUTBOX,
    "sweep": Priority.VERIFY,
    "verify": Priority.VERIFY,
    "backfill": Priority.BACKFILL,
}

ALL_ELSE = "everything else was done: contact-bridge status"


async def run(
    bridge: Bridge, kind: str, work: Callable[[Cycle], Awaitable[None]], progress: Progress | None = None
) -> Report:
    """One run on record, whatever comes of it. What it left out is raised when everything else is done."""
    started = bridge.now()

    try:
        await claim_accounts(bridge)
    except Denied as error:
        await _refused(bridge, kind, started, error)
        raise
    await restoring.notice(bridge)
    run_id = await bridge.db.run(lambda conn: cursors.start_run(conn, kind, started))
    structlog.contextvars.bind_contextvars(run_id=run_id)  # for all that is told of it, also when it is over
    cycle = Cycle(bridge, run_id, started, progress)
    outcome, why = "", dict[str, Any]()
    try:
        with priority(_PRIORITIES.get(kind, Priority.LIVE)), telemetry.run(kind, run_id):
            async with cycle.headway.told(bridge.db, run_id, bridge.now):
                await work(cycle)
        await cycle.conclude()
        outcome = cycle.report.outcome
        _raise_left_out(cycle.report)
        return cycle.report
    except BaseException as error:
        if not outcome:  # what it has done until then is told all the same
            outcome = _ended_by(error)
            with suppress(DatabaseError):
                await cycle.conclude()
        why = _why(error)
        raise
    finally:
        await _end(cycle, kind, outcome, why)


async def _end(cycle: Cycle, kind: str, outcome: str, why: dict[str, Any]) -> None:
    bridge, report = cycle.bridge, cycle.report
    counts = report.counts() | why | await _surprises(bridge)
    await bridge.db.run(lambda conn: _finish(conn, report, outcome, counts, bridge.now()))
    await _tidy(bridge.db)
    seconds = round((bridge.now() - cycle.started_at).total_seconds(), 3)
    figures = {name: number for name, number in counts.items() if name != "changed"}
    _log.info("run", run_id=report.run_id, kind=kind, outcome=outcome, seconds=seconds, **figures)


def _raise_left_out(report: Report) -> None:
    """What a stream failed with, beside which all else was done; a denial before anything else."""
    if report.failed:
        error = max(report.failed.values(), key=lambda each: isinstance(each, Denied))
        if report.read:
            error.hint = error.hint or ALL_ELSE
        raise error


def _ended_by(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError | Stopped):
        return "interrupted"
    if isinstance(error, SuspiciouslyEmpty):
        return "suspiciously empty"
    return "denied" if isinstance(error, Denied) else "failed"


def _why(error: BaseException) -> dict[str, Any]:
    """Of the errors that name neither a person nor a secret, what they say; of others the kind alone."""
    if isinstance(error, asyncio.CancelledError | Stopped):
        return {}
    told = isinstance(error, PlatformError | DatabaseError | SuspiciouslyEmpty)
    found = {"error": str(error) if told else type(error).__name__}
    return found | ({"denied_by": error.platform} if isinstance(error, Denied) else {})


def _finish(conn: Connection, report: Report, outcome: str, counts: dict[str, Any], now: datetime) -> None:
    cursors.finish_run(conn, report.run_id, outcome, counts, now)
    failed = {stream_name(name): how for name, how in report.failures().items()}
    health.note_streams(conn, map(stream_name, sorted(report.read)), failed, now)


async def _refused(bridge: Bridge, kind: str, started: datetime, error: Denied) -> None:
    """Whether these are the credentials of this mirror's account could not even be asked."""

    def record(conn: Connection) -> int:
        run_id = cursors.start_run(conn, kind, started)
        cursors.finish_run(conn, run_id, "denied", _why(error), bridge.now())
        return run_id

    _log.info("run", run_id=await bridge.db.run(record), kind=kind, outcome="denied", **_why(error))


async def _tidy(db: Database) -> None:
    """If somebody was erased, in this run or in one that was killed, nothing of them stays anywhere in the database."""
    if not await db.run(traces.is_due):
        await db.tidy()
        return
    found = await db.read(traces.find)
    await db.run(lambda conn: traces.erase(conn, found))
    if await db.tidy(erased=True):
        await db.run(traces.done)
    else:
        _log.warning("what was erased may still be on free pages: due again at the end of the next run")


async def _surprises(bridge: Bridge) -> dict[str, Any]:
    """What the answers held beyond the documents, counted in the mirror; told in the log when it is met first."""
    found = {platform: dict(counter) for platform, counter in bridge.surprises.items()}
    for counter in bridge.surprises.values():
        counter.clear()

    def count(conn: Connection) -> list[tuple[Platform, str]]:
        return [(p, what) for p in found for what in oddities.count_surprises(conn, p, found[p], bridge.now())]

    for platform, what in await bridge.db.run(count) if any(found.values()) else ():
        _log.warning("surprise", platform=platform.value, what=what)
    return {"surprises": sum(sum(counter.values()) for counter in found.values())}


async def whole_cycle(cycle: Cycle, *, full: bool = False, allow_mass_change: bool = False) -> None:
    """Pull, ask, reconcile and push, until nothing is left to push. A restored mirror is read anew first."""
    began = cycle.started_at.isoformat()
    await cycle.bridge.db.run(lambda conn: cursors.fact_once(conn, "first_sync_at", began))
    if not await cycle.is_restored():
        await cycle.take_up()
        await cycle.pull(full=full, allow_empty=allow_mass_change)
        await cycle.look_into_inbox()
        await cycle.refresh(full=full)
    if await cycle.is_restored():  # what the pull brought may have shown it
        await cycle.read_anew(allow_empty=allow_mass_change)
    await cycle.read_loaders()
    await cycle.reconcile_and_push(brake_on=not allow_mass_change)


async def sync(
    bridge: Bridge, *, full: bool = False, allow_mass_change: bool = False, restored: bool = False,
    history_of: Sequence[Rule] = (), progress: Progress | None = None,
) -> Report:  # fmt: skip
    """One whole cycle. `restored`: whoever runs it knows that the mirror was; `history_of`: rules for which what lies
    behind counts as well."""

    async def work(cycle: Cycle) -> None:
        if restored:
            await bridge.db.run(lambda conn: restoration.begin(conn, "as was said to sync", bridge.now()))
        for rule in history_of:
            await bridge.db.run(lambda conn, rule=rule: examining.include_history(conn, rule))  # type: ignore[misc]
        await whole_cycle(cycle, full=full, allow_mass_change=allow_mass_change)

    return await run(bridge, "sync", work, progress)


async def backfill(
    bridge: Bridge, resources: Sequence[str], since: datetime | None, until: datetime | None,
    progress: Progress | None = None,
) -> Report:  # fmt: skip
    """A full pull of the named resources into the mirror; never pushes."""

    async def work(cycle: Cycle) -> None:
        cycle.only_reads = True
        pulls: dict[str, tuple[str, ...]] = {
            "contacts": ("contact_property_types", "contacts"),
            "reviews": ("reviews",),
            "activities": ("activities",),
            "resources": ("resources", "resource_property_types", "activity_types", "webhooks", "records"),
            "summaries": ("summaries",),
        }
        timed = [name for resource in resources for name in pulls.get(resource, ()) if name in TIMED]
        await cycle.read_together({name: partial(cycle.onvoard.backfill, name, since, until) for name in timed})
        for resource in resources:
            for name in pulls.get(resource, ()):
                if name not in TIMED:
                    await cycle.read(name, cycle.onvoard.listing(name))
            if resource == "templates":
                await cycle.read("templates", cycle.digital.templates())
            if resource == "objectives":
                await cycle.read("objectives", cycle.digital.objectives())
        await adoption.adopt_in_parts(bridge.db, bridge.now())

    return await run(bridge, "backfill", work, progress)


async def import_file(
    db: Database, lines: Iterable[str], progress: Progress, now: Callable[[], datetime] = local_now
) -> Imported:
    """A Digital Onboarding export into the mirror. No platform is asked."""
    run_id = await db.run(lambda conn: cursors.start_run(conn, "import", now()))
    counts: dict[str, Any] = {}
    outcome, headway = "failed", Headway(progress)
    try:
        async with headway.told(db, run_id, now):
            result = await import_export(lines, db, run_id, now, headway)
        await adoption.adopt_in_parts(db, now())
        outcome = "partial" if result.bad else "ok" if result.rows else "empty as expected"
        counts = {"imported": result.rows, "bad_rows": len(result.bad)}
        return result
    finally:
        await db.run(lambda conn: cursors.finish_run(conn, run_id, outcome, counts, now()))
        _log.info("run", run_id=run_id, kind="import", outcome=outcome, **counts)
