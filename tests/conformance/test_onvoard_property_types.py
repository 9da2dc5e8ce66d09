"""The chapter "Contact Property Types", the enums of "Data Types", and the properties of a contact."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from service.errors import NotFound
from service.platforms.onvoard.client import OnVoard
from service.platforms.onvoard.enums import ContactPropertyDefinitionType, PropertyFieldType, PropertyValueType
from service.platforms.onvoard.models import ContactPropertyType
from tests.conformance.asking import digits, finds, loses
from tests.conformance.conftest import NewContact
from tests.conformance.removing import Keep
from tests.conformance.target import Target

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
VALUES: dict[PropertyValueType, Any] = {
    PropertyValueType.STRING: "a text",
    PropertyValueType.STRING_ARRAY: ["one", "two"],
    PropertyValueType.NUMBER: 1500,
    PropertyValueType.DATETIME: NOON,
    PropertyValueType.BOOLEAN: True,
    PropertyValueType.DICT: {"first_name": "John", "last_name": "Doe"},
}
"""All that a property type can be created with ("Property Value Type")."""
FIELDS: dict[PropertyFieldType, tuple[PropertyValueType, Any]] = {
    PropertyFieldType.TEXT: (PropertyValueType.STRING, "a text"),
    PropertyFieldType.MULTI_LINE_TEXT: (PropertyValueType.STRING, "two\nlines"),
    PropertyFieldType.NUMBER: (PropertyValueType.NUMBER, 1.5),
    PropertyFieldType.EMAIL: (PropertyValueType.STRING, "somebody@example.com"),
    PropertyFieldType.PHONE: (PropertyValueType.STRING, "+14155550123"),
    PropertyFieldType.URL: (PropertyValueType.STRING, "https://www.example.com/conformance"),
    PropertyFieldType.COUNTRY: (PropertyValueType.STRING, "CA"),
    PropertyFieldType.CURRENCY: (PropertyValueType.STRING, "CAD"),
    PropertyFieldType.TIMEZONE: (PropertyValueType.STRING, "America/Toronto"),
    PropertyFieldType.DATE: (PropertyValueType.DATETIME, NOON),
    PropertyFieldType.DATETIME: (PropertyValueType.DATETIME, NOON),
    PropertyFieldType.SWITCH: (PropertyValueType.BOOLEAN, True),
    PropertyFieldType.BOOLEAN_SELECT: (PropertyValueType.BOOLEAN, False),
    PropertyFieldType.SINGLE_SELECT: (PropertyValueType.STRING, None),
    PropertyFieldType.MULTI_SELECT: (PropertyValueType.STRING_ARRAY, None),
    PropertyFieldType.TAGS: (PropertyValueType.STRING_ARRAY, None),
}
"""None: the document does not say how such a type gets the options that its values are chosen from."""


async def _made(target: Target, onvoard: OnVoard, keep: Keep, value_type: Any, **more: Any) -> ContactPropertyType:
    key = target.key()
    types = onvoard.contact_property_types
    made = await keep(
        types.create(key=key, label=f"Conformance {target.run}", value_type=value_type, **more), types.delete
    )
    assert made.key == f"custom_{key}", "the platform adds the prefix"
    return made


@pytest.mark.parametrize("value_type", VALUES)
async def test_a_property_is_set_and_unset(
    value_type: PropertyValueType, target: Target, onvoard: OnVoard, keep: Keep, new_contact: NewContact
) -> None:
    made, other = [await _made(target, onvoard, keep, value_type) for _ in range(2)]
    assert (made.value_type, made.field_type, made.definition_type) == (value_type, "", "CUSTOM")
    value = VALUES[value_type]
    contact = await new_contact(properties={made.key: value, other.key: value})
    contact = await onvoard.contacts.retrieve(contact.id)
    assert _same(contact.properties[made.key], value)
    await onvoard.contacts.patch(contact.id, properties={made.key: None}, email_unsubscribed=True)
    contact = await onvoard.contacts.retrieve(contact.id)
    assert contact.properties.get(made.key) in (None, ""), "null unsets it"
    assert _same(contact.properties[other.key], value), "only those that are named are updated"


@pytest.mark.parametrize("field_type", FIELDS)
async def test_a_field_type_and_its_value_are_taken(
    field_type: PropertyFieldType, target: Target, onvoard: OnVoard, keep: Keep, new_contact: NewContact
) -> None:
    value_type, value = FIELDS[field_type]
    made = await _made(target, onvoard, keep, value_type, field_type=field_type)
    assert (made.value_type, made.field_type) == (value_type, field_type)
    if value is None:
        return
    contact = await new_contact(properties={made.key: value})
    stored = (await onvoard.contacts.retrieve(contact.id)).properties[made.key]
    if field_type is PropertyFieldType.PHONE:
        assert digits(stored) == digits(value)
    elif field_type is PropertyFieldType.URL:
        assert "example.com/conformance" in stored
    elif field_type is PropertyFieldType.DATE:
        assert abs(stored - NOON.timestamp()) <= 86400, "a timestamp of that day, at whatever hour a day begins"
    else:
        assert _same(stored, value)


def _same(stored: Any, value: Any) -> bool:
    """NUMBER is stored as a float, DATETIME as seconds."""
    return bool(stored == (value.timestamp() if isinstance(value, datetime) else value))


async def test_a_property_type_is_retrieved_and_listed(target: Target, onvoard: OnVoard, keep: Keep) -> None:
    made = await _made(
        target, onvoard, keep, PropertyValueType.NUMBER, field_type=PropertyFieldType.NUMBER, helper_text="helps"
    )
    types = onvoard.contact_property_types
    assert (await types.retrieve(made.id)).raw == made.raw
    assert (made.label, made.helper_text) == (f"Conformance {target.run}", "helps")
    own, predefined = ContactPropertyDefinitionType.CUSTOM, ContactPropertyDefinitionType.PREDEFINED
    assert await finds(types.list, made.id)
    for fitting, unfitting in (
        ({"id": made.id}, {"id": "0"}),
        ({"keyword": target.run}, {"keyword": f"{target.run}q"}),
        ({"field_type": PropertyFieldType.NUMBER}, {"field_type": PropertyFieldType.TEXT}),
        ({"value_type": PropertyValueType.NUMBER}, {"value_type": PropertyValueType.STRING}),
        ({"definition_type": own}, {"definition_type": predefined}),
    ):
        assert await finds(types.list, made.id, **fitting), fitting
        assert await loses(types.list, made.id, **unfitting), unfitting


async def test_label_and_helper_text_are_patched(target: Target, onvoard: OnVoard, keep: Keep) -> None:
    made = await _made(target, onvoard, keep, PropertyValueType.STRING, helper_text="helps")
    types = onvoard.contact_property_types
    await types.patch(made.id, helper_text="")
    assert (await types.patch(made, label="Another")).label == "Another"
    patched = await types.retrieve(made.id)
    assert (patched.key, patched.label, patched.helper_text) == (made.key, "Another", "")


async def test_a_deleted_property_type_is_not_found(target: Target, onvoard: OnVoard, keep: Keep) -> None:
    made = await _made(target, onvoard, keep, PropertyValueType.STRING)
    types = onvoard.contact_property_types
    await types.delete(made)
    with pytest.raises(NotFound):
        await types.retrieve(made.id)
    assert await loses(types.list, made.id)
