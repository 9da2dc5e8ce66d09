"""One world: both platforms, the bridge with its database, everybody who works with them, and a day of their lives.

`simulate(seed)` plays it and checks the laws. Nothing in it comes from the machine: the same seed gives the same trace.

A day costs about a second of this machine, for the jobs of the daemon run at intervals of hours instead of minutes;
whatever happens between two requests, happens at every distance.
"""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import structlog
from starlette.applications import Starlette

from service import app, forgetting, planning, relinking, resolving, runs, settings, setup, undoing
from service.bridge import Bridge, Report
from service.core.records import Platform
from service.decide import merging
from service.errors import BridgeError, ForeignAccount, PlatformError, SuspiciouslyEmpty
from service.progress import Silent
from service.sandbox import digital_onboarding, onvoard
from service.sandbox.app import PlatformApp
from service.sandbox.digital_onboarding import DigitalOnboarding, DigitalOnboardingSettings
from service.sandbox.export import export_csv
from service.sandbox.faults import Faults
from service.sandbox.journal import Entry, Journal
from service.sandbox.onvoard import OnVoard, OnVoardSettings
from service.sandbox.onvoard.events import EVENT_TYPES
from service.sandbox.onvoard.store import Webhook
from service.schedule import JOBS, Schedule
from service.store import cursors, loaded, migrate, outbox, readonly
from service.store.database import Database
from service.store.lease import lease
from service.store.restoration import MAYBE
from service.store.types import iso
from service.web.webhooks import Webhooks
from tests.simulation import laws
from tests.simulation.backups import Backups
from tests.simulation.machine import Process, close_bridge, open_bridge
from tests.simulation.network import Network, Post, Trace, Weather
from tests.simulation.rules import Rules
from tests.simulation.users import Users
from tests.simulation.virtual import VirtualClock, VirtualLoop, play, substituted
from tests.simulation.watch import LawBroken, Watch

Row = dict[str, Any]
BEGIN = datetime(2026, 3, 2, 8, tzinfo=UTC)
URLS = {"onvoard": "https://onvoard.test", "digital_onboarding": "https://digital.test"}
KEY, CLIENT, SECRET, HOOK_SECRET = "simulated-key", "simulated-client", "simulated-secret", "simulated-hook-secret"
MADE_BY_SETUP = ("contact_property_types", "resources", "resource_property_types", "activity_types")
RESOURCES = ("contacts", "reviews", "activities", "resources", "summaries", "templates", "objectives")
CYCLES = 8
"""At quiescence: more than these until nothing is written is no convergence."""
PATIENCE = 60.0


@dataclass
class Outcome:
    """What a world came to. `broken`: the law that did not hold, or the crash."""

    seed: int
    broken: str | None = None
    law: int | None = None
    digest: str = ""
    trace: list[str] = field(default_factory=list)
    figures: Row = field(default_factory=dict)


def simulate(
    seed: int, *, keep_trace: bool = False, mutate: Callable[[], Any] | None = None, rough: bool = False,
    restores: bool = False,
) -> Outcome:  # fmt: skip
    """`mutate`: a context manager that breaks something in the service for as long as the world lasts. `rough`: a world
    in which everything that happens now and then, happens often. `restores`: its operator brings back old backups of
    the mirror."""
    _schema()  # made before any dice of this world are thrown
    loop = VirtualLoop()
    outcome = Outcome(seed)
    with ExitStack() as stack:
        stack.enter_context(_uncollected())
        stack.enter_context(_silence())
        clock = VirtualClock(loop, BEGIN)
        stack.enter_context(substituted(clock, seed))
        if mutate is not None:
            stack.enter_context(mutate())
        stack.enter_context(_decided_twice())
        stack.enter_context(_copies_are_read())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="simulation-", dir=_memory())))
        world = World(seed, clock, folder, keep_trace, rough, restores)
        try:
            play(loop, world.live())
        except LawBroken as broken:
            outcome.broken, outcome.law = str(broken), broken.law
        except Exception as crash:
            if keep_trace:
                raise
            outcome.broken = f"crashed: {type(crash).__name__}: {crash}"[:500]
        world.trace.add(clock.now(), "end", outcome.broken)
        outcome.digest, outcome.trace, outcome.figures = world.trace.digest(), world.trace.lines, world.figures()
    return outcome


