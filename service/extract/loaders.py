"""Reading the loaders' results: what is new, changed or gone since the last time is put on record, and nothing else.

Nothing is pushed from here: what was found is due, and is staged by `decide.loading` if all of the result was read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from service.core import loaders
from service.core.loaders import Key, Loader, Missing, Stopped, Survey
from service.core.mapping import FieldMap
from service.core.records import Platform, same
from service.errors import UsageError
from service.store import loaded, streaming
from service.store.database import Connection, Database
from service.store.loaded import Known
from service.store.mirror import LINK_PROPERTY

_log = structlog.get_logger()

Row = dict[str, Any]
DUPLICATE = "two rows for one {}: say GROUP BY, or SELECT DISTINCT"


@dataclass(slots=True)
class Differences:
    found: dict[str, Row] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.found) + len(self.left)


class LoaderReader:
    """`allowed`: keys of meta_public that may be written; `taken`: properties that the mapping writes. `stopped`: the
    loaders of which this run has found that they do not go on, and why."""

    def __init__(
        self, db: Database, run_id: int, now: Callable[[], datetime], allowed: Collection[str], taken: Collection[str]
    ) -> None:
        self.db, self.run_id, self.now, self.allowed, self.taken = db, run_id, now, allowed, taken
        self.stopped: dict[str, str] = {}
        self._known: dict[str, str | None] = {}

    async def read(self, loader: Loader, *, told: bool = True) -> None:
        """DatabaseUnavailable as everywhere; what is wrong with the loader itself stops it. `told`: somebody hears of
        that."""
        before = await self.db.run(lambda conn: loaded.begin(conn, loader, self.now()))
        if not _is_due(loader, before, self.now()):
            return
        self._known[loader.name] = before["stopped"] if before and before["run_id"] is not None else None
        was_told = before["run_id"] if before and before["stopped"] else None
        run_id = self.run_id if told else was_told
        began = time.monotonic()
        try:
            found, changed = await self._compare(loader)
        except (Stopped, UsageError) as error:
            await self.stop(loader, str(error), run_id)
            return
        seconds = time.monotonic() - began
        await self.db.run(lambda conn: loaded.read_whole(conn, loader, found, changed, seconds, run_id, self.now()))

    async def stop(self, loader: Loader, why: str, run_id: int | None) -> None:
        """A person is to hear of it once, not in each run."""
        await self.db.run(lambda conn: loaded.stop(conn, loader, why, run_id, self.now()))
        if self._known.get(loader.name) in (None, loaded.INTERRUPTED):
            self.stopped[loader.name] = why
            _log.warning("loader stopped", loader=loader.name, why=why, hint="contact-bridge check")

    async def _compare(self, loader: Loader) -> tuple[Survey, int]:
        survey, changed = Survey(loader), 0
        with ExitStack() as held:
            merged = await asyncio.to_thread(_merged, held, self.db, loader, survey, self._judge(loader))
            while differences := await asyncio.to_thread(next, merged, None):
                changed += len(differences)
                await self.db.run(lambda conn, news=differences: self._write(conn, loader, news))  # type: ignore[misc]
        await self.db.run(lambda conn: _check_types(conn, survey))
        return survey, changed

    def _judge(self, loader: Loader) -> Callable[[Sequence[str]], None]:
        return lambda columns: judge(loader, columns, self.allowed, self.taken)

    def _write(self, conn: Connection, loader: Loader, news: Differences) -> None:
        loaded.put_state(conn, loader, stopped=loaded.INTERRUPTED)  # until the end of the result has been seen
        loaded.found(conn, loader, news.found, self.run_id, self.now())
        loaded.left(conn, loader, news.left, self.run_id, self.now())


def _is_due(loader: Loader, state: Row | None, now: datetime) -> bool:
    if state is None or state["ran_at"] is None or loader.schedule is None or state["stopped"] == loaded.INTERRUPTED:
        return True
    return bool(state["ran_at"] + loader.schedule <= now)


def mapped(mapping: FieldMap) -> set[str]:
    """The properties that the mapping writes, or reads."""
    return {rule.named(Platform.ONVOARD) for rule in mapping.rules}


def judge(loader: Loader, columns: Sequence[str], allowed: Collection[str], taken: Collection[str]) -> None:
    """Stopped for columns that cannot be."""
    if problems := loaders.column_problems(loader, columns, allowed, {*taken, LINK_PROPERTY}):
        raise Stopped("; ".join(problems))


def survey(db: Database, loader: Loader, allowed: Collection[str], taken: Collection[str]) -> Survey:
    """A loader's whole result, looked at and not kept. Stopped and UsageError for what it may not be."""
    found = Survey(loader)
    with streaming.opened(db, loader, lambda columns: judge(loader, columns, allowed, taken)) as result:
        for _ in _rows(result, found):
            pass
    with db.begin(write=False) as conn:
        _check_types(conn, found)
    return found


