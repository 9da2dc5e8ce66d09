"""Pages share transactions, and nothing that follows from a page is on record without it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
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

    def __init__(self, failing: Sequence[bool]) -> None:
        self.db = Database("sqlite://", inline=True)
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

    def reach(self, window: int, number: int) -> keeping.Then:
        row = {"w": window, "n": number}
        return lambda conn: conn.execute(text("INSERT OR REPLACE INTO reached VALUES (:w, :n)"), row) and None

    def promised(self) -> tuple[set[Any], dict[int, int]]:
        with self.db.begin(write=False) as conn:
            items = {tuple(row) for row in conn.execute(text("SELECT window_id, number FROM items"))}
            return items, dict(conn.execute(text("SELECT window_id, number FROM reached")).all())


@given(
    pages=st.lists(st.integers(1, 60), min_size=1, max_size=12),
    windows=st.integers(1, 4),
    failing=st.lists(st.booleans(), max_size=8),
)
def test_how_far_a_window_is_read_is_never_ahead_of_what_is_kept(
    pages: list[int], windows: int, failing: list[bool]
) -> None:
    kept = Kept(failing)
    keeper = Keeper(kept.db, kept.save)

    def check() -> None:
        items, reached = kept.promised()
        for window, number in reached.items():
            assert {(window, n) for n in range(number)} <= items

    async def window(name: int) -> None:
        read = 0
        for page in pages:
            items = [(name, number) for number in range(read, read + page)]
            read += page
            with suppress(DatabaseError):  # a caller that goes on regardless
                await keeper.add(items, kept.reach(name, read), subject=name)
            check()
            await asyncio.sleep(0)

    async def all_of_them() -> None:
        await asyncio.gather(*(window(name) for name in range(windows)))
        for _ in range(len(failing) + 1):
            try:
                await keeper.flush()
            except DatabaseError:
                check()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeping, "ENOUGH", 100)
        asyncio.run(all_of_them())
    items, reached = kept.promised()
    assert reached == dict.fromkeys(range(windows), sum(pages))
    assert items == {(name, number) for name in range(windows) for number in range(sum(pages))}


def test_pages_share_a_transaction() -> None:
    kept = Kept(())
    keeper = Keeper(kept.db, kept.save)

    async def read() -> None:
        for page in range(2 * keeping.ENOUGH // 100):
            await keeper.add([(0, number) for number in range(page * 100, page * 100 + 100)])

    asyncio.run(read())
    assert kept.transactions == 2


def test_a_page_does_not_wait_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(())
    keeper = Keeper(kept.db, kept.save)
    monkeypatch.setattr(keeping, "PATIENCE", 0.05)

    async def read() -> None:
        await keeper.add([(0, 0)])
        await asyncio.sleep(0.06)
        await keeper.add([(0, 1)])

    asyncio.run(read())
    assert kept.promised()[0] == {(0, 0), (0, 1)}
