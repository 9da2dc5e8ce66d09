"""Rules: what a happening on OnVoard asks for on Digital Onboarding (contract section 7).

Conditions and actions are values, read from the operator's file; nothing here knows a database, a platform or a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from service.core.records import Source, same

Row = Mapping[str, Any]
Json = str | int | float | bool | None | list[Any] | dict[str, Any]


class Group(StrEnum):
    LIST = "list"
    TAG = "tag"
    SEGMENT = "segment"


@dataclass(frozen=True, slots=True)
class ActivityOf:
    """An activity of one of these types, as OnVoard names them (`order_placed`, `custom.branch_visit`)."""

    types: frozenset[str]
    source = Source.ACTIVITIES

    def holds(self, record: Row) -> bool:
        return record["type"] in self.types


@dataclass(frozen=True, slots=True)
class ReviewWith:
    """A review of which all that is given here is true; ratings count from 1 to 5, limits included."""

    min_rating: float | None = None
    max_rating: float | None = None
    status: str | None = None
    entity: str | None = None
    source = Source.REVIEWS

    def holds(self, record: Row) -> bool:
        rating = record["rating"]
        return (
            (self.min_rating is None or (rating is not None and rating >= self.min_rating))
            and (self.max_rating is None or (rating is not None and rating <= self.max_rating))
            and (self.status is None or record["status"] == self.status)
            and (self.entity is None or record["entity"] == self.entity)
        )


@dataclass(frozen=True, slots=True)
class MemberOf:
    """A contact that has a tag, or is in a list or segment, of this name or id."""

    group: Group
    name: str
    source = Source.CONTACTS

    def holds(self, record: Row) -> bool:
        entries = record[f"{self.group}s"] or ()
        return any(self.name in (entry.get("id"), entry.get("name")) for entry in entries if isinstance(entry, dict))


@dataclass(frozen=True, slots=True)
class PropertyAt:
    """A contact with a property that is equal to a value, or a number within limits that count as within."""

    key: str
    at_least: float | None = None
    at_most: float | None = None
    equals: str | float | bool | None = None
    source = Source.CONTACTS

    def holds(self, record: Row) -> bool:
        properties = record["properties"] or {}
        # OnVoard puts `custom_` before the key of a custom property by itself; who made it need not know.
        value = properties.get(self.key, properties.get(f"custom_{self.key}"))
        if value is None:
            return False
        if self.equals is not None:
            return same(value, self.equals)
        number = _number(value)
        return (
            number is not None
            and (self.at_least is None or number >= self.at_least)
            and (self.at_most is None or number <= self.at_most)
        )


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


When = ActivityOf | ReviewWith | MemberOf | PropertyAt


@dataclass(frozen=True, slots=True)
class CompleteObjective:
    objective: str  # key, name or id


@dataclass(frozen=True, slots=True)
class StartJourney:
    template: str  # name or id


@dataclass(frozen=True, slots=True)
class SetMetaPublic:
    key: str
    value: Json


Then = CompleteObjective | StartJourney | SetMetaPublic


@dataclass(frozen=True, slots=True)
class Rule:
    """`since`: from when on it applies, None for its own first run. `again_after`: so long after it fired for a person
    it may do so again, None for never."""

    name: str
    when: When
    then: Then
    since: datetime | None = None
    again_after: timedelta | None = None
    enabled: bool = True

    @property
    def condition(self) -> str:
        """A text that is another one where the condition is another one."""
        when = self.when
        types = ",".join(sorted(when.types)) if isinstance(when, ActivityOf) else ""
        return f"{type(when).__name__} {types}" if types else repr(when)

    @property
    def lasts(self) -> bool:
        """Whether its condition is about how somebody is, not about what happened at a time."""
        return self.when.source is Source.CONTACTS


@dataclass(frozen=True, slots=True)
class Ruleset:
    """`meta_public`: the keys that rules and loaders may write (traps 52)."""

    rules: tuple[Rule, ...] = ()
    meta_public: frozenset[str] = frozenset()

    @property
    def enabled(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.enabled)

    def named(self, name: str) -> Rule | None:
        return next((rule for rule in self.rules if rule.name == name), None)

    def about(self, source: Source) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.enabled if rule.when.source is source)


NO_RULES = Ruleset()


def may_fire(rule: Rule, at: datetime, fired: Iterable[datetime]) -> bool:
    """Whether a rule fires for a person once more, for something that happened `at`; `fired`: for what it did so."""
    earlier = list(fired)
    if rule.again_after is None:
        return not earlier
    return all(abs(at - each) >= rule.again_after for each in earlier)


@dataclass(frozen=True, slots=True)
class Happening:
    """A record of OnVoard, of the columns that the mirror has. `at`: when it happened; of a contact, when it was found
    to be so."""

    source: Source
    record: Row
    at: datetime


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the person. `opted_out`: of e-mail. `fired`: by rule, when that happened for which it fired.
    `held`: the rules whose lasting condition held before."""

    suppressed: bool = False
    opted_out: bool = False
    fired: Mapping[str, Sequence[datetime]] = field(default_factory=dict)
    held: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Asked:
    """What a rule asks for. `withheld`: why it is not to be done; "" where it is."""

    rule: Rule
    at: datetime
    withheld: str = ""


