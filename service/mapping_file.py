"""The operator's mapping file, read and judged: nothing runs with one that cannot mean anything."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from service import resources, toml_lines
from service.core.mapping import MADE_BY_ONVOARD, PREDEFINED, Authority, ClearWith, FieldMap, FieldRule, Kind
from service.errors import SettingsError
from service.formats import FORMATS
from service.platforms.digital_onboarding import wire
from service.settings import Settings
from service.store.mirror import LINK_PROPERTY
from service.toml_lines import Lines

Row = dict[str, Any]
NEEDED = ("name", "onvoard", "digital_onboarding")
KEYS = (*NEEDED, "kind", "authority")
# Digital Onboarding's documented contact fields that may be mapped ("Contacts"); the rest is the bridge's own business.
DIGITAL_ONBOARDING = frozenset(wire.TEXT_FIELDS) - {"unique_id", "email"}
# OnVoard's top-level text fields; everything else is a property.
ONVOARD = {"name": {Kind.TEXT, Kind.NAME}, "phone": {Kind.TEXT, Kind.PHONE}}
CONSENT = {"email_unsubscribed", "accepts_marketing_emails", "email_double_optin_status", *wire.FLAG_FIELDS}
FITS = {
    Kind.NAME: {"name_title", "name_first", "name_last", "name_suffix"},
    Kind.PHONE: {"phone_home", "phone_mobile", "phone_work"},
    Kind.COUNTRY: {"country"},
    Kind.TIMEZONE: {"timezone"},
}
# OnVoard validates these field types ("Property Field Type"): what else is sent there is refused.
STRICT = {
    "COUNTRY": {Kind.COUNTRY}, "TIMEZONE": {Kind.TIMEZONE}, "PHONE": {Kind.PHONE, Kind.TEXT},
    **{field_type: {Kind.TEXT} for field_type in ("EMAIL", "URL", "CURRENCY", "SINGLE_SELECT")},
}  # fmt: skip


def path_of(settings: Settings) -> Path:
    """The operator's file, or the built-in one where there is none."""
    path = settings.paths.mapping
    return path if path.exists() else resources.config_dir() / "mapping.toml"


def field_map(settings: Settings) -> FieldMap:
    """What the mapping file says; `SettingsError` for what it cannot mean."""
    rules = read_mapping(path_of(settings))
    return FieldMap(rules, FORMATS, ClearWith(settings.digital_onboarding.clear_with))


def read_mapping(path: Path) -> list[FieldRule]:
    """The rules of a file. SettingsError with every problem at once: file, line, field, and what may stand there."""
    text, document = toml_lines.read(path)
    lines = Lines(text)
    entries = document.get("fields")
    if set(document) != {"fields"} or not _is_table_list(entries):
        line = lines.first(lambda read: bool(set(read) - {"fields"}) or not _is_table_list(read.get("fields")))
        raise SettingsError([f"{path} line {line}: it must hold [[fields]] tables, and nothing else"])
    if not entries:
        line = lines.of("fields")
        raise SettingsError([f"{path} line {line}: no [[fields]]; write some, or remove the file: one is built in"])
    found = [(number, key, problem) for number, entry in enumerate(entries) for key, problem in _wrong(entry)]
    broken = {number for number, _, _ in found}
    rules = {number: _rule(entry) for number, entry in enumerate(entries) if number not in broken}
    found += _doubles(rules, lines)
    if found:
        raise SettingsError([_told(path, lines, entries, *problem) for problem in sorted(found)])
    return list(rules.values())


def misfits(path: Path, types: Mapping[str, Any]) -> list[str]:
    """What of a good file OnVoard cannot take: `types` are its contact property types, by key."""
    rules = read_mapping(path)
    found = [(number, problem) for number, rule in enumerate(rules) for problem in _misfit(rule, types)]
    if not found:
        return []
    text, document = toml_lines.read(path)
    return [_told(path, Lines(text), document["fields"], number, "onvoard", problem) for number, problem in found]


def _misfit(rule: FieldRule, types: Mapping[str, Any]) -> Iterator[str]:
    key = rule.onvoard.removeprefix("properties.")
    if key == rule.onvoard:
        return
    if key not in types:
        # Which of the predefined ones an account lists is not documented; custom ones are listed, or are not there.
        lists_predefined = any(each.definition_type == "PREDEFINED" for each in types.values())
        if key not in PREDEFINED and (key.startswith("custom_") or lists_predefined):
            bare = {each.removeprefix("custom_"): each for each in (*PREDEFINED, *types)}
            near = difflib.get_close_matches(key.removeprefix("custom_"), bare, n=1)
            way = f"did you mean properties.{bare[near[0]]}?" if near else (
                "create it there (contact-bridge setup makes the bridge's own ones alone), or take the field out"
            )  # fmt: skip
            yield f"OnVoard has no contact property {key}; {way}"
        return
    value_type, field_type = types[key].value_type, types[key].field_type
    if value_type not in (None, "STRING") and not (value_type == "NUMBER" and key in MADE_BY_ONVOARD):
        yield f"{key} is a {value_type} on OnVoard, and only texts are mapped; map a STRING, or take the field out"
    elif rule.kind not in STRICT.get(field_type, Kind):
        kinds = " or ".join(sorted(f'kind = "{kind}"' for kind in STRICT[field_type]))
        yield f'{key} is a {field_type} on OnVoard, which takes no kind = "{rule.kind}"; write {kinds}'


