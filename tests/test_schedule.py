"""The daemon's jobs, in this process, on a real database and against both platforms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from structlog.contextvars import bind_contextvars, clear_contextvars, merge_contextvars
from structlog.testing import capture_logs

from service import app, settings
from service.bridge import Bridge
from service.core.records import Platform
from service.sandbox import Sandbox
from service.schedule import JOBS, PULLS, Schedule, intervals
from service.settings.turns import Cron
from service.store import cursors, inbox, jobs, mirror
from service.store import tables as t
from service.store.database import Database
from service.store.health import ENDED_WELL
from service.store.lease import lease

OFTEN, SELDOM = timedelta(milliseconds=250), timedelta(hours=1)
JANE = "jane@example.com"
LINK = "digital_onboarding_unique_id"


@pytest.fixture
async def bridge(sandbox: Sandbox, sqlite_mirror: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bridge]:
    monkeypatch.setenv("BRIDGE_DATABASE_URL", sqlite_mirror)
    # Oftener than the settings allow, so that the tests need not wait.
    monkeypatch.setattr("service.schedule.intervals", lambda _: dict.fromkeys(intervals(settings.load()), OFTEN))
    monkeypatch.setattr("service.schedule.STAGGER", 0.02)
    with closing(Database(sqlite_mirror)) as database:
        async with app.open_bridge(settings.load(), database) as opened:
            yield opened


@asynccontextmanager
async def scheduled(bridge: Bridge, grace: float = 5.0) -> AsyncIterator[Schedule]:
    schedule = Schedule(bridge)
    await schedule.start()
    try:
        yield schedule
    finally:
        await schedule.stop(grace)


async def until(what: Callable[[], Any], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110
            await asyncio.sleep(0.03)


def runs(bridge: Bridge, kind: str | None = None) -> list[Any]:
    with bridge.db.begin(write=False) as conn:
        found = conn.execute(select(t.runs).order_by(t.runs.c.id)).all()
    return [run for run in found if kind in (None, run.kind)]


def ended(bridge: Bridge, kind: str, *outcomes: str) -> list[Any]:
    """Well, or so."""
    return [run for run in runs(bridge, kind) if run.outcome in (outcomes or ENDED_WELL)]


def there(sandbox: Sandbox) -> list[str]:
    return [contact["email"] for contact in sandbox.digital_onboarding.contact_list()]


def test_every_job_has_an_interval() -> None:
    found = intervals(settings.load())
    assert {job.name for job in JOBS} == found.keys()


async def test_people_travel_both_ways(sandbox: Sandbox, bridge: Bridge) -> None:
    sandbox.onvoard.add_contact(JANE, name="Jane Doe")
    async with scheduled(bridge) as schedule:
        assert schedule.is_running
        await until(lambda: there(sandbox) == [JANE])
        await until(lambda: ended(bridge, "reconcile"))
        sandbox.onvoard.add_contact("joe@example.com")
        await until(lambda: "joe@example.com" in there(sandbox))
    assert not schedule.is_running
    first = runs(bridge, "reconcile")[0]
    assert all(ended(bridge, name)[0].finished_at <= first.started_at for name in (*PULLS, "refresh"))
    with bridge.db.begin() as conn:
        assert cursors.fact(conn, "first_sync_at")
        assert not conn.execute(select(t.leases)).all()


async def test_an_unchanged_world_is_only_read(sandbox: Sandbox, bridge: Bridge) -> None:
    for number in range(20):
        sandbox.onvoard.add_contact(f"person{number}@example.com", name=f"Person {number}")
    async with scheduled(bridge):
        await until(lambda: len(ended(bridge, "reconcile")) >= 2)
        await until(lambda: ended(bridge, "verify"))  # asks by a probe, and then not for a day
        mark, before = sandbox.journal.mark(), len(runs(bridge, "reconcile"))
        await until(lambda: len(runs(bridge, "reconcile")) >= before + 2)
        assert sandbox.journal.writes(mark) == []


async def test_nobody_is_created_before_everything_was_read_once(sandbox: Sandbox, bridge: Bridge) -> None:
    sandbox.onvoard.add_contact(JANE)
    sandbox.fail("onvoard", "status", method="GET", path="/v1/resources*", times=None, status=401)
    sandbox.fail("onvoard", "status", method="GET", path="/v2/resources*", times=None, status=401)
    with capture_logs() as logged:
        async with scheduled(bridge):
            await until(lambda: len(ended(bridge, "resources", "denied")) >= 2)
            await until(lambda: len(ended(bridge, "contacts")) >= 2)
            assert not runs(bridge, "reconcile")
            assert there(sandbox) == []
            sandbox.clear_faults()
            await until(lambda: there(sandbox) == [JANE])
    failed = [line for line in logged if line["event"] == "job failed"]
    assert len(failed) == len(ended(bridge, "resources", "denied"))
    assert failed[0]["platform"] == "onvoard"
    assert failed[0]["status"] == 401
    assert failed[0]["call"].startswith("GET /")
    assert "exc_info" not in failed[0]
    waits = [line for line in logged if "missing" in line]
    said = [line["missing"] for line in waits]
    assert said[-1] == ["resources"]
    assert len(said) == len({tuple(missing) for missing in said})  # each once


async def test_a_defect_is_told_without_what_it_quotes(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> int:
        raise ValueError(JANE)

    monkeypatch.setattr("service.extract.digital_onboarding.DigitalReader.templates", lambda self: broken())
    with capture_logs() as logged:
        async with scheduled(bridge):
            await until(lambda: ended(bridge, "templates", "failed") and ended(bridge, "contacts"))
    told = [line for line in logged if line["event"] == "job failed"]
    assert told[0]["error"].startswith("unexpected ValueError in service/cycle.py line ")
    assert JANE not in str(logged)


async def test_a_job_is_not_told_under_the_run_that_has_woken_it(bridge: Bridge) -> None:
    schedule, (job, *_) = Schedule(bridge), JOBS
    bind_contextvars(run_id=7)
    try:
        with capture_logs(processors=[merge_contextvars]) as logs:
            async with lease(bridge.db, f"job:{job.name}"):
                await asyncio.create_task(schedule._run(job))
    finally:
        clear_contextvars()
    assert [(line["event"], line.get("run_id")) for line in logs] == [("job skipped: another process is at it", None)]


async def test_a_job_whose_lease_is_taken_is_skipped_quietly(sandbox: Sandbox, bridge: Bridge) -> None:
    sandbox.onvoard.add_contact(JANE)
    with capture_logs() as logged:
        async with lease(bridge.db, "job:contacts"), scheduled(bridge):
            await until(lambda: ended(bridge, "reviews"))
            await asyncio.sleep(0.5)
            assert not runs(bridge, "contacts")
    assert not [line for line in logged if line["log_level"] in ("warning", "error")]


async def test_no_pushes_while_a_sync_is_at_work(sandbox: Sandbox, bridge: Bridge) -> None:
    sandbox.onvoard.add_contact(JANE)
    async with scheduled(bridge):
        async with lease(bridge.db, "cycle", wait=5):
            await until(lambda: len(ended(bridge, "contacts")) >= 2)
            assert not runs(bridge, "reconcile")
            assert not there(sandbox)
        await until(lambda: there(sandbox) == [JANE])


async def test_a_stop_ends_a_long_pull_between_two_pages(sandbox: Sandbox, bridge: Bridge) -> None:
    for number in range(350):
        sandbox.onvoard.add_contact(f"person{number}@example.com")
    sandbox.fail("onvoard", "delay", path="/v2/contacts", times=None, seconds=0.4)
    loop = asyncio.get_running_loop()
    async with scheduled(bridge):
        await until(lambda: runs(bridge, "contacts"))
        await asyncio.sleep(0.2)
        began = loop.time()
    assert loop.time() - began < 4.5
    assert [run.outcome for run in runs(bridge, "contacts")] == ["interrupted"]
    sandbox.clear_faults()
    async with scheduled(bridge):
        await until(lambda: ended(bridge, "contacts"))
        with bridge.db.begin() as conn:
            assert cursors.count(conn, t.onvoard_contacts) == 350


async def test_a_stop_cancels_what_does_not_end(sandbox: Sandbox, bridge: Bridge) -> None:
    sandbox.fail("onvoard", "delay", times=None, seconds=20)
    loop = asyncio.get_running_loop()
    async with scheduled(bridge, grace=0.2):
        await until(lambda: runs(bridge, "contacts"))
        began = loop.time()
    assert loop.time() - began < 10
    assert {run.outcome for run in runs(bridge, "contacts")} == {"interrupted"}


async def test_a_sweep_finds_an_edit_without_a_trace_when_it_is_due(
    sandbox: Sandbox, bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.onvoard.add_contact(JANE, name="Jane Doe")
    async with scheduled(bridge):
        await until(lambda: there(sandbox) == [JANE])
    assert not runs(bridge, "sweep")  # the first pull was one
    sandbox.clock.advance(600)  # beyond the overlap with which new records are looked for
    sandbox.onvoard.edit_contact(JANE, name="Janet Doe")
    with bridge.db.begin() as conn:
        conn.execute(t.sweep_slices.update().values(swept_at=datetime(2020, 1, 1, tzinfo=UTC)))
    async with scheduled(bridge):
        await until(lambda: ended(bridge, "sweep"))
        await until(lambda: sandbox.digital_onboarding.contact(JANE)["name_first"] == "Janet")
    assert len(runs(bridge, "sweep")) == 1


async def test_a_lost_mirror_finds_its_links_again_before_anybody_is_created(sandbox: Sandbox, bridge: Bridge) -> None:
    await bridge.onvoard.contact_property_types.create(key=LINK, label="Unique id", value_type="STRING")
    sandbox.digital_onboarding.add_contact(unique_id="member-7", email="private@example.com", exported=False)
    sandbox.onvoard.add_contact(JANE, **{f"custom_{LINK}": "member-7"})
    async with scheduled(bridge):
        await until(lambda: ended(bridge, "reconcile"))
    assert [contact["unique_id"] for contact in sandbox.digital_onboarding.contact_list()] == ["member-7"]
    with bridge.db.begin() as conn:
        person = conn.execute(select(t.persons)).one()
    assert (person.unique_id, person.matched_by) == ("member-7", "property")


async def test_someone_suppressed_no_longer_is_not_created_twice(sandbox: Sandbox, bridge: Bridge) -> None:
    """The tombstone knows the unique_id; nothing on OnVoard does."""
    sandbox.onvoard.settings.suppressed_data = "keep"
    sandbox.onvoard.add_contact(JANE)
    sandbox.digital_onboarding.add_contact(unique_id="member-7", email=JANE)
    with bridge.db.begin() as conn:
        said = {"unique_id": "member-7", "email": JANE}
        row = mirror.digital_contact_row({**said, "id": None, "raw": said}, "import", None)
        mirror.save_digital_contacts(conn, [row])

    def person() -> Any:
        """The OnVoard contact's: for a moment the one on Digital Onboarding has a person of its own."""
        with bridge.db.begin(write=False) as conn:
            return conn.execute(select(t.persons).where(t.persons.c.onvoard_contact_id.is_not(None))).one()

    async with scheduled(bridge):
        await until(lambda: ended(bridge, "reconcile"))
        contact_id = sandbox.onvoard.contact(JANE)["id"]
        sandbox.onvoard.suppress(contact_id)
        await until(lambda: sandbox.digital_onboarding.contact("member-7")["unsubscribe_sms"])
        sandbox.onvoard.unsuppress(contact_id)
        await until(lambda: person().state == "active" and person().unique_id)
    assert [contact["unique_id"] for contact in sandbox.digital_onboarding.contact_list()] == ["member-7"]
    assert person().unique_id == "member-7"
    with bridge.db.begin(write=False) as conn:
        assert conn.execute(select(func.count()).select_from(t.persons)).scalar() == 1


