"""What the document asks of a request, checked before it is sent: argument values -> JSON bodies; pure.

Every function raises RuleBroken with the rule and, in parentheses, its place in the document; see also `arguments`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict
from urllib.parse import urlsplit

from service.platforms.onvoard.arguments import body, broken, property_key
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
from service.platforms.onvoard.models import (
    Activity,
    ActivityType,
    Contact,
    ContactPropertyType,
    Resource,
    ResourcePropertyType,
    ResourceRecord,
)
from service.platforms.payload import plain_key

RESERVED_RECORD_DATA = frozenset({"activity_id", "activity_datetime", "contact_id", "contact_email"})
CUSTOM = "custom."


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


def contact_body(where: str, fields: Mapping[str, Any], *, needs_email: bool) -> dict[str, Any]:
    """A contact to write. Read-only and unknown fields, and a blank e-mail, are refused."""
    unwritable = [plain_key(key) for key in fields if key not in ContactFields.__annotations__]
    if unwritable:
        raise broken(f"{', '.join(unwritable)} cannot be written on a contact", where)
    contact = body(where, **fields)
    if needs_email or "email" in contact:
        require(where, contact, "email")
    return contact


def sends_mail(fields: Mapping[str, Any]) -> bool:
    """Whether writing this contact again would do more than the first time."""
    return fields.get("send_email_optin_confirmation") is True


def living(contact: str | Contact, where: str) -> str:
    """The contact's id. Refused: a contact known to be suppressed, which nothing but Unsuppress Contact may touch."""
    if isinstance(contact, Contact) and contact.suppressed:
        raise broken("a suppressed contact can only be unsuppressed", where)
    return _id(contact)


def property_type_body(where: str, /, **fields: Any) -> dict[str, Any]:
    """A property type to create, of a contact or of a resource; the key without `custom_`, which the platform adds."""
    kind = body(where, **fields)
    require(where, kind, "key", "label", "value_type")
    property_key(kind["key"], where)
    value_type = PropertyValueType(kind["value_type"])
    if value_type in (PropertyValueType.OBJECT, PropertyValueType.OBJECT_ARRAY):
        raise broken(f"a property type cannot be created as {value_type}", "Property Value Type")
    if "field_type" in kind:
        field_type = PropertyFieldType(kind["field_type"])
        wanted = value_type_of(field_type)
        if wanted is not value_type:
            raise broken(f"field_type {field_type} goes with value_type {wanted}", "Property Field Type")
    return kind


def custom_property_type(kind: str | ContactPropertyType | ResourcePropertyType, where: str) -> str:
    """Its id. Refused: one known to be predefined, or of a resource that is not custom."""
    is_custom = True
    if isinstance(kind, ContactPropertyType):
        is_custom = kind.definition_type in (None, "CUSTOM")
    elif isinstance(kind, ResourcePropertyType):
        is_custom = _may_be_custom(kind.resource_accessor)
    if not is_custom:
        raise broken("only custom property types can be changed or deleted", where)
    return _id(kind)


def activity_body(*, type: Any, **fields: Any) -> dict[str, Any]:
    """An activity to create: custom type, a contact by id or by e-mail, no reserved key in `record_data`."""
    where = "Create Contact Activity"
    if not isinstance(type, str) or not type.startswith(CUSTOM):
        raise broken("activities can only be added for a custom type; type is its accessor, custom.<key>", where)
    property_key(type.removeprefix(CUSTOM), f"{where}, type")
    activity = body(where, **fields)
    contact = [key for key in ("contact_id", "contact_email") if key in activity]
    if not contact:
        raise broken("either contact_id or contact_email must be given", where)
    if len(contact) == 2:
        raise broken("contact_id or contact_email, not both: they may disagree", where)
    require(where, activity, *contact)
    reserved = sorted(RESERVED_RECORD_DATA & activity.get("record_data", {}).keys())
    if reserved:
        raise broken(f"{', '.join(reserved)} in record_data are set by the platform", where)
    return {"type": type} | activity


def custom_activity(activity: str | Activity, where: str) -> str:
    if isinstance(activity, Activity) and not _may_be_custom(activity.type):
        raise broken("only custom activities can be deleted", where)
    return _id(activity)


