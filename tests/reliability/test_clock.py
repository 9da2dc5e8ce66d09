"""The daemon does not fall silent when the machine's clock is put back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, tzinfo
from unittest import mock

import apscheduler.executors.base
import apscheduler.schedulers.base
import apscheduler.triggers.interval
import pytest
from sqlalchemy import select

import service.schedule
from service import app, settings
from service.sandbox import Sandbox
from service.schedule import Schedule, intervals
from service.store import tables as t
from service.store.database import Database
from service.store.health import ENDED_WELL

JOBS = ("contacts", "reviews", "refresh", "reconcile")
MODULES = (
    service.schedule, apscheduler.executors.base, apscheduler.schedulers.base, apscheduler.triggers.interval,
)  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.off = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.off


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()

    class Stepping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return clock.now().astimezone(tz or UTC)

    with ExitStack() as stack:
        for module in MODULES:
            stack.enter_context(mock.patch.object(module, "datetime", Stepping))
        yield clock


@pytest.mark.parametrize("step", [timedelta(days=-1), timedelta(hours=1)])
async def test_every_job_has_its_turn_after_the_clock_has_stepped(
    clock: Clock, step: timedelta, sqlite_mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = dict.fromkeys(intervals(settings.load(environ={})), timedelta(seconds=1))
    monkeypatch.setattr("service.schedule.intervals", lambda _: often)
    monkeypatch.setattr("service.schedule.GLANCE", 0.5)
    db = Database(sqlite_mirror)

    def turns() -> Counter[str]:
        with db.begin(write=False) as conn:
            return Counter(conn.execute(select(t.runs.c.kind).where(t.runs.c.outcome.in_(ENDED_WELL))).scalars())

    async def until_all_have(more: int, than: Counter[str]) -> None:
        async with asyncio.timeout(60):
            while not all(turns()[job] >= than[job] + more for job in JOBS):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    with Sandbox() as sandbox:
        loaded = settings.load({"database_url": sqlite_mirror}, environ=sandbox.environment())
        async with app.open_bridge(loaded, db) as bridge:
            schedule = Schedule(bridge)
            await schedule.start()
            try:
                await until_all_have(1, Counter())
                clock.off = step
                await until_all_have(2, turns())
            finally:
                await schedule.stop(5.0)
    db.close()
