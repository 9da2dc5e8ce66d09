"""Pushes on their way side by side: in order per target, never more of them than a crash may leave in doubt, and
settled together where their answers come together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from service.core.records import Platform
from service.errors import Denied, PlatformError, ServerFailed
from service.load.batches import Batches
from service.load.flight import TAKEN, Flight
from service.load.queue import Queue, Row
from service.store import outbox
from service.store.outbox import Lane, Operation
from tests.cycle.world import World

PATCH = "PATCH /v2/contacts/:id"
BUSY = ServerFailed("onvoard", PATCH, "busy", status=503)
DENIED = Denied("onvoard", PATCH, "denied", status=401)
Push = Callable[[Row], Awaitable[None]]


def _stage(world: World, *targets: str) -> None:
    with world.db.begin() as conn:
        for number, target in enumerate(targets):
            assert outbox.stage(
                conn, person_id=number, platform=Platform.ONVOARD, operation=Operation.PATCH_CONTACT, lane=Lane.CHANGE,
                target=target, payload={"phone": str(number)}, details=[], run_id=1, now=world.clock.now(),
            )  # fmt: skip


def _flight(world: World, push: Any, stops: Callable[[BaseException], bool] = lambda error: False) -> Flight:
    queue = Queue(world.db, world.clock.now)

    def settle(conn: Any, answered: Any) -> dict[str, BaseException]:
        failed: dict[str, BaseException] = {}
        for row, outcome in answered:
            if isinstance(outcome, BaseException):
                failed |= queue.failed(conn, [row], outcome)
            else:
                outbox.mark(conn, [row["id"]], "done", world.clock.now())
        return failed

    take = partial(queue.take, lane=Lane.CHANGE, platform=Platform.ONVOARD)
    batches = Batches(Platform.ONVOARD, Lane.CHANGE, world.clock.now, 500)
    return Flight(world.db, world.clock.now, take, push, settle, stops, batches)


def _statuses(world: World) -> Counter[str]:
    return Counter(row["status"] for row in world.rows("SELECT status FROM outbox"))


async def test_no_more_are_on_record_as_sent_than_may_be(both: World) -> None:
    _stage(both, *(f"c{number}" for number in range(3 * TAKEN)))
    most = 0

    async def push(row: Row) -> None:
        nonlocal most
        most = max(most, _statuses(both)["sending"])
        await asyncio.sleep(0.001)

    assert await _flight(both, push).run(lambda number: None) == 3 * TAKEN
    assert most == TAKEN
    assert _statuses(both) == {"done": 3 * TAKEN}


async def test_pushes_about_one_target_follow_each_other(world: World) -> None:
    _stage(world, *("a", "b", "a", "a", "b"))
    said: list[tuple[str, str]] = []
    on_their_way: Counter[str] = Counter()

    async def push(row: Row) -> None:
        on_their_way[row["target"]] += 1
        assert on_their_way[row["target"]] == 1
        await asyncio.sleep(0.002)
        on_their_way[row["target"]] -= 1
        said.append((row["target"], row["payload"]["phone"]))

    await _flight(world, push).run(lambda number: None)
    assert [phone for target, phone in said if target == "a"] == ["0", "2", "3"]
    assert [phone for target, phone in said if target == "b"] == ["1", "4"]


async def test_what_is_behind_a_failure_of_its_target_waits_with_it(world: World) -> None:
    _stage(world, "a", "a", "b", "a", *(f"c{number}" for number in range(2 * TAKEN)), "a")

    async def push(row: Row) -> None:
        if row["payload"]["phone"] == "1":
            raise BUSY

    with pytest.raises(PlatformError):
        await _flight(world, push).run(lambda number: None)
    of_a = world.rows("SELECT status, attempts FROM outbox WHERE target = 'a' ORDER BY id")
    assert of_a == [
        {"status": "done", "attempts": 1}, {"status": "pending", "attempts": 1}, {"status": "pending", "attempts": 0},
        {"status": "pending", "attempts": 0},
    ]  # fmt: skip
    assert world.value("SELECT count(*) FROM outbox WHERE target <> 'a' AND status <> 'done'") == 0
    (why,) = world.rows("SELECT push_id, status, reason FROM outbox_attempts")
    assert (why["push_id"], why["status"], why["reason"]) == (2, "pending", str(BUSY)), "its own attempt is on record"


async def test_nothing_more_leaves_after_an_error_that_is_everybody_s(world: World) -> None:
    _stage(world, "a", "a", "b", *(f"c{number}" for number in range(2 * TAKEN)))
    left = 0

    async def push(row: Row) -> None:
        nonlocal left
        left += 1
        if row["target"] == "b":
            raise DENIED
        await asyncio.sleep(0.05)

    with pytest.raises(Denied):
        await _flight(world, push, stops=lambda error: isinstance(error, Denied)).run(lambda number: None)
    assert left == TAKEN - 1, "the second about `a` did not leave"
    assert _statuses(world) == {"done": TAKEN - 2, "pending": 2 * TAKEN + 3 - (TAKEN - 2)}, "the others are settled"
    assert world.value("SELECT sum(attempts) FROM outbox") == TAKEN - 1, "what did not leave was no attempt"


async def test_where_everything_fails_nobody_else_is_tried(world: World) -> None:
    _stage(world, *(f"c{number}" for number in range(10 * TAKEN)))
    left = 0

    async def push(row: Row) -> None:
        nonlocal left
        left += 1
        raise BUSY

    with pytest.raises(ServerFailed):
        await _flight(world, push).run(lambda number: None)
    assert left <= 2 * TAKEN
    assert _statuses(world) == {"pending": 10 * TAKEN}


async def test_whoever_is_cancelled_leaves_in_doubt_only_what_had_left(world: World) -> None:
    _stage(world, "a", "a", "b", "c")

    async def push(row: Row) -> None:
        if row["target"] != "c":
            await asyncio.Event().wait()

    task = asyncio.create_task(_flight(world, push).run(lambda number: None))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    found = [row["status"] for row in world.rows("SELECT status FROM outbox ORDER BY id")]
    assert found == ["sending", "pending", "sending", "done"]


async def test_answers_that_come_together_are_settled_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _stage(world, *(f"c{number}" for number in range(4 * TAKEN)))
    transactions, run = 0, type(world.db).run

    async def counted(self: Any, work: Any) -> Any:
        nonlocal transactions
        transactions += 1
        return await run(self, work)

    monkeypatch.setattr(type(world.db), "run", counted)

    async def push(row: Row) -> None:
        await asyncio.sleep(0.005)

    await _flight(world, push).run(lambda number: None)
    assert transactions < TAKEN  # a fourth of the pushes, on the slowest machine