def custom_activity_type(kind: str | ActivityType, where: str) -> str:
    if isinstance(kind, ActivityType) and not _may_be_custom(kind.accessor):
        raise broken("only custom activity types can be changed or deleted", where)
    return _id(kind)


def custom_resource(resource: str | Resource, where: str, kind: ResourceKind | None = None) -> str:
    """Its id. Refused: one known not to be CUSTOM, or of another kind than the call needs; an empty id."""
    if isinstance(resource, Resource):
        if resource.type not in (None, ResourceType.CUSTOM):
            raise broken("only resources of type CUSTOM can be used here", where)
        if kind is not None and resource.kind not in (None, kind):
            raise broken(f"only resources of kind {kind} can be used here", where)
    require(where, {"resource": _id(resource)}, "resource")
    return _id(resource)


def resource_body(**fields: Any) -> dict[str, Any]:
    where = "Create Resource"
    resource = body(where, **fields)
    require(where, resource, "name", "key", "kind", "icon_type")
    property_key(resource["key"], where)
    check_icon(where, resource)
    return resource


def check_icon(where: str, resource: Mapping[str, Any]) -> None:
    """NATIVE needs `icon_class`, UPLOADED needs `icon_url`; in a patch too."""
    needed = {ResourceIconType.NATIVE: "icon_class", ResourceIconType.UPLOADED: "icon_url"}
    icon_type = resource.get("icon_type")
    if icon_type is not None and not resource.get(needed[icon_type], "").strip():
        raise broken(f"{needed[icon_type]} must be given where icon_type is {icon_type}", where)


def record_of_others(record: str | ResourceRecord, where: str) -> str:
    """Its id. Refused: a record known to be of one of the platform's own resources, whose accessors have no
    namespace."""
    if isinstance(record, ResourceRecord) and record.resource_accessor and "." not in record.resource_accessor:
        raise broken("only records of resources of type EXTERNAL or CUSTOM can be deleted", where)
    return _id(record)


def review_body(**fields: Any) -> dict[str, Any]:
    """A review to create: rating from 1 to 5, a product's id where the entity is PRODUCT."""
    where = "Create Review"
    review = body(where, **fields)
    require(where, review, "content", "rating", "entity", "status", "reviewer_email", "reviewer_display_name")
    if not 1 <= review["rating"] <= 5:
        raise broken("rating must be between 1 and 5", where)
    product = review.get("product_id", "") + review.get("product_external_id", "")
    if review["entity"] == ReviewEntity.PRODUCT and not product.strip():
        raise broken("a review of a PRODUCT needs product_id or product_external_id", where)
    return review


def check_webhook(where: str, webhook: Mapping[str, Any]) -> None:
    """An http(s) address and at least one event type, as far as they are given."""
    if webhook.get("event_types") == []:
        raise broken("at least one event type must be given", where)
    try:
        parts = urlsplit(webhook.get("url", "https://unchanged"))
    except ValueError:
        raise broken("url is no URL", where) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise broken("url must be the address of an http(s) endpoint", where)


def patch_body(where: str, fixed: Mapping[str, object], /, **fields: Any) -> dict[str, Any]:
    """The body of a patch. Refused: what can't be changed (`fixed`: arguments that the call does not have), and a
    patch of nothing."""
    if fixed:
        raise broken(f"{', '.join(plain_key(key) for key in fixed)} can't be changed", where)
    changes = body(where, **fields)
    check_patch(where, changes)
    return changes


def check_patch(where: str, changes: Mapping[str, Any]) -> None:
    if not changes:
        raise broken("nothing to patch", where)


def require(where: str, fields: Mapping[str, Any], *keys: str) -> None:
    """Refused: a required argument that is not there, or blank."""
    for key in keys:
        if not str(fields.get(key, "")).strip():
            raise broken(f"{key} must be given", where)


def _may_be_custom(accessor: str | None) -> bool:
    return accessor is None or accessor.startswith(CUSTOM)


def _id(record: Any) -> str:
    """Of a model, or the id itself."""
    identifier: str = getattr(record, "id", record)
    return identifier
