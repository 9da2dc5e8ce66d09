"""Loaders: what an operator's SELECT may feed, and what its columns mean there (contract section 7).

Values and their judging alone; nothing here knows a database, a platform or a clock.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from service.core.consent import FLAGS
from service.core.mapping import MADE_BY_ONVOARD, PREDEFINED
from service.core.nearest import did_you_mean
from service.core.records import Platform

Row = Mapping[str, Any]


class Target(StrEnum):
    CONTACT_PROPERTIES = "onvoard.contact_properties"
    META_PUBLIC = "digital_onboarding.meta_public"
    ACTIVITIES = "onvoard.activities"
    OBJECTIVES = "digital_onboarding.objectives"
    JOURNEYS = "digital_onboarding.journeys"

    @property
    def platform(self) -> Platform:
        return Platform(self.value.partition(".")[0])

    @property
    def clears(self) -> bool:
        """Whether what it holds can be taken back."""
        return self in (Target.CONTACT_PROPERTIES, Target.META_PUBLIC)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it needs beside the key."""
        return _NEEDED[self]


_NEEDED: dict[Target, tuple[str, ...]] = {
    Target.CONTACT_PROPERTIES: (),
    Target.META_PUBLIC: (),
    Target.ACTIVITIES: ("id", "type", "occurred_at"),
    Target.OBJECTIVES: ("objective", "completed_at"),
    Target.JOURNEYS: ("template",),
}
_IDENTITY = {Target.OBJECTIVES: "objective", Target.JOURNEYS: "template"}
_TIMES = {Target.ACTIVITIES: "occurred_at", Target.OBJECTIVES: "completed_at"}


class Key(StrEnum):
    PERSON_ID = "person_id"
    EMAIL = "email"
    UNIQUE_ID = "unique_id"


class Missing(StrEnum):
    """What becomes of the values of a row that has left the result."""

    KEEP = "keep"
    CLEAR = "clear"


@dataclass(frozen=True, slots=True)
class Loader:
    """`schedule`: the result is read no oftener than that; None for every sync. `timeout`: of the SELECT."""

    name: str
    target: Target
    key: Key
    sql: str
    missing: Missing = Missing.KEEP
    schedule: timedelta | None = None
    timeout: timedelta = timedelta(seconds=30)
    enabled: bool = True

    @property
    def cause(self) -> str:
        return f"loader {self.name}"

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns that tell two rows of the result apart."""
        if self.target is Target.ACTIVITIES:
            return ("id",)
        return (self.key.value, *filter(None, [_IDENTITY.get(self.target)]))

    @property
    def value_columns(self) -> tuple[str, ...]:
        """The columns that have a meaning of their own, and are no property, key or data."""
        return (self.key.value, *self.target.columns)


class Stopped(Exception):
    """Why nothing of a loader's result may be pushed; the text is for the operator, and names no person."""


class ValueType(StrEnum):
    """Of a column, named as OnVoard names the value types of properties."""

    STRING = "STRING"
    STRING_ARRAY = "STRING_ARRAY"
    NUMBER = "NUMBER"
    BOOLEAN = "BOOLEAN"
    DATETIME = "DATETIME"


Types = dict[str, ValueType]
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_KEY = re.compile(r"[a-z0-9_]+")
_FLAGS = {flag for flags in FLAGS.values() for flag in flags}
_CONSENT = {"accepts_marketing_emails", "email_double_optin_status", *_FLAGS}
_RESERVED = {"activity_id", "activity_datetime", "contact_id", "contact_email", "sync_id"}
OWN_PREFIX = "custom_"
"""OnVoard itself puts it before the keys of properties that an account has made."""
OURS = "digital_onboarding_"
"""The bridge's own activities begin so."""


def value_type(value: Any) -> ValueType | None:
    """None for what no property can hold."""
    match value:
        case bool():
            return ValueType.BOOLEAN
        case int() | float():
            return ValueType.NUMBER
        case str():
            return ValueType.DATETIME if _MOMENT.fullmatch(value) else ValueType.STRING
        case list() if all(isinstance(each, str) for each in value):
            return ValueType.STRING_ARRAY
    return None


def moment(value: Any) -> datetime | None:
    """A time in ISO 8601 (a date is its first second; UTC where nothing else is said), or None."""
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def property_key(column: str) -> str:
    """The property that a column is."""
    return column if column in PREDEFINED or column.startswith(OWN_PREFIX) else f"{OWN_PREFIX}{column}"


def activity_type(value: str) -> str:
    return f"custom.{value.removeprefix('custom.')}"


def column_problems(
    loader: Loader, columns: Sequence[str], allowed: Collection[str], taken: Collection[str]
) -> list[str]:
    """What of a result's columns cannot be. `allowed`: of meta_public; `taken`: properties that the mapping writes."""
    found = [f"two columns are called {name}" for name in dict.fromkeys(columns) if columns.count(name) > 1]
    for name in loader.value_columns:
        if name not in columns:
            needs = f"which {loader.target} with key {loader.key} needs"
            found.append(f"there is no column {name}, {needs}{did_you_mean(name, columns)}")
    rest = [name for name in dict.fromkeys(columns) if name not in loader.value_columns]
    judge = {
        Target.CONTACT_PROPERTIES: lambda name: _wrong_property(name, taken),
        Target.META_PUBLIC: lambda name: _wrong_meta(name, allowed),
        Target.ACTIVITIES: _wrong_data,
    }.get(loader.target, lambda name: f"{name} means nothing to {loader.target}; leave the column out")
    found += filter(None, map(judge, rest))
    if not rest and loader.target.clears:
        found.append(f"there is no column beside {loader.key}: each further one is what is written")
    keys = [property_key(name) for name in rest] if loader.target is Target.CONTACT_PROPERTIES else []
    found += [f"two columns are the property {key}" for key in dict.fromkeys(keys) if keys.count(key) > 1]
    return found