def _rows(result: streaming.Result, survey: Survey) -> Iterator[tuple[str, Row]]:
    """Each row with its identity, in order. Stopped for a row that may not be, and for a second one of an identity."""
    last = None
    while part := result.part():
        for identity, row in part:
            if not survey.is_about_somebody(row):
                continue
            survey.take(row)
            assert identity is not None
            if identity == last:
                raise Stopped(DUPLICATE.format(_named(survey.loader, row)))
            last = identity
            yield identity, row


def _named(loader: Loader, row: Row) -> str:
    """What two rows have in common; a person's address is not told."""
    told = " and ".join(loader.identity)
    return f"{told} ({Key.PERSON_ID} {row[Key.PERSON_ID]})" if loader.key is Key.PERSON_ID else told


def _merged(
    held: ExitStack, db: Database, loader: Loader, survey: Survey, judge: Callable[[Sequence[str]], None]
) -> Iterator[Differences]:
    """What differs between a result and what is stored, a page at a time; both are read until `held` is closed."""
    result = held.enter_context(streaming.opened(db, loader, judge))
    stored = held.enter_context(loaded.stored(db, loader))
    return _differences(loader, _rows(result, survey), stored)


def _differences(loader: Loader, rows: Iterator[tuple[str, Row]], stored: Iterator[Known]) -> Iterator[Differences]:
    """Both are in the order of their keys; a page of differences at a time."""
    news = Differences()
    for key, row, known in _side_by_side(rows, stored):
        if row is None:
            if known is not None and _has_left(loader, known):
                news.left.append(key)
        elif known is None or not same(known.found, row):
            news.found[key] = row
        if len(news) >= streaming.PART:
            yield news
            news = Differences()
    if len(news):
        yield news


def _side_by_side(
    rows: Iterator[tuple[str, Row]], stored: Iterator[Known]
) -> Iterator[tuple[str, Row | None, Known | None]]:
    """(key, row of the result, stored row), by key; None where there is none."""
    known = next(stored, None)
    for key, row in rows:
        while known is not None and known.key < key:
            yield known.key, None, known
            known = next(stored, None)
        if known is not None and known.key == key:
            yield key, row, known
            known = next(stored, None)
        else:
            yield key, row, None
    while known is not None:
        yield known.key, None, known
        known = next(stored, None)


def _has_left(loader: Loader, known: Known) -> bool:
    """Whether it makes a difference that a stored row is no longer in the result."""
    return known.found is not None if loader.missing is Missing.CLEAR else known.status == "due"


def _check_types(conn: Connection, found: Survey) -> None:
    """Stopped where OnVoard has a property of another type."""
    there = loaded.property_types(conn)
    wrong = [
        (f"the property {loaders.property_key(name)}", there.get(loaders.property_key(name)), needed)
        for name, needed in found.types.items()
    ]
    records = loaded.record_types(conn) if found.kinds else {}
    wrong += [
        (f"{name} of custom.{kind}", records.get((f"custom.{kind}", name)), needed)
        for kind, types in found.kinds.items()
        for name, needed in types.items()
    ]
    if told := [f"{what} is a {has} on OnVoard, and the column a {needed}" for what, has, needed in wrong
                if has is not None and not loaders.fits(needed, has)]:  # fmt: skip
        raise Stopped("; ".join(told))