class World:
    def __init__(
        self, seed: int, clock: VirtualClock, folder: Path, keep_trace: bool, rough: bool, restores: bool
    ) -> None:
        self.dice = dice = random.Random(seed)
        self.clock, self.trace, self.weather = clock, Trace(keep_trace), Weather(random.Random(dice.random()))
        self.ov = OnVoard(clock, _onvoard_settings(dice))
        self.do = DigitalOnboarding(clock, _digital_onboarding_settings(dice))
        for kind, records in _schema().items():
            setattr(self.ov, kind, deepcopy(records))
        self.do.add_template("Welcome")
        self.db = _database()
        self.settings = settings.load(_overrides(dice, folder, listing=self.do.settings.listing), environ={})
        self.poison = dice.random() < 0.2 or rough
        self._rough = rough
        self.daemon = dice.random() < 0.2
        self.journal = Journal()
        self.watch = Watch(clock, self.ov, self.do, app.field_map(self.settings), self.db)
        self.network = Network(_apps(clock, self.journal, self.ov, self.do), self.weather, self.trace, self.watch)
        self.users = Users(self.watch, random.Random(dice.random()), self.trace, self.poison)
        self.rules = Rules(self.watch, random.Random(f"{seed} rules"), rough)
        self._listens: tuple[Process, Starlette] | None = None
        self.ov.courier = self.do.courier = Post(self.weather, self._deliver)  # type: ignore[assignment]
        self._exports: list[str] = []
        self._runs = self._kills = self._failures = 0
        self._ended = False
        self._folder = folder
        self.backups = Backups(self.db, self.watch, random.Random(f"{seed} backups")) if restores else None
        self._crashes: list[Exception] = []  # of the daemon's receiver
        self.daemon = self.daemon and not restores  # which is stopped while a mirror is brought back

    def figures(self) -> Row:
        return {
            "hours": round(self.clock.loop.now / 3600, 1), "requests": self.journal.mark(), "runs": self._runs,
            "kills": self._kills, "failed": self._failures, "raced": self.watch.raced,
            "overwritten": len(self.watch.overwritten),
        }  # fmt: skip

    # --- a day

    async def live(self) -> None:
        dice = self.dice
        self.users.arrive(dice.choice([5, 6, 8, 8, 10, 12, 15, 40] if dice.random() < 0.3 else [5, 6, 7, 8]))
        self._hook_up()
        self._exports.append(export_csv(self.do))
        await self._command("import", self._import_newest)
        self._break_things()
        day = asyncio.create_task(self._edits(24 * 3600 + dice.randrange(8 * 3600)))
        if self.daemon:
            await asyncio.gather(day, self._daemon(), self._operator(12 * 3600))
        else:
            await asyncio.gather(day, self._operator(4 * 3600))
        await self._come_to_rest()

    def _hook_up(self) -> None:
        if not self.daemon or self.dice.random() < 0.3:
            return
        url = "https://bridge.test/webhooks"
        new = self.ov.new_id("wh_"), self.ov.next_seq()
        hook = Webhook(*new, f"{url}/onvoard", list(EVENT_TYPES), True, HOOK_SECRET)
        self.ov.webhooks[hook.id] = hook
        self.do.configure_webhook(f"{url}/digital-onboarding", HOOK_SECRET)

    def _break_things(self) -> None:
        dice, weather = self.dice, self.weather
        if dice.random() < 0.15 and not self._rough:
            return  # a world in which nothing fails
        weather.before, weather.after = dice.choice([0, 0.01, 0.05, 0.15]), dice.choice([0, 0.01, 0.05, 0.15])
        weather.slow, weather.database = dice.choice([0, 0.02, 0.2]), dice.choice([0, 0, 0.003, 0.02])
        weather.lost, weather.doubled = dice.choice([0, 0.1, 0.5]), dice.choice([0, 0.1])
        weather.unsure, weather.deadly = dice.choice([0, 0.1]), dice.choice([0, 0.02])
        if self._rough:
            weather.before = weather.after = weather.database = 0.0
            weather.unsure, weather.deadly = 0.15, 0.05
        if dice.random() < 0.2:
            self.clock.skew = timedelta(seconds=dice.uniform(-40, 40))

    async def _edits(self, seconds: float) -> None:
        dice, until = self.users.dice, self.clock.loop.now + seconds
        pace = dice.choice([3600, 7200] if self.daemon else [1800, 3600])
        while (pause := dice.expovariate(1 / pace) if dice.random() < 0.6 else dice.uniform(0, 5)) is not None:
            await asyncio.sleep(pause)
            if self.clock.loop.now > until:
                break
            self.users.edit()
            self.watch.check()
            if dice.random() < 0.05:
                self._exports.append(export_csv(self.do))
            if dice.random() < 0.02:
                self.clock.skew += timedelta(seconds=dice.uniform(-20, 20))
            if dice.random() < 0.03:
                self.do.expire_tokens()
        self._ended = True

    async def _daemon(self) -> None:
        """Started again soon after it was killed or stopped, a few times in a day."""
        for _ in range(self.dice.choice([1, 2, 3])):
            await asyncio.sleep(self.dice.choice([5, 60, 4 * 3600]))
            process = self._process(lives=400)
            with suppress(BridgeError):
                await process.run(lambda process=process: self._serve(process))
            self._listens = None
            self._kills += process.dead
            laws.nothing_deleted_that_is_there(self.watch)

    async def _serve(self, process: Process) -> None:
        bridge = self._bridge(process)
        process.schedule = schedule = Schedule(bridge)
        await schedule.start()
        hooks = Webhooks(self.settings, bridge.db, schedule.wake, self.clock.machine)
        self._listens = process, Starlette(routes=hooks.routes)
        stops = self.clock.loop.now + self.dice.uniform(0.2, 5) * 3600
        while self.clock.loop.now < stops and not self._ended:  # noqa: ASYNC110 - no real time passes
            await asyncio.sleep(600)
        self._listens = None
        await schedule.stop(8.0)
        await close_bridge(bridge)

    async def _deliver(self, path: str, body: bytes, headers: Row) -> int:
        if self._listens is None:
            return 0
        process, web = self._listens
        status: list[int] = []

        async def receive() -> Row:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            status.append(message.get("status", 0))

        raw = [(key.lower().encode(), value.encode()) for key, value in headers.items()]
        scope = {
            "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": raw, "root_path": "", "scheme": "https", "http_version": "1.1",
        }  # fmt: skip
        task = process.context().run(asyncio.ensure_future, web(scope, receive, send))
        try:
            await task
        except asyncio.CancelledError:
            pass
        except Exception as crash:  # answered with 500, and nothing that befalls a world may lead there
            self._crashes.append(crash)
        self.trace.add(self.clock.now(), "webhook", path, *status[:1])
        return status[0] if status and not process.dead else 0

    # --- the operator

    async def _operator(self, pace: float) -> None:
        dice = self.dice
        while not self._ended:
            await asyncio.sleep(dice.expovariate(1 / pace))
            if self._ended:
                break
            name, work = self._choose()
            await self._command(name, work)
            if self.backups is not None:
                self.trace.add(self.clock.now(), "backups", self.backups.happen())
            self.rules.happen()
            laws.nothing_deleted_that_is_there(self.watch)
            if dice.random() < 0.04:
                await self._empty_answers()

    def _choose(self) -> tuple[str, Callable[[Bridge], Awaitable[object]]]:
        commands: list[tuple[int, str, Callable[[Bridge], Awaitable[object]]]] = [
            (12, "sync", lambda bridge: self._sync(bridge)),
            (5, "sync --full", lambda bridge: self._sync(bridge, full=True)),
            (1, "sync --full --allow-mass-change", lambda bridge: self._sync(bridge, full=True, allow=True)),
            (2, "import", self._import_newest),
            (2, "import of an old export", self._import_any),
            (1, "backfill", self._backfill),
            (1, "plan", lambda bridge: planning.plan(bridge)),
            (2, "plan and apply", self._plan_and_apply),
            (1, "undo", self._undo),
            (3, "conflicts resolve", self._resolve),
            (1, "people link", self._link),
            (1, "people unlink", self._unlink),
            (1, "forget", self._forget),
            (1, "outbox retry", self._retry),
        ]
        (_, name, work), = self.dice.choices(commands, [weight for weight, *_ in commands])
        return name, work

    async def _command(self, name: str, work: Callable[[Bridge], Awaitable[object]]) -> None:
        process = self._process(lives=250)
        told: object = "killed"

        async def command() -> str:
            bridge = self._bridge(process)
            try:
                await work(bridge)
                return "done"
            finally:
                await close_bridge(bridge)

        try:
            told = await process.run(command) or told
        except BridgeError as error:
            self._failures += 1
            told = type(error).__name__
        self._runs += 1
        self._kills += process.dead and told == "killed"
        self.trace.add(self.clock.now(), "operator", name, told)

    def _process(self, lives: int) -> Process:
        """That is killed after up to so many awaits, or is not."""
        mortal = not self._ended and self.dice.random() < 0.35
        return Process(self.dice.randrange(1, lives) if mortal else None, self.weather.of_the_database)

    def _bridge(self, process: Process) -> Bridge:
        bridge = open_bridge(process, self.db, self.settings, self.network, self.clock.machine)
        return replace(bridge, rules=self.rules.ruleset, loaders=self.rules.loaders)

    async def _sync(self, bridge: Bridge, *, full: bool = False, allow: bool = False) -> Report:
        async with lease(bridge.db, "cycle", wait=PATIENCE):
            return await runs.sync(bridge, full=full, allow_mass_change=allow)

    async def _backfill(self, bridge: Bridge) -> None:
        async with lease(bridge.db, "backfill", wait=PATIENCE):
            await runs.backfill(bridge, RESOURCES, None, None)

    async def _import_newest(self, bridge: Bridge) -> None:
        self._exports.append(export_csv(self.do))
        await self._import(bridge, self._exports[-1])

    async def _import_any(self, bridge: Bridge) -> None:
        await self._import(bridge, self.dice.choice(self._exports))

    async def _import(self, bridge: Bridge, text: str) -> None:
        await runs.import_file(bridge.db, io.StringIO(text, newline=""), Silent(), bridge.now)

    async def _plan_and_apply(self, bridge: Bridge) -> None:
        plan = await planning.plan(bridge, full=self.dice.random() < 0.5)
        await asyncio.sleep(self.dice.choice([1, 600]))
        async with lease(bridge.db, "cycle", wait=PATIENCE):
            await planning.apply(bridge, plan)

    async def _undo(self, bridge: Bridge) -> None:
        changed = self.watch.rows("SELECT DISTINCT run_id FROM changes WHERE run_id IS NOT NULL ORDER BY run_id")
        if changed:
            plan = await undoing.undo(bridge, self.dice.choice(changed)["run_id"])
            self._decided()
            async with lease(bridge.db, "cycle", wait=PATIENCE):
                await planning.apply(bridge, plan)

    def _decided(self) -> None:
        """By a person: what they give back or choose overwrites what users wrote."""
        self.watch.undone |= set(self.watch.contacts())

    async def _resolve(self, bridge: Bridge) -> None:
        asked = self.watch.rows("SELECT id FROM conflicts WHERE status = 'open' ORDER BY id")
        if asked:
            chosen, keep = self.dice.choice(asked)["id"], self.dice.choice(list(Platform))
            self._decided()
            await self._in_turn(
                bridge, lambda conn: resolving.resolve(conn, bridge.mapping, chosen, keep, None, bridge.now())
            )

    async def _link(self, bridge: Bridge) -> None:
        here, there = sorted(self.ov.contacts), sorted(self.do.contacts)
        if here and there:
            pair = self.dice.choice(here), self.dice.choice(there)
            self._decided()
            await self._in_turn(bridge, lambda conn: relinking.link(conn, *pair, None, bridge.now()))

    async def _unlink(self, bridge: Bridge) -> None:
        linked = self.watch.rows("SELECT unique_id FROM people WHERE status = 'linked' ORDER BY person_id")
        if linked:
            who = self.dice.choice(linked)["unique_id"]
            await self._in_turn(bridge, lambda conn: relinking.unlink(conn, who, None, None, bridge.now()))

    @staticmethod
    async def _in_turn(bridge: Bridge, work: Callable[[Any], object]) -> None:
        async with lease(bridge.db, "cycle", wait=PATIENCE):
            await bridge.db.run(work)

    async def _forget(self, bridge: Bridge) -> None:
        known = self.watch.rows("SELECT person_id FROM people ORDER BY person_id")
        if known:
            who = f"person:{self.dice.choice(known)['person_id']}"
            found = await forgetting.find(bridge, who)
            for each in found:
                self.watch.forgets([each.onvoard_contact_id, each.digital_onboarding_contact_id])
            async with lease(bridge.db, "cycle", wait=PATIENCE):
                await forgetting.forget(bridge, found, who, [])

    async def _retry(self, bridge: Bridge) -> None:
        dead = self.watch.rows("SELECT id, target, last_error FROM outbox WHERE status = 'dead' ORDER BY id")
        # Whoever looks there finds that it was made, or that it was not.
        made = {row["id"] for row in dead if row["last_error"] == MAYBE and self.do.journeys_of(row["target"])}
        again = [row["id"] for row in dead if row["id"] not in made]
        await self._in_turn(bridge, lambda conn: outbox.retry(conn, again, bridge.now()))
        await self._in_turn(bridge, lambda conn: outbox.discard(conn, sorted(made), bridge.now()))

    # --- at rest

    async def _come_to_rest(self) -> None:
        self._ended = True
        self.weather.clear()
        self.clock.skew = timedelta()
        await asyncio.sleep(3 * 3600)  # the last webhooks are delivered, or given up; no lease outlives its holder
        if self._crashes:
            raise self._crashes[0]
        await self._surely(self._import_newest)
        if self.watch.rows("SELECT id FROM webhook_events WHERE status = 'pending'"):
            await self._surely(self._inbox)
        if self.watch.rows("SELECT id FROM outbox WHERE status = 'dead'"):
            await self._surely(self._retry)
        await self._cycle(allow=True)
        begun = {"long_ago": iso(self.clock.now() - timedelta(hours=1))}
        if self.watch.rows("SELECT value FROM cursors WHERE value < :long_ago", **begun):
            await self._cycle(allow=True)  # a backfill that was interrupted goes back to where it began
        laws.everything_was_read(self.watch, by_cursor=True)
        for _ in range(CYCLES):
            told = await self._cycle(full=True, allow=True)
            if all(map(laws.is_probe, told)):
                break
        laws.no_writes(self.watch, told, probes=True)
        laws.no_writes(self.watch, await self._cycle(), probes=False)
        laws.at_rest(self.watch)
        self.rules.check()
        await self._another_account()
        await self._empty_answers()

    async def _cycle(self, *, full: bool = False, allow: bool = False) -> list[Entry]:
        """-> what it wrote"""
        await asyncio.sleep(self.dice.uniform(60, 120))
        mark = self.journal.mark()
        with suppress(SuspiciouslyEmpty):  # its users have removed all that were asked about: it is told once
            await self._surely(lambda bridge: self._sync(bridge, full=full, allow=allow))
            return self.journal.writes(mark)
        await self._surely(lambda bridge: self._sync(bridge, full=full, allow=allow))
        return self.journal.writes(mark)

    async def _surely(self, work: Callable[[Bridge], Awaitable[object]]) -> None:
        process = Process(None, lambda: None)

        async def command() -> None:
            bridge = self._bridge(process)
            await work(bridge)
            await close_bridge(bridge)

        await process.run(command)

    @staticmethod
    async def _inbox(bridge: Bridge) -> None:
        job = next(each for each in JOBS if each.name == "inbox")
        async with lease(bridge.db, "cycle", wait=PATIENCE):
            await runs.run(bridge, job.name, job.work)

    async def _another_account(self) -> None:
        """Law 11."""
        mark = self.journal.mark()
        process = Process(None, lambda: None)

        async def command() -> None:
            foreign = settings.load(_foreign(self.dice, self._folder), environ={})
            await self._sync(open_bridge(process, self.db, foreign, self.network, self.clock.machine), full=True)

        with suppress(ForeignAccount):
            try:
                await process.run(command)
            except PlatformError as error:
                raise LawBroken(11, "another account was asked") from error
            raise LawBroken(11, "the mirror let another account in")
        if self.journal.writes(mark):
            raise LawBroken(11, "another account was written to")

    async def _empty_answers(self) -> None:
        """Law 12."""

        def alive() -> int:
            living = "deleted_at IS NULL AND suppressed_at IS NULL"
            return len(self.watch.rows(f"SELECT id FROM onvoard_contacts WHERE {living}"))

        known = alive()
        begun = self.watch.rows("SELECT value FROM cursors WHERE stream = 'onvoard.contacts'")
        if known < 2 or not begun:
            return
        self.weather.outage = True
        quiet, self.weather.before, self.weather.after = (self.weather.before, self.weather.after), 0.0, 0.0
        refused = False
        try:
            await self._surely(lambda bridge: self._sync(bridge, full=True))
        except SuspiciouslyEmpty:
            refused = True
        except BridgeError:
            refused = self._ended is False  # the daemon is at work, or the database is away
        finally:
            self.weather.outage = False
            self.weather.before, self.weather.after = quiet
        if not refused:
            raise LawBroken(12, f"OnVoard listed nobody, {known} were known, and nobody was suspicious")
        if self._ended and alive() != known:
            raise LawBroken(12, "an empty answer deleted somebody")


