"""One cycle: extract, identity, reconcile, guard, load. It reads like the first section of the design."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from service.core.guard import Limits
from service.core.mapping import FieldMap
from service.core.records import Platform
from service.core.windows import EPOCH
from service.decide import brake, consent_lane, happenings, linking, merging
from service.decide.frame import Frame
from service.errors import SuspiciouslyEmpty
from service.extract.digital_onboarding import DigitalReader
from service.extract.importer import Imported, import_export
from service.extract.onvoard import OnvoardReader
from service.load.drain import Drain
from service.load.settle import Settler
from service.platforms.digital_onboarding.client import DigitalOnboarding
from service.platforms.onvoard.client import OnVoard
from service.progress import Progress, Silent, Stopped
from service.settings import Settings
from service.store import cursors, erasure, ledger, mirror, outbox, people
from service.store.database import Connection, Database

_log = structlog.get_logger()

PASSES = 20
"""A creation is followed by what fills it, and that by nothing: three passes. More is a defect, and it ends."""

LISTINGS = ("contact_property_types", "resources", "resource_property_types", "activity_types", "webhooks")
ACTIVITY_TYPES = frozenset(
    {happenings.CONTACT_ADDED, happenings.JOURNEY_STARTED, happenings.OBJECTIVE_COMPLETED, happenings.UNSUBSCRIBED}
)


def local_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Bridge:
    """All that work needs, wired by `service.app`."""

    settings: Settings
    db: Database
    onvoard: OnVoard
    digital: DigitalOnboarding
    mapping: FieldMap
    now: Callable[[], datetime] = local_now


@dataclass(slots=True)
class Report:
    """What a run came to. `needs_person` is what makes a command end with 3."""

    run_id: int
    pulled: Counter[str] = field(default_factory=Counter)
    pushed: dict[str, int] = field(default_factory=dict)
    held: dict[Platform, str] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)  # records without an id, by stream
    new_conflicts: int = 0
    new_dead: int = 0

    @property
    def needs_person(self) -> bool:
        return bool(self.held or self.new_conflicts or self.new_dead)

    @property
    def outcome(self) -> str:
        return "held" if self.held else "ok"

    def counts(self) -> dict[str, Any]:
        return {
            "pulled": dict(self.pulled),
            "pushed": self.pushed,
            "refused": self.refused,
            "held": {platform.value: why for platform, why in self.held.items()},
            "new_conflicts": self.new_conflicts,
            "new_dead_letters": self.new_dead,
        }


class Cycle:
    """The steps of one run, each usable by itself."""

    def __init__(self, bridge: Bridge, run_id: int, started_at: datetime, progress: Progress | None = None) -> None:
        self.bridge, self.started_at = bridge, started_at
        self.report = Report(run_id)
        self._asked: set[str] = set()
        progress = progress or Silent()
        batch = bridge.settings.digital_onboarding.batch_size
        self.onvoard = OnvoardReader(bridge.onvoard, bridge.db, run_id, bridge.now, progress)
        self.digital = DigitalReader(bridge.digital, bridge.db, run_id, bridge.now, progress, batch)
        settler = Settler(bridge.mapping, run_id)
        self.drain = Drain(bridge.onvoard, bridge.digital, bridge.db, settler, bridge.now, progress, batch)

    async def take_up(self) -> None:
        """What an earlier run left half-said."""
        unknown = await self.bridge.db.run(lambda conn: outbox.take_up(conn, self.bridge.now()))
        await self.drain.look_for(unknown)

    async def pull(self, *, full: bool = False, allow_empty: bool = False) -> None:
        """OnVoard's news, or every record; what both sides know about themselves. Reads only."""
        for name in LISTINGS:
            self.report.pulled[name] += await self.onvoard.listing(name)
        for name in ("contacts", "reviews", "activities", "records"):
            known = await self._knows(name)
            work = self.onvoard.sweep(name, allow_empty=allow_empty) if full and known else self.onvoard.new(name)
            self.report.pulled[name] += await work
        self.report.pulled["contacts"] += await self.onvoard.follow_hints()
        self.report.pulled["summaries"] += await self.onvoard.listing("summaries")
        self.report.pulled["templates"] += await self.digital.templates()
        self.report.pulled["objectives"] += await self.digital.objectives()

    async def _knows(self, stream: str) -> bool:
        return await self.bridge.db.run(lambda conn: cursors.get(conn, f"onvoard.{stream}")) is not None

    async def refresh(self, *, full: bool = False) -> None:
        """Ask Digital Onboarding about the contacts that are due. A probe is a write: never for a plan."""
        settings = self.bridge.settings
        mode = settings.digital_onboarding.refresh
        if mode == "off":
            return
        now = self.bridge.now()
        before = now if full else now - settings.schedule.refresh_within
        asked = await (self.digital.list_all() if mode == "list" else self.digital.probe_due(before))
        self.report.pulled["digital_onboarding_contacts"] += asked

    async def ask_about_strangers(self) -> None:
        """Those of whom Digital Onboarding itself never told, so that nobody is decided about, or made, unasked."""
        if self.bridge.settings.digital_onboarding.refresh != "probe":
            return
        asked = await self.digital.probe_due(EPOCH)
        strangers = await self.bridge.db.run(self._strangers)
        for start in range(0, len(strangers), self.digital.batch_size):
            asked += await self.digital.probe(strangers[start : start + self.digital.batch_size])
        self._asked |= set(strangers)
        self.report.pulled["digital_onboarding_contacts"] += asked

    def _strangers(self, conn: Connection) -> list[str]:
        """unique_ids to be asked about: OnVoard names them, or people had them who are suppressed no longer."""
        people.adopt(conn, self.bridge.now())
        named = dict.fromkeys([*people.named_but_unknown(conn), *erasure.to_be_asked(conn)])
        return [unique_id for unique_id in named if unique_id not in self._asked]

    def _link(self, conn: Connection, frame: Frame) -> bool:
        """False where a pull that runs at the same time has brought somebody who has to be asked about first."""
        probes = self.bridge.settings.digital_onboarding.refresh == "probe"
        if probes and self._strangers(conn):
            return False
        _who_is_who(conn, frame, self.bridge.settings)
        return True

    def frame(self, conn: Connection, *, brake_on: bool = True) -> Frame:
        settings, now = self.bridge.settings, self.bridge.now()
        first_sync = datetime.fromisoformat(cursors.fact(conn, "first_sync_at") or now.isoformat())
        create_on = {
            Platform.ONVOARD: settings.identity.create_on_onvoard,
            Platform.DIGITAL_ONBOARDING: settings.identity.create_on_digital_onboarding,
        }
        limits = settings.limits
        return Frame(
            run_id=self.report.run_id,
            now=now,
            started_at=self.started_at,
            mapping=self.bridge.mapping,
            create_on=frozenset(platform for platform, wanted in create_on.items() if wanted),
            ask_about_opt_ins=settings.consent.resubscribe == "ask",
            limits=Limits(limits.max_changed_share, limits.max_changed_count, limits.hold_opt_outs_for),
            brake=brake_on,
            activities_since=settings.activities.since or first_sync,
            link_property=mirror.LINK_PROPERTY in mirror.property_type_keys(conn),
        )

    async def decide(self, *, brake_on: bool = True) -> None:
        """Everything that changed, decided and on record; what the brake holds is not for the drain to see."""
        db = self.bridge.db
        frame = await db.run(lambda conn: self.frame(conn, brake_on=brake_on))
        while not await db.run(lambda conn: self._link(conn, frame)):
            await self.ask_about_strangers()
        after: int | None = 0
        while after is not None:
            after = await db.run(lambda conn, after=after: merging.merge_batch(conn, frame, after))  # type: ignore[misc]
        await db.run(lambda conn: happenings.announce(conn, frame))
        self.report.held = await db.run(lambda conn: brake.rule(conn, frame))

    def decide_at_once(self, conn: Connection) -> None:
        """The same within one transaction: for a plan, which is rolled back."""
        frame = self.frame(conn)
        outbox.take_up(conn, self.bridge.now())
        _who_is_who(conn, frame, self.bridge.settings)
        after: int | None = 0
        while after is not None:
            after = merging.merge_batch(conn, frame, after)
        happenings.announce(conn, frame)
        self.report.held = brake.rule(conn, frame)

    async def push(self) -> int:
        """What is pending; activities once `setup` has made their types. -> how many were sent"""
        return await self.drain.all(activities=await self.bridge.db.run(_activities_ready))

    async def reconcile_and_push(self, *, brake_on: bool = True) -> None:
        """Until nothing is left to push: an answer may lead to more, as a creation does."""
        for _ in range(PASSES):
            await self.decide(brake_on=brake_on)
            if not await self.push():
                break

    async def conclude(self) -> None:
        def look(conn: Connection) -> None:
            run_id = self.report.run_id
            self.report.new_conflicts = ledger.new_conflicts(conn, run_id)
            self.report.new_dead = outbox.new_dead(conn, self.started_at)
            self.report.pushed = outbox.counts(conn, run_id)
            self.report.refused = dict(self.onvoard.refused)

        await self.bridge.db.run(look)


