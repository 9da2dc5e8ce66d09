"""Leases: for one holder at a time, free as soon as that one is no more, and no business of any clock."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import insert, select, update

from service.errors import Busy, DatabaseUnavailable
from service.store import lease as module
from service.store import migrate
from service.store import tables as t
from service.store.database import Database
from service.store.lease import lease
from service.store.postgres.lock import SessionLock

ROOT = Path(__file__).parents[2]
HOLDER = """
import asyncio, sys
from service.store.database import Database
from service.store.lease import lease

async def hold():
    async with lease(Database(sys.argv[1]), "cycle"):
        print("held", flush=True)
        await asyncio.sleep(600)

asyncio.run(hold())
"""
YESTERDAY = datetime.now(UTC) - timedelta(days=1)
TOMORROW = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def other(mirror_url: str, db: Database) -> Iterator[Database]:
    """As another process has it."""
    other = Database(mirror_url)
    yield other
    other.close()


@pytest.fixture
def holder(mirror_url: str, db: Database) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease `cycle`."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, mirror_url], env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def rows(db: Database) -> list[str]:
    with db.begin(write=False) as conn:
        return list(conn.execute(select(t.leases.c.name).order_by(t.leases.c.name)).scalars())


def dated(db: Database, expires_at: datetime) -> None:
    with db.begin() as conn:
        conn.execute(update(t.leases).values(expires_at=expires_at))


async def test_one_at_a_time_and_whoever_waits_comes_next(db: Database, other: Database) -> None:
    async with lease(db, "cycle"):
        assert rows(db) == ["cycle"]
        with pytest.raises(Busy, match="another process is at work"):
            async with lease(other, "cycle"):
                pass
        async with lease(other, "job:contacts"):
            assert rows(db) == ["cycle", "job:contacts"]
        waiting = asyncio.create_task(_briefly(other, wait=20))
        await asyncio.sleep(module.POLL)
    await waiting
    assert rows(db) == []


async def _briefly(db: Database, wait: float = 0.0) -> None:
    async with lease(db, "cycle", wait=wait):
        pass


async def test_it_is_free_the_moment_it_is_given_back(db: Database) -> None:
    for _ in range(20):
        await _briefly(db)


async def test_one_process_does_not_take_it_twice(db: Database) -> None:
    async with lease(db, "cycle"):
        with pytest.raises(Busy):
            await _briefly(db)
        with pytest.raises(Busy):
            await _briefly(db)


async def test_memory_has_leases_of_its_own() -> None:
    db = Database("sqlite://")
    migrate.upgrade(db)
    async with lease(db, "cycle"):
        with pytest.raises(Busy):
            await _briefly(db)
    await _briefly(db)
    db.close()


@pytest.mark.parametrize("by_the_clock", [YESTERDAY, TOMORROW])
async def test_the_dead_hold_nothing(
    db: Database, holder: subprocess.Popen[str], by_the_clock: datetime
) -> None:
    dated(db, by_the_clock)
    holder.kill()
    holder.wait()
    await _briefly(db, wait=20.0)  # the server has to notice


@pytest.mark.parametrize("by_the_clock", [YESTERDAY, TOMORROW])
async def test_the_living_are_not_robbed(
    db: Database, holder: subprocess.Popen[str], by_the_clock: datetime
) -> None:
    """Neither when a clock says that its time is over, nor while it is stopped and cannot renew anything."""
    holder.send_signal(signal.SIGSTOP)
    dated(db, by_the_clock)
    with pytest.raises(Busy):
        await _briefly(db, wait=1.0)


async def test_a_row_of_another_machine_stands_in_nobodys_way(db: Database) -> None:
    with db.begin() as conn:
        conn.execute(insert(t.leases).values(name="cycle", owner="elsewhere:1:abc", expires_at=TOMORROW))
    await _briefly(db)


async def test_who_is_cancelled_leaves_nothing(db: Database, other: Database) -> None:
    async with lease(other, "cycle"):
        waits = asyncio.create_task(_briefly(db, wait=20))
        await asyncio.sleep(module.POLL)
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
    works = asyncio.create_task(_work(db, lambda: None))
    await asyncio.sleep(0.2)
    works.cancel()
    with pytest.raises(asyncio.CancelledError):
        await works
    assert rows(db) == []
    await _briefly(db)


async def _work(db: Database, begun: Callable[[], object]) -> None:
    async with lease(db, "cycle"):
        begun()
        await asyncio.sleep(60)


def cut(url: str) -> None:
    """The connections that hold leases end."""
    locks = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = ("
    with psycopg.connect(url, autocommit=True) as admin:
        ended = admin.execute(f"{locks} SELECT oid FROM pg_database WHERE datname = current_database())").fetchall()
    assert ended


async def test_a_holder_whose_connection_ends_is_stopped_at_once(postgres_mirror: str) -> None:
    db = Database(postgres_mirror)
    loop = asyncio.get_running_loop()
    with pytest.raises(DatabaseUnavailable, match="the connection that held the lease cycle was lost"):
        await asyncio.wait_for(_work(db, lambda: loop.call_later(0.1, cut, postgres_mirror)), 5)
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()
    await _briefly(db)
    db.close()


async def test_losing_two_leases_at_once_is_one_error(postgres_mirror: str) -> None:
    db = Database(postgres_mirror)
    either = r"the lease (job:reconcile|cycle) was lost"  # whichever is noticed first
    with pytest.raises(DatabaseUnavailable, match=either):
        async with asyncio.timeout(5), lease(db, "job:reconcile"):
            await _work(db, lambda: asyncio.get_running_loop().call_later(0.1, cut, postgres_mirror))
    async with lease(db, "job:reconcile"), lease(db, "cycle"):
        assert rows(db) == ["cycle", "job:reconcile"]
    db.close()


async def test_who_has_not_noticed_yet_writes_nothing(postgres_mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It slept when its connection ended, and another process has taken over."""
    monkeypatch.setattr(SessionLock, "watch", lambda self, on_loss: None)
    db, other = Database(postgres_mirror), Database(postgres_mirror)
    held, begun, over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def take_over() -> None:
        await held.wait()
        async with lease(other, "cycle", wait=20.0):
            await other.run(lambda conn: conn.execute(select(1)))
            begun.set()
            await over.wait()

    takes_over = asyncio.create_task(take_over())  # in a context of its own, as another process
    async with lease(db, "cycle"):
        held.set()
        await db.run(lambda conn: conn.execute(select(1)))
        cut(postgres_mirror)
        await begun.wait()
        with pytest.raises(DatabaseUnavailable, match="another process has taken over"):
            await db.run(lambda conn: conn.execute(select(1)))
    await db.run(lambda conn: conn.execute(select(1)))
    over.set()
    await takes_over
    db.close()
    other.close()


