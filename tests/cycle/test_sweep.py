"""The rolling sweep: everything is read again before a limit, evenly, within a budget, and never wrongly deleted."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta

import pytest

from service import planning, runs
from service.core import windows
from service.core.windows import EPOCH
from service.errors import PlatformError, SuspiciouslyEmpty
from service.store import cursors, slices
from service.store import tables as t
from tests.cycle.world import World

START = datetime(2025, 1, 1, tzinfo=UTC)
PATIENCE = timedelta(hours=18)
TURN = timedelta(minutes=15)


@pytest.fixture(autouse=True)
def _small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page each: a few hundred contacts are several slices."""
    monkeypatch.setattr(windows, "MOST", 1)
    monkeypatch.setattr(windows, "LEAD", 1)


def _crowd(world: World, number: int, step: float = 997.0, prefix: str = "p") -> None:
    for index in range(number):
        world.ov.add_contact(f"{prefix}{index}@example.com", at=START + timedelta(seconds=step * index))


async def _read(world: World, number: int, step: float = 997.0) -> None:
    """So many contacts, that have been there for long, in the mirror."""
    world.configure(identity__create_on_digital_onboarding=False)
    _crowd(world, number, step)
    await world.backfill()
    world.clock.advance(3600)
    await world.sync(full=False)  # far behind the overlap


async def _turn(world: World) -> int:
    """-> the requests that it took"""
    mark = world.mark()
    await runs.run(world.bridge, "sweep", lambda run: run.sweep())
    return len(world.journal.entries(mark))


def _slices(world: World, stream: str = "contacts") -> list[slices.Slice]:
    """Newest first."""
    table = t.sweep_slices
    with world.db.begin(write=False) as conn:
        found = conn.execute(table.select().where(table.c.stream == stream).order_by(table.c.upper.desc())).mappings()
        return [slices.Slice(**row) for row in found]


def _all_due(world: World) -> None:
    with world.db.begin() as conn:
        slices.all_due(conn, world.clock.now())


def _due(world: World) -> list[slices.Slice]:
    with world.db.begin(write=False) as conn:
        return slices.due(conn, world.clock.now(), PATIENCE)


def _names(world: World) -> dict[str, str]:
    return {row["email"]: row["name"] for row in world.rows("SELECT email, name FROM onvoard_contacts")}


def _gone(world: World) -> set[str]:
    return {row["email"] for row in world.rows("SELECT email FROM onvoard_contacts WHERE deleted_at IS NOT NULL")}


def _without_a_gap(world: World) -> None:
    found = _slices(world)
    assert found[-1].lower == EPOCH
    assert all(newer.lower == older.upper for newer, older in itertools.pairwise(found))


# How slices come to be


async def test_after_the_first_backfill_everything_is_due_once_and_evenly(world: World) -> None:
    _crowd(world, 450)
    before = world.clock.now()
    await world.backfill("contacts")
    found = _slices(world)
    assert len(found) == 5 and {each.pages for each in found} == {1}
    assert found[0].upper >= before - timedelta(seconds=1)
    _without_a_gap(world)
    (swept_at,) = {each.swept_at for each in found}
    assert before - timedelta(seconds=2) <= swept_at <= world.clock.now()
    assert [each.due_at - swept_at for each in found] == [PATIENCE * n / 5 for n in range(1, 6)]


async def test_a_full_sync_makes_them_anew_and_a_plain_one_reads_none(world: World) -> None:
    await _read(world, 250)
    _all_due(world)
    await world.sync(full=False)
    assert len(_due(world)) == len(_slices(world)) + 3, "of three other streams"
    began = world.clock.now()
    await world.sync()
    assert _due(world) == []
    assert min(each.swept_at for each in _slices(world)) >= began
    _all_due(world)
    await planning.plan(world.bridge, full=True)
    assert _due(world) == [], "it has read everything, too"


