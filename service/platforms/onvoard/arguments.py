"""The arguments of OnVoard's calls, by the types that the document's tables give them -> JSON values; pure.

An argument has the same type wherever the document names it, so each is named here once; what is not named is text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from service.errors import RuleBroken
from service.platforms.onvoard import enums
from service.platforms.payload import given, iso, sendable

E = TypeVar("E", bound=StrEnum)

_KEY = re.compile(r"[a-z0-9_]+")
_ENUMS: dict[str, type[StrEnum]] = {
    "email_double_optin_status": enums.EmailDoubleOptinStatus,
    "definition_type": enums.ContactPropertyDefinitionType,
    "value_type": enums.PropertyValueType,
    "field_type": enums.PropertyFieldType,
    "type": enums.ResourceType,
    "resource_type": enums.ResourceType,
    "kind": enums.ResourceKind,
    "icon_type": enums.ResourceIconType,
    "entity": enums.ReviewEntity,
    "status": enums.ReviewStatus,
}
_LISTS: dict[str, type[str]] = {
    **dict.fromkeys(("lists", "tags", "image_urls", "video_urls"), str),
    **dict.fromkeys(("list_ids", "tag_ids", "segment_ids", "activity_types"), str),
    "event_types": enums.WebhookEventType,
}
_OBJECTS = ("properties", "record_data", "data")
_ISO = ("created_datetime", "reply_datetime")  # "Create Review": strings; all other times go as epoch seconds
_MOMENTS = (*_ISO, "timestamp", "created_before", "created_after", "before", "after")
_FLAGS = (
    *("accepts_marketing_emails", "suppressed", "email_sendable", "email_unsubscribed", "email_marked_as_spam"),
    *("email_hard_bounced", "send_email_optin_confirmation", "use_group", "published_only", "active"),
)
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(_OBJECTS, ((Mapping,), "an object")),
    **dict.fromkeys(_MOMENTS, ((datetime,), "a datetime")),
    **dict.fromkeys(_FLAGS, ((bool,), "true or false")),
    "rating": ((int, float), "a number"),
    "num_upvotes": ((int,), "a whole number"),
}
_TEXT = ((str,), "text")


def broken(rule: str, where: str) -> RuleBroken:
    return RuleBroken(f"OnVoard: {rule} ({where})")


def body(where: str, /, **fields: Any) -> dict[str, Any]:
    """The JSON of the arguments that are given. RuleBroken as `checked`; also for a naive datetime, and for what JSON
    cannot say."""
    said = checked(where, **fields)
    return {key: iso(value, key) if key in _ISO else sendable(value, key) for key, value in said.items()}


def checked(where: str, /, **fields: Any) -> dict[str, Any]:
    """The arguments that are given, enums and lists as such. RuleBroken for null, for a value of another type or out
    of its enum, and for a key in an object that no property type can have."""
    return {key: _checked(key, value, where) for key, value in given(**fields).items()}


def _checked(key: str, value: object, where: str) -> Any:
    if value is None:
        raise broken(f'{key} cannot be null: leave it out, or blank text with ""', where)
    if key in _ENUMS:
        return known(_ENUMS[key], value, key, where)
    if key in _LISTS:
        return _items(key, value, where)
    types, name = _TYPES.get(key, _TEXT)
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise broken(f"{key} must be {name}", where)
    if isinstance(value, Mapping):
        for inner in value:
            property_key(inner, f"{where}, {key}")
    return value


def _items(key: str, value: object, where: str) -> list[str]:
    wanted = _LISTS[key]
    if not isinstance(value, list | tuple | set | frozenset) or not all(isinstance(item, str) for item in value):
        raise broken(f"{key} must be a list of text", where)
    return [known(wanted, item, key, where) if issubclass(wanted, StrEnum) else item for item in value]


def known(enum: type[E], value: Any, key: str, where: str) -> E:
    """The enum's member, also from its text."""
    try:
        return enum(value)
    except ValueError:
        raise broken(f"{key} must be one of {', '.join(enum)}", where) from None


def property_key(key: object, where: str) -> None:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise broken("keys are lowercase letters, digits and underscores only", where)