async def test_who_takes_over_waits_for_the_last_transaction_of_its_predecessor(
    postgres_mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SessionLock, "watch", lambda self, on_loss: None)
    db, other = Database(postgres_mirror), Database(postgres_mirror)
    told: list[str] = []

    async def take_over() -> None:
        async with lease(other, "cycle", wait=20.0):
            told.append("taken over")

    def slow(conn: object) -> None:
        cut(postgres_mirror)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(1.0), loop).result()
        told.append("last transaction")

    loop = asyncio.get_running_loop()
    async with lease(db, "cycle"):
        await asyncio.gather(db.run(slow), take_over())
    assert told == ["last transaction", "taken over"]
    db.close()
    other.close()


async def test_two_mirrors_in_one_database_do_not_know_each_other(postgres_database: str) -> None:
    with psycopg.connect(postgres_database, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA second")
    one = Database(postgres_database)
    two = Database(one.url.update_query_dict({"options": "-csearch_path=second"}).render_as_string(hide_password=False))
    for each in (one, two):
        migrate.upgrade(each)
    async with lease(one, "backfill"), lease(two, "backfill"):
        assert rows(one) == rows(two) == ["backfill"]
    one.close()
    two.close()


async def test_a_folder_that_cannot_be_written_is_said(sqlite_mirror: str, tmp_path: Path) -> None:
    (tmp_path / ".mirror.db-leases").write_text("in the way")
    db = Database(sqlite_mirror)
    with pytest.raises(DatabaseUnavailable, match=r"\.mirror\.db-leases: .*exists"):
        await _briefly(db)
    db.close()