# --- what every world is made of


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _apps(clock: VirtualClock, journal: Journal, ov: OnVoard, do: DigitalOnboarding) -> dict[str, PlatformApp]:
    shared = (clock, journal, Faults())
    do_routes = digital_onboarding.routes(do, CLIENT, SECRET, URLS["digital_onboarding"])
    nobody: Any = None
    return {
        "onvoard": PlatformApp("onvoard", onvoard.routes(ov), onvoard.guard(KEY), nobody, shared, ov.lock),
        "digital_onboarding": PlatformApp(
            "digital_onboarding", do_routes, digital_onboarding.guard(do), nobody, shared, do.lock
        ),
    }


def _onvoard_settings(dice: random.Random) -> OnVoardSettings:
    return OnVoardSettings(
        past_end=dice.choice(["empty", "404"]),
        boundary=dice.choice(["exclusive", "inclusive", "truncated"]),
        suppressed_data=dice.choice(["erase", "keep"]),
        readonly_properties=dice.choice(["ignore", "reject"]),
        defaults_on_update=dice.random() < 0.2,
        reformat_phone=dice.random() < 0.8,
        created_status=dice.choice([200, 201]),
        saved_event_on_suppress=dice.random() < 0.5,
    )


def _digital_onboarding_settings(dice: random.Random) -> DigitalOnboardingSettings:
    return DigitalOnboardingSettings(
        expires_in=dice.choice([7200, 7200, 600]),
        touch_on_probe=dice.random() < 0.4,
        unset_flag=dice.choice([False, None]),
        max_batch=dice.choice([1000, 1000, 3]),
        answer_order=dice.choice(["sent", "reversed"]),
        echo_journey=dice.random() < 0.3,
        listing=dice.random() < 0.1,
    )


