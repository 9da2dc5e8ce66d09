"""One cycle: extract, identity, reconcile, guard, load. It reads like the first section of the design."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from service import restoring
from service.bridge import Bridge, Report, stream_name
from service.concurrency import side_by_side
from service.core.guard import Limits
from service.core.loaders import Loader, Survey
from service.core.mapping import normal_email
from service.core.records import Platform
from service.core.rules import SetMetaPublic
from service.core.windows import EPOCH
from service.decide import acting, brake, consent_lane, deletion, examining, happenings, linking, loading, merging
from service.decide.decisions import Decisions
from service.decide.frame import Frame
from service.errors import PlatformError, Unreachable
from service.extract.digital_onboarding import DigitalReader
from service.extract.inbox import Inbox
from service.extract.loaders import LoaderReader, mapped
from service.extract.onvoard import OnvoardReader
from service.extract.sweeping import Sweeper
from service.headway import Headway
from service.load import loader_schema
from service.load.drain import Drain
from service.load.settle import Settler
from service.progress import Progress
from service.store import (
    absorb,
    adoption,
    announcements,
    candidates,
    consents,
    cursors,
    erasure,
    firings,
    health,
    ledger,
    loaded,
    looks,
    mirror,
    outbox,
    people,
    recovery,
    restoration,
)
from service.store.database import Connection
from service.store.outbox import Lane

_log = structlog.get_logger()

Batch = Callable[[Connection, Frame, str], str | None]
"""Decides about the next few, and says where to go on: short transactions."""

PASSES = 20
"""A creation is followed by what fills it, and that by nothing: three passes. More is a defect, and it ends."""

SCHEMA = ("contact_property_types", "resources", "resource_property_types", "activity_types")
LISTINGS = (*SCHEMA, "webhooks")
TIMED = ("contacts", "reviews", "activities", "records")
BESIDE = frozenset({
    "resources", "resource_property_types", "webhooks", "reviews", "records", "summaries", "templates", "objectives",
})  # fmt: skip
"""No decision about a person is wrong because one of these is known as it was a while ago: everything else goes on."""


class Cycle:
    """The steps of one run, each usable by itself."""

    def __init__(self, bridge: Bridge, run_id: int, started_at: datetime, progress: Progress | None = None) -> None:
        self.bridge, self.started_at = bridge, started_at
        self.report = Report(run_id)
        self._asked: set[str] = set()
        self._anew = False
        self._beside, self.only_reads = BESIDE, False
        self._decisions = Decisions(bridge.db, run_id)
        self.headway = progress = Headway(progress)
        batch = bridge.settings.digital_onboarding.batch_size
        self.onvoard = OnvoardReader(
            bridge.onvoard, bridge.db, run_id, bridge.now, progress, bridge.settings.schedule.sweep_after
        )
        self.sweeper = Sweeper(self.onvoard)
        self.digital = DigitalReader(bridge.digital, bridge.db, run_id, bridge.now, progress, batch)
        allowed, taken = bridge.rules.meta_public, mapped(bridge.mapping)
        self.loaders = LoaderReader(bridge.db, run_id, bridge.now, allowed, taken)
        settler = Settler(bridge.mapping, run_id)
        self.drain = Drain(bridge.onvoard, bridge.digital, bridge.db, settler, bridge.now, progress, batch)

    async def take_up(self) -> None:
        """What an earlier run left half-said."""
        unknown = await self.bridge.db.run(lambda conn: recovery.take_up(conn, self.bridge.now()))
        changes = [row for row in unknown if row["lane"] == Lane.CHANGE]
        if changes:
            await self._look_at(changes)
        await self.drain.look_for([row for row in unknown if row["lane"] != Lane.CHANGE])

    async def is_restored(self) -> bool:
        """From a backup, and not read anew yet."""
        return await self.bridge.db.run(restoration.is_unread)

    async def read_anew(self, *, allow_empty: bool = False) -> None:
        """A restored mirror: everything, before anything is decided; then what the backup left half-said."""
        self._beside = frozenset()
        if await self._unknown():  # a backfill was begun, and ends where it was to end
            await self.pull(allow_empty=allow_empty)
        await self.pull(full=True, allow_empty=allow_empty)
        await self.look_into_inbox()
        await self.refresh(full=True)
        await self.bridge.db.run(lambda conn: restoration.settle(conn, self.bridge.now()))
        await self.take_up()
        self._anew = True

    async def _look_at(self, changes: Sequence[dict[str, Any]]) -> None:
        """Whose change may have arrived is read again before anything is decided about them."""
        db, targets = self.bridge.db, {platform: set[str]() for platform in Platform}
        for row in changes:
            targets[Platform(row["platform"])].add(row["target"])
        await db.run(lambda conn: absorb.want_reread(conn, dict.fromkeys(targets[Platform.ONVOARD])))
        await self.onvoard.follow_hints()
        if self.bridge.settings.digital_onboarding.refresh == "probe":
            await self.digital.probe_all(sorted(targets[Platform.DIGITAL_ONBOARDING]))
        await db.run(lambda conn: self.drain.settler.looked_at(conn, changes, self.bridge.now()))

    async def read(self, name: str, work: Awaitable[int]) -> None:
        """One stream. What stands BESIDE the others, and was read before, hinders none of them, and where the run
        `only_reads` none does; its failure is raised when they are done."""
        self.headway.begin(name)
        self.report.pulled[name] += 0
        try:
            self.report.pulled[name] += await work
        except PlatformError as error:
            self.report.failed[name] = error
            if isinstance(error, Unreachable) or not (self.only_reads or await self._stands_beside(name)):
                raise
        else:
            self.report.read.add(name)

    async def read_together(self, works: Mapping[str, Callable[[], Awaitable[int]]]) -> None:
        """Several streams at the same time: where one waits for its platform, another one does not. On SQLite one after
        the other: its one writer would let them wait in memory. What `read` raises of one of them is raised when all
        are done, where the platform still answers."""
        failures: dict[str, PlatformError] = {}

        async def one(name: str, work: Callable[[], Awaitable[int]]) -> None:
            try:
                await self.read(name, work())
            except Unreachable:
                raise
            except PlatformError as error:
                failures[name] = error

        at_once = len(works) if self.bridge.db.dialect == "postgresql" else 1
        await side_by_side(*(one(name, work) for name, work in works.items()), at_once=at_once)
        for name in works:
            if name in failures:
                raise failures[name]

    async def _stands_beside(self, name: str) -> bool:
        return name in self._beside and await self.bridge.db.run(lambda conn: health.was_read(conn, stream_name(name)))

    async def pull(self, *, full: bool = False, allow_empty: bool = False) -> None:
        """OnVoard's news, or every record; what both sides know about themselves. Reads only."""
        for name in LISTINGS:
            await self.read(name, self.onvoard.listing(name))
        unknown = await self._unknown()
        for name in TIMED:
            if name not in unknown:
                work = self.sweeper.everything if full else self.onvoard.new
                await self.read(name, work(name, allow_empty=allow_empty))
        await self.read_together({name: partial(self.onvoard.new, name, allow_empty=allow_empty) for name in unknown})
        self.report.pulled["contacts"] += await self.onvoard.follow_hints()
        await self.read("summaries", self.onvoard.listing("summaries"))
        await self.read("templates", self.digital.templates())
        await self.read("objectives", self.digital.objectives())
        await adoption.adopt_in_parts(self.bridge.db, self.bridge.now())

    async def _unknown(self) -> list[str]:
        """Streams that were never read whole."""
        return [name for name in TIMED if await self.onvoard.since(name) is None]

    async def sweep(self) -> None:
        """A turn of the rolling sweep: for as many requests as it may make until the next one."""
        settings = self.bridge.settings
        share = settings.schedule.sweep_budget * settings.onvoard.requests_per_second
        budget = max(1, int(share * settings.schedule.sweep_every.total_seconds()))
        self.report.pulled += await self.sweeper.turn(budget)

    async def refresh(self, *, full: bool = False) -> None:
        """Ask Digital Onboarding about the contacts that are due. A probe is a write: never for a plan."""
        settings = self.bridge.settings
        mode = settings.digital_onboarding.refresh
        if mode == "off":
            return
        now = self.bridge.now()
        before = now if full else now - settings.schedule.refresh_within
        work = self.digital.list_all() if mode == "list" else self.digital.probe_due(before)
        await self.read("digital_onboarding_contacts", work)

    async def look_into_inbox(self) -> None:
        """What the webhooks hinted at."""
        settings = self.bridge.settings
        longest = settings.schedule.refresh_within
        events = Inbox(self.onvoard, self.digital, settings.digital_onboarding.refresh, longest)
        try:
            await events.empty()
        finally:
            self.report.pulled.update({f"webhook_events.{how}": number for how, number in events.counts.items()})

    async def ask_about_strangers(self) -> None:
        """Those of whom Digital Onboarding itself never told, so that nobody is decided about, or made, unasked."""
        if self.bridge.settings.digital_onboarding.refresh != "probe":
            return
        asked = await self.digital.probe_due(EPOCH)
        await adoption.adopt_in_parts(self.bridge.db, self.bridge.now())
        strangers = await self.bridge.db.run(self._strangers)
        asked += await self.digital.probe_all(strangers)
        self._asked |= set(strangers)
        self.report.pulled["digital_onboarding_contacts"] += asked

    def _strangers(self, conn: Connection) -> list[str]:
        """unique_ids to be asked about: OnVoard names them, or people had them who are suppressed no longer."""
        named = dict.fromkeys([*candidates.named_but_unknown(conn), *erasure.to_be_asked(conn)])
        erased = erasure.erased_among(conn, (), named)
        return [each for each in named if each not in self._asked and normal_email(each) not in erased]

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
            asks=settings.digital_onboarding.refresh == "probe",
            link_property=mirror.link_property_fits(conn),
            opt_out_deleted=settings.consent.on_deletion == "opt_out",
            rules=self.bridge.rules,
            restored=restoration.read(conn),
            anew=self._anew,
        )

    async def read_loaders(self, *, told: bool = True) -> None:
        """The results of the operator's SELECTs; what is new of them is staged by `decide`. `told`: whoever runs this
        hears of a loader that has stopped."""
        loaders = [loader for loader in self.bridge.loaders if loader.enabled]
        if loaders:
            await adoption.adopt_in_parts(self.bridge.db, self.bridge.now())
        for loader in loaders:
            self.headway.begin(f"the loader {loader.name}")
            await self.loaders.read(loader, told=told)

    async def _complete_schema(self) -> None:
        """What loaders are about to push rests on properties and activity types."""
        for loader in self.bridge.loaders:
            survey = await self.bridge.db.run(partial(_unmade, loader))
            if survey is None:
                continue
            why = await loader_schema.make(self.bridge.onvoard, survey)
            for name in SCHEMA:
                await self.onvoard.listing(name)
            if why:
                await self.bridge.db.run(partial(loaded.withdraw_all, loader=loader, now=self.bridge.now()))
                await self.loaders.stop(loader, why, self.report.run_id)

    async def decide(self, *, brake_on: bool = True) -> None:
        """Everything that changed, decided and on record; what the brake holds is not for the drain to see."""
        db = self.bridge.db
        await self.ask_about_strangers()
        self.headway.begin("deciding")
        frame = await db.run(lambda conn: self.frame(conn, brake_on=brake_on))
        await db.run(lambda conn: examining.meet(conn, frame))
        await self._in_batches(_EXAMINING, frame)
        await self._ask_before_setting(frame)
        frame = await db.run(lambda conn: _meet(conn, frame))
        await self._in_batches(_BATCHES, frame)
        await db.run(lambda conn: consent_lane.spread_of_frozen(conn, frame))  # who was frozen just now
        await db.run(lambda conn: deletion.opt_out(conn, frame))
        await db.run(lambda conn: happenings.announce(conn, frame))
        await self._in_batches([acting.act, *self._loading], frame)
        if self._anew:
            await db.run(lambda conn: restoration.made_good(conn, self.report.run_id))
        held = await db.run(lambda conn: brake.rule(conn, frame))
        for platform in held.keys() - self.report.held.keys():  # at once, and once in a run
            _log.warning("held by the brake", platform=platform.value, why=held[platform], hint="contact-bridge status")
        self.report.held = held
        await self._decisions.tell()

    async def _in_batches(self, batches: Sequence[Batch], frame: Frame) -> None:
        for batch in batches:
            after: str | None = ""
            while after is not None:
                after = await self.bridge.db.run(partial(_alone, batch=batch, frame=frame, after=after))

    @property
    def _loading(self) -> Sequence[Batch]:
        return [partial(loading.stage, loader) for loader in self.bridge.loaders]

    async def _ask_before_setting(self, frame: Frame) -> None:
        """With the keys of meta_public that are about to be set, all others are said again: as they are now."""
        if self.bridge.settings.digital_onboarding.refresh != "probe":
            return
        setting = [rule.name for rule in frame.rules.enabled if isinstance(rule.then, SetMetaPublic)]
        waiting = await self.bridge.db.run(outbox.meta_awaited)
        due = await self.bridge.db.run(lambda conn: firings.awaiting(conn, setting)) if setting else []
        await self.digital.probe_all(sorted({*waiting, *due, *await self._loaders_would_set(frame)}))

    async def _loaders_would_set(self, frame: Frame) -> set[str]:
        found: set[str] = set()
        for loader in self.bridge.loaders:
            after: str | None = ""
            while after is not None:
                look = partial(loading.about_to_be_set, loader, frame=frame, after=after)
                some, after = await self.bridge.db.run(look)
                found |= set(some)
        return found

    def decide_at_once(self, conn: Connection, *, brake_on: bool = True) -> None:
        """The same within one transaction: for a plan, which is rolled back."""
        frame = self.frame(conn, brake_on=brake_on)
        recovery.take_up(conn, self.bridge.now())
        examining.meet(conn, frame)
        _all(conn, frame, _EXAMINING)
        frame = _meet(conn, frame)
        _all(conn, frame, _BATCHES)
        consent_lane.spread_of_frozen(conn, frame)
        deletion.opt_out(conn, frame)
        happenings.announce(conn, frame)
        _all(conn, frame, [acting.act, *self._loading])
        self.report.held = brake.rule(conn, frame)

    async def push(self, *, only: Set[int] | None = None) -> int:
        """What is pending, or `only` these; activities once `setup` has made their types. -> how many were sent"""
        self.headway.begin("pushing")
        self.report.pushes = True
        await self._complete_schema()
        ready = await self.bridge.db.run(_activities_ready)
        async with restoring.on_record(self.bridge, activities=ready):
            return await self.drain.all(activities=ready, only=only, looks_first=self._anew)

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
            self.report.changed = ledger.changed(conn, run_id)
            self.report.stopped = self.loaders.stopped
            self.report.refused = dict(+(self.onvoard.refused + self.digital.refused))

        await self.bridge.db.run(look)


