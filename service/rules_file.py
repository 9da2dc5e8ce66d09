"""The operator's rules file, read and judged (contract section 7): nothing runs with one that cannot mean anything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from service import toml_lines
from service.core.nearest import did_you_mean
from service.core.rule_words import in_words
from service.core.rules import (
    NO_RULES,
    ActivityOf,
    CompleteObjective,
    Emits,
    Group,
    Json,
    MemberOf,
    PropertyAt,
    ReviewWith,
    Rule,
    Ruleset,
    SetMetaPublic,
    StartJourney,
    Then,
    When,
    loop,
)
from service.decide import happenings
from service.platforms.onvoard.enums import ReviewEntity, ReviewStatus
from service.settings import Settings
from service.settings.values import duration, moment, positive
from service.toml_tables import Noted, Place, Table, a_number, a_switch, a_text, a_word_of, refuse, texts

ACTIONS = ("complete_objective", "start_journey", "set_meta_public")
KEYS = ("name", "when", "then", "since", "again_after", "enabled")
EMITS = Emits(happenings.OBJECTIVE_COMPLETED, happenings.JOURNEY_STARTED)
# Loaded activity types, each with those of the two above that it may come about by.
Loaded = Mapping[str, frozenset[str]]


def ruleset(settings: Settings, loaded: Loaded | None = None) -> Ruleset:
    """What the rules file says, none where there is no file; `SettingsError` for what it cannot mean."""
    path = settings.paths.rules
    return read_rules(path, loaded) if path.exists() else NO_RULES


def read_rules(path: Path, loaded: Loaded | None = None) -> Ruleset:
    """The rules of a file. SettingsError with every problem at once: file, line, rule, and what may stand there.

    `loaded`: activities that loaders make, for the rules that would run in a circle by way of them.
    """
    text, document = toml_lines.read(path)
    noted: Noted = []
    top = Table(document, (), noted)
    top.only(("rules", "meta_public"))
    allowed = _allowed(top)
    tables = top.tables("rules")
    rules = [_rule(table, allowed) for table in tables]
    _doubles(tables, toml_lines.Lines(text))

    def label(at: Place) -> str:
        if len(at) < 2 or at[0] != "rules" or not isinstance(at[1], int):
            return ""
        return f"rule {at[1] + 1} ({document['rules'][at[1]].get('name', '?')}): "

    refuse(path, text, noted, label)
    found = Ruleset(tuple(rule for rule in rules if rule), frozenset(allowed or ()))
    if circle := loop(found.rules, emits := replace(EMITS, loaders=loaded or {})):
        place: Place = ("rules", found.rules.index(circle[0]))
        refuse(path, text, [(place, _circle(circle, emits))], label)
    return found


def _allowed(top: Table) -> list[str] | None:
    """The allowed keys of meta_public, None where the file says them wrongly."""
    if "meta_public" not in top.given:
        return []
    if (table := top.table("meta_public")) is None:
        return None
    table.only(("allowed",))
    return table.need("allowed", texts)


def _rule(table: Table, allowed: list[str] | None) -> Rule | None:
    """None where it cannot be a rule; then something is noted."""
    table.only(KEYS)
    name, when, then = table.need("name", _name), _when(table), _then(table, allowed)
    since, again_after = table.take("since", moment), table.take("again_after", _span)
    enabled = table.take("enabled", a_switch)
    if name is None or when is None or then is None:
        return None
    return Rule(name, when, then, since, again_after, enabled is not False)


def _when(table: Table) -> When | None:
    found = table.one_of("when", ("activity", "review", "tag", "list", "segment", "property"))
    if found is None:
        return None
    when, key = found
    if key == "activity":
        types = when.take(key, _types)
        return ActivityOf(types) if types else None
    if key == "review":
        return _review(when.table(key))
    if key == "property":
        return _property(when.table(key))
    name = when.take(key, a_text)
    return MemberOf(Group(key), name) if name else None


def _then(table: Table, allowed: list[str] | None) -> Then | None:
    found = table.one_of("then", ACTIONS)
    return action(*found, allowed) if found else None


def action(then: Table, key: str, allowed: list[str] | None = None) -> Then | None:
    """What the table has at this one of ACTIONS; `allowed` None: any key of meta_public."""
    if key == "set_meta_public":
        return _meta_public(then.table(key), allowed)
    target = then.take(key, a_text)
    if target is None:
        return None
    return CompleteObjective(target) if key == "complete_objective" else StartJourney(target)


def _review(table: Table | None) -> ReviewWith | None:
    if table is None:
        return None
    table.only(("min_rating", "max_rating", "status", "entity"))
    low, high = table.take("min_rating", a_rating), table.take("max_rating", a_rating)
    if low is not None and high is not None and low > high:
        table.wrong(f"min_rating {low:g} is above max_rating {high:g}: no review has such a rating", "min_rating")
    status, entity = table.take("status", a_word_of(ReviewStatus)), table.take("entity", a_word_of(ReviewEntity))
    return ReviewWith(low, high, status, entity)


def _property(table: Table | None) -> PropertyAt | None:
    if table is None:
        return None
    table.only(("key", "at_least", "at_most", "equals"))
    key, equals = table.need("key", a_text), table.take("equals", _scalar)
    low, high = table.take("at_least", a_number), table.take("at_most", a_number)
    given = [each for each in ("at_least", "at_most", "equals") if each in table.given]
    if not given or (len(given) > 1 and "equals" in given):
        what = f"{' and '.join(given)} are given" if given else "no value is given"
        table.wrong(f"when.property: {what}; write at_least, at_most or both of them, or equals alone")
    elif low is not None and high is not None and low > high:
        table.wrong(f"at_least {low:g} is above at_most {high:g}: no value is both", "at_least")
    return PropertyAt(key, low, high, equals) if key else None


def _meta_public(table: Table | None, allowed: list[str] | None) -> SetMetaPublic | None:
    if table is None:
        return None
    table.only(("key", "value"))
    key, value = table.need("key", a_text), table.need("value", _json)
    if key is None or "value" not in table.given:
        return None
    if allowed is not None and key not in allowed:
        near = did_you_mean(key, allowed)
        table.wrong(f"meta_public {key} is not allowed; put it into allowed of [meta_public]{near}", "key")
    return SetMetaPublic(key, value)


def _doubles(tables: list[Table], lines: toml_lines.Lines) -> None:
    first: dict[str, Table] = {}
    for table in tables:
        name = table.given.get("name")
        if isinstance(name, str) and (earlier := first.setdefault(name, table)) is not table:
            where = lines.of(*earlier.at, "name")
            table.wrong(f"two rules are named {name}: the other one is in line {where}; name one of them anew", "name")


def _circle(circle: tuple[Rule, ...], emits: Emits) -> str:
    steps = []
    for rule, following in zip(circle, (*circle[1:], circle[0]), strict=True):
        assert isinstance(following.when, ActivityOf)
        back = " or ".join(sorted(emits.by(rule.then) & following.when.types))
        steps.append(f"{rule.name} would {in_words(rule.then)}, which becomes {back}, which {following.name} waits for")
    return f"a circle without an end: {'; '.join(steps)}; take one of them out, or write enabled = false"


def _name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
        raise ValueError("must be 1 to 64 letters (a to z), digits, - or _")
    return value


def _types(value: object) -> frozenset[str]:
    found = texts(value) if isinstance(value, list) else [a_text(value)]
    if not found:
        raise ValueError("must be a type, or a list of at least one")
    return frozenset(found)


def _span(value: object) -> timedelta:
    return positive(duration(value))


def a_rating(value: object) -> float:
    if not 1 <= (rating := a_number(value)) <= 5:
        raise ValueError("must be from 1 to 5")
    return rating


def _scalar(value: object) -> str | float | bool:
    return value if isinstance(value, str | bool) else a_number(value)


def _json(value: Any) -> Json:
    """As JSON has it: a TOML date, an infinity and what is no number are nothing there."""
    if isinstance(value, dict):
        return {key: _json(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_json(each) for each in value]
    if isinstance(value, bool) or (isinstance(value, str) and "\0" not in value):
        return value
    if isinstance(value, int | float):
        return a_number(value)
    raise ValueError("must be what JSON has: a text, a number, true or false, a list or a table; a date in quotes")