def _wrong(entry: Row) -> Iterator[tuple[str, str]]:
    """All that an entry cannot mean, as (key, problem); "" where no key is at fault."""
    unknown, missing = sorted(set(entry) - set(KEYS)), [key for key in NEEDED if key not in entry]
    if unknown or missing:
        yield from ((key, f"unknown key {key}; the keys are {', '.join(KEYS)}") for key in unknown)
        yield from (("", f"{key} is missing") for key in missing)
        return
    columns = _columns(entry)
    if not all(isinstance(text, str) and text for text in (entry["name"], entry["onvoard"], *columns)):
        yield "", "name, onvoard and digital_onboarding are texts (or two texts, for a name)"
        return
    kinds = [kind.value for kind in Kind if kind is not Kind.EMAIL]
    sides = [authority.value for authority in Authority]
    for key, given, allowed in (("kind", _kind(entry), kinds), ("authority", _authority(entry), sides)):
        if given not in allowed:
            yield key, f"{key} {given!r}: it is one of {', '.join(allowed)}"
            return
    kind, authority = Kind(_kind(entry)), Authority(_authority(entry))
    if len(columns) != (2 if kind is Kind.NAME else 1) or len(set(columns)) != len(columns):
        text = 'a name has two columns on Digital Onboarding (kind = "name"), any other kind has one'
        yield "digital_onboarding", text
        return
    if entry["name"] == "email":
        yield "name", "the e-mail is always mapped; leave it out"
    if problem := _wrong_onvoard(entry["onvoard"], kind, authority):
        yield "onvoard", problem
    for column in columns:
        if problem := _wrong_column(column, kind):
            yield "digital_onboarding", problem


def _wrong_onvoard(onvoard: str, kind: Kind, authority: Authority) -> str:
    """Why it cannot be mapped like this; "" where it can."""
    key = onvoard.removeprefix("properties.")
    if key in CONSENT:
        return f"{key} cannot be mapped: opt-outs are always carried over, and never taken back; leave it out"
    if key == "email":
        return "the e-mail is always mapped; leave it out"
    if onvoard in ONVOARD:
        allowed = sorted(ONVOARD[onvoard])
        return "" if kind in allowed else f"kind {kind} does not fit onvoard {onvoard}; write {' or '.join(allowed)}"
    if key in ONVOARD:
        return f'{key} is no property; write onvoard = "{key}"'
    if key == LINK_PROPERTY:
        return f"{key} is the bridge's own: by it, a lost mirror finds its links again; map another one"
    if key == onvoard or not re.fullmatch(r"[a-z0-9_]+", key):
        near = difflib.get_close_matches(key.lower(), [*ONVOARD, *PREDEFINED], n=1)
        meant = f"; did you mean {near[0] if near[0] in ONVOARD else f'properties.{near[0]}'}?" if near else ""
        return f"onvoard {onvoard} cannot be mapped; there are name, phone, and properties.KEY{meant}"
    if key in MADE_BY_ONVOARD and authority is not Authority.ONVOARD:
        or_name = " or map name" if key in ("first_name", "last_name") else ""
        return f'OnVoard itself makes {key}, and takes no value for it; write authority = "onvoard"{or_name}'
    return ""


def _wrong_column(column: str, kind: Kind) -> str:
    """The same for a column of Digital Onboarding."""
    if column in CONSENT:
        return f"{column} cannot be mapped: opt-outs are always carried over, and never taken back; leave it out"
    if column == "email":
        return "the e-mail is always mapped; leave it out"
    known = ", ".join(sorted(DIGITAL_ONBOARDING))
    if column in wire.READ_ONLY_FIELDS or column == "unique_id":
        why = "the bridge's own" if column == "unique_id" else "read-only on Digital Onboarding"
        return f"{column} cannot be mapped: it is {why}; there are {known}"
    if column not in DIGITAL_ONBOARDING:
        near = difflib.get_close_matches(column, DIGITAL_ONBOARDING, n=1)
        meant = f"did you mean {near[0]}? There" if near else "there"
        return f"digital_onboarding {column} cannot be mapped; {meant} are {known}"
    if column not in FITS.get(kind, DIGITAL_ONBOARDING):
        return f"kind {kind} does not fit digital_onboarding {column}; it fits {', '.join(sorted(FITS[kind]))}"
    return ""


def _kind(entry: Row) -> Any:
    return entry.get("kind", Kind.TEXT.value)


def _authority(entry: Row) -> Any:
    return entry.get("authority", Authority.BOTH.value)


def _columns(entry: Row) -> tuple[Any, ...]:
    given = entry["digital_onboarding"]
    return tuple(given) if isinstance(given, list) else (given,)


def _rule(entry: Row) -> FieldRule:
    kind, authority = Kind(_kind(entry)), Authority(_authority(entry))
    return FieldRule(entry["name"], entry["onvoard"], _columns(entry), kind, authority)


def _doubles(rules: Mapping[int, FieldRule], lines: Lines) -> list[tuple[int, str, str]]:
    """Second rules for one field, as (entry, key, problem); each names the line of the first."""
    first: dict[tuple[str, str], int] = {}
    found = []
    for number, rule in rules.items():
        used = [("name", rule.name), ("onvoard", rule.onvoard)]
        for key, text in (*used, *(("digital_onboarding", column) for column in rule.digital_onboarding)):
            if (earlier := first.setdefault((key, text), number)) != number:
                where = f"the other one is in line {lines.of('fields', earlier, key)}"
                found.append((number, key, f"two rules for {key} {text}: {where}; keep one of them"))
    return found


def _told(path: Path, lines: Lines, entries: list[Row], number: int, key: str, problem: str) -> str:
    name = entries[number].get("name", "?")
    return f"{path} line {lines.of('fields', number, key)}: field {number + 1} ({name}): {problem}"


def _is_table_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)