def _overrides(dice: random.Random, folder: Path, *, listing: bool) -> Row:
    return {
        **_addresses(folder),
        "onvoard.webhook_secret": HOOK_SECRET,
        "digital_onboarding.webhook_secret": HOOK_SECRET,
        "digital_onboarding.refresh": "list" if listing else "probe",
        "digital_onboarding.batch_size": dice.choice([500, 4]),
        "limits.max_changed_count": dice.choice([50, 50, 2]),
        "limits.hold_opt_outs_for": dice.choice(["24h", "3h"]),
        "consent.resubscribe": "ask",
        "schedule.sweep_within": dice.choice(["8h", "24h"]),
        "schedule.refresh_within": dice.choice(["3h", "6h"]),
        "schedule.contacts": "2h", "schedule.reviews": "6h", "schedule.activities": "3h", "schedule.resources": "12h",
        "schedule.summaries": "24h", "schedule.templates": "24h", "schedule.objectives": "12h",
        "schedule.refresh": "3h", "schedule.reconcile": "1h", "schedule.inbox": "30m",
    }  # fmt: skip


def _addresses(folder: Path) -> Row:
    return {
        "database_url": "sqlite://",
        "state_dir": str(folder),
        "onvoard.base_url": URLS["onvoard"],
        "onvoard.api_key": KEY,
        "digital_onboarding.base_url": URLS["digital_onboarding"],
        "digital_onboarding.client_id": CLIENT,
        "digital_onboarding.client_secret": SECRET,
    }


