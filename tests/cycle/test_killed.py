"""Killed anywhere, run again (law 8): nothing is half-done, nothing is done twice, and both sides end equal."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from service.errors import BridgeError
from tests.cycle.world import World

SEEDS = [1, 3]
KILLS = 6
NAMES = [f"p{number}" for number in range(6)]


class Killed(Exception):
    pass


class MortalDatabase:
    """Dies at the n-th transaction, before or after its commit; a dead process says nothing more."""

    def __init__(self, db: Any, dies_at: int, *, after_commit: bool) -> None:
        self._db, self._left, self._after_commit = db, dies_at, after_commit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    async def run(self, work: Callable[[Any], Any]) -> Any:
        self._left -= 1
        if self._left < 0 or (self._left == 0 and not self._after_commit):
            raise Killed
        result = await self._db.run(work)
        if self._left == 0:
            raise Killed
        return result


async def _filled(world: World) -> None:
    """Something of everything to be done: edits both ways, opt-outs, creations, activities, a suppression."""
    await world.setup()
    await world.linked(*NAMES, "susan")
    for number, name in enumerate(NAMES):
        world.ov.edit_contact(f"{name}@example.com", city=f"City {number}", phone=f"+1415555020{number}")
        world.do.edit_contact(f"crm-{name}", name_last=f"Long{number}", state="CA")
        world.do.complete_objective(f"crm-{name}", "online-banking")
        world.ov.add_contact(f"new{number}@example.com", name=f"New {number}", city="Lima")
        world.do.add_contact(unique_id=f"crm-late{number}", email=f"late{number}@example.com", city="Quito")
    world.ov.unsubscribe("p0@example.com")
    world.do.unsubscribe("crm-p1")
    world.ov.edit_contact("p2@example.com", email="p2.new@example.com")
    world.ov.suppress("susan@example.com")
    await world.import_export()


def _whole(world: World) -> None:
    assert world.unequal() == []
    assert (len(world.ov.contacts), len(world.do.contacts)) == (19, 19)
    told = [(each["type"], each["contact"]["id"]) for each in world.activities()]
    assert len(told) == len(set(told)) == 13, told  # 6 completions, 6 late contacts, 1 opt-out
    for name in ("crm-p0", "crm-p1", "crm-susan"):
        assert world.do.contact(name)["unsubscribe_email"]
    assert world.ov.contact("p1@example.com")["email_unsubscribed"]
    assert world.do.contact("crm-susan")["unsubscribe_sms"]
    assert world.do.contact("crm-p2")["email"] == "p2.new@example.com"
    assert world.conflicts() == [] and world.rows("SELECT id FROM outbox WHERE status = 'dead'") == []
    new = [row for row in world.people().values() if (row["email"] or "").startswith("new")]
    assert {row["matched_by"] for row in new} == {"created"}


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_process_killed_at_any_transaction_goes_on(world: World, seed: int) -> None:
    dice = random.Random(seed)
    print(f"seed {seed}")
    world.configure(digital_onboarding__batch_size=4)
    await _filled(world)
    living = world.bridge
    for _ in range(KILLS):
        mortal: Any = MortalDatabase(living.db, dice.randrange(2, 70), after_commit=dice.random() < 0.5)
        world.bridge = replace(living, db=mortal)
        with contextlib.suppress(Killed, BridgeError):
            await world.sync(full=dice.random() < 0.3)
    world.bridge = living
    await world.sync()
    _whole(world)
    await world.quiet()


async def test_on_postgres_as_well(postgres_world: World) -> None:
    await test_a_process_killed_at_any_transaction_goes_on(postgres_world, seed=7)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_task_cancelled_at_any_request_goes_on(world: World, seed: int) -> None:
    """With the request on its way: the platform may have acted."""
    dice = random.Random(seed)
    print(f"seed {seed}")
    world.configure(digital_onboarding__batch_size=4)
    await _filled(world)
    loop = asyncio.get_running_loop()
    for _ in range(KILLS):
        task = asyncio.ensure_future(world.sync(full=dice.random() < 0.3))
        platform = dice.choice(["onvoard", "digital_onboarding"])
        method = dice.choice(["GET", "P*", "P*"])
        world.sandbox.when(
            platform, lambda task=task: loop.call_soon_threadsafe(task.cancel), method=method, skip=dice.randrange(12)
        )  # type: ignore[misc]
        with contextlib.suppress(asyncio.CancelledError, BridgeError):
            await task
        world.sandbox.clear_faults()
        await asyncio.sleep(0.01)
    await world.sync()
    _whole(world)
    await world.quiet()


async def test_an_interrupted_run_is_on_record_as_such(world: World) -> None:
    await world.linked("ann")
    task = asyncio.ensure_future(world.sync())
    loop = asyncio.get_running_loop()
    world.sandbox.when("onvoard", lambda: loop.call_soon_threadsafe(task.cancel), method="GET", path="/v2/reviews")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.rows("SELECT outcome FROM runs ORDER BY id DESC LIMIT 1") == [{"outcome": "interrupted"}]
    await world.quiet()
