"""The frozen values that everything else passes around."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

# A field's value as one platform writes it: text, "" where it is blank. A name is (first, last) on both sides.
Native = str | tuple[str, ...]


class Platform(StrEnum):
    ONVOARD = "onvoard"
    DIGITAL_ONBOARDING = "digital_onboarding"

    @property
    def other(self) -> Platform:
        return Platform.DIGITAL_ONBOARDING if self is Platform.ONVOARD else Platform.ONVOARD


BOTH_SIDES = tuple(Platform)
"""For what is done for every field of everybody: to walk through the enumeration itself takes ten times as long."""


class Source(StrEnum):
    """Which records of OnVoard the condition of a rule is about."""

    ACTIVITIES = "activities"
    REVIEWS = "reviews"
    CONTACTS = "contacts"


def blank(value: Native) -> bool:
    return not any(value) if isinstance(value, tuple) else not value


def native(stored: Mapping[str, Any]) -> dict[str, Native]:
    """Field values as JSON keeps them -> as the core knows them."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}


def shown(value: Any) -> str | None:
    """A value (a field's, or anything that JSON holds) as people read it in a plan, a conflict or the history."""
    if value is None or isinstance(value, str):
        return value
    return " ".join(part for part in value if part) if isinstance(value, tuple) else json.dumps(value)


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same as JSON, in which a database may write 1.0 as 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, float) or isinstance(other, float):
        return isinstance(one, int | float) and isinstance(other, int | float) and float(one) == float(other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One platform's record of one person, as the mirror last heard it.

    `fields` holds the mapped fields by their canonical name; a field that is absent there is unknown, which is not the
    same as blank. `edited_at` is the newest time that no write or probe of ours explains.
    """

    id: str
    fields: Mapping[str, Native]
    opted_out: bool
    edited_at: datetime | None = None
    linked_unique_id: str = ""  # on OnVoard: what the link property holds


@dataclass(frozen=True, slots=True)
class Base:
    """What one side looked like when the two last agreed; `opted_out` is None before the first agreement.

    `falls` counts the opt-outs that were agreed on: by it, one and the same opt-out is told from the next.
    """

    fields: Mapping[str, Native] = field(default_factory=dict)
    opted_out: bool | None = None
    falls: int = 0

    def moved(self, fields: Mapping[str, Native], opted_out: bool | None) -> Base:
        """The base with these fields, and this consent if there is one to agree on."""
        now = self.opted_out if opted_out is None else opted_out
        fell = now is True and self.opted_out is not True
        return Base({**self.fields, **fields}, now, self.falls + fell)


@dataclass(frozen=True, slots=True)
class Bases:
    onvoard: Base = Base()
    digital_onboarding: Base = Base()

    def of(self, platform: Platform) -> Base:
        return self.onvoard if platform is Platform.ONVOARD else self.digital_onboarding


@dataclass(frozen=True, slots=True)
class Pair:
    """A linked person: both sides and what they last agreed on."""

    onvoard: Snapshot
    digital_onboarding: Snapshot
    bases: Bases = Bases()

    def of(self, platform: Platform) -> Snapshot:
        return self.onvoard if platform is Platform.ONVOARD else self.digital_onboarding


@dataclass(frozen=True, slots=True)
class Push:
    """One field to be written to `platform`: `value` in its own terms, `old` what it shows now, `source` what the other
    side holds (which becomes that side's base once the write is confirmed).

    The value is the other side's, whose record was edited at `said_at`; `lost` where `old` is an edit that gives way.
    """

    platform: Platform
    field: str
    value: Native
    old: Native
    source: Native
    rule: str
    said_at: datetime | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Loss:
    """A value that lost against the other side's; kept on record."""

    field: str
    kept: Platform
    onvoard: Native
    digital_onboarding: Native
    reason: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A value that `platform` cannot take; the field is left alone until the value changes."""

    field: str
    platform: Platform
    value: Native
    reason: str


@dataclass(frozen=True, slots=True)
class OptOut:
    """An opt-out that has to reach `platform`; `began` is the side on which it was seen first."""

    platform: Platform
    began: Platform


@dataclass(frozen=True, slots=True)
class OptIn:
    """A later opt-in on `platform` that nothing of ours explains: a person decides."""

    platform: Platform


@dataclass(frozen=True, slots=True)
class Decision:
    """All that one look at a pair leads to. `settled` are bases that may advance at once, by platform and field."""

    pushes: tuple[Push, ...] = ()
    settled: Mapping[Platform, Mapping[str, Native]] = field(default_factory=dict)
    losses: tuple[Loss, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    opt_outs: tuple[OptOut, ...] = ()
    opt_ins: tuple[OptIn, ...] = ()
    consent: Mapping[Platform, bool] = field(default_factory=dict)