def incoming(sandbox: Sandbox, number: int) -> inbox.Incoming:
    contact_id = sandbox.onvoard.contact(JANE)["id"]
    payload = {"id": f"evt_{number}", "type": "contact.saved", "data": {"contact": {"id": contact_id}}}
    return inbox.Incoming(f"evt_{number}", Platform.ONVOARD, "contact.saved", payload, datetime.now(UTC), contact_id)


async def test_an_event_wakes_the_inbox_and_what_it_led_to_is_pushed_at_once(
    sandbox: Sandbox, bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.onvoard.add_contact(JANE, name="Jane Doe")
    monkeypatch.setattr("service.schedule.intervals", lambda _: dict.fromkeys(intervals(settings.load()), SELDOM))
    async with scheduled(bridge) as schedule:
        await until(lambda: ended(bridge, "reconcile"))
        assert not runs(bridge, "inbox")
        for round_ in range(3):  # also while the job is at work
            sandbox.onvoard.edit_contact(JANE, city=f"Oslo {round_}")
            for number in range(10):
                await bridge.db.run(lambda conn, n=10 * round_ + number: inbox.keep(conn, [incoming(sandbox, n)]))
                schedule.wake()
            await asyncio.sleep(0.12)
        await until(lambda: sandbox.digital_onboarding.contact(JANE).get("city") == "Oslo 2", 5)
        assert 1 <= len(ended(bridge, "inbox")) <= 6, "a burst is looked into together"


async def test_an_empty_inbox_leaves_no_trace(bridge: Bridge) -> None:
    async with scheduled(bridge) as schedule:
        await until(lambda: len(ended(bridge, "reconcile")) >= 3)
        schedule.wake()
        await asyncio.sleep(0.3)
        assert not runs(bridge, "inbox")


async def test_an_event_that_was_put_off_has_its_turn_though_one_that_was_known_came_before(
    sandbox: Sandbox, bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.onvoard.add_contact(JANE, name="Jane Doe")
    seldom(monkeypatch)
    async with scheduled(bridge) as schedule:
        await until(lambda: ended(bridge, "reconcile"))
        due = datetime.now(UTC) + timedelta(seconds=0.8)
        await bridge.db.run(lambda conn: inbox.keep(conn, [incoming(sandbox, 1)]))
        await bridge.db.run(lambda conn: inbox.postpone(conn, {"evt_1": due}))
        schedule.wake()  # for nothing, an hour before the job's next turn
        await until(lambda: ended(bridge, "inbox"), 20)
        assert runs(bridge, "inbox")[0].started_at >= due


async def test_a_failure_is_tried_again_in_a_minute_and_what_got_through_is_pushed(
    sandbox: Sandbox, bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.onvoard.add_contact(JANE, name="Jane Doe")
    gone = inbox.Incoming("evt_x", Platform.ONVOARD, "contact.saved",
                          {"id": "evt_x", "type": "contact.saved", "data": {"contact": {"id": "ct_x"}}},
                          datetime.now(UTC), "ct_x")  # fmt: skip
    monkeypatch.setattr("service.schedule.intervals", lambda _: dict.fromkeys(intervals(settings.load()), SELDOM))
    async with scheduled(bridge) as schedule:
        await until(lambda: ended(bridge, "reconcile"))
        sandbox.fail("onvoard", "status", path="/v2/contacts/ct_x", times=None, status=403)
        sandbox.onvoard.edit_contact(JANE, city="Oslo")
        before = len(ended(bridge, "reconcile"))
        await bridge.db.run(lambda conn: inbox.keep(conn, [incoming(sandbox, 1), gone]))
        schedule.wake()
        await until(lambda: ended(bridge, "inbox", "denied"))
        await until(lambda: len(ended(bridge, "reconcile")) > before)
        await asyncio.sleep(0.3)
        assert len(runs(bridge, "inbox")) == 1
        with bridge.db.begin(write=False) as conn:
            due = inbox.next_due(conn)
        assert due is not None and timedelta(seconds=50) < due - datetime.now(UTC) <= timedelta(seconds=60)


def had_run(bridge: Bridge, kind: str, at: datetime) -> None:
    with bridge.db.begin() as conn:
        cursors.finish_run(conn, cursors.start_run(conn, kind, at), "ok", {}, at)


def seldom(monkeypatch: pytest.MonkeyPatch, **turns: Any) -> None:
    """Each job an hour after it was started, but for these."""
    every = dict.fromkeys(intervals(settings.load()), SELDOM) | turns
    monkeypatch.setattr("service.schedule.intervals", lambda _: every)


def set_up(bridge: Bridge, now: datetime | None = None, **schedule: str) -> Bridge:
    changed = settings.load({f"schedule.{name}": value for name, value in schedule.items()})
    return replace(bridge, settings=changed, now=bridge.now if now is None else lambda: now)


async def test_turns_that_nobody_took_are_counted_and_made_up_for_once(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    seldom(monkeypatch)
    had_run(bridge, "contacts", datetime.now(UTC) - timedelta(minutes=61))
    had_run(bridge, "inbox", datetime.now(UTC) - timedelta(minutes=61))
    with capture_logs() as logged:
        async with scheduled(set_up(bridge, contacts="10m", jitter="0")):
            await until(lambda: ended(bridge, "reconcile"))
    assert len(ended(bridge, "contacts")) == 2
    assert [(line["job"], line["missed"]) for line in logged if "missed" in line] == [("contacts", 5)]
    async with scheduled(set_up(bridge, contacts="10m", jitter="0")):
        await until(lambda: len(ended(bridge, "reconcile")) == 2)
    with bridge.db.begin(write=False) as conn:
        assert jobs.missed(conn) == {"contacts": 5}


async def test_a_cron_has_its_own_time_and_a_start_makes_up_for_what_was_missed(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    hourly, crons = Cron("0 * * * *"), {"contacts": "cron: 0 * * * *", "reviews": "cron: 0 * * * *"}
    seldom(monkeypatch, contacts=hourly, reviews=hourly)
    now = datetime.now(UTC)
    with bridge.db.begin() as conn:
        for name in PULLS:
            cursors.fact_once(conn, f"pulled:{name}", now.isoformat())
    had_run(bridge, "contacts", now - timedelta(microseconds=1))  # since when there was no full hour
    had_run(bridge, "reviews", now - timedelta(hours=1))
    async with scheduled(set_up(bridge, jitter="0", **crons)) as schedule:
        await until(lambda: ended(bridge, "reconcile"))
        turn = schedule._scheduler.get_job("contacts").next_run_time
    assert (turn.minute, turn.second) == (0, 0) and timedelta() < turn - now <= timedelta(hours=1)
    assert len(ended(bridge, "contacts")) == 1
    assert len(ended(bridge, "reviews")) == 2


async def test_a_paused_job_rests_and_the_others_do_not(bridge: Bridge) -> None:
    with bridge.db.begin() as conn:
        jobs.pause(conn, ["contacts"], bridge.now())
    async with scheduled(bridge):
        await until(lambda: len(ended(bridge, "reviews")) >= 3)
        assert not runs(bridge, "contacts")
        with bridge.db.begin() as conn:
            assert jobs.resume(conn, ["contacts", "reviews"], bridge.now()) == ["contacts"]
        await until(lambda: ended(bridge, "contacts"))


async def test_what_fell_into_a_pause_was_not_missed(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    seldom(monkeypatch)
    now = datetime.now(UTC)
    had_run(bridge, "contacts", now - timedelta(hours=3))
    with bridge.db.begin() as conn:
        jobs.pause(conn, ["contacts"], now - timedelta(hours=2))
        jobs.resume(conn, ["contacts"], now - timedelta(minutes=1))
    async with scheduled(set_up(bridge, contacts="10m")):
        await until(lambda: len(ended(bridge, "contacts")) == 2)
    with bridge.db.begin(write=False) as conn:
        assert jobs.missed(conn) == {}


async def test_in_quiet_hours_nothing_is_swept_or_verified_and_all_of_it_afterwards(bridge: Bridge) -> None:
    async with scheduled(bridge):
        await until(lambda: ended(bridge, "verify"))
    with bridge.db.begin() as conn:
        conn.execute(t.sweep_slices.update().values(swept_at=datetime(2020, 1, 1, tzinfo=UTC)))
        conn.execute(t.verifications.update().values(at=datetime(2020, 1, 1, tzinfo=UTC)))
    before = len(runs(bridge, "verify"))
    midnight = datetime.now(UTC).replace(hour=0, minute=0) + timedelta(days=1)
    hours = {"quiet_hours": "22:00-06:00", "jitter": "0"}
    async with scheduled(set_up(bridge, midnight, **hours)) as schedule:
        reviews = len(ended(bridge, "reviews"))
        await until(lambda: len(ended(bridge, "reviews")) >= reviews + 3)
        turn = schedule._scheduler.get_job("sweep").next_run_time
    assert (runs(bridge, "sweep"), len(runs(bridge, "verify"))) == ([], before)
    wait = turn - datetime.now(UTC)  # by the scheduler's clock
    assert timedelta(hours=5, minutes=58) < wait < timedelta(hours=6)
    async with scheduled(set_up(bridge, midnight + timedelta(hours=6), **hours)):
        await until(lambda: ended(bridge, "sweep") and len(ended(bridge, "verify")) > before)


async def test_new_settings_hold_from_the_next_turn_and_what_was_called_for_stays(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.schedule.intervals", intervals)
    async with scheduled(set_up(bridge, jitter="0")) as schedule:
        await until(lambda: ended(bridge, "reconcile"))
        before = {job.name: schedule._scheduler.get_job(job.name).next_run_time for job in JOBS}
        began, soon = datetime.now(UTC), timedelta(seconds=1)
        schedule._make_due("summaries", soon)
        new = {"contacts": "2s", "reviews": "cron: 0 0 1 1 *", "summaries": "7d", "templates": "1h"}
        schedule.use(set_up(bridge, jitter="0", **new))
        after = {job.name: schedule._scheduler.get_job(job.name).next_run_time for job in JOBS}
        assert after["contacts"] - began < timedelta(seconds=3)
        assert (after["reviews"].month, after["reviews"].day) == (1, 1)
        assert after["summaries"] - began < 2 * soon, "there was work that had called for it"
        assert {name for name in before if before[name] != after[name]} <= {"contacts", "reviews", "summaries", "inbox"}
        pulled = len(ended(bridge, "contacts"))
        await until(lambda: len(ended(bridge, "contacts")) > pulled + 1)