def _wrong_property(name: str, taken: Collection[str]) -> str:
    key = property_key(name)
    if not _KEY.fullmatch(name):
        return _misspelt(name)
    if name in _CONSENT:
        return f"{name} is consent, which no loader touches; leave the column out"
    if name in ("email", "name", "phone"):
        return f"{name} is no property, and the bridge's own business; leave the column out"
    if name in MADE_BY_ONVOARD:
        return f"OnVoard itself makes {name}, and takes no value for it; leave the column out"
    if key in taken:
        return f"the property {key} is written by the mapping, or by the bridge itself: take another name"
    return ""


def _wrong_meta(name: str, allowed: Collection[str]) -> str:
    if name in allowed:
        return ""
    known = ", ".join(sorted(allowed)) or "none"
    return f"{name} is not among the allowed keys of meta_public ([meta_public] in the rules file): {known}"


def _wrong_data(name: str) -> str:
    if name in _RESERVED:
        return f"{name} is set by the bridge or by OnVoard; give the column another name"
    return "" if _KEY.fullmatch(name) else _misspelt(name)


def _misspelt(name: str) -> str:
    return f'{name} cannot be a key on OnVoard: write lower-case letters, digits and "_" (... AS {_bare(name)})'


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "other_name"


@dataclass(slots=True)
class Survey:
    """What a loader's result turned out to be: the value types of its columns, and for activities those of each type,
    of which some row has a value."""

    loader: Loader
    rows: int = 0
    about_nobody: int = 0  # besides `rows`
    types: Types = field(default_factory=dict)
    kinds: dict[str, Types] = field(default_factory=dict)

    def is_about_somebody(self, row: Row) -> bool:
        """A row without a key is about nobody (a review of somebody unknown, say): it is left out."""
        if row[self.loader.key] in (None, ""):
            self.about_nobody += 1
            return False
        return True

    def take(self, row: Row) -> None:
        """Stopped for what no row may be."""
        self.rows += 1
        for name in self.loader.value_columns:
            if row[name] is None:
                raise Stopped(f"a row has no {name}: say WHERE {name} IS NOT NULL")
        if (at := _TIMES.get(self.loader.target)) and moment(row[at]) is None:
            raise Stopped(f"{at} is not a time in ISO 8601")
        types = self.types
        if self.loader.target is Target.ACTIVITIES:
            types = self.kinds.setdefault(_kind(row["type"]), {})
        if self.loader.target in (Target.ACTIVITIES, Target.CONTACT_PROPERTIES):
            for name, value in values_of(self.loader, row).items():
                if value is not None:
                    types[name] = _wider(name, types.get(name), value_type(value))

    def stored(self) -> Row:
        return {"types": self.types, "kinds": self.kinds}

    @classmethod
    def read(cls, loader: Loader, stored: Row) -> Survey:
        kinds = {kind: _types(types) for kind, types in (stored.get("kinds") or {}).items()}
        return cls(loader, types=_types(stored.get("types") or {}), kinds=kinds)


def _types(stored: Row) -> Types:
    return {name: ValueType(each) for name, each in stored.items()}


def _kind(value: Any) -> str:
    kind = str(value).removeprefix("custom.")
    if not _KEY.fullmatch(kind):
        raise Stopped('type is no key of a custom activity: write lower-case letters, digits and "_"')
    if kind.startswith(OURS):
        raise Stopped(f"type {kind} is one of the bridge's own activities: take another name")
    return kind


def _wider(name: str, known: ValueType | None, found: ValueType | None) -> ValueType:
    if found is None:
        raise Stopped(f"{name} is neither text, number, boolean, time nor a list of texts")
    if known in (None, found):
        return found
    if {known, found} == {ValueType.STRING, ValueType.DATETIME}:
        return ValueType.STRING
    raise Stopped(f"{name} is sometimes {known} and sometimes {found}: cast it")


def values_of(loader: Loader, row: Row) -> dict[str, Any]:
    """The properties, meta_public keys or activity data of a row, by column."""
    return {name: value for name, value in row.items() if name not in loader.value_columns}


def fits(needed: ValueType, has: str) -> bool:
    """A time may stand in a property that holds text, as text."""
    return needed == has or (needed is ValueType.DATETIME and has == ValueType.STRING)


def sent_as(value: Any, as_: str | None) -> Any:
    """A value as OnVoard takes it: times as epoch seconds ("Property Value Type")."""
    if as_ == ValueType.DATETIME and (at := moment(value)) is not None:
        return int(at.timestamp())
    return value


_CAUSES = {
    f"custom.{OURS}objective_completed": "digital_onboarding_objective_completions",
    f"custom.{OURS}journey_started": "digital_onboarding_journeys",
}


def announced(loaders: Iterable[Loader]) -> dict[str, frozenset[str]]:
    """Types of activities that loaders may make -> those of the bridge's own that they may come about by.

    By the texts in the SQL, for what it returns nobody knows before it is run: rather too many than too few.
    """
    found: dict[str, frozenset[str]] = {}
    for loader in loaders:
        if loader.enabled and loader.target is Target.ACTIVITIES:
            causes = {own for own, table in _CAUSES.items() if table in loader.sql or own in loader.sql}
            for word in re.findall(r"'([a-z0-9_.]+)'", loader.sql):
                found[activity_type(word)] = found.get(activity_type(word), frozenset()) | causes
    return found


def definition(loader: Loader) -> dict[str, str]:
    """What makes a loader another one when it changes: then what it did before stays as it is."""
    return {"target": loader.target.value, "key": loader.key.value}
