"""The enums of OnVoard's API document, named as there. Answers may hold others: models keep those as text."""

from __future__ import annotations

from enum import StrEnum


class EmailDoubleOptinStatus(StrEnum):
    NOT_SET = "NOT_SET"
    NOT_CONFIRMED = "NOT_CONFIRMED"  # blocks all other mail to the contact
    CONFIRMED = "CONFIRMED"


class ContactPropertyDefinitionType(StrEnum):
    PREDEFINED = "PREDEFINED"
    CUSTOM = "CUSTOM"


class ResourceType(StrEnum):
    ONVOARD = "ONVOARD"
    EXTERNAL = "EXTERNAL"
    CUSTOM = "CUSTOM"


class ResourceKind(StrEnum):
    OBJECT = "OBJECT"
    ACTIVITY = "ACTIVITY"


class ResourceIconType(StrEnum):
    NATIVE = "NATIVE"
    UPLOADED = "UPLOADED"


class ReviewEntity(StrEnum):
    PRODUCT = "PRODUCT"
    SITE = "SITE"


class ReviewStatus(StrEnum):
    PENDING = "PENDING"
    PUBLISHED = "PUBLISHED"
    UNPUBLISHED = "UNPUBLISHED"


class WebhookEventType(StrEnum):
    CONTACT_CREATED = "contact.created"
    CONTACT_SAVED = "contact.saved"
    REVIEW_CREATED = "review.created"
    BACK_IN_STOCK_SUBSCRIBER_SAVED = "back_in_stock_subscriber.saved"
    BACK_IN_STOCK_NOTIFICATION_CREATED = "back_in_stock_notification.created"
    PROMPT_RESPONSE_CREATED = "prompt_response.created"
    PROMPT_RESPONSE_SAVED = "prompt_response.saved"


class PropertyValueType(StrEnum):
    STRING = "STRING"
    STRING_ARRAY = "STRING_ARRAY"
    NUMBER = "NUMBER"  # comes back as a float
    DATETIME = "DATETIME"  # comes back as epoch seconds
    BOOLEAN = "BOOLEAN"
    DICT = "DICT"
    OBJECT = "OBJECT"
    OBJECT_ARRAY = "OBJECT_ARRAY"


class PropertyFieldType(StrEnum):
    TEXT = "TEXT"
    MULTI_LINE_TEXT = "MULTI_LINE_TEXT"
    NUMBER = "NUMBER"
    EMAIL = "EMAIL"
    PHONE = "PHONE"
    URL = "URL"
    COUNTRY = "COUNTRY"
    CURRENCY = "CURRENCY"
    TIMEZONE = "TIMEZONE"
    DATE = "DATE"
    DATETIME = "DATETIME"
    SWITCH = "SWITCH"
    BOOLEAN_SELECT = "BOOLEAN_SELECT"
    SINGLE_SELECT = "SINGLE_SELECT"
    MULTI_SELECT = "MULTI_SELECT"
    TAGS = "TAGS"
    SINGLE_LINE_ITEM = "SINGLE_LINE_ITEM"
    MULTIPLE_LINE_ITEMS = "MULTIPLE_LINE_ITEMS"


# "Property Field Type" in the document: each field type dictates its value type; all that are not named here are
# STRING.
_VALUE_TYPES = {
    PropertyFieldType.NUMBER: PropertyValueType.NUMBER,
    PropertyFieldType.DATE: PropertyValueType.DATETIME,
    PropertyFieldType.DATETIME: PropertyValueType.DATETIME,
    PropertyFieldType.SWITCH: PropertyValueType.BOOLEAN,
    PropertyFieldType.BOOLEAN_SELECT: PropertyValueType.BOOLEAN,
    PropertyFieldType.MULTI_SELECT: PropertyValueType.STRING_ARRAY,
    PropertyFieldType.TAGS: PropertyValueType.STRING_ARRAY,
    PropertyFieldType.SINGLE_LINE_ITEM: PropertyValueType.OBJECT,
    PropertyFieldType.MULTIPLE_LINE_ITEMS: PropertyValueType.OBJECT_ARRAY,
}


def value_type_of(field_type: PropertyFieldType) -> PropertyValueType:
    return _VALUE_TYPES.get(field_type, PropertyValueType.STRING)
