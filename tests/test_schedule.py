"""The daemon's jobs, in this process, on a real database and against both platforms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from structlog.testing import capture_logs

from service import app, settings
from service.bridge import Bridge
from service.core.records import Platform
from service.sandbox import Sandbox
from service.schedule import JOBS, PULLS, Schedule, intervals
from service.store import cursors, inbox, migrate, mirror
from service.store import tables as t
from service.store.database import Database
from service.store.lease import lease

OFTEN, SELDOM = timedelta(milliseconds=250), timedelta(hours=1)
JANE = "jane@example.com"
LINK = "digital_onboarding_unique_id"


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox() as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
async def bridge(sandbox: Sandbox, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bridge]:
    monkeypatch.setenv("BRIDGE_DATABASE_URL", sqlite_url)
    # Oftener than the settings allow, so that the tests need not wait.
    monkeypatch.setattr("service.schedule.intervals", lambda _: dict.fromkeys(intervals(settings.load()), OFTEN))
    monkeypatch.setattr("service.schedule.STAGGER", 0.02)
    database = Database(sqlite_url)
    migrate.upgrade(database)
    async with app.open_bridge(settings.load(), database) as opened:
        yield opened
    database.close()


@asynccontextmanager
async def scheduled(bridge: Bridge, grace: float = 5.0) -> AsyncIterator[Schedule]:
    schedule = Schedule(bridge)
    await schedule.start()
    try:
        yield schedule
    finally:
        await schedule.stop(grace)


async def until(what: Callable[[], Any], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110
            await asyncio.sleep(0.03)


def runs(bridge: Bridge, kind: str | None = None) -> list[Any]:
    with bridge.db.begin(write=False) as conn:
        found = conn.execute(select(t.runs).order_by(t.runs.c.id)).all()
    return [run for run in found if kind in (None, run.kind)]


def ended(bridge: Bridge, kind: str, outcome: str = "ok") -> list[Any]:
    return [run for run in runs(bridge, kind) if run.outcome == outcome]


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
            await until(lambda: len(ended(bridge, "resources", "failed")) >= 2)
            await until(lambda: len(ended(bridge, "contacts")) >= 2)
            assert not runs(bridge, "reconcile")
            assert there(sandbox) == []
            sandbox.clear_faults()
            await until(lambda: there(sandbox) == [JANE])
    failed = [line for line in logged if line["event"] == "job failed"]
    assert len(failed) == len(ended(bridge, "resources", "failed"))
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
    assert told[0]["error"].startswith("unexpected ValueError in service/schedule.py line ")
    assert JANE not in str(logged)


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
    assert loop.time() - began < 3
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
    assert loop.time() - began < 2
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
        await until(lambda: ended(bridge, "inbox", "failed"))
        await until(lambda: len(ended(bridge, "reconcile")) > before)
        await asyncio.sleep(0.3)
        assert len(runs(bridge, "inbox")) == 1
        with bridge.db.begin(write=False) as conn:
            due = inbox.next_due(conn)
        assert due is not None and timedelta(seconds=50) < due - datetime.now(UTC) <= timedelta(seconds=60)
