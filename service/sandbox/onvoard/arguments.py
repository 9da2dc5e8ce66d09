"""Checks of the arguments in a JSON body that OnVoard's writing calls share. All refuse with 400 and name the field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from service.sandbox.clock import parse_iso
from service.sandbox.exchange import Refusal
from service.sandbox.onvoard.values import KEY

Fields = Mapping[str, Any]


def invalid(name: str, problem: str) -> Refusal:
    """A 400: `{"detail": ..., "errors": {name: [problem]}}`."""
    return Refusal(400, problem, {"detail": f"{name}: {problem}", "errors": {name: [problem]}})


def text(fields: Fields, name: str, default: str = "", required: bool = False) -> str:
    """A string, not null; where `required`, present and not blank."""
    if name not in fields and not required:
        return default
    value = fields.get(name)
    if not isinstance(value, str):
        raise invalid(name, "This field is required." if name not in fields else "Not a valid string.")
    if required and not value.strip():
        raise invalid(name, "This field may not be blank.")
    return value


def flag(fields: Fields, name: str, default: bool = False) -> bool:
    """A boolean, not null."""
    value = fields.get(name, default)
    if not isinstance(value, bool):
        raise invalid(name, "Must be a valid boolean.")
    return value


def enum(fields: Fields, name: str, allowed: Iterable[str], default: str | None = None) -> str:
    """One of the allowed words; required where there is no default."""
    value = fields.get(name, default)
    if value not in tuple(allowed):
        raise invalid(name, f"Must be one of {', '.join(allowed)}.")
    return str(value)


def texts(fields: Fields, name: str) -> list[str]:
    """An array of strings; empty where absent."""
    value = fields.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise invalid(name, "Must be an array of strings.")
    return list(value)


def mapping(fields: Fields, name: str) -> dict[str, Any]:
    """An object; empty where absent."""
    value = fields.get(name, {})
    if not isinstance(value, dict):
        raise invalid(name, "Must be an object.")
    return dict(value)


def number(fields: Fields, name: str, low: float, high: float) -> float:
    """A required number within bounds."""
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise invalid(name, f"Must be a number between {low:g} and {high:g}.")
    return float(value)


def integer(fields: Fields, name: str, default: int) -> int:
    """An integer."""
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid(name, "A valid integer is required.")
    return value


def moment(fields: Fields, name: str) -> datetime | None:
    """An ISO 8601 string as an aware datetime; None where absent or null."""
    value = fields.get(name)
    if value is None:
        return None
    try:
        return parse_iso(value)
    except (TypeError, ValueError):
        raise invalid(name, "Must be an ISO 8601 datetime string.") from None


def key(fields: Fields) -> str:
    """A required `key` of lower-case letters, digits and underscores."""
    value = text(fields, "key", required=True)
    if not KEY.fullmatch(value):
        raise invalid("key", "Must be lowercase alphanumeric characters and underscores only.")
    return value


def unchanged(fields: Fields, current: Mapping[str, Any]) -> None:
    """Refuse to change what can't be changed later; sending the present value again is fine."""
    for name, value in current.items():
        if name in fields and fields[name] != value:
            raise invalid(name, "Can't be changed.")
