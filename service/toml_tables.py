"""Tables of an operator's TOML file: each value judged by its own function, and every problem noted with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from service.core.nearest import did_you_mean
from service.errors import SettingsError
from service.toml_lines import Lines, Row

T = TypeVar("T")
Place = tuple[str | int, ...]
Noted = list[tuple[Place, str]]


class Table:
    """A table, where in the file it is, and what was found to be wrong so far, in it and around it."""

    def __init__(self, given: Row, at: Place, noted: Noted) -> None:
        self.given = given
        self.at = at
        self.noted = noted

    def wrong(self, problem: str, *key: str) -> None:
        self.noted.append(((*self.at, *key), problem))

    def name(self, key: str) -> str:
        """`when.review.min_rating`: as it is called within its entry."""
        inner = [step for number, step in enumerate(self.at) if not any(isinstance(s, int) for s in self.at[number:])]
        return ".".join([*map(str, inner), key])

    def only(self, keys: Iterable[str]) -> None:
        """Notes each key that is none of these."""
        known = list(keys)
        others = f"; the keys are {', '.join(known)}"
        for key in self.given:
            if key not in known:
                near = did_you_mean(key, known)
                self.wrong(f"unknown key {self.name(key)}{near or others}", key)

    def take(self, key: str, judge: Callable[[Any], T]) -> T | None:
        """What `judge` makes of the value; its ValueError says what that must be. None where there is no (good) one."""
        if key not in self.given:
            return None
        try:
            return judge(self.given[key])
        except ValueError as error:
            self.wrong(f"{self.name(key)} {error}", key)
            return None

    def need(self, key: str, judge: Callable[[Any], T]) -> T | None:
        if key not in self.given:
            self.wrong(f"{self.name(key)} is missing")
        return self.take(key, judge)

    def one_of(self, key: str, keys: Iterable[str], more: Iterable[str] = ()) -> tuple[Table, str] | None:
        """The table at `key`, and the one of these keys that it has to have; it may have `more`."""
        known = list(keys)
        there = ", ".join(f"{self.name(key)}.{each}" for each in known)
        if (table := self.table(key)) is None:
            if key not in self.given:
                self.wrong(f"{self.name(key)} is missing; write one of {there}")
            return None
        table.only((*known, *more))
        found = [each for each in known if each in table.given]
        if len(found) == 1:
            return table, found[0]
        if found or not set(table.given) - {*more}:  # else a key is noted that is meant to be one of them
            what = f"{' and '.join(found)} are given" if found else "nothing is given"
            self.wrong(f"{self.name(key)}: {what}; write exactly one of {there}", key)
        return None

    def table(self, key: str) -> Table | None:
        given = self.take(key, a_table)
        return None if given is None else Table(given, (*self.at, key), self.noted)

    def tables(self, key: str) -> list[Table]:
        given = self.take(key, a_table_list) or []
        return [Table(each, (*self.at, key, number), self.noted) for number, each in enumerate(given)]


def refuse(path: Path, text: str, noted: Noted, label: Callable[[Place], str]) -> None:
    """SettingsError with all that was noted, in the order of the file; none where nothing was."""
    if noted:
        lines = Lines(text)
        found = sorted((lines.of(*at), f"{label(at)}{problem}") for at, problem in noted)
        raise SettingsError([f"{path} line {line}: {problem}" for line, problem in found])


def a_table(value: object) -> Row:
    if not isinstance(value, dict):
        raise ValueError("must be a table: { key = value }")
    return value


def a_table_list(value: object) -> list[Row]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ValueError("must be a list of tables")
    return value


def a_text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or any(each < " " for each in value):
        raise ValueError("must be a text on one line that is not empty")
    return value


def texts(value: object) -> list[str]:
    if not isinstance(value, list):
        raise ValueError("must be a list of texts")
    return [a_text(each) for each in value]


def a_switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def a_number(value: object) -> float:
    """Of a size that JSON carries everywhere."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**63:
        raise ValueError("must be a number")
    return value


def a_word_of(of: type[StrEnum]) -> Callable[[object], str]:
    def word(value: object) -> str:
        known = [each.value for each in of]
        if value not in known:
            raise ValueError(f"must be one of {', '.join(known)}{did_you_mean(str(value), known)}")
        return str(value)

    return word
