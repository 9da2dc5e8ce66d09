"""The records of one size of world, rendered once and kept as files: a page of them is a slice of a mapped file, so
neither a million people nor their answers ever lie in the server's own memory."""

from __future__ import annotations

import mmap
import shutil
import tempfile
from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from benchmarks import records

FORMAT = 1
"""Of the files: worlds of another one are made anew."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Size:
    contacts: int
    reviews: int = 0
    activities: int = 0

    @property
    def records(self) -> int:
        return self.contacts + self.reviews + self.activities

    def times(self, factor: float) -> Size:
        return Size(*(round(number * factor) for number in (self.contacts, self.reviews, self.activities)))

    def __str__(self) -> str:
        return f"{self.contacts}-{self.reviews}-{self.activities}"


def made(size: Size, cache: Path) -> Path:
    """The folder of this world's files, rendered unless it is there from an earlier run."""
    folder = cache / "worlds" / f"{size}-{FORMAT}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        half = Path(tempfile.mkdtemp(dir=folder.parent))
        people = size.contacts
        _render(half / "contacts", records.contacts(size.contacts))
        _render(half / "reviews", records.reviews(size.reviews, people))
        _render(half / "activities", records.activities(size.activities, people))
        try:
            half.rename(folder)
        except OSError:  # somebody else has just made it
            shutil.rmtree(half)
    return folder


def _render(base: Path, dated: Iterable[tuple[datetime, dict[str, Any]]]) -> None:
    """Every record followed by a comma; where each begins; and its time in microseconds, negated: newest first is
    ascending."""
    offsets, keys, end = array("q", [0]), array("q"), 0
    with base.with_suffix(".json").open("wb") as file:
        for at, record in dated:
            end += file.write(orjson.dumps(record) + b",")
            offsets.append(end)
            keys.append(-((at - EPOCH) // timedelta(microseconds=1)))
    base.with_suffix(".offsets").write_bytes(offsets.tobytes())
    base.with_suffix(".keys").write_bytes(keys.tobytes())


class List:
    """One list of the platform: what was rendered, what has changed of it, and what came on top, all newest first."""

    def __init__(self, base: Path) -> None:
        self._rendered = _mapped(base.with_suffix(".json"))
        self._offsets = _mapped(base.with_suffix(".offsets")).cast("q")
        self._keys = _mapped(base.with_suffix(".keys")).cast("q")
        self.reset()

    def reset(self) -> None:
        """As it was rendered."""
        self._changed: dict[int, bytes] = {}
        self._where: list[int] = []  # the same places, in order
        self._on_top: list[tuple[int, bytes]] = []  # newest last

    def __len__(self) -> int:
        return len(self._keys) + len(self._on_top)

    def __getitem__(self, place: int) -> bytes:
        """By number: rendered ones first, then those on top in the order of their coming."""
        if place >= len(self._keys):
            return self._on_top[place - len(self._keys)][1]
        changed = self._changed.get(place)
        return changed or bytes(self._rendered[self._offsets[place] : self._offsets[place + 1] - 1])

    def __setitem__(self, place: int, record: bytes) -> None:
        if place >= len(self._keys):
            self._on_top[place - len(self._keys)] = (self._on_top[place - len(self._keys)][0], record)
            return
        if place not in self._changed:
            insort(self._where, place)
        self._changed[place] = record

    def put_on_top(self, at: datetime, record: bytes) -> None:
        self._on_top.append((-((at - EPOCH) // timedelta(microseconds=1)), record))

    def page(self, number: int, size: int, before: int | None, after: int | None) -> tuple[int, bytes]:
        """A page of what is strictly `before` and strictly `after` these whole seconds -> (how many, their JSON)"""
        upper = None if before is None else -before * 1_000_000
        lower = None if after is None else -after * 1_000_000
        top = [
            record
            for key, record in reversed(self._on_top)
            if (upper is None or key > upper) and (lower is None or key < lower)
        ]
        first = 0 if upper is None else bisect_right(self._keys, upper)
        end = len(self._keys) if lower is None else bisect_left(self._keys, lower)
        start = (number - 1) * size
        shown = top[start : start + size]
        begin = first + max(0, start - len(top))
        stop = min(max(begin, begin + size - len(shown)), end)
        if begin < stop:
            shown += self._between(begin, stop)
        return len(top[start : start + size]) + max(0, stop - begin), b",".join(shown)

    def _between(self, begin: int, stop: int) -> list[bytes]:
        if bisect_left(self._where, begin) < bisect_left(self._where, stop):
            return [self[place] for place in range(begin, stop)]
        return [bytes(self._rendered[self._offsets[begin] : self._offsets[stop] - 1])]


def _mapped(path: Path) -> memoryview:
    if path.stat().st_size == 0:
        return memoryview(b"")
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