async def test_a_backfill_that_is_not_the_first_counts_for_nothing(world: World) -> None:
    """It looks for nobody who is gone."""
    await _read(world, 120)
    before = _slices(world)
    world.clock.advance(7200)
    await world.backfill("contacts")
    await world.backfill("contacts", since=START)
    assert _slices(world) == before


@pytest.mark.parametrize("swept", [True, False])
async def test_a_mirror_of_an_earlier_version_gets_its_slices_at_the_first_turn(both: World, swept: bool) -> None:
    """Its last sweep is a fact; without one, everything was read since its first run."""
    await _read(both, 250)
    then = both.clock.now() - timedelta(hours=2)
    with both.db.begin() as conn:
        conn.exec_driver_sql("DELETE FROM sweep_slices")
        if swept:
            cursors.set_fact(conn, "swept_at", then.isoformat())
    first = both.rows("SELECT min(started_at) AS at FROM runs")[0]["at"]
    await _turn(both)
    found = _slices(both)
    assert len(found) == 3
    _without_a_gap(both)
    when = then if swept else datetime.fromisoformat(first) if isinstance(first, str) else first
    assert {each.swept_at for each in found} == {when}
    with both.db.begin(write=False) as conn:
        assert cursors.fact(conn, "swept_at") is None and slices.unsliced(conn) == []


# What a turn does


async def test_no_record_gets_older_than_the_limit_and_no_turn_reads_much(world: World) -> None:
    await _read(world, 650)
    plain = 7 + 3
    asked: list[int] = []
    for _ in range(2 * 96):
        world.clock.advance(TURN.total_seconds())
        asked.append(await _turn(world))
        oldest = min(each.swept_at for each in _slices(world))
        assert world.clock.now() - oldest <= timedelta(hours=24)
    assert sum(asked) <= 2 * plain * 48 / 18
    assert max(asked) <= 2 + 2 + 2 * 3, "the check, a slice and the three streams of a single slice"


async def test_what_left_no_trace_is_found_edits_deletions_and_what_was_back_dated(both: World) -> None:
    await _read(both, 250)
    both.ov.edit_contact("p3@example.com", name="Ada Byron")
    both.ov.edit_contact("p240@example.com", name="Ada Lovelace")
    both.ov.delete_contact("p100@example.com")
    both.ov.add_contact("hidden@example.com", at=START + timedelta(seconds=5000.5))
    _all_due(both)
    await _turn(both)
    names = _names(both)
    assert (names["p3@example.com"], names["p240@example.com"]) == ("Ada Byron", "Ada Lovelace")
    assert "hidden@example.com" in names
    assert _gone(both) == {"p100@example.com"}


async def test_what_came_in_after_the_newest_slice_is_swept_too(world: World) -> None:
    await _read(world, 30)
    for index in range(250):
        world.ov.add_contact(f"new{index}@example.com")
        world.clock.advance(30)
    await world.sync(full=False)
    world.clock.advance(600)
    await world.sync(full=False)
    world.ov.edit_contact("new7@example.com", name="Ada Byron")
    world.ov.delete_contact("new200@example.com")
    world.clock.advance(PATIENCE.total_seconds())
    await _turn(world)
    assert _names(world)["new7@example.com"] == "Ada Byron" and _gone(world) == {"new200@example.com"}
    assert len(_slices(world)) == 3 and _due(world) == []
    _without_a_gap(world)


async def test_a_turn_ends_with_its_budget_and_the_next_one_goes_on_with_the_oldest(world: World) -> None:
    world.configure(onvoard__requests_per_second=0.02, schedule__sweep_budget=0.5)  # nine for a turn
    await _read(world, 1200)
    table = t.sweep_slices
    scattered = [(each.id, timedelta(minutes=number * 5 % 13)) for number, each in enumerate(_slices(world))]
    with world.db.begin() as conn:
        for key, late in scattered:
            at = world.clock.now() - PATIENCE - late
            conn.execute(table.update().where(table.c.id == key).values(swept_at=at))
    for _ in range(10):
        before = _due(world)
        if not before:
            break
        assert 1 < await _turn(world) <= 9 + 2
        left = _due(world)
        done = [each.swept_at for each in before if each not in left]
        assert done and max(done) <= min((each.swept_at for each in left), default=world.clock.now())
    assert _due(world) == []