def asked_for(ruleset: Ruleset, happening: Happening, facts: Facts) -> list[Asked]:
    """What the rules ask for, in their order, also what is withheld from this person. A rule without `since` applies to
    all times: its first run is for the caller to put there."""
    asked: list[Asked] = []
    for rule in ruleset.about(happening.source):
        if rule.name in facts.held or not rule.when.holds(happening.record):
            continue
        alike = {other.name for other in ruleset.rules if _stands_for(other, rule)}
        earlier = [at for name in alike for at in facts.fired.get(name, ())]
        earlier += [each.at for each in asked if each.rule.name in alike and not each.withheld]
        asked.append(Asked(rule, happening.at, _withheld(rule, happening.at, facts, earlier)))
    return asked


def _stands_for(other: Rule, rule: Rule) -> bool:
    """Whether what one rule did counts for another: a template starts once, unless a rule says again."""
    starts_the_same = isinstance(rule.then, StartJourney) and other.then == rule.then and rule.again_after is None
    return other.name == rule.name or starts_the_same


def _withheld(rule: Rule, at: datetime, facts: Facts, fired: Iterable[datetime]) -> str:
    if facts.suppressed:
        return "the person is suppressed"
    if rule.since and at < rule.since:
        return "it happened before the rule's since"
    if not may_fire(rule, at, fired):
        return "it was done for this person before"
    if facts.opted_out and isinstance(rule.then, StartJourney):
        return "the person has opted out of e-mail: no journey is started"
    return ""


def holding(ruleset: Ruleset, contact: Row) -> frozenset[str]:
    """The enabled rules whose lasting condition holds for a contact: what `Facts.held` is later."""
    return frozenset(rule.name for rule in ruleset.about(Source.CONTACTS) if rule.when.holds(contact))


@dataclass(frozen=True, slots=True)
class Emits:
    """What leads from a rule's action back to OnVoard's activities: which types an action's carrying out announces."""

    objective_completed: str
    journey_started: str
    loaders: Mapping[str, frozenset[str]] = field(default_factory=dict)  # type -> by which of these two it comes about

    def by(self, then: Then) -> frozenset[str]:
        own = {
            CompleteObjective: frozenset({self.objective_completed}),
            StartJourney: frozenset({self.journey_started}),
        }.get(type(then), frozenset())
        return own | {loaded for loaded, causes in self.loaders.items() if causes & own}


def loop(rules: Sequence[Rule], emits: Emits) -> tuple[Rule, ...]:
    """Rules each of which leads to an activity that the next one waits for, the last one to the first's; none where
    there is no such circle. Only enabled rules count."""
    awaited = [(rule, rule.when.types) for rule in rules if rule.enabled and isinstance(rule.when, ActivityOf)]
    follows = {rule.name: [other for other, types in awaited if emits.by(rule.then) & types] for rule, _ in awaited}
    done: set[str] = set()

    def walk(path: tuple[Rule, ...]) -> tuple[Rule, ...]:
        for following in follows[path[-1].name]:
            if following in path:
                return path[path.index(following) :]
            if following.name not in done and (found := walk((*path, following))):
                return found
        done.add(path[-1].name)
        return ()

    return next((found for rule, _ in awaited if rule.name not in done and (found := walk((rule,)))), ())
