"""Looks now and then what is wrong, and tells it. What was told is on record in the mirror, and one process of a mirror
looks at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import orjson
import structlog

from service.alerts import channels
from service.alerts.judging import Verdict, judge, message, told
from service.alerts.problems import Problem, found
from service.bridge import Bridge, local_now
from service.errors import Busy, DatabaseError
from service.logs import place
from service.settings import Settings
from service.store import alerts
from service.store.database import Connection, Database
from service.store.lease import lease
from service.store.types import iso

log = structlog.get_logger("service.alerts")
Row = dict[str, Any]
Silent = Mapping[str, datetime | None]

LEASE = "alerts"
EVERY = 5.0
"""Seconds between two looks."""
FIRST_WAIT, LONGEST_WAIT = 5.0, 300.0
"""Seconds before a message that was not delivered is tried again; each wait is twice the one before."""
GIVE_UP_AFTER = timedelta(hours=24)
GRACE = 2.0
"""Seconds for which the end waits for what is being delivered."""
AT_ONCE, AT_MOST = 3, 60.0
"""So often, and for so many seconds, a command that ends tries to deliver."""


class Watch:
    """The daemon's: `start`, then `stop`."""

    def __init__(self, bridge: Bridge) -> None:
        self.db = bridge.db
        self.use(bridge)
        self._leads = False
        self._away_since: datetime | None = None
        self._told_of_database: set[str] = set()
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """What is being delivered may come to its end, so that it is not delivered again at the next start."""
        self._over.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=GRACE)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def use(self, bridge: Bridge) -> None:
        """From the next look on."""
        self.settings, self.now = bridge.settings, bridge.now
        self._bridge = bridge

    @property
    def _silent(self) -> Silent:
        bridge = self._bridge
        return {"onvoard": bridge.onvoard.silent_since, "digital_onboarding": bridge.digital.silent_since}

    async def _run(self) -> None:
        """Never raises."""
        while not self._over.is_set():
            try:
                if configured(self.settings):
                    await self._turn()
            except DatabaseError:
                await self._away()
            except Exception as error:
                log.error("alerts have a defect", error=f"unexpected {type(error).__name__}{place(error)}")
            await self._rest()

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), EVERY)

    async def _turn(self) -> None:
        try:
            await self._lead()
        except Busy:  # which does not say that the database is there
            await self._back()
            self._leads = False

    async def _lead(self) -> None:
        """While no other process does."""
        async with lease(self.db, LEASE):
            self._leads = True
            while configured(self.settings) and not self._over.is_set():
                await self._back()
                await look(self.db, self.settings, self.now(), self._silent, self.settings.alerts.after)
                await deliver(self.db, self.settings, self.now)
                await self._rest()

    async def _away(self) -> None:
        """What nothing can be kept of: whoever led tells it, and remembers."""
        now = self.now()
        self._away_since = self._away_since or now
        if not self._leads or now - self._away_since < self.settings.alerts.after:
            return
        body = message("degraded", [self._database()], 1, now)
        for channel in set(configured(self.settings)) - self._told_of_database:
            if (why := await send(self.settings, channel, body)) is None:
                self._told_of_database.add(channel)
            else:
                log.warning("alert not delivered", channel=channel, why=why)

    async def _back(self) -> None:
        """The database answers; raises DatabaseError where it does not."""

        def ask() -> None:
            with self.db.begin(write=False) as conn:
                alerts.known(conn)

        await asyncio.to_thread(ask)
        if self._told_of_database:
            now = self.now()
            body = message("recovered", [self._database() | {"until": iso(now)}], 0, now)
            await self.db.run(lambda conn: alerts.enqueue(conn, sorted(self._told_of_database), body, now))
            self._told_of_database.clear()
        self._away_since = None

    def _database(self) -> Row:
        assert self._away_since is not None
        return told(Problem("database", "the database is away", self._away_since, "see /readyz"), self._away_since)


async def after_command(settings: Settings, db: Database, now: Callable[[], datetime] = local_now) -> None:
    """At the end of a `sync` that perhaps cron has started: at once, for nobody looks again until the next one. Where a
    daemon looks, that is enough. Never raises."""
    if not configured(settings):
        return
    with suppress(Busy, DatabaseError, TimeoutError):
        async with asyncio.timeout(AT_MOST), lease(db, LEASE):
            await look(db, settings, now(), {}, timedelta())
            for attempt in range(AT_ONCE):
                if await deliver(db, settings, now, patient=False):
                    return
                await asyncio.sleep(2.0**attempt)


def configured(settings: Settings) -> list[str]:
    return [name for name in ("url", "command") if getattr(settings.alerts, name) is not None]


async def look(db: Database, settings: Settings, now: datetime, silent: Silent, after: timedelta) -> None:
    """What is wrong now, and what is to be told of it, on record."""

    def judged(conn: Connection) -> Verdict:
        return judge(alerts.known(conn), found(conn, settings, now, silent), now, after)

    def read() -> Verdict:
        with db.begin(write=False) as conn:
            return judged(conn)

    verdict = await asyncio.to_thread(read)
    if not verdict:
        return

    def keep(conn: Connection) -> None:
        alerts.put(conn, verdict.keep)
        alerts.forget(conn, verdict.forget)
        for event, problems in (("degraded", verdict.begun), ("recovered", verdict.over)):
            if problems:
                alerts.enqueue(conn, configured(settings), message(event, problems, verdict.open, now), now)

    await db.run(keep)
    if verdict.begun:
        log.warning("degraded", problems=[problem["key"] for problem in verdict.begun], open=verdict.open)
    if verdict.over:
        log.info("recovered", problems=[problem["key"] for problem in verdict.over], open=verdict.open)


async def deliver(db: Database, settings: Settings, now: Callable[[], datetime], *, patient: bool = True) -> bool:
    """What waits, in its order, channel by channel. `patient`: what was tried in vain has to wait for its time.
    -> whether nothing waits any longer"""
    return all(await asyncio.gather(*(_deliver(db, settings, each, now, patient) for each in configured(settings))))


async def _deliver(
    db: Database, settings: Settings, channel: str, now: Callable[[], datetime], patient: bool
) -> bool:
    def next_message() -> Row | None:
        with db.begin(write=False) as conn:
            return alerts.next_message(conn, channel)

    while (waiting := await asyncio.to_thread(next_message)) is not None:
        if patient and waiting["due_at"] > now():
            return False
        why = await send(settings, channel, waiting["body"])
        attempts = waiting["attempts"] + 1
        if why is not None and now() - waiting["created_at"] < GIVE_UP_AFTER:
            until = now() + timedelta(seconds=min(FIRST_WAIT * 2.0 ** (attempts - 1), LONGEST_WAIT))
            await db.run(partial(alerts.put_off, message_id=waiting["id"], attempts=attempts, until=until))
            log.warning("alert not delivered", channel=channel, why=why, attempts=attempts)
            return False
        if why is not None:
            log.error("alert given up", channel=channel, why=why, attempts=attempts)
        await db.run(partial(alerts.delivered, message_id=waiting["id"]))
    return True


async def send(settings: Settings, channel: str, body: Mapping[str, Any]) -> str | None:
    """-> why it was not delivered"""
    to, text = settings.alerts, orjson.dumps(body)
    if channel == "command" and to.command:
        return await channels.run(to.command, text)
    assert to.url is not None
    return await channels.post(to.url.get_secret_value(), to.secret.get_secret_value() if to.secret else None, text)