async def test_a_killed_turn_repeats_at_most_the_slices_in_flight(world: World) -> None:
    await _read(world, 1300)
    _all_due(world)
    waiting = len(_due(world))
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(_turn(world))
    world.sandbox.when(
        "onvoard", lambda: loop.call_soon_threadsafe(task.cancel), method="GET", path="/v2/contacts", skip=20
    )
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.05)
    left = len(_due(world))
    assert 0 < left < waiting
    asked = await _turn(world)
    assert asked <= 2 * left + 1 and _due(world) == []


async def test_a_slice_is_as_old_as_the_beginning_of_its_reading(world: World) -> None:
    """An edit meanwhile may have come too late for it."""
    await _read(world, 150)
    _all_due(world)
    began = world.clock.now()
    world.sandbox.when("onvoard", lambda: world.clock.advance(600), method="GET", path="/v2/contacts", skip=1)
    await _turn(world)
    assert world.clock.now() - began > timedelta(seconds=600)
    # The clock moved while the first slice was read; another one may have begun after that.
    assert any(each.swept_at - began < timedelta(seconds=60) for each in _slices(world))


async def test_a_stream_that_fails_hinders_no_other(world: World) -> None:
    await _read(world, 1100)  # more slices than are read side by side
    _all_due(world)
    with world.db.begin() as conn:
        first = t.sweep_slices.c.stream == "reviews"
        conn.execute(t.sweep_slices.update().where(first).values(swept_at=START))
    world.sandbox.fail("onvoard", "status", path="/v2/reviews", times=None, status=400)
    with pytest.raises(PlatformError):
        await _turn(world)
    assert [each.stream for each in _due(world)] == ["reviews"]
    world.sandbox.clear_faults()
    await _turn(world)
    assert _due(world) == []


async def test_nothing_due_asks_nothing(world: World) -> None:
    await _read(world, 30)
    assert await _turn(world) == 0


# Whose turn it is


async def test_a_shorter_limit_takes_effect_at_once(world: World) -> None:
    await _read(world, 250)
    world.clock.advance(3 * 3600)
    assert _due(world) == []
    world.configure(schedule__sweep_within="4h")
    await _turn(world)
    assert all(each.swept_at >= world.clock.now() - timedelta(seconds=60) for each in _slices(world))


async def test_what_a_wrong_clock_has_read_in_the_future_is_due(world: World) -> None:
    await _read(world, 30)
    _all_due(world)
    ahead = timedelta(days=3)
    world.use_clock(lambda: world.clock.now() + ahead)
    await _turn(world)
    world.use_clock(world.clock.now)
    assert len(_due(world)) == 4
    await _turn(world)
    assert _due(world) == []


# Laws 7 and 12


async def test_a_list_that_is_suddenly_empty_stops_the_turn_before_anything(world: World) -> None:
    await _read(world, 120)
    world.ov.contacts.clear()
    _all_due(world)
    waiting = _due(world)
    mark = world.mark()
    with pytest.raises(SuspiciouslyEmpty):
        await _turn(world)
    assert len(world.journal.entries(mark)) == 1
    assert _due(world) == waiting and _gone(world) == set()


@pytest.mark.parametrize("place", [3.5, 220.5, 1e6])
async def test_whom_another_slice_lists_or_none_is_not_gone(world: World, place: float) -> None:
    """Their time of creation has moved; the last one lies in the future."""
    await _read(world, 250)
    contact = world.ov.find_contact("p110@example.com")
    assert contact is not None
    contact.created = START + timedelta(seconds=997 * place)
    _all_due(world)
    await _turn(world)
    assert _gone(world) == set()
    at = world.value("SELECT created_at FROM onvoard_contacts WHERE email = 'p110@example.com'")
    assert datetime.fromisoformat(at) == contact.created


