"""What goes first, and what is done together."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from service.errors import DatabaseError
from service.store import cursors, precedence
from service.store.database import Connection, Database
from service.store.precedence import Precedence
from service.store.together import Together


def seconds(work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Precedence, Precedence]:
    monkeypatch.setattr(precedence, "PATIENCE", 0.6)
    return Precedence(tmp_path / "locks" / "first"), Precedence(tmp_path / "locks" / "first")


def test_others_wait_for_who_goes_first_but_not_for_ever(locks: tuple[Precedence, Precedence]) -> None:
    first, other = locks
    assert seconds(other.let_pass) < 0.4 and not (first._file.parent).exists()  # nobody has ever gone first
    first.take()
    first.take()
    assert seconds(other.let_pass) >= 0.6
    first.drop()
    assert seconds(other.let_pass) < 0.4
    other.take()
    first.take()  # both do
    other.drop()
    assert seconds(other.let_pass) >= 0.6


def test_who_went_first_and_died_stands_in_nobodys_way(locks: tuple[Precedence, Precedence]) -> None:
    first, other = locks
    take = f"from service.store.precedence import *; Precedence(Path({str(first._file)!r})).take(); input()"
    with subprocess.Popen([sys.executable, "-c", take], stdin=subprocess.PIPE) as process:
        late = time.monotonic() + 20
        while seconds(other.let_pass) < 0.6:
            assert time.monotonic() < late
        process.kill()
    assert seconds(other.let_pass) < 0.4


async def test_what_goes_first_does_not_wait_for_what_waits_already(mirror_url: str) -> None:
    mine, theirs = Database(mirror_url), Database(mirror_url)
    done: list[str] = []

    def work(name: str) -> Callable[[Connection], None]:
        def at_work(conn: Connection) -> None:
            cursors.set_fact(conn, name, "done")
            time.sleep(0.01)
            done.append(name)

        return at_work

    waiting = [asyncio.create_task(db.run(work(f"{number}"))) for number in range(30) for db in (mine, theirs)]
    await asyncio.sleep(0.1)
    for _ in range(3):
        await mine.run(work("first"), first=True)
    assert done.count("first") == 3 and len(done) < 40  # of the 60 that had come before
    await asyncio.gather(*waiting)
    mine.close()
    theirs.close()


async def test_what_comes_while_one_is_at_work_is_kept_together_and_fails_together() -> None:
    kept: list[Sequence[str]] = []

    async def keep(items: Sequence[str]) -> None:
        kept.append(items)
        await asyncio.sleep(0.01)
        if "bad" in items:
            raise DatabaseError("no")

    together = Together(keep)
    found = await asyncio.gather(*(together.add(each) for each in ("a", "b")))
    first = asyncio.create_task(together.add("c"))
    await asyncio.sleep(0)
    later = [asyncio.create_task(together.add(each)) for each in ("bad", "d", "given up")]
    await asyncio.sleep(0)
    later[2].cancel()
    outcomes = await asyncio.gather(first, *later, return_exceptions=True)
    assert kept == [["a", "b"], ["c"], ["bad", "d", "given up"]] and found == [None, None]
    assert [type(each) for each in outcomes] == [type(None), DatabaseError, DatabaseError, asyncio.CancelledError]
    await together.add("e")
    assert kept[-1] == ["e"]
