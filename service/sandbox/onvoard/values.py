"""Checks and reformatting of property values (API document: Enums, Property Field Type and Property Value Type)."""

from __future__ import annotations

import re
import zoneinfo
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from service.sandbox.exchange import Refusal
from service.sandbox.onvoard.codes import COUNTRIES, CURRENCIES

VALUE_TYPES = ("STRING", "STRING_ARRAY", "NUMBER", "DATETIME", "BOOLEAN", "DICT", "OBJECT", "OBJECT_ARRAY")
FIELD_TYPES = {
    "TEXT": "STRING",
    "MULTI_LINE_TEXT": "STRING",
    "NUMBER": "NUMBER",
    "EMAIL": "STRING",
    "PHONE": "STRING",
    "URL": "STRING",
    "COUNTRY": "STRING",
    "CURRENCY": "STRING",
    "TIMEZONE": "STRING",
    "DATE": "DATETIME",
    "DATETIME": "DATETIME",
    "SWITCH": "BOOLEAN",
    "BOOLEAN_SELECT": "BOOLEAN",
    "SINGLE_SELECT": "STRING",
    "MULTI_SELECT": "STRING_ARRAY",
    "TAGS": "STRING_ARRAY",
    "SINGLE_LINE_ITEM": "OBJECT",
    "MULTIPLE_LINE_ITEMS": "OBJECT_ARRAY",
}
KEY = re.compile(r"[a-z0-9_]+")
# Of the years 1 and 9999: `age` is reckoned from a DATETIME.
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


@lru_cache(maxsize=1)
def time_zones() -> frozenset[str]:
    """All IANA names that this machine knows."""
    return frozenset(zoneinfo.available_timezones())


def format_phone(text: str) -> str | None:
    """`+1 (415) 555-0101` → `+14155550101`; None where the text is no plain telephone number."""
    digits = re.sub(r"[\s().\-/]", "", text)
    return digits if re.fullmatch(r"\+?\d{7,15}", digits) else None


def check_value(key: str, value: Any, value_type: str, field_type: str) -> Any:
    """The value as OnVoard stores it: NUMBER as float, DATETIME as whole epoch seconds, PHONE and URL reformatted.

    Refuses (400) what does not have the property's value type, or fails the validation of its field type.
    """
    checked = _typed(key, value, value_type)
    return _validated(key, checked, field_type) if isinstance(checked, str) else checked


def _typed(key: str, value: Any, value_type: str) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value_type == "NUMBER" and is_number:
        return float(value)
    if value_type == "DATETIME" and is_number and FIRST_SECOND <= value <= LAST_SECOND:
        return int(value)
    fits = {
        "STRING": isinstance(value, str),
        "BOOLEAN": isinstance(value, bool),
        "STRING_ARRAY": isinstance(value, list) and all(isinstance(each, str) for each in value),
        "DICT": isinstance(value, dict),
    }
    if not fits.get(value_type, False):
        raise Refusal(400, f"Property {key}: not a valid {value_type}.")
    return value


def _validated(key: str, text: str, field_type: str) -> str:
    formatted: str | None = text
    if field_type == "PHONE":
        formatted = format_phone(text)
    elif field_type == "URL":
        formatted = _format_url(text)
    elif field_type == "EMAIL":
        formatted = text if EMAIL.fullmatch(text) else None
    elif field_type in ("COUNTRY", "CURRENCY", "TIMEZONE"):
        allowed = {"COUNTRY": COUNTRIES, "CURRENCY": CURRENCIES}.get(field_type) or time_zones()
        formatted = text if text in allowed else None
    if formatted is None:
        raise Refusal(400, f"Property {key}: not a valid {field_type}.")
    return formatted


def _format_url(text: str) -> str | None:
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme not in ("http", "https") or "." not in parts.netloc or " " in text:
        return None
    return parts._replace(netloc=parts.netloc.lower()).geturl()
