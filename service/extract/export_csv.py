"""A Digital Onboarding export, row by row: pure reading, so that a bad row is told apart from a bad file.

Columns are the documented contact fields, `id`, `inserted_at`, `updated_at`, `meta_public` (JSON text), and objective
keys with a completion time or a word for yes (beyond-the-docs).
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from service.core.mapping import plausible_email
from service.errors import UsageError
from service.platforms.digital_onboarding import wire

TEXTS = (*wire.TEXT_FIELDS, "id")
FLAGS = wire.FLAG_FIELDS
TIMES = ("inserted_at", "updated_at")
JOURNEY = "journey.template_id"
FIELDS = {*TEXTS, *FLAGS, *TIMES, "meta_public", JOURNEY}
_YES = {"true", "t", "1", "y", "yes"}
_NO = {"false", "f", "0", "n", "no", ""}
_DONE = {*_YES, "complete", "completed", "done"}
_UNREADABLE = re.compile("[\ud800-\udfff]")  # what `surrogateescape` leaves of bytes that are not UTF-8


@dataclass(frozen=True, slots=True)
class Contact:
    """One good row. `values` has a key for each column of the file; `completions` is objective key -> time or None."""

    line: int
    unique_id: str
    values: dict[str, Any]
    completions: dict[str, datetime | None]


@dataclass(frozen=True, slots=True)
class BadRow:
    line: int
    reason: str


class _Lines:
    """The lines of a file, numbered, which can be taken back: an unclosed quote swallows what follows, up to the next
    quote, the longest field that `csv` takes, or the end of the file."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._back: list[str] = []
        self.taken: list[str] = []
        self.begins = 1

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._back.pop() if self._back else next(self._lines)
        if self.begins == 1 and not self.taken:
            line = line.removeprefix("\ufeff")
        self.taken.append(line)
        return line

    def next_row(self) -> None:
        self.begins += len(self.taken)
        self.taken.clear()

    def take_back(self) -> None:
        """All but the first line of the row."""
        self._back += reversed(self.taken[1:])
        del self.taken[1:]


def read(lines: Iterable[str]) -> Iterator[Contact | BadRow]:
    """The rows of a file, each with the line on which it begins. `UsageError` where the header is no export's."""
    source = _Lines(lines)
    reader = csv.reader(source, strict=True)
    header = _header(reader)
    while True:
        source.next_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            source.take_back()
            reader = csv.reader(source, strict=True)
            yield BadRow(source.begins, f"not CSV: {error}")
            continue
        if not cells:
            continue
        try:
            yield _contact(source.begins, header, cells)
        except ValueError as error:
            yield BadRow(source.begins, str(error))


def _header(reader: Any) -> list[str]:
    try:
        header = [name.strip() for name in next(reader)]
    except (StopIteration, csv.Error):
        raise UsageError("the file is empty or not CSV: its first line must name the columns") from None
    if any(map(_UNREADABLE.search, header)):
        raise UsageError("line 1 is not UTF-8")
    doubles = {name for name in header if header.count(name) > 1}
    if doubles:
        raise UsageError(f"line 1 names a column twice: {', '.join(sorted(doubles))}")
    if not {"unique_id", "email"} & set(header):
        raise UsageError(
            "line 1 names neither unique_id nor email: no row could be told from another",
            hint="the columns are those of a Digital Onboarding export: unique_id, email, name_first, …",
        )
    return header


def _contact(line: int, header: list[str], cells: list[str]) -> Contact:
    if len(cells) != len(header):
        raise ValueError(f"{len(cells)} values for {len(header)} columns")
    if any(map(_UNREADABLE.search, cells)):
        raise ValueError("not UTF-8")
    if any("\x00" in cell for cell in cells):
        raise ValueError("a NUL character")
    values: dict[str, Any] = {}
    completions: dict[str, datetime | None] = {}
    for name, cell in zip(header, cells, strict=True):
        cell = cell.strip()
        if name in FIELDS:
            values[name] = _value(name, cell)
        elif name and cell and cell.lower() not in _NO:
            completions[name] = None if cell.lower() in _DONE else _time(name, cell)
    if values.get("email") and not plausible_email(values["email"]):
        raise ValueError("email: not an e-mail address")
    unique_id = values.get("unique_id") or values.get("email")  # "Unique IDs": it defaults to the e-mail
    if not unique_id:
        raise ValueError("neither unique_id nor email")
    values["unique_id"] = unique_id
    return Contact(line, unique_id, values, completions)


def _value(name: str, cell: str) -> Any:
    if name in FLAGS:
        if cell.lower() not in _YES | _NO:
            raise ValueError(f"{name}: neither true nor false")
        return None if not cell else cell.lower() in _YES
    if name in TIMES:
        return _time(name, cell) if cell else None
    if name == "meta_public":
        return _object(cell)
    return cell


def _object(cell: str) -> dict[str, Any] | None:
    if not cell:
        return None
    try:
        value = json.loads(cell)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # Infinity, or half a character
    except (ValueError, RecursionError):
        raise ValueError("meta_public: not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("meta_public: not a JSON object")
    return value


def _time(name: str, cell: str) -> datetime:
    try:
        at = datetime.fromisoformat(cell)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{name}: not a time in ISO 8601") from None