async def test_only_true_deletions_are_noticed_while_the_list_moves(world: World) -> None:
    await _read(world, 450)
    for index in range(0, 60, 2):
        world.ov.delete_contact(f"p{index}@example.com")
    numbers = iter(range(1000))

    def move() -> None:
        number = next(numbers)
        for index in range(3):
            at = START + timedelta(seconds=997 * 60 * number + index)
            world.ov.add_contact(f"late{number}-{index}@example.com", at=at)
        world.ov.delete_contact(f"p{300 + number}@example.com")

    world.sandbox.when("onvoard", move, method="GET", path="/v2/contacts", times=7)
    _all_due(world)
    await _turn(world)
    world.sandbox.clear_faults()
    there = {contact["email"] for contact in world.ov.contact_list()}
    assert _gone(world) & there == set()
    _all_due(world)
    await _turn(world)
    assert _gone(world) == _names(world).keys() - there
    assert there <= _names(world).keys()


@pytest.mark.parametrize("boundary", ["exclusive", "inclusive", "truncated"])
async def test_more_than_a_page_in_one_second_misses_and_deletes_nobody(world: World, boundary: str) -> None:
    world.ov.settings.boundary = boundary  # type: ignore[assignment]
    world.ov.settings.past_end = "404" if boundary == "truncated" else "empty"
    _crowd(world, 230, step=0.002, prefix="crowd")
    for index in range(100):  # exactly one full page, all of one instant
        world.ov.add_contact(f"r{index}@example.com", at=START - timedelta(days=1))
    await _read(world, 70, step=60)
    for who in ("crowd5", "crowd120", "crowd229", "r0", "r99", "p0", "p69"):
        world.ov.edit_contact(f"{who}@example.com", name="Ada Byron")
    world.ov.delete_contact("crowd150@example.com")
    _all_due(world)
    await _turn(world)
    assert _gone(world) == {"crowd150@example.com"}
    assert sum(name == "Ada Byron" for name in _names(world).values()) == 7
    _without_a_gap(world)


# Slices that are too large or too small


async def test_one_that_turns_out_far_larger_is_read_on_in_parts_each_for_itself(world: World) -> None:
    """Back-dated activities: the mirror knew nothing of them."""
    world.ov.add_contact("ann@example.com")
    await _read(world, 1)
    for index in range(450):
        world.ov.add_activity("ann@example.com", "email_opened", at=START + timedelta(hours=index), email_name="x")
    _all_due(world)
    world.sandbox.fail("onvoard", "status", path="/v2/contact-activities", times=None, skip=3, status=400)
    with pytest.raises(PlatformError):
        await _turn(world)
    had = world.value("SELECT count(*) FROM onvoard_activities")
    assert 150 < had < 450
    assert [each.stream for each in _due(world)] == ["activities"]
    assert len(_slices(world, "activities")) == 2, "what was read is done"
    world.sandbox.clear_faults()
    await _turn(world)
    assert world.value("SELECT count(*) FROM onvoard_activities") == 450
    assert _due(world) == []
    found = _slices(world, "activities")
    assert found[-1].lower == EPOCH
    assert all(newer.lower == older.upper for newer, older in itertools.pairwise(found))


async def test_tiny_slices_are_joined(both: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are where most records are gone."""
    await _read(both, 12)
    monkeypatch.setattr(windows, "LEAD", 3)
    with monkeypatch.context() as patched:
        patched.setattr(windows, "stride", lambda records: 1)
        await both.sync()
    assert len(_slices(both)) == 12
    for _ in range(2):
        _all_due(both)
        await _turn(both)
        _without_a_gap(both)
    assert len(_slices(both)) <= 6
    assert await _turn(both) == 0, "and none of them is due at once"
