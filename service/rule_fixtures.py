"""The operator's tests of the rules: a happening in, what the rules are to ask for out (`rules.tests.toml`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from service import toml_lines
from service.core.nearest import did_you_mean
from service.core.records import Source
from service.core.rule_words import in_words
from service.core.rules import Asked, Facts, Group, Happening, Row, Rule, Ruleset, Then, asked_for, holding
from service.platforms.onvoard.enums import ReviewEntity, ReviewStatus
from service.platforms.onvoard.models import Review
from service.rules_file import ACTIONS, a_rating, action
from service.settings.values import moment
from service.toml_tables import Noted, Place, Table, a_switch, a_table, a_text, a_word_of, refuse

COLUMNS = tuple(each.name for each in fields(Review) if each.name != "raw")
GROUPS = tuple(f"{group}s" for group in Group)
_JUDGES: dict[str, Callable[[Any], Any]] = {
    "rating": a_rating, "status": a_word_of(ReviewStatus), "entity": a_word_of(ReviewEntity),
    "created_at": moment, "reply_at": moment,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Expected:
    """What one rule is to ask for; None: whatever it is, whenever."""

    rule: str
    then: Then | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class RuleTest:
    name: str
    happening: Happening
    facts: Facts
    expected: tuple[Expected, ...]


def path_of(rules: Path) -> Path:
    """Beside the rules: `rules.tests.toml`."""
    return rules.with_name(f"{rules.stem}.tests{rules.suffix}")


def read_tests(path: Path, ruleset: Ruleset, now: datetime) -> list[RuleTest]:
    """The tests of a file. SettingsError with every problem at once. A contact without `at` is as it is `now`."""
    text, document = toml_lines.read(path)
    noted: Noted = []
    top = Table(document, (), noted)
    top.only(("tests",))
    tables = top.tables("tests")
    if not tables and not noted:
        top.wrong("there are no [[tests]]; write some")
    tests = [_test(table, ruleset, now) for table in tables]

    def label(at: Place) -> str:
        if len(at) < 2 or not isinstance(at[1], int):
            return ""
        return f"test {at[1] + 1} ({document['tests'][at[1]].get('name', '?')}): "

    refuse(path, text, noted, label)
    return [test for test in tests if test]


def differences(test: RuleTest, ruleset: Ruleset) -> list[str]:
    """Where the rules do not ask for what is expected; none where they do."""
    asked = {each.rule.name: each for each in asked_for(ruleset, test.happening, test.facts)}
    wanted = {each.rule: each for each in test.expected}
    found = []
    for name, expected in wanted.items():
        rule = ruleset.named(name)
        assert rule
        if why_not := _why_not(rule, asked.get(name), test):
            found.append(f"{name} was to {in_words(expected.then or rule.then)}, and does nothing: {why_not}")
        elif expected.then and in_words(expected.then) != in_words(rule.then):
            found.append(f"{name} was to {in_words(expected.then)}, and would {in_words(rule.then)}")
        elif expected.at and expected.at != test.happening.at:
            found.append(f"{name} was to do so at {_iso(expected.at)}, and would at {_iso(test.happening.at)}")
    for name, each in asked.items():
        if name not in wanted and not each.withheld:
            found.append(f"{name} was to do nothing, and would {in_words(each.rule.then)}")
    return found


def _why_not(rule: Rule, asked: Asked | None, test: RuleTest) -> str:
    if asked:
        return asked.withheld
    if not rule.enabled:
        return "it is switched off"
    return "its condition held before" if rule.name in test.facts.held else "its condition does not hold"


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _test(table: Table, ruleset: Ruleset, now: datetime) -> RuleTest | None:
    """None where something is noted."""
    table.only(("name", "happening", "person", "expected"))
    name, found = table.need("name", a_text), table.one_of("happening", ("activity", "review", "contact"), ("before",))
    happening = _happening(*found, now) if found else None
    held = _held(found[0], ruleset) if found else frozenset()
    if "expected" not in table.given:
        table.wrong("expected is missing; write expected = [] where no rule is to do anything")
    expected = _all_expected(table.tables("expected"), ruleset)
    facts = _facts(table, ruleset, held)
    if name is None or happening is None:
        return None
    return RuleTest(name, happening, facts, expected)


def _happening(table: Table, key: str, now: datetime) -> Happening | None:
    given = table.table(key)
    if given is None:
        return None
    if key == "activity":
        given.only(("type", "at"))
        kind, at = given.need("type", a_text), given.need("at", moment)
        return Happening(Source.ACTIVITIES, {"type": kind}, at) if at else None
    if key == "review":
        given.only(COLUMNS)
        at = given.need("created_at", moment)
        record = {column: given.take(column, _JUDGES.get(column, lambda value: value)) for column in COLUMNS}
        return Happening(Source.REVIEWS, record, at) if at else None
    at = given.take("at", moment) or now
    return Happening(Source.CONTACTS, _contact(given, ("at",)), at)


def _held(happening: Table, ruleset: Ruleset) -> frozenset[str]:
    """The rules whose condition held for the contact before."""
    if "before" not in happening.given:
        return frozenset()
    if "contact" not in happening.given:
        happening.wrong("before is what a contact was; it stands beside happening.contact alone", "before")
        return frozenset()
    before = happening.table("before")
    return holding(ruleset, _contact(before)) if before else frozenset()


def _contact(table: Table, more: tuple[str, ...] = ()) -> Row:
    table.only((*GROUPS, "properties", *more))
    return {group: table.take(group, _entries) or [] for group in GROUPS} | {
        "properties": table.take("properties", a_table) or {}
    }


def _entries(value: object) -> list[dict[str, Any]]:
    """Names, or tables of id and name, as OnVoard has them."""
    if not isinstance(value, list):
        raise ValueError("must be a list of names")
    return [each if isinstance(each, dict) else {"name": a_text(each)} for each in value]


def _facts(table: Table, ruleset: Ruleset, held: frozenset[str]) -> Facts:
    if (person := table.table("person")) is None:
        return Facts(held=held)
    person.only(("opted_out", "suppressed", "fired"))
    fired: dict[str, list[datetime]] = {}
    for each in person.tables("fired"):
        each.only(("rule", "at"))
        rule, at = _rule(each, ruleset), each.need("at", moment)
        if rule and at:
            fired.setdefault(rule, []).append(at)
    opted_out, suppressed = person.take("opted_out", a_switch), person.take("suppressed", a_switch)
    return Facts(bool(suppressed), bool(opted_out), fired, held)


def _all_expected(tables: list[Table], ruleset: Ruleset) -> tuple[Expected, ...]:
    found: dict[str, Expected] = {}
    for table in tables:
        if (each := _expected(table, ruleset)) and found.setdefault(each.rule, each) is not each:
            table.wrong(f"{each.rule} is expected twice; one happening makes it act once", "rule")
    return tuple(found.values())


def _expected(table: Table, ruleset: Ruleset) -> Expected | None:
    table.only(("rule", *ACTIONS, "at"))
    rule, at = _rule(table, ruleset), table.take("at", moment)
    given = [key for key in ACTIONS if key in table.given]
    if len(given) > 1:
        table.wrong(f"{' and '.join(given)} are given; a rule does one thing")
    then = action(table, given[0]) if given else None
    return Expected(rule, then, at) if rule else None


def _rule(table: Table, ruleset: Ruleset) -> str | None:
    known = [rule.name for rule in ruleset.rules]

    def judge(value: object) -> str:
        name = a_text(value)
        if name not in known:
            raise ValueError(f"{name}: there is no such rule{did_you_mean(name, known)}")
        return name

    return table.need("rule", judge)
