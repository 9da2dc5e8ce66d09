"""One table of fields, read in two directions.

A rule names a field once on each side. On OnVoard it is a top-level field (`phone`) or a property (`properties.city`);
on Digital Onboarding a contact field, or two for a name (`name_first + name_last`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from service.core.records import Native, Platform, shown


class Kind(StrEnum):
    TEXT = "text"
    NAME = "name"
    PHONE = "phone"
    COUNTRY = "country"
    TIMEZONE = "timezone"
    EMAIL = "email"


class Authority(StrEnum):
    """Whose word counts for a field."""

    BOTH = "both"
    ONVOARD = "onvoard"
    DIGITAL_ONBOARDING = "digital_onboarding"


class ClearWith(StrEnum):
    """How a field is cleared on Digital Onboarding; its document does not say."""

    EMPTY = "empty"
    NULL = "null"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class FieldRule:
    name: str
    onvoard: str
    digital_onboarding: tuple[str, ...]
    kind: Kind = Kind.TEXT
    authority: Authority = Authority.BOTH

    def named(self, platform: Platform) -> str:
        """The field as the platform names it."""
        if platform is Platform.ONVOARD:
            return self.onvoard.removeprefix("properties.")
        return " + ".join(self.digital_onboarding)

    def columns(self, platform: Platform) -> tuple[str, ...]:
        """The same, one by one: a name is two fields on Digital Onboarding."""
        return (self.named(platform),) if platform is Platform.ONVOARD else self.digital_onboarding

    def by_column(self, platform: Platform, value: Native) -> dict[str, str]:
        """A value of this field under the platform's own names, as people read it."""
        columns = self.columns(platform)
        parts = value if isinstance(value, tuple) and len(columns) > 1 else (shown(value) or "",)
        return dict(zip(columns, parts, strict=True))


@dataclass(frozen=True, slots=True)
class Formats:
    """What phone numbers, countries and time zones are; the knowledge of libraries, handed in.

    `phone_key(text, region)` gives two spellings of one number the same key; `country_code` and `zone_name` give
    the standard form, or None for what is none.
    """

    phone_key: Callable[[str, str], str]
    country_code: Callable[[str], str | None]
    zone_name: Callable[[str], str | None]


class CannotTake(Exception):
    """A value that the other side cannot take; the text is the reason."""


def squeeze(text: str) -> str:
    return " ".join(text.split())


def one_line(value: Native) -> str:
    """A value as one text; "" for blank space."""
    return squeeze(" ".join(value) if isinstance(value, tuple) else value)


def normal_email(text: str | None) -> str:
    """Trimmed, ASCII letters in lower case, and nothing guessed beyond that (contract section 4)."""
    bare = (text or "").strip()
    return bare.lower() if bare.isascii() else "".join(c.lower() if c.isascii() else c for c in bare)


def plausible_email(text: str) -> bool:
    local, at, domain = text.strip().rpartition("@")
    return bool(at and local and domain) and not any(c.isspace() for c in text.strip())


EMAIL = FieldRule("email", "email", ("email",), Kind.EMAIL)
# Properties that OnVoard generates itself: they are read, and no value is ever sent (traps 8, and the vendor's help).
MADE_BY_ONVOARD = frozenset({"first_name", "last_name", "is_from_eu", "age", "days_until_next_birthday"})
# Properties that every account has (the vendor's help: "Predefined contact properties").
PREDEFINED = MADE_BY_ONVOARD | {"country", "region", "city", "street_address", "postal_code", "timezone", "dob"}


