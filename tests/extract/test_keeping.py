"""Pages share transactions, and nothing that follows from a page is on record without it."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from service.errors import DatabaseError
from service.extract import keeping
from service.extract.keeping import Keeper
from service.store.database import Connection, Database


class Kept:
    """A database of items and of how far each window is read; some of its transactions fail, before or after they have
    written."""

    def __init__(self, failing: Sequence[bool], path: Path | None = None) -> None:
        self.db = Database(f"sqlite:///{path}" if path else "sqlite://", inline=path is None)
        self.failing, self.transactions = list(failing), 0
        with self.db.begin() as conn:
            conn.execute(text("CREATE TABLE items (window_id, number, PRIMARY KEY (window_id, number))"))
            conn.execute(text("CREATE TABLE reached (window_id PRIMARY KEY, number)"))

    def save(self, conn: Connection, items: Sequence[tuple[int, int]]) -> None:
        self.transactions += 1
        for window, number in items:
            conn.execute(text("INSERT OR REPLACE INTO items VALUES (:w, :n)"), {"w": window, "n": number})
        if self.failing and self.failing.pop(0):
            raise DatabaseError("as it was told")

    def reach(self, conn: Connection, read: Mapping[int, int]) -> None:
        for window, number in read.items():
            conn.execute(text("INSERT OR REPLACE INTO reached VALUES (:w, :n)"), {"w": window, "n": number})

    def promised(self) -> tuple[set[Any], dict[int, int]]:
        with self.db.begin(write=False) as conn:
            items = {tuple(row) for row in conn.execute(text("SELECT window_id, number FROM items"))}
            return items, dict(conn.execute(text("SELECT window_id, number FROM reached")).all())


@given(
    pages=st.lists(st.integers(1, 60), min_size=1, max_size=12),
    windows=st.integers(1, 4),
    failing=st.lists(st.booleans(), max_size=8),
    in_a_thread=st.booleans(),
)
def test_how_far_a_window_is_read_is_never_ahead_of_what_is_kept(
    pages: list[int], windows: int, failing: list[bool], in_a_thread: bool
) -> None:
    """Also while transactions wait behind one that fails; whoever goes on from what is on record misses nothing."""
    reads = [(sum(pages[:n]), sum(pages[: n + 1])) for n in range(len(pages))]

    async def window(keeper: Keeper, kept: Kept, name: int, reached: int) -> None:
        for begin, end in reads:
            if begin >= reached:
                await keeper.add([(name, number) for number in range(begin, end)], kept.reach, {name: end})
                check(kept)
                await asyncio.sleep(0)

    def check(kept: Kept) -> dict[int, int]:
        items, reached = kept.promised()
        for name, number in reached.items():
            assert {(name, n) for n in range(number)} <= items
        return reached

    async def run(kept: Kept) -> bool:
        """-> whether it failed, as everything did that was asked of this keeper from then on"""
        keeper, reached = Keeper(kept.db, "reviews", kept.save), check(kept)
        told = await asyncio.gather(
            *(window(keeper, kept, name, reached.get(name, 0)) for name in range(windows)), return_exceptions=True
        )
        try:
            await keeper.flush()
        except DatabaseError:
            with pytest.raises(DatabaseError):
                await keeper.flush(lambda conn: kept.reach(conn, {0: 10**6}))
            return True
        finally:
            check(kept)
        assert told == [None] * windows
        return False

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeping, "ENOUGH", 100)
        kept = Kept(failing, Path(folder, "mirror.db") if in_a_thread else None)
        while asyncio.run(run(kept)):
            pass
        items, reached = kept.promised()
        kept.db.close()
    assert reached == dict.fromkeys(range(windows), sum(pages))
    assert items == {(name, number) for name in range(windows) for number in range(sum(pages))}


def test_pages_share_a_transaction() -> None:
    kept = Kept(())
    keeper = Keeper(kept.db, "reviews", kept.save)

    async def read() -> None:
        for page in range(2 * keeping.ENOUGH // 100):
            await keeper.add([(0, number) for number in range(page * 100, page * 100 + 100)])

    asyncio.run(read())
    assert kept.transactions == 2


async def test_who_is_cancelled_before_its_turn_holds_nobody_up(tmp_path: Path) -> None:
    kept = Kept((), tmp_path / "mirror.db")
    at_work = threading.Event()

    def save(conn: Connection, items: Sequence[tuple[int, int]]) -> None:
        at_work.wait(20)
        kept.save(conn, items)

    keeper = Keeper(kept.db, "reviews", save)
    pages = [[(page, number) for number in range(keeping.ENOUGH)] for page in range(keeping.AHEAD + 1)]
    adding = [asyncio.create_task(keeper.add(page)) for page in pages]
    await asyncio.sleep(0)
    adding[-1].cancel()
    await asyncio.wait(adding[-1:])
    at_work.set()
    async with asyncio.timeout(20):
        await keeper.add([(99, 0)])
        await asyncio.gather(*adding[:-1])
    assert len(kept.promised()[0]) == (keeping.AHEAD + 1) * keeping.ENOUGH + 1
    kept.db.close()


def test_a_page_does_not_wait_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(())
    keeper = Keeper(kept.db, "reviews", kept.save)
    monkeypatch.setattr(keeping, "PATIENCE", 0.05)

    async def read() -> None:
        await keeper.add([(0, 0)])
        await asyncio.sleep(0.06)
        await keeper.add([(0, 1)])

    asyncio.run(read())
    assert kept.promised()[0] == {(0, 0), (0, 1)}