def _activities_ready(conn: Connection) -> bool:
    return mirror.activity_type_accessors(conn) >= announcements.KINDS


def _unmade(loader: Loader, conn: Connection) -> Survey | None:
    """What a loader's result needs on OnVoard that is not there, if something of it is to leave."""
    survey = loaded.survey(conn, loader) if loaded.waits(conn, loader) else None
    return survey if survey is not None and loader_schema.lacking(conn, survey) else None


def _meet(conn: Connection, frame: Frame) -> Frame:
    """Before anybody is decided about. -> the frame, with what is known from then on"""
    people.take_turn(conn)
    said = json.dumps(
        [sorted(frame.create_on), [str(rule) for rule in frame.mapping.rules], frame.link_property], default=str
    )
    if cursors.fact(conn, "compared_by") != said:  # what is compared has changed: look at everybody once
        looks.touch_everybody(conn)
        cursors.set_fact(conn, "compared_by", said)
    linking.meet(conn, frame)
    consents.note(conn, frame.now)
    consent_lane.spread_of_frozen(conn, frame)
    return replace(frame, creations_sent=outbox.creations_sent(conn))


def _alone(conn: Connection, batch: Batch, frame: Frame, after: str) -> str | None:
    people.take_turn(conn)
    return batch(conn, frame, after)


def _all(conn: Connection, frame: Frame, batches: Sequence[Batch]) -> None:
    for batch in batches:
        after: str | None = ""
        while after is not None:
            after = batch(conn, frame, after)


_EXAMINING: Sequence[Batch] = (examining.activities, examining.reviews, examining.contacts)
_BATCHES: Sequence[Batch] = (
    linking.link_onvoard, linking.link_meant, linking.link_digital_onboarding,
    merging.merge_onvoard, merging.merge_digital_onboarding,
)  # fmt: skip