class FieldMap:
    """The mapping table with what is needed to compare and translate values."""

    def __init__(self, rules: Iterable[FieldRule], formats: Formats, clear_with: ClearWith = ClearWith.EMPTY) -> None:
        self.rules = (EMAIL, *rules)
        self.by_name = {rule.name: rule for rule in self.rules}
        self.formats = formats
        self.clear_with = clear_with
        self._country = next((rule.name for rule in self.rules if rule.kind is Kind.COUNTRY), None)

    def fingerprint(self) -> str:
        """The same for two tables that say the same."""
        return hashlib.sha256(repr((self.rules, self.clear_with)).encode()).hexdigest()

    def region(self, fields: Mapping[str, Native]) -> str:
        """The country in whose terms a record's national phone numbers are read; "" if unknown."""
        value = fields.get(self._country) if self._country else None
        return (self.formats.country_code(value) or "") if isinstance(value, str) else ""

    def key(self, rule: FieldRule, value: Native, region: str = "") -> str:
        """What two spellings of one value have in common; a change that leaves it as it is, is no edit."""
        text = one_line(value)
        if rule.kind is Kind.EMAIL:
            return normal_email(text)
        if not text:
            return ""
        if rule.kind is Kind.PHONE:
            return self.formats.phone_key(text, region)
        if rule.kind is Kind.COUNTRY:
            return self.formats.country_code(text) or text
        if rule.kind is Kind.TIMEZONE:
            return self.formats.zone_name(text) or text
        return text

    def translate(self, rule: FieldRule, value: Native, to: Platform, over: Native = "") -> Native:
        """The value in the other platform's terms, to be written over `over`; `CannotTake` where there is none."""
        self.check_clearing(rule, value, to, over)
        if to is Platform.ONVOARD and rule.onvoard.startswith("properties.") and rule.named(to) in MADE_BY_ONVOARD:
            raise CannotTake("OnVoard makes it itself")
        if not one_line(value):
            return ("",) * len(value) if isinstance(value, tuple) else ""
        if isinstance(value, tuple):
            return value
        text = value.strip()
        if rule.kind is Kind.EMAIL and not plausible_email(text):
            raise CannotTake("not an e-mail address")
        if rule.kind is Kind.PHONE and sum(c.isdigit() for c in text) < 3:
            raise CannotTake("not a phone number")
        if rule.kind is Kind.COUNTRY:
            return self._known(self.formats.country_code(text), "not a country")
        if rule.kind is Kind.TIMEZONE:
            return self._known(self.formats.zone_name(text), "not a time zone")
        return text

    def check_clearing(self, rule: FieldRule, value: Native, to: Platform, over: Native) -> None:
        """`CannotTake` where `value` would clear what may not be cleared.

        A name is written whole or not at all: half of the old one with half of the new one is nobody's.
        """
        if rule.kind is Kind.EMAIL and not one_line(value):
            raise CannotTake("a cleared e-mail does not travel")
        if to is not Platform.DIGITAL_ONBOARDING or self.clear_with is not ClearWith.NEVER:
            return
        halves = isinstance(value, tuple) and isinstance(over, tuple)
        if not one_line(value) or (halves and any(b and not v.strip() for v, b in zip(value, over, strict=True))):
            raise CannotTake("clearing is switched off (digital_onboarding.clear_with)")

    @staticmethod
    def _known(found: str | None, reason: str) -> str:
        if found is None:
            raise CannotTake(reason)
        return found

    def payload(self, platform: Platform, values: Mapping[str, Native]) -> dict[str, Any]:
        """Field values by canonical name -> the body that writes them on `platform`.

        OnVoard: top-level fields are blanked with "", properties with null (document: "properties", traps 3).
        """
        body: dict[str, Any] = {}
        for name, value in values.items():
            rule = self.by_name[name]
            if platform is Platform.DIGITAL_ONBOARDING:
                parts = value if isinstance(value, tuple) else (value,)
                for column, part in zip(rule.digital_onboarding, parts, strict=True):
                    if part or self.clear_with is not ClearWith.NEVER:
                        body[column] = None if not part and self.clear_with is ClearWith.NULL else part
                continue
            text = one_line(value) if isinstance(value, tuple) else value
            if rule.onvoard.startswith("properties."):
                body.setdefault("properties", {})[rule.named(platform)] = text or None
            else:
                body[rule.onvoard] = text
        return body

    def read_digital_onboarding(self, raw: Mapping[str, Any]) -> dict[str, Native]:
        """The mapped fields of a Digital Onboarding contact; a key that is absent is unknown, and so is half a name."""
        fields: dict[str, Native] = {}
        for rule in self.rules:
            if not all(column in raw for column in rule.digital_onboarding):
                continue
            parts = tuple(_text(raw.get(column)) for column in rule.digital_onboarding)
            fields[rule.name] = parts if rule.kind is Kind.NAME else parts[0]
        return fields

    def read_onvoard(self, raw: Mapping[str, Any]) -> dict[str, Native]:
        """The mapped fields of an OnVoard contact. An absent property is a blank one; an absent field is unknown."""
        properties = raw.get("properties")
        fields: dict[str, Native] = {}
        for rule in self.rules:
            if rule.onvoard.startswith("properties."):
                if not isinstance(properties, Mapping):
                    continue
                text = _text(properties.get(rule.named(Platform.ONVOARD)))
            elif rule.onvoard in raw:
                text = _text(raw[rule.onvoard])
            else:
                continue
            fields[rule.name] = _name_parts(text, properties) if rule.kind is Kind.NAME else text
        return fields


def _text(value: Any) -> str:
    if value is None or isinstance(value, (dict, list, bool)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _name_parts(name: str, properties: Any) -> tuple[str, str]:
    """OnVoard generates first_name and last_name from `name` (traps 8): they count as long as they fit it."""
    if isinstance(properties, Mapping):
        parts = (_text(properties.get("first_name")), _text(properties.get("last_name")))
        if any(parts) and squeeze(" ".join(parts)) == squeeze(name):
            return parts
    first, _, last = squeeze(name).partition(" ")
    return first, last