def _foreign(dice: random.Random, folder: Path) -> Row:
    other = dice.choice([{"onvoard.base_url": "https://other.test"}, {"digital_onboarding.client_id": "another"}])
    return _addresses(folder) | other


@cache
def _schema() -> dict[str, Any]:
    """What `contact-bridge setup` makes on OnVoard: for real the first time, later put there as it was."""
    loop = VirtualLoop()
    clock = VirtualClock(loop, BEGIN - timedelta(days=400))
    ov, do = OnVoard(clock), DigitalOnboarding(clock)
    # What orders and carts are made of is of no interest here, and reading it takes a sixth of every sync.
    kept = {each.id for each in ov.resources.values() if each.key.startswith("email_")}
    types = ov.resource_property_types
    ov.resource_property_types = {key: each for key, each in types.items() if each.resource_id in kept}
    weather = Weather(random.Random(0))
    with tempfile.TemporaryDirectory() as folder:
        loaded = settings.load(_addresses(Path(folder)), environ={})
        watch = Watch(clock, ov, do, app.field_map(loaded), _database())
        network = Network(_apps(clock, Journal(), ov, do), weather, Trace(False), watch)
        process = Process(None, lambda: None)
        bridge = open_bridge(process, _database(), loaded, network, clock.now)

        async def make() -> None:
            await setup.complete(bridge.onvoard, loaded)
            await close_bridge(bridge)

        play(loop, make())
    return {kind: getattr(ov, kind) for kind in MADE_BY_SETUP}


