"""The daemon's jobs, one by one: what each does, when its turn is, and inside which lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from service import retaining, runs
from service.bridge import Bridge, Report
from service.core.nearest import did_you_mean
from service.cycle import LISTINGS, Cycle
from service.errors import BridgeError, UsageError
from service.progress import Progress
from service.settings import Settings
from service.settings.turns import Cron, Turn
from service.store import cursors, inbox, jobs, slices, verifications
from service.store.database import Connection, Database
from service.store.lease import lease
from service.verifying import DIGITAL_ONBOARDING, STREAMS, comparing

MOST = 10_000
"""So many missed turns are counted at a time."""


async def _timed(run: Cycle, name: str) -> None:
    await run.read(name, run.onvoard.new(name))


async def _activities(run: Cycle) -> None:
    await _timed(run, "activities")
    run.report.pulled["contacts"] += await run.onvoard.follow_hints()


async def _resources(run: Cycle) -> None:
    for name in LISTINGS:
        await run.read(name, run.onvoard.listing(name))
    await _timed(run, "records")


async def _summaries(run: Cycle) -> None:
    await run.read("summaries", run.onvoard.listing("summaries"))


async def _templates(run: Cycle) -> None:
    await run.read("templates", run.digital.templates())


async def _objectives(run: Cycle) -> None:
    await run.read("objectives", run.digital.objectives())


async def _reconcile(run: Cycle) -> None:
    if await run.is_restored():
        await run.read_anew()
    else:
        await run.take_up()
    await run.ask_about_strangers()
    await run.read_loaders()
    await run.reconcile_and_push()


@dataclass(frozen=True, slots=True)
class Job:
    """`pulls`: nothing is reconciled before it succeeded once. `writes`: it holds the lease `cycle`, like a `sync`."""

    name: str
    work: Callable[[Cycle], Awaitable[None]]
    pulls: bool = True
    writes: bool = False


JOBS = (
    Job("resources", _resources),
    Job("contacts", lambda run: _timed(run, "contacts")),
    Job("templates", _templates),
    Job("objectives", _objectives),
    Job("reviews", lambda run: _timed(run, "reviews")),
    Job("activities", _activities),
    Job("summaries", _summaries),
    # A probe reads by writing: its answer must not be older than that of a push which it overlaps.
    Job("refresh", lambda run: run.refresh(), pulls=False, writes=True),
    Job("inbox", lambda run: run.look_into_inbox(), pulls=False, writes=True),
    Job("reconcile", _reconcile, pulls=False, writes=True),
    Job("sweep", lambda run: run.sweep(), pulls=False),
    Job("verify", comparing.by_settings, pulls=False),
    Job("retention", retaining.by_settings, pulls=False),
)
RELEASE = Job("sync", lambda run: runs.whole_cycle(run, allow_mass_change=True), pulls=False, writes=True)
"""What somebody asks for who has looked at what the brake holds."""
PULLS = tuple(job.name for job in JOBS if job.pulls)


QUIET = ("sweep", "verify", "retention")
"""These rest in the quiet hours."""
DAILY = ("verify", "retention")
"""Whether these are due is looked at oftener than they are: one that failed, or had no daemon, is made up for."""
LOOKS = ("inbox", "sweep")
"""Most of their turns find nothing to do, and leave no run: which of them were missed nobody can tell."""


def named(name: str) -> Job:
    """UsageError, with the nearest name, where there is no such job."""
    found = {job.name: job for job in JOBS}
    if name not in found:
        raise UsageError(f"there is no job {name}{did_you_mean(name, found)}", hint="contact-bridge jobs list")
    return found[name]


def intervals(settings: Settings) -> dict[str, Turn]:
    """Job name to its turn, or how often it is looked at whether it is due."""
    every = settings.schedule.intervals()
    looks = {name: max(turn / 8, timedelta(minutes=1)) for name in DAILY if isinstance(turn := every[name], timedelta)}
    return every | looks | {"sweep": settings.schedule.sweep_every}


def turn_of(settings: Settings, job: Job) -> Turn:
    return (settings.schedule.intervals() if job.name in DAILY else intervals(settings))[job.name]


def rests_until(settings: Settings, job: Job, now: datetime) -> datetime | None:
    return settings.schedule.quiet_until(now) if job.name in QUIET else None


@asynccontextmanager
async def leased(db: Database, job: Job, pen: asyncio.Lock | None = None, wait: float = 0.0) -> AsyncIterator[None]:
    """What a job holds while it is at work; `Busy` where somebody else does. `pen`: for the writers of one process."""
    async with AsyncExitStack() as held:
        await held.enter_async_context(lease(db, f"job:{job.name}", wait=wait))
        if job.writes:
            if pen is not None:
                await held.enter_async_context(pen)
            await held.enter_async_context(lease(db, "cycle", wait=wait))
        yield


async def work(bridge: Bridge, job: Job, progress: Progress | None = None) -> Report:
    """One run of a job, whose leases are held."""
    report = await runs.run(bridge, job.name, job.work, progress)
    if job.pulls:
        now = bridge.now().isoformat()
        await bridge.db.run(lambda conn: cursors.fact_once(conn, f"pulled:{job.name}", now))
    return report


async def run_now(bridge: Bridge, job: Job, wait: float, progress: Progress | None = None) -> Report:
    """A turn out of turn: whether the job is paused, due or resting is not asked. Busy after `wait` seconds."""
    now = bridge.now().isoformat()
    await bridge.db.run(lambda conn: cursors.fact_once(conn, "first_sync_at", now))
    async with leased(bridge.db, job, wait=wait):
        if job.name == "reconcile" and (missing := await bridge.db.run(unread)):
            raise BridgeError(
                f"nothing is reconciled before everything was read once; missing: {', '.join(missing)}",
                hint=f"contact-bridge jobs run {missing[0]}",
            )
        return await work(bridge, job, progress)


def unread(conn: Connection) -> list[str]:
    """The jobs that have never pulled what they are for."""
    read = cursors.facts_under(conn, "pulled:")
    return [name for name in PULLS if name not in read]


def is_due(conn: Connection, bridge: Bridge, job: Job) -> bool:
    """Whether there is anything to do. Nothing is due that is paused."""
    now, settings = bridge.now(), bridge.settings
    if job.name in jobs.paused(conn):
        return False
    if job.name == "inbox":
        due = inbox.next_due(conn)
        return due is not None and due <= now
    if job.name == "sweep":
        return bool(slices.due(conn, now, settings.schedule.sweep_after) or slices.unsliced(conn))
    if job.name == "verify":
        return not unread(conn) and _verification_is_due(conn, settings, now)
    if job.name == "retention":
        last, turn = jobs.last_success(conn, job.name), settings.schedule.retention
        return last is None or isinstance(turn, Cron) or now - last >= turn * 7 / 8
    return True


def _verification_is_due(conn: Connection, settings: Settings, now: datetime) -> bool:
    """What was never read cannot be right yet."""
    if isinstance(settings.schedule.verify, Cron):
        return True
    asked = [each for each in STREAMS if each != DIGITAL_ONBOARDING or settings.digital_onboarding.refresh != "off"]
    last = verifications.last_of_all(conn, asked)
    return last is None or now - last >= settings.schedule.verify * 7 / 8


def passed(settings: Settings, job: Job, since: datetime, now: datetime) -> int:
    """How many turns a job has had since then, and up to now: MOST at most, and none while it rests."""
    turn = turn_of(settings, job)
    if isinstance(turn, Cron):
        turns = turn.after(since, settings.schedule.zone)
    else:
        step = turn * (1 + settings.schedule.jitter)  # as late as it may be, lest one be counted that was only late
        turns = (since + number * step for number in range(1, MOST + 1))
    count = 0
    for at in islice(turns, MOST):
        if at > now:
            break
        count += rests_until(settings, job, at) is None
    return count


def note_missed(conn: Connection, bridge: Bridge, job: Job, counted: datetime | None) -> int:
    """Counts the turns since the last run that nobody took, those up to `counted` are known. The one that begins now
    makes up for all of them."""
    since = jobs.idle_since(conn, job.name)
    if since is None or job.name in LOOKS:
        return 0
    missed = passed(bridge.settings, job, max(since, counted or since), bridge.now()) - 1
    if missed > 0:
        jobs.add_missed(conn, job.name, missed)
    return max(0, missed)


def next_turn(conn: Connection, settings: Settings, job: Job, now: datetime) -> datetime | None:
    """When a daemon will run it: in the past where none has done so yet, None where it is paused or waits for work."""
    if job.name in jobs.paused(conn):
        return None
    at = _planned(conn, settings, job, now)
    return at and (rests_until(settings, job, max(at, now)) or at)


def _planned(conn: Connection, settings: Settings, job: Job, now: datetime) -> datetime | None:
    if job.name == "inbox":
        return inbox.next_due(conn)
    if job.name == "sweep":
        return slices.next_due(conn)
    since = jobs.idle_since(conn, job.name)
    turn = turn_of(settings, job)
    if since is None:
        since = now - turn if isinstance(turn, timedelta) else now
    return since + turn if isinstance(turn, timedelta) else next(turn.after(since, settings.schedule.zone), None)