def _activities_ready(conn: Connection) -> bool:
    return mirror.activity_type_accessors(conn) >= ACTIVITY_TYPES


def _who_is_who(conn: Connection, frame: Frame, settings: Settings) -> None:
    said = json.dumps(
        [sorted(frame.create_on), [str(rule) for rule in frame.mapping.rules], frame.link_property], default=str
    )
    if cursors.fact(conn, "compared_by") != said:  # what is compared has changed: look at everybody once
        people.touch_everybody(conn)
        cursors.set_fact(conn, "compared_by", said)
    consent_lane.spread_of_frozen(conn, frame)
    linking.link_people(conn, frame)


def claim_accounts(conn: Connection, bridge: Bridge) -> None:
    """Law 11; `ForeignAccount` where the mirror is another account's."""
    settings, now, key = bridge.settings, bridge.now(), cursors.hash_key(conn)
    api_key = settings.onvoard.api_key.get_secret_value() if settings.onvoard.api_key else ""
    for platform, base_url, credential in (
        ("onvoard", settings.onvoard.base_url, api_key),
        ("digital_onboarding", settings.digital_onboarding.base_url, settings.digital_onboarding.client_id or ""),
    ):
        fingerprint = hmac.new(key, credential.encode(), hashlib.sha256).hexdigest()[:16]
        cursors.claim_account(conn, platform, base_url.rstrip("/"), fingerprint, now)


async def run(
    bridge: Bridge, kind: str, work: Callable[[Cycle], Awaitable[None]], progress: Progress | None = None
) -> Report:
    """One run on record, whatever comes of it."""
    started = bridge.now()

    def begin(conn: Connection) -> int:
        claim_accounts(conn, bridge)
        return cursors.start_run(conn, kind, started)

    run_id = await bridge.db.run(begin)
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