@cache
def _template() -> sqlite3.Connection:
    """A migrated mirror, whose key for hashes is always the same."""
    folder = Path(tempfile.mkdtemp(prefix="simulation-"))
    db = Database(f"sqlite:///{folder / 'mirror.db'}")
    migrate.upgrade(db)
    with db.begin() as conn:
        cursors.fact_once(conn, "hash_key", "5e" * 32)
    db.close()
    kept = sqlite3.connect(":memory:", check_same_thread=False)
    with sqlite3.connect(folder / "mirror.db") as made:
        made.backup(kept)
    made.close()
    shutil.rmtree(folder)
    return kept


@cache
def _one_database() -> Database:
    return Database("sqlite://", inline=True)


def _database() -> Database:
    """Always the same, for its engine keeps the statements that it has compiled; as empty as a new one."""
    db = _one_database()
    with db.translated(), db.engine.connect() as connection:
        raw: Any = connection.connection.driver_connection
        _template().backup(raw)
    return db


@contextmanager
def _uncollected() -> Any:
    """A world is soon over: to look for garbage in it takes a sixth of its time, and to look through what all of them
    share, a twelfth."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _silence() -> Any:
    """A world logs nothing: its errors are its weather."""
    kept = structlog.get_config()
    logging.getLogger("apscheduler.executors.default").addFilter(_deaf)
    structlog.configure(
        processors=[_dropped], wrapper_class=structlog.BoundLogger, cache_logger_on_first_use=False
    )
    try:
        yield
    finally:
        structlog.configure(**kept)
        logging.getLogger("apscheduler.executors.default").removeFilter(_deaf)


def _deaf(_: logging.LogRecord) -> bool:
    return False


def _dropped(*_: Any) -> Any:
    raise structlog.DropEvent


@contextmanager
def _decided_twice() -> Any:
    """Law 9: the core is asked everything twice."""
    decide = merging.reconcile

    def twice(*args: Any) -> Any:
        first = decide(*args)
        if decide(*args) != first:
            raise LawBroken(9, "the same input, another decision")
        return first

    with mock.patch.object(merging, "reconcile", twice):
        yield


@contextmanager
def _copies_are_read() -> Any:
    """A database in memory has one connection: whoever reads beside what is written, reads a copy."""
    stored = loaded.stored

    def copied(db: Database) -> sqlite3.Connection:
        copy = sqlite3.connect(":memory:", isolation_level=None, detect_types=sqlite3.PARSE_DECLTYPES)
        with db.translated(), db.engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            raw.backup(copy)
        copy.execute("PRAGMA query_only=ON")
        return copy

    @contextmanager
    def at_once(db: Database, loader: Any) -> Any:
        with stored(db, loader) as rows:
            known = list(rows)
        yield iter(known)

    with mock.patch.object(readonly, "open_sqlite", copied), mock.patch.object(loaded, "stored", at_once):
        yield
