"""A loader's SELECT on the mirror, read in parts and in the order of its rows' identity (`readonly` keeps it from
writing).

The order is that of the identity's text in UTF-8, on both databases: that of what is stored of earlier results.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

from service.core.loaders import Key, Loader
from service.errors import UsageError
from service.store import readonly
from service.store.database import Database

Row = dict[str, Any]
Fetch = Callable[[int], list[tuple[Any, ...]]]
PART = 2_000
TOO_LONG = "the query took too long and was stopped"
_WORD = re.compile(r"(?:\s|--.*\n|/\*.*?\*/)*([A-Za-z]+)")
_READ = {"SELECT", "WITH", "VALUES", "TABLE"}
"""With anything else a statement cannot begin that only reads; that it does, is the database's to see to."""
_BETWEEN = 31
"""The character between two columns of an identity."""


@contextmanager
def opened(db: Database, loader: Loader, judge: Callable[[Sequence[str]], None]) -> Iterator[Result]:
    """A loader's result, in one transaction of its own. `judge` is given its columns first and may raise.

    UsageError as `readonly.query`, there and when it is read; what the database takes to answer, all in all, is limited
    by the loader's timeout. To be used by one thread at a time.
    """
    first = _WORD.match(loader.sql)
    if first and first[1].upper() not in _READ:
        raise UsageError(f"a loader is one SELECT, and this begins with {first[1].upper()}")
    reading: AbstractContextManager[tuple[list[str], Fetch]] = (
        _on_sqlite(db, loader, judge) if db.dialect == "sqlite" else _on_postgres(db, loader, judge)
    )
    with reading as (names, fetch):
        yield Result(names, readonly.converters(db, names), fetch)


class Result:
    def __init__(self, names: list[str], plain: list[Callable[[Any], Any]], fetch: Fetch) -> None:
        self._names, self._plain, self._fetch = names, plain, fetch

    def part(self) -> list[tuple[str | None, Row]]:
        """The next (identity, row); none at the end."""
        return [
            (identity, {name: plain(value) for name, plain, value in zip(self._names, self._plain, row, strict=True)})
            for *row, identity in self._fetch(PART)
        ]


@contextmanager
def _on_sqlite(
    db: Database, loader: Loader, judge: Callable[[Sequence[str]], None]
) -> Iterator[tuple[list[str], Fetch]]:
    clock = _Clock(loader.timeout.total_seconds())
    with closing(readonly.open_sqlite(db)) as connection:
        connection.set_progress_handler(clock.is_over, 10_000)
        with readonly.sqlite_complaints(db), clock:
            cursor = connection.execute(_first(loader))
            names = [column[0] for column in cursor.description]
        judge(names)
        with readonly.sqlite_complaints(db), clock:
            cursor = connection.execute(_ordered(loader, len(names), _SQLITE))

        def fetch(most: int) -> list[tuple[Any, ...]]:
            with readonly.sqlite_complaints(db), clock:
                return cursor.fetchmany(most)

        yield names, fetch


@contextmanager
def _on_postgres(
    db: Database, loader: Loader, judge: Callable[[Sequence[str]], None]
) -> Iterator[tuple[list[str], Fetch]]:
    from service.store.postgres import asking

    clock = _Clock(loader.timeout.total_seconds())
    with asking.reading(db, clock.left) as connection:
        first = _first(loader)
        asking.prepare(connection, first)
        with clock:
            names = [column.name for column in connection.execute(first.encode(), prepare=True).description or ()]
        judge(names)
        ordered = _ordered(loader, len(names), _POSTGRES)
        asking.prepare(connection, ordered)
        # On the server: the client would hold all of the result.
        with connection.cursor(name="loader") as cursor:
            with asking.complaints(quoting=False), clock:
                cursor.execute(ordered.encode())

            def fetch(most: int) -> list[tuple[Any, ...]]:
                with asking.complaints(quoting=False), clock:
                    asking.set_config(connection, "statement_timeout", f"{max(1, clock.left * 1000):.0f}")
                    return cursor.fetchmany(most)

            yield names, fetch


def _first(loader: Loader) -> str:
    return f"SELECT * FROM (\n{loader.sql}\n) AS result LIMIT 0"


# A column's text, a character by its number, and a text without what surrounds it.
_SQLITE = ("CAST({} AS TEXT)", "char({})", "trim({}, {})")
_POSTGRES = ('CAST({} AS TEXT) COLLATE "C"', "chr({})", "btrim({}, {})")


def _ordered(loader: Loader, columns: int, spelling: tuple[str, str, str]) -> str:
    text, character, trimmed = spelling
    parts = []
    for name in loader.identity:
        part = text.format(f'result."{name}"')
        if name == Key.EMAIL:  # as `core.mapping.normal_email`
            blank = " || ".join(character.format(number) for number in (32, 9, 10, 11, 12, 13))
            part = f"lower({trimmed.format(part, blank)})"
        parts.append(part)
    identity = f" || {character.format(_BETWEEN)} || ".join(parts)
    return f"SELECT result.*, {identity} AS identity_ FROM (\n{loader.sql}\n) AS result ORDER BY {columns + 1}"


class _Clock:
    """How long the database has taken; entered around each call to it."""

    def __init__(self, seconds: float) -> None:
        self.left, self._since = seconds, 0.0

    def is_over(self) -> bool:
        return time.monotonic() - self._since > self.left

    def __enter__(self) -> None:
        if self.left <= 0:
            raise UsageError(TOO_LONG)
        self._since = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.left -= time.monotonic() - self._since
