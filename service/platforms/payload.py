"""Reading what a platform answered without ever failing on it; pure, shared by both `wire` modules.

A `Fields` reads one JSON object. A field that is missing, of a surprising type or impossible becomes None and the
surprise is counted under a name without any value in it (`contact.rating: expected number, got text`), so that it may
be logged.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from operator import itemgetter
from typing import Any, TypeVar, dataclass_transform

from service.errors import RuleBroken

T = TypeVar("T")

OnSurprise = Callable[[Mapping[str, int]], None]
"""Told of what an answer holds beyond the document, by name, with counts."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_LARGEST = 2**63 - 1  # what a database's integer holds
_TEXT_OR_NULL = frozenset((str, type(None)))
PLAIN = frozenset((str, int, bool, type(None)))
"""The types, themselves and not what derives from them, whose values are JSON as they are."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that could not be taken, because nothing identifies it.

    `position` counts from 0 within its answer; `raw_keys` are its field names (safe to log), `raw` the record itself
    (not).
    """

    kind: str
    reason: str
    raw_keys: tuple[str, ...]
    position: int = 0
    raw: Any = field(default=None, repr=False)


@dataclass_transform(frozen_default=True)
def model(cls: type[T]) -> type[T]:
    """A dataclass that nobody changes: the type checker sees to it, since at run time that would make each of the many
    records three times as dear."""
    return dataclass(slots=True, repr=False)(cls)


class Unset(Enum):
    """What an argument is that was not given; None is null."""

    UNSET = "unset"


UNSET = Unset.UNSET


def given(**fields: Any) -> dict[str, Any]:
    """The fields that are not UNSET."""
    return {key: value for key, value in fields.items() if value is not UNSET}


class Columns:
    """Keys that are read together, two or more; `of` takes their values out of an object, and raises KeyError."""

    __slots__ = ("keys", "of")

    def __init__(self, *keys: str) -> None:
        self.keys = keys
        self.of: Callable[[Mapping[str, Any]], tuple[Any, ...]] = itemgetter(*keys)


class Fields:
    """One JSON object, field by field. `kind` begins the name of each surprise, which is counted in `surprises`."""

    __slots__ = ("_kind", "_payload", "_surprises")

    def __init__(self, kind: str, payload: Mapping[str, Any], surprises: Counter[str]) -> None:
        self._kind = kind
        self._payload = payload
        self._surprises = surprises

    def text(self, key: str) -> str | None:
        """Text; a number is written out (`42`, `4.5`)."""
        value = self._payload.get(key)
        if isinstance(value, str) or self._is_null(key, value):
            return value
        self._odd(key, "text", value)
        return _written(value)

    def texts_under(self, columns: Columns) -> tuple[str | None, ...]:
        """`text` of each of these keys: all at once where they are there, and text or null."""
        try:
            values = columns.of(self._payload)
        except KeyError:
            pass
        else:
            if _TEXT_OR_NULL.issuperset(map(type, values)):
                return values
        return tuple(map(self.text, columns.keys))

    def number(self, key: str) -> float | None:
        value = self._payload.get(key)
        if self._is_null(key, value):
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._odd(key, "number", value)
            return None
        if not abs(value) <= _LARGEST or not math.isfinite(value):
            self._odd(key, "number", value, "an impossible one")
            return None
        return float(value)

    def integer(self, key: str) -> int | None:
        value = self.number(key)
        if value is None:
            return None
        exact: int | float = self._payload[key]  # not by way of a float, which would round it
        if exact != int(exact) or abs(int(exact)) > _LARGEST:
            self._odd(key, "integer", value)
            return None
        return int(exact)

    def flag(self, key: str) -> bool | None:
        """A boolean. `1`, `"true"`, `0` and `"false"` are surprises but understood: an opt-out is never misread as
        unknown."""
        value = self._payload.get(key)
        if isinstance(value, bool) or self._is_null(key, value):
            return value
        self._odd(key, "boolean", value)
        text = value if isinstance(value, str) else _written(value) or ""
        return {"1": True, "true": True, "0": False, "false": False}.get(text.strip().lower())

    def moment(self, key: str) -> datetime | None:
        """ISO 8601 text (UTC where it names no offset) or epoch seconds -> aware, in UTC; `""` is None."""
        value = self._payload.get(key)
        found = read_moment(value)
        if found is None and value != "" and not self._is_null(key, value):
            self._odd(key, "time", value)
        return found

    def choice(self, key: str, known: type[Enum]) -> str | None:
        """Text out of an enum; an unknown value is kept, an empty one is `""`."""
        value = self.text(key)
        if value and value not in known._value2member_map_:
            self._surprises[f"{self._kind}.{key}: unknown value"] += 1
        return value

    def objects(self, key: str) -> list[dict[str, Any]] | None:
        return self._list(key, dict, "object")

    def texts(self, key: str) -> list[str] | None:
        return self._list(key, str, "text")

    def mapping(self, key: str) -> dict[str, Any] | None:
        value = self._payload.get(key)
        if isinstance(value, dict) or self._is_null(key, value):
            return value
        self._odd(key, "object", value)
        return None

    def inner(self, key: str) -> Fields:
        """The object under `key`; where there is none, one whose fields are all None."""
        value = self.mapping(key)
        return Fields(f"{self._kind}.{key}", value, self._surprises) if value is not None else _nothing(self._kind)

    def note_new(self, known: frozenset[str]) -> None:
        """Count the fields that the platform's document does not know."""
        if known.issuperset(self._payload):
            return
        for key in self._payload.keys() - known:
            self._surprises[f"{self._kind}.{plain_key(key)}: new field"] += 1

    def _is_null(self, key: str, value: object) -> bool:
        """Whether there is no value under `key`; that it is missing altogether is a surprise."""
        if value is not None:
            return False
        if key not in self._payload and self._payload is not _EMPTY:
            self._surprises[f"{self._kind}.{key}: missing"] += 1
        return True

    def _list(self, key: str, wanted: type[T], name: str) -> list[T] | None:
        """The payload's own list, where all of it is as documented."""
        value = self._payload.get(key)
        if not isinstance(value, list):
            if not self._is_null(key, value):
                self._odd(key, "list", value)
            return None
        if {wanted}.issuperset(map(type, value)):
            return value
        self._surprises[f"{self._kind}.{key}: expected a list of {name}s only"] += 1
        return [item for item in value if isinstance(item, wanted)]

    def _odd(self, key: str, expected: str, value: object, got: str = "") -> None:
        self._surprises[f"{self._kind}.{key}: expected {expected}, got {got or _type_name(value)}"] += 1


