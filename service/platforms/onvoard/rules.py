"""What the document asks of a request, checked before it is sent: argument values -> JSON bodies; pure.

Every function raises RuleBroken with the rule and, in parentheses, its place in the document.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, TypedDict, TypeVar
from urllib.parse import urlsplit

from service.errors import RuleBroken
from service.platforms.onvoard.enums import (
    EmailDoubleOptinStatus,
    PropertyFieldType,
    PropertyValueType,
    ResourceIconType,
    ResourceKind,
    ResourceType,
    ReviewEntity,
    value_type_of,
)
from service.platforms.onvoard.models import Activity, ActivityType, Contact, ContactPropertyType, Resource
from service.platforms.onvoard.models import ResourcePropertyType as PropertyType
from service.platforms.payload import UNSET, Unset, epoch, given, iso, plain_key, sendable

RESERVED_RECORD_DATA = frozenset({"activity_id", "activity_datetime", "contact_id", "contact_email"})
CUSTOM = "custom."
_KEY = re.compile(r"[a-z0-9_]+")
_UNCREATABLE = (PropertyValueType.OBJECT, PropertyValueType.OBJECT_ARRAY)

E = TypeVar("E", bound=StrEnum)


class ContactFields(TypedDict, total=False):
    """What can be written on a contact ("Create Contact", "Patch Contact", "Create or Update Contact").

    A field left out is not sent and keeps its value; text is blanked with `""`. `lists` are ids, `tags` are names (an
    unknown one is created). `properties`: only the keys given change, None unsets one, datetimes go as epoch seconds.
    `send_email_optin_confirmation` sends real mail and blocks all other mail until it is confirmed.
    """

    email: str
    name: str
    phone: str
    accepts_marketing_emails: bool
    email_unsubscribed: bool
    email_double_optin_status: EmailDoubleOptinStatus
    send_email_optin_confirmation: bool
    lists: Sequence[str]
    tags: Sequence[str]
    properties: Mapping[str, Any]


_CONTACT_TEXTS = ("email", "name", "phone")
_CONTACT_FLAGS = ("accepts_marketing_emails", "email_unsubscribed", "send_email_optin_confirmation")
_CONTACT_LISTS = ("lists", "tags")


def contact_body(fields: Mapping[str, Any], *, needs_email: bool) -> dict[str, Any]:
    """A contact to write. Read-only and unknown fields, wrong types, null outside `properties`, and a blank e-mail
    are refused."""
    body = given(**fields)
    for key, value in body.items():
        if key not in ContactFields.__annotations__:
            raise _broken(f"{plain_key(key)} cannot be written on a contact", "Patch Contact")
        if value is None:
            raise _broken(f'null clears only entries of properties; blank {key} with ""', "Contact Object, properties")
        _check_contact_field(key, value)
    if (needs_email or "email" in body) and not str(body.get("email", "")).strip():
        raise _broken("a contact needs its email", "Create Contact")
    return {key: sendable(value, key) for key, value in body.items()}


def _check_contact_field(key: str, value: object) -> None:
    if key in _CONTACT_TEXTS and not isinstance(value, str):
        raise _broken(f"{key} must be text", "Create Contact")
    if key in _CONTACT_FLAGS and not isinstance(value, bool):
        raise _broken(f"{key} must be true or false", "Create Contact")
    if key in _CONTACT_LISTS and (
        isinstance(value, str | Mapping) or not all(isinstance(item, str) for item in _items(value, key))
    ):
        raise _broken(f"{key} must be a list of {'ids' if key == 'lists' else 'names'}", "Create Contact")
    if key == "email_double_optin_status":
        known(EmailDoubleOptinStatus, value, key)
    if key == "properties":
        if not isinstance(value, Mapping):
            raise _broken("properties must be an object", "Create Contact")
        for name in value:
            property_key(name, "Create Contact, properties")


def _items(value: object, key: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple | set | frozenset):
        raise _broken(f"{key} must be a list", "Create Contact")
    return list(value)


def sends_mail(fields: Mapping[str, Any]) -> bool:
    """Whether writing this contact again would do more than the first time."""
    return fields.get("send_email_optin_confirmation") is True


def living(contact: str | Contact, where: str) -> str:
    """The contact's id. Refused: a contact known to be suppressed, which nothing but Unsuppress Contact may touch."""
    if isinstance(contact, str):
        return contact
    if contact.suppressed:
        raise _broken("a suppressed contact can only be unsuppressed", where)
    return contact.id


def property_key(key: object, where: str) -> str:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise _broken("keys are lowercase letters, digits and underscores only", where)
    return key


def property_type_body(
    key: str,
    label: str,
    value_type: PropertyValueType,
    field_type: PropertyFieldType | Unset,
    helper_text: str | Unset,
    where: str,
) -> dict[str, Any]:
    """A property type to create, of a contact or of a resource; the key without `custom_`, which the platform adds."""
    value_type = known(PropertyValueType, value_type, "value_type")
    if value_type in _UNCREATABLE:
        raise _broken(f"a property type cannot be created as {value_type}", "Property Value Type")
    if not isinstance(field_type, Unset):
        field_type = known(PropertyFieldType, field_type, "field_type")
        if value_type_of(field_type) is not value_type:
            wanted = value_type_of(field_type)
            raise _broken(f"field_type {field_type} goes with value_type {wanted}", "Property Field Type")
    _not_blank(label, "label", where)
    fields = given(
        key=property_key(key, where), label=label, value_type=value_type, field_type=field_type, helper_text=helper_text
    )
    return {name: sendable(value, name) for name, value in fields.items()}


