"""Everything, by windows: resumable, complete while the list moves underneath, and never a write (law 7)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from service.cycle import Cycle
from service.errors import PlatformError, SuspiciouslyEmpty
from service.extract.onvoard import OnvoardReader
from tests.cycle.world import World

START = datetime(2025, 1, 1, tzinfo=UTC)


def _crowd(world: World, number: int, step: float = 997.0, prefix: str = "p") -> None:
    for index in range(number):
        world.ov.add_contact(f"{prefix}{index}@example.com", at=START + timedelta(seconds=step * index))


def _missing(world: World) -> set[str]:
    here = {contact["id"] for contact in world.ov.contact_list()}
    return here - {row["id"] for row in world.rows("SELECT id FROM onvoard_contacts")}


@pytest.mark.parametrize("boundary", ["exclusive", "inclusive", "truncated"])
async def test_more_than_a_page_in_one_second_loses_nobody(world: World, boundary: str) -> None:
    world.ov.settings.boundary = boundary  # type: ignore[assignment]
    world.ov.settings.past_end = "404" if boundary == "truncated" else "empty"
    _crowd(world, 230, step=0.002)
    _crowd(world, 70, step=60, prefix="q")
    for index in range(100):  # exactly one full page, all of one instant
        world.ov.add_contact(f"r{index}@example.com", at=START - timedelta(days=1))
    await world.backfill()
    assert _missing(world) == set()
    assert world.journal.writes() == []


async def test_a_backfill_of_everything_never_pushes_or_probes(both: World) -> None:
    both.ov.add_contact("ann@example.com", name="Ann Lee")
    both.do.add_contact(unique_id="crm-ann", email="ann@example.com", name_first="Anna")
    product = both.ov.add_product("sku-1", "Kettle")
    both.ov.add_review("ann@example.com", 4, "fine", product_id=product)
    both.ov.add_activity("ann@example.com", "email_opened", email_name="hello")
    await both.import_export()
    await both.backfill()
    assert both.journal.writes() == []
    for table in ("contacts", "reviews", "activities", "resources", "product_reviews_summaries"):
        assert both.value(f"SELECT count(*) FROM onvoard_{table}") >= 1, table
    assert both.value("SELECT count(*) FROM digital_onboarding_objectives") == 12
    assert both.people()["ann@example.com"]["status"] in ("onvoard_only", "digital_onboarding_only")


async def test_since_and_until_bound_the_time_of_creation(world: World) -> None:
    _crowd(world, 30, step=86400)
    until = START + timedelta(days=20)
    await world.backfill("contacts", since=START + timedelta(days=10), until=until)
    found = {row["email"] for row in world.rows("SELECT email FROM onvoard_contacts")}
    assert found == {f"p{index}@example.com" for index in range(10, 20)}
    await world.sync(full=False)
    assert _missing(world) == set(), "a part is no reason to believe that the rest is known"


async def test_a_cancelled_backfill_refetches_at_most_the_windows_in_flight(world: World) -> None:
    _crowd(world, 1800)
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(world.backfill("contacts"))
    world.sandbox.when(
        "onvoard", lambda: loop.call_soon_threadsafe(task.cancel), method="GET", path="/v2/contacts", skip=17
    )
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.05)
    had = world.value("SELECT count(*) FROM onvoard_contacts")
    windows = world.value("SELECT count(*) FROM windows")
    assert 0 < had < 1800 and windows > 1
    assert world.rows("SELECT value FROM cursors WHERE stream = 'onvoard.contacts'") == []
    mark = world.mark()
    await world.backfill("contacts")
    asked = [e for e in world.journal.entries(mark) if e.path == "/v2/contacts"]
    assert len(asked) <= (1800 - had) / 100 + 2 * windows
    assert _missing(world) == set() and world.value("SELECT count(*) FROM windows") == 0


def _pages(world: World, mark: int) -> int:
    return len([entry for entry in world.journal.entries(mark) if entry.path == "/v2/contacts"])


async def test_a_backfill_that_was_killed_at_its_very_end_is_closed_and_not_begun_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _crowd(world, 500)

    def killed(*_: object) -> None:
        raise SystemError

    with monkeypatch.context() as patched, pytest.raises(SystemError):
        patched.setattr(OnvoardReader, "_backfilled", killed)
        await world.backfill("contacts")
    assert world.value("SELECT count(*) FROM onvoard_contacts") == 500
    mark = world.mark()
    await world.sync(full=False)
    assert _pages(world, mark) == 1 and world.value("SELECT count(*) FROM windows") == 0
    assert world.rows("SELECT value FROM cursors WHERE stream = 'onvoard.contacts'") != []


async def test_of_two_that_pull_for_the_first_time_one_reads_everything(world: World) -> None:
    _crowd(world, 1500)
    one, other = (Cycle(world.bridge, run_id, world.bridge.now()).onvoard for run_id in (1, 2))
    mark = world.mark()
    everything = await one.backfill("contacts")
    alone = _pages(world, mark)
    with world.db.begin() as conn:
        conn.exec_driver_sql("DELETE FROM cursors")
    mark = world.mark()
    read = await asyncio.gather(one.new("contacts"), other.new("contacts"))
    assert sorted(read) == [0, everything]
    assert _pages(world, mark) <= alone + 2


async def test_records_inserted_and_deleted_while_paging_are_not_missed(world: World) -> None:
    """Page numbers shift with every one of them."""
    _crowd(world, 500)
    stay = [contact["id"] for contact in world.ov.contact_list()[::3]]
    numbers = iter(range(1000))

    def move() -> None:
        number = next(numbers)
        for index in range(5):
            world.ov.add_contact(f"late{number}-{index}@example.com")
        for index in range(number * 15, number * 15 + 15):
            contact = world.ov.find_contact(f"p{index}@example.com")
            if contact is not None and contact.id not in stay:
                world.ov.delete_contact(contact.id)

    world.sandbox.when("onvoard", move, method="GET", path="/v2/contacts", times=8)
    await world.backfill("contacts")
    mirrored = {row["id"] for row in world.rows("SELECT id FROM onvoard_contacts")}
    assert set(stay) <= mirrored
    await world.sync(full=False)
    assert _missing(world) == set()


async def test_a_sweep_notices_only_true_deletions_while_the_list_moves(world: World) -> None:
    world.configure(identity__create_on_digital_onboarding=False)
    _crowd(world, 500)
    await world.sync()
    for index in range(0, 60, 2):
        world.ov.delete_contact(f"p{index}@example.com")
    numbers = iter(range(1000))
    world.sandbox.when(
        "onvoard",
        lambda: [world.ov.add_contact(f"late{next(numbers)}@example.com") for _ in range(7)],
        method="GET", path="/v2/contacts", times=5,
    )  # fmt: skip
    await world.sync()
    gone = world.value("SELECT count(*) FROM onvoard_contacts WHERE deleted_at IS NOT NULL")
    assert gone == 30
    await world.sync(full=False)
    assert _missing(world) == set()
    assert world.value("SELECT count(*) FROM onvoard_contacts WHERE deleted_at IS NULL") == len(world.ov.contacts)


async def test_what_becomes_visible_late_is_caught_by_the_overlap(world: World) -> None:
    await world.linked("ann")
    await world.sync(full=False)
    world.ov.add_contact("late@example.com", at=world.clock.now() - timedelta(seconds=30))
    await world.sync(full=False)
    assert world.people()["late@example.com"]["status"] == "linked"


async def _half_read(world: World) -> None:
    """A first backfill that has stopped on its way."""
    _crowd(world, 1200)
    world.sandbox.fail("onvoard", "status", path="/v2/contacts", status=500, skip=4, times=None)
    with pytest.raises(PlatformError):
        await world.backfill("contacts")
    world.sandbox.clear_faults()
    assert 1 < world.value("SELECT count(*) FROM onvoard_contacts") < 1200


async def test_a_first_backfill_that_goes_on_does_not_believe_an_empty_list(world: World) -> None:
    await _half_read(world)
    people = dict(world.ov.contacts)
    world.ov.contacts.clear()
    for _ in range(2):
        with pytest.raises(SuspiciouslyEmpty):
            await world.sync(full=False)
    world.ov.contacts.update(people)
    await world.backfill("contacts")
    assert _missing(world) == set()


async def test_an_empty_list_is_believed_if_a_person_says_so(world: World) -> None:
    await _half_read(world)
    world.ov.contacts.clear()
    with pytest.raises(SuspiciouslyEmpty):
        await world.sync()
    for _ in range(2):  # what is read first is not swept at once
        await world.sync(allow=True)
    assert world.rows("SELECT id FROM onvoard_contacts WHERE deleted_at IS NULL") == []