_EMPTY: Mapping[str, Any] = {}


def _nothing(kind: str) -> Fields:
    return Fields(kind, _EMPTY, Counter())


def identity(payload: object, key: str) -> str | None:
    """The id under `key`, or None: no object, no such key, or nothing that identifies (null, `""`, a boolean, a
    list)."""
    value = payload.get(key) if isinstance(payload, dict) else None
    text = value if isinstance(value, str) else _written(value) or ""
    return text.strip() or None


def refusal(kind: str, payload: object, key: str, position: int = 0) -> Refused:
    """Why a record that `identity` finds no id in is refused."""
    if not isinstance(payload, dict):
        return Refused(kind, f"not an object but {_type_name(payload)}", (), position, payload)
    return Refused(kind, f"no {key}", tuple(plain_key(name) for name in payload), position, payload)


def _written(value: object) -> str | None:
    """A number as text, a whole one without a point; None for all else."""
    if isinstance(value, float):
        return str(int(value) if value.is_integer() else value) if math.isfinite(value) else None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def read_moment(value: object) -> datetime | None:
    """ISO 8601 text or epoch seconds -> aware, in UTC; None where it is neither or lies outside the years 1 to 9999."""
    try:
        if isinstance(value, str):
            parsed = datetime.fromisoformat(value.strip())
            if parsed.tzinfo is UTC:
                return parsed
            return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return EPOCH + timedelta(seconds=value)
    except (ValueError, OverflowError):
        pass
    return None


def epoch(moment: datetime, what: str) -> int:
    """Aware datetime -> whole epoch seconds, rounded down. RuleBroken for a naive one: it names no point in time."""
    if moment.utcoffset() is None:
        raise RuleBroken(f"{what}: a datetime needs its time zone")
    return (moment - EPOCH) // timedelta(seconds=1)


def iso(moment: datetime, what: str) -> str:
    """Aware datetime -> ISO 8601 in UTC, with `Z`. RuleBroken for a naive one."""
    if moment.utcoffset() is None:
        raise RuleBroken(f"{what}: a datetime needs its time zone")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def sendable(value: Any, what: str) -> Any:
    """Python values -> JSON values: enums by value, dates and datetimes as epoch seconds. RuleBroken for what JSON
    cannot say."""
    if type(value) in PLAIN:
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, datetime):
        return epoch(value, what)
    if isinstance(value, date):
        return epoch(datetime(value.year, value.month, value.day, tzinfo=UTC), what)
    if isinstance(value, Mapping):
        return {str(key): sendable(inner, what) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [sendable(inner, what) for inner in value]
    raise RuleBroken(f"{what}: JSON has no way to say a {type(value).__name__} like this")


def plain_key(key: str) -> str:
    """A field name fit for a log: one that could carry anything else is not repeated."""
    return key if _PLAIN_KEY.fullmatch(key) else "(an odd name)"


def _type_name(value: object) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "text", list: "a list", dict: "an object"}
    return names.get(type(value), "null")
