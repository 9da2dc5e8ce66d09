"""The daemon: its jobs in their turns, and how all of it comes to an end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.base import STATE_RUNNING
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from service import jobs, setup, telemetry
from service.bridge import Bridge, Report, claim_accounts
from service.errors import BridgeError, Busy, PlatformError
from service.jobs import JOBS, PULLS, RELEASE, Job, intervals
from service.logs import place
from service.progress import Stopped
from service.settings import Settings
from service.settings.turns import Cron
from service.store import cursors, inbox, slices
from service.store import jobs as kept
from service.store.database import Connection
from service.store.lease import lease

log = structlog.get_logger("service.schedule")

STAGGER = 0.1
"""Seconds between the first runs of two jobs: the first of the table has the platforms to itself for a moment."""

MOMENT = timedelta(seconds=0.1)
ASKED_WAIT = 3600.0
"""Seconds for which what somebody asked for waits until those at work are done."""
GLANCE = 60.0
"""Seconds between two looks at the machine's clock, and how far it may be put back unnoticed."""


class Schedule:
    """All jobs of one daemon: `start`, then `stop`; `wake` when a webhook event is on record."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge, self.db = bridge, bridge.db
        self.stopping = False
        self._running: set[asyncio.Task[Any]] = set()
        self._first_round = {*PULLS, "refresh"}
        self._pen = asyncio.Lock()  # the writers of this process wait for each other, and for no other process
        self._waits_for: list[str] = []
        self._woken = False
        self._at_work: set[str] = set()
        self._again: dict[str, datetime] = {}
        self._counted: dict[str, datetime] = {}  # up to when a job's missed turns are
        self._clock_keeper: asyncio.Task[None] | None = None
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )
        # That a job takes longer than its interval is nothing to warn of each time.
        logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)

    @property
    def is_running(self) -> bool:
        return self._scheduler.state == STATE_RUNNING and not self.stopping

    async def start(self) -> None:
        """Raises ForeignAccount where the mirror is another account's."""
        await claim_accounts(self.bridge)
        now = self.bridge.now().isoformat()
        await self.db.run(lambda conn: cursors.fact_once(conn, "first_sync_at", now))
        start = datetime.now(UTC)
        overdue = await self.db.run(self._overdue)
        for number, job in enumerate(JOBS):
            turn = intervals(self.bridge.settings)[job.name]
            when: dict[str, Any] = {"next_run_time": start + timedelta(seconds=number * STAGGER)}
            if isinstance(turn, Cron) and job.name not in overdue:
                when = {}  # its own time, which the first round does not wait for
                self._first_round.discard(job.name)
            elif isinstance(turn, timedelta) and job.name in ("reconcile", "verify"):
                # The first reconciliation follows the first pulls (`_ended`); where they take long, in its turn.
                when = {"next_run_time": start + turn}
            self._scheduler.add_job(self._run, self._trigger(job.name), args=[job], id=job.name, **when)
        self._scheduler.start()
        self._clock_keeper = asyncio.create_task(self._mind_the_clock())

    def _trigger(self, name: str) -> BaseTrigger:
        turn, schedule = intervals(self.bridge.settings)[name], self.bridge.settings.schedule
        if isinstance(turn, Cron):
            return turn.trigger(schedule.zone, 60 * schedule.jitter)
        seconds = turn.total_seconds()
        return IntervalTrigger(seconds=seconds, jitter=seconds * schedule.jitter, timezone=UTC)

    def _overdue(self, conn: Connection) -> Collection[str]:
        """The jobs that never got through, or had a turn while there was no daemon."""
        now, settings = self.bridge.now(), self.bridge.settings
        since = {job: kept.idle_since(conn, job.name) for job in JOBS}
        missed = [job.name for job, at in since.items() if at is None or jobs.passed(settings, job, at, now)]
        return {*missed, *jobs.unread(conn)}

    async def _mind_the_clock(self) -> None:
        """The scheduler dates its turns: a clock that is put back by a day would silence every job for a day."""
        loop = asyncio.get_running_loop()
        while True:
            before, began = datetime.now(UTC), loop.time()
            await asyncio.sleep(GLANCE)
            put_back = loop.time() - began - (datetime.now(UTC) - before).total_seconds()
            if put_back > GLANCE:
                log.warning("the clock was put back: every job has its turn now", seconds=round(put_back))
                for job in JOBS:
                    self._make_due(job.name)

    async def stop(self, grace: float) -> None:
        """No new jobs; those at work end after their current step, or are cancelled after `grace` seconds."""
        self.stopping = True
        self._scheduler.pause()
        if self._clock_keeper is not None:
            self._clock_keeper.cancel()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=1)
        self._scheduler.shutdown(wait=False)

    def use(self, bridge: Bridge) -> set[asyncio.Task[Any]]:
        """From each job's next turn on. -> those that are still at work with the former one"""
        former, self.bridge = self.bridge.settings, bridge
        for job in JOBS:
            if _timing(former, job.name) != _timing(bridge.settings, job.name):
                due = self._scheduler.get_job(job.name).next_run_time
                changed = self._scheduler.reschedule_job(job.name, trigger=self._trigger(job.name))
                if isinstance(changed.trigger, IntervalTrigger) and due < changed.next_run_time:
                    self._scheduler.modify_job(job.name, next_run_time=due)  # there may be work that has called for it
        return set(self._running)

    def advance(self, stream: str, records: int) -> None:
        """The runs' `Progress`: called wherever a step is done and on record, which is where a run may end."""
        if self.stopping:
            raise Stopped

    def wake(self) -> None:
        """Look into the inbox in a moment, when the rest of a burst has come in as well."""
        if not self._woken:
            self._woken = True
            self._make_due("inbox", MOMENT)

    def release(self) -> None:
        """One whole sync with the brake lifted, as soon as whoever is at work is done; asking twice asks for one."""
        if self.is_running:
            self._scheduler.add_job(self._run, args=[RELEASE], id=RELEASE.name, replace_existing=True)

    def turns(self) -> list[dict[str, Any]]:
        """Each job: name, how often it has its turn, its next one, and whether it is at work in this process."""
        every = intervals(self.bridge.settings)
        due = {each.id: each.next_run_time for each in self._scheduler.get_jobs()} if self.is_running else {}
        rows = [
            {"name": job.name, "every": every[job.name], "next_run_at": due.get(job.name),
             "at_work": job.name in self._at_work}
            for job in JOBS
        ]  # fmt: skip
        asked = RELEASE.name in self._at_work or RELEASE.name in due
        return rows + [{"name": RELEASE.name, "every": None, "next_run_at": None, "at_work": True}] * asked

    @asynccontextmanager
    async def writing(self, wait: float = 0.0) -> AsyncIterator[None]:
        """Nobody else decides or pushes meanwhile. Raises Busy where another process does for longer than `wait`
        seconds, or a job of this one; without `wait` the jobs of this one take their turns."""
        try:
            async with asyncio.timeout(wait or None):
                await self._pen.acquire()
        except TimeoutError:
            raise Busy("another job is at work", hint="try again in a minute") from None
        try:
            async with lease(self.db, "cycle", wait=wait):
                yield
        finally:
            self._pen.release()

    def _make_due(self, name: str, after: timedelta = timedelta()) -> None:
        """A turn that comes while the job is at work would be dropped: then it comes when that is over."""
        due = datetime.now(UTC) + after
        if name in self._at_work:
            self._again[name] = min(due, self._again.get(name, due))
        elif self.is_running:
            self._scheduler.modify_job(name, next_run_time=due)

    async def _run(self, job: Job) -> None:
        """One turn of a job; never raises."""
        task = asyncio.current_task()
        if task is None or self.stopping:
            return
        structlog.contextvars.clear_contextvars()  # whoever woke the scheduler may have been in a run
        if job.name == "inbox":
            self._woken = False
        self._running.add(task)
        self._at_work.add(job.name)
        try:
            await self._leased(job)
        except Busy:
            log.debug("job skipped: another process is at it", job=job.name)
        except (asyncio.CancelledError, Stopped):
            log.info("job interrupted", job=job.name)
        except Exception as error:
            self._failed(job, error)
        finally:
            self._running.discard(task)
            self._ended(job)
            self._at_work.discard(job.name)
            if job.name in self._again:
                wait = self._again.pop(job.name) - datetime.now(UTC)
                # Not at once: the scheduler takes the job for running until this has returned.
                asyncio.get_running_loop().call_later(MOMENT.total_seconds(), self._make_due, job.name, wait)

    async def _leased(self, job: Job) -> None:
        if (rested := jobs.rests_until(self.bridge.settings, job, self.bridge.now())) is not None:
            self._make_due(job.name, rested - self.bridge.now())
            return
        if await self._is_due(job):
            async with jobs.leased(self.db, job, self._pen, wait=ASKED_WAIT if job is RELEASE else 0.0):
                if not self.stopping and await self._is_due(job):  # still: another process may have been at it
                    await self._work(job)
                    return
        if job.name == "inbox":  # woken by an event that was known: it came before the turn of what was put off
            await self._look_again()

    async def _work(self, job: Job) -> None:
        since, self._counted[job.name] = self._counted.get(job.name), self.bridge.now()
        missed = await self.db.run(lambda conn: jobs.note_missed(conn, self.bridge, job, since)) if job in JOBS else 0
        if missed:
            log.warning("turns were missed: this one makes up for them", job=job.name, missed=missed)
        try:
            _tell(job, await jobs.work(self.bridge, job, self))
        finally:
            if job.name == "inbox":  # what could be looked into is to be pushed, whatever could not
                self._make_due("reconcile")
                await self._look_again()
        if job.name == "resources":
            await self._switch_webhook_on()

    async def _look_again(self) -> None:
        """An event that was put off, for less than the job's interval."""
        due = await self.db.run(lambda conn: None if "inbox" in kept.paused(conn) else inbox.next_due(conn))
        now, settings = self.bridge.now(), self.bridge.settings
        if due is not None and due - now < settings.schedule.longest(intervals(settings)["inbox"], now):
            self._make_due("inbox", max(due - now, MOMENT))

    async def _switch_webhook_on(self) -> None:
        """Twenty failures in a row switch ours off (traps 41); a sweep then finds what it did not tell of."""
        for need in setup.webhook(self.bridge.settings):
            hooks = (await setup.known_of(self.bridge.onvoard, setup.What.WEBHOOK)).get(need.key)
            if hooks and hooks[0].active is False and need.repair is not None:
                await self._all_due()  # before: once it is on again, nobody can tell that there was a gap
                await need.repair(self.bridge.onvoard, hooks)
                await self._all_due()  # after: what was swept meanwhile is in the gap as well
                log.warning("onvoard had switched the webhook off: it is on again, and a sweep of everything follows")
                self._make_due("sweep")

    async def _all_due(self) -> None:
        await self.db.run(lambda conn: slices.all_due(conn, self.bridge.now()))

    async def _is_due(self, job: Job) -> bool:
        due = await self.db.run(lambda conn: jobs.is_due(conn, self.bridge, job))
        return due and (job.name != "reconcile" or await self._everything_was_read())

    async def _everything_was_read(self) -> bool:
        """Who was not read yet would look like somebody to be created."""
        missing = await self.db.run(jobs.unread)
        if missing and missing != self._waits_for:
            log.info("nothing is reconciled before everything was read once", missing=missing)
        self._waits_for = missing
        return not missing

    def _ended(self, job: Job) -> None:
        if job.name == "inbox" and self._woken:  # while it was at work, and so for nothing
            self._make_due("inbox", MOMENT)
        if job.name not in self._first_round:
            return
        self._first_round.discard(job.name)
        if not self._first_round:
            self._make_due("reconcile")

    def _failed(self, job: Job, error: Exception) -> None:
        """One line; what a defect's message holds nobody knows, so only its kind and place are told."""
        told: dict[str, Any] = {"job": job.name, "error": str(error)}
        if isinstance(error, PlatformError):
            told |= {"platform": error.platform, "call": error.call, "status": error.status}
        elif not isinstance(error, BridgeError):
            told["error"] = f"unexpected {type(error).__name__}{place(error)}"
            telemetry.defect(error, job=job.name)
        if isinstance(error, BridgeError) and error.hint:
            told["hint"] = error.hint
        log.error("job failed", **told)


def _timing(settings: Settings, name: str) -> object:
    schedule = settings.schedule
    return intervals(settings)[name], schedule.jitter, schedule.timezone, schedule.quiet_hours


def _tell(job: Job, report: Report) -> None:
    """The run itself has logged its line; this is for whoever reads warnings alone."""
    if report.needs_person:
        log.warning("a person has to decide", job=job.name, run_id=report.run_id, hint="contact-bridge status")