def custom_property_type(kind: str | ContactPropertyType | PropertyType, where: str) -> str:
    """Its id. Refused: one known to be predefined, or of a resource that is not custom."""
    if isinstance(kind, str):
        return kind
    if isinstance(kind, ContactPropertyType):
        is_custom = kind.definition_type in (None, "CUSTOM")
    else:
        is_custom = kind.resource_accessor is None or kind.resource_accessor.startswith(CUSTOM)
    if not is_custom:
        raise _broken("only custom property types can be changed or deleted", where)
    return kind.id


def activity_body(
    type: str,
    contact_id: str | Unset,
    contact_email: str | Unset,
    timestamp: datetime | Unset,
    record_data: Mapping[str, Any] | Unset,
) -> dict[str, Any]:
    """An activity to create: custom type, a contact by id or by e-mail, no reserved key in `record_data`; times as
    epoch seconds."""
    where = "Create Contact Activity"
    if not type.startswith(CUSTOM):
        raise _broken("activities can only be added for a custom type; type is its accessor, custom.<key>", where)
    body = given(contact_id=contact_id, contact_email=contact_email)
    if not any(isinstance(value, str) and value.strip() for value in body.values()):
        raise _broken("either contact_id or contact_email must be given", where)
    if len(body) == 2:
        raise _broken("contact_id or contact_email, not both: they may disagree", where)
    body["type"] = type
    if not isinstance(timestamp, Unset):
        body["timestamp"] = epoch(timestamp, "timestamp")
    if not isinstance(record_data, Unset):
        reserved = sorted(RESERVED_RECORD_DATA & record_data.keys())
        if reserved:
            raise _broken(f"{', '.join(reserved)} in record_data are set by the platform", where)
        body["record_data"] = sendable(record_data, "record_data")
    return body


def custom_activity(activity: str | Activity, where: str) -> str:
    if isinstance(activity, str):
        return activity
    if activity.type is not None and not activity.type.startswith(CUSTOM):
        raise _broken("only custom activities can be deleted", where)
    return activity.id


def custom_activity_type(kind: str | ActivityType, where: str) -> str:
    if isinstance(kind, str):
        return kind
    if kind.accessor is not None and not kind.accessor.startswith(CUSTOM):
        raise _broken("only custom activity types can be changed or deleted", where)
    return kind.id


def custom_resource(resource: str | Resource, where: str, kind: ResourceKind | None = None) -> str:
    """Its id. Refused: one known not to be CUSTOM, or of another kind than the call needs."""
    if isinstance(resource, str):
        return resource
    if resource.type not in (None, ResourceType.CUSTOM):
        raise _broken("only resources of type CUSTOM can be used here", where)
    if kind is not None and resource.kind not in (None, kind):
        raise _broken(f"only resources of kind {kind} can be used here", where)
    return resource.id


def icon_body(
    icon_type: ResourceIconType | Unset, icon_class: str | Unset, icon_url: str | Unset, where: str
) -> dict[str, Any]:
    """The icon of a resource: NATIVE needs `icon_class`, UPLOADED needs `icon_url`."""
    if not isinstance(icon_type, Unset):
        icon_type = known(ResourceIconType, icon_type, "icon_type")
        if icon_type is ResourceIconType.NATIVE and (icon_class is UNSET or not icon_class):
            raise _broken("icon_class must be given where icon_type is NATIVE", where)
        if icon_type is ResourceIconType.UPLOADED and (icon_url is UNSET or not icon_url):
            raise _broken("icon_url must be given where icon_type is UPLOADED", where)
    fields = given(icon_type=icon_type, icon_class=icon_class, icon_url=icon_url)
    return {name: sendable(value, name) for name, value in fields.items()}


def review_body(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A review to create: rating from 1 to 5, a product's id where the entity is PRODUCT; times as ISO 8601."""
    where = "Create Review"
    body = given(**fields)
    rating = body["rating"]
    if isinstance(rating, bool) or not isinstance(rating, int | float) or not 1 <= rating <= 5:
        raise _broken("rating must be between 1 and 5", where)
    if body["entity"] is ReviewEntity.PRODUCT and not (body.get("product_id") or body.get("product_external_id")):
        raise _broken("a review of a PRODUCT needs product_id or product_external_id", where)
    for key in ("content", "reviewer_email", "reviewer_display_name"):
        _not_blank(body[key], key, where)
    return {
        key: iso(value, key) if isinstance(value, datetime) else sendable(value, key) for key, value in body.items()
    }


def webhook_url(url: str) -> str:
    """RuleBroken for anything that is no http(s) address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _broken("url is no URL", "Create Webhook") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _broken("url must be the address of an http(s) endpoint", "Create Webhook")
    return url


def resource_key(key: str) -> str:
    return property_key(key, "Create Resource")


def known(enum: type[E], value: Any, key: str) -> E:
    """The enum's member, also from its text."""
    try:
        return enum(value)
    except ValueError:
        raise _broken(f"{key} must be one of {', '.join(enum)}", enum.__name__) from None


def changes(where: str, **fields: Any) -> dict[str, Any]:
    """The body of a patch: what is given. Null, and a patch of nothing, are refused."""
    body = given(**fields)
    if not body:
        raise _broken("nothing to patch", where)
    blank = [key for key, value in body.items() if value is None]
    if blank:
        raise _broken(f'null is not documented here; blank {", ".join(blank)} with ""', where)
    return {key: sendable(value, key) for key, value in body.items()}


def _not_blank(value: object, key: str, where: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise _broken(f"{key} must be given", where)


def _broken(rule: str, where: str) -> RuleBroken:
    return RuleBroken(f"OnVoard: {rule} ({where})")
