"""The operator's mapping file, read and judged: nothing runs with one that cannot mean anything."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service.core.mapping import Authority, FieldRule, Kind
from service.errors import SettingsError
from service.platforms.digital_onboarding import wire

KEYS = {"name", "onvoard", "digital_onboarding", "kind", "authority"}
# Digital Onboarding's documented contact fields that may be mapped ("Contacts"); the rest is the bridge's own business.
DIGITAL_ONBOARDING = frozenset(wire.TEXT_FIELDS) - {"unique_id", "email"}
# OnVoard's top-level text fields; everything else is a property.
ONVOARD = frozenset({"name", "phone"})


def read_mapping(path: Path) -> list[FieldRule]:
    """The rules of a file. SettingsError with every problem at once: file, line, field, and what may stand there."""
    try:
        text = path.read_text("utf-8")
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError([f"{path}: {error}"]) from None
    entries = document.get("fields")
    if set(document) != {"fields"} or not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise SettingsError([f"{path}: it must hold [[fields]] tables, and nothing else"])
    if not entries:
        raise SettingsError([f"{path}: no [[fields]]"])
    head = re.compile(r"\s*\[\[\s*fields\s*\]\]")
    heads = [number for number, line in enumerate(text.splitlines(), 1) if head.match(line)]
    places = [f" line {line}" for line in heads] if len(heads) == len(entries) else [""] * len(entries)
    problems: list[str] = []
    rules: list[FieldRule] = []
    for number, (entry, place) in enumerate(zip(entries, places, strict=True), 1):
        try:
            rules.append(_rule(entry))
        except ValueError as error:
            problems.append(f"{path}{place}: field {number} ({entry.get('name', '?')}): {error}")
    problems += [f"{path}: {problem}" for problem in _doubles(rules)]
    if problems:
        raise SettingsError(problems)
    return rules


def _rule(entry: dict[str, Any]) -> FieldRule:
    unknown, missing = set(entry) - KEYS, {"name", "onvoard", "digital_onboarding"} - set(entry)
    if unknown or missing:
        wrong = [f"unknown key {key}" for key in sorted(unknown)] + [f"{key} is missing" for key in sorted(missing)]
        raise ValueError(", ".join(wrong))
    given = entry["digital_onboarding"]
    columns = tuple(given) if isinstance(given, list) else (given,)
    texts = (entry["name"], entry["onvoard"], *columns)
    if not all(isinstance(text, str) and text for text in texts):
        raise ValueError("name, onvoard and digital_onboarding are texts (or two texts, for a name)")
    kind = _one_of(Kind, entry.get("kind", "text"), "kind", without=Kind.EMAIL)
    authority = _one_of(Authority, entry.get("authority", "both"), "authority")
    if (kind is Kind.NAME) != (len(columns) == 2):
        raise ValueError('a name has two columns on Digital Onboarding (kind = "name"), any other kind has one')
    _check_places(entry["name"], entry["onvoard"], columns)
    return FieldRule(entry["name"], entry["onvoard"], columns, kind, authority)


def _check_places(name: str, onvoard: str, columns: tuple[str, ...]) -> None:
    if name == "email":
        raise ValueError("the e-mail is always mapped; leave it out")
    for column in columns:
        if column not in DIGITAL_ONBOARDING:
            known = ", ".join(sorted(DIGITAL_ONBOARDING))
            raise ValueError(f"digital_onboarding {column} cannot be mapped; there are {known}")
    key = onvoard.removeprefix("properties.")
    if onvoard not in ONVOARD and (key == onvoard or not re.fullmatch(r"[a-z0-9_]+", key)):
        raise ValueError(f"onvoard {onvoard} cannot be mapped; there are name, phone, and properties.KEY")


def _one_of(choices: Any, given: object, what: str, without: object = None) -> Any:
    allowed = [choice for choice in choices if choice is not without]
    if given not in [choice.value for choice in allowed]:
        raise ValueError(f"{what} {given!r}: it is one of {', '.join(choice.value for choice in allowed)}")
    return choices(given)


def _doubles(rules: list[FieldRule]) -> Iterator[str]:
    for what, used in (
        ("name", [rule.name for rule in rules]),
        ("onvoard", [rule.onvoard for rule in rules]),
        ("digital_onboarding", [column for rule in rules for column in rule.digital_onboarding]),
    ):
        for text in sorted({text for text in used if used.count(text) > 1}):
            yield f"two rules for {what} {text}"
