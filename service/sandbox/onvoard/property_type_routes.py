"""HTTP calls on property types of contacts and of resources (API document: the two chapters ... Property Types)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from service.sandbox.app import Route
from service.sandbox.exchange import Call, Handler, Refusal, Reply
from service.sandbox.onvoard import arguments, listing
from service.sandbox.onvoard.predefined import RESERVED
from service.sandbox.onvoard.store import PropertyType, Store
from service.sandbox.onvoard.values import FIELD_TYPES, VALUE_TYPES

CONTACT_PATH = "/v2/contact-property-types"
RESOURCE_PATH = "/v2/resource-property-types"
NOT_CREATABLE = ("OBJECT", "OBJECT_ARRAY")


def routes(store: Store) -> list[Route]:
    """All calls under both paths."""
    return [
        ("GET", CONTACT_PATH, _list_of_contacts(store)),
        ("POST", CONTACT_PATH, _create_for_contacts(store)),
        *_by_id(store, CONTACT_PATH, store.contact_property_types, _may_change_contact_type),
        ("GET", RESOURCE_PATH, _list_of_resources(store)),
        ("POST", RESOURCE_PATH, _create_for_resource(store)),
        *_by_id(store, RESOURCE_PATH, store.resource_property_types, _may_change_resource_type),
    ]


def _render(store: Store, each: PropertyType) -> dict[str, Any]:
    shown = {
        "id": each.id,
        "key": each.key,
        "label": each.label,
        "helper_text": each.helper_text,
        "field_type": each.field_type,
        "value_type": each.value_type,
    }
    if each.resource_id is None:
        return {**shown, "definition_type": each.definition_type}
    resource = store.resources[each.resource_id]
    return {**shown, "resource_id": resource.id, "resource_accessor": resource.accessor}


def _new(store: Store, fields: dict[str, Any], prefix: str, resource_id: str | None) -> PropertyType:
    """Check the arguments; the field type dictates the value type (Enums, Property Field Type)."""
    key = prefix + arguments.key(fields)
    label = arguments.text(fields, "label", required=True)
    value_type = arguments.enum(fields, "value_type", VALUE_TYPES)
    field_type = arguments.enum(fields, "field_type", ("", *FIELD_TYPES), "")
    if value_type in NOT_CREATABLE:
        raise arguments.invalid("value_type", f"{value_type} can't be created.")
    if field_type and FIELD_TYPES[field_type] != value_type:
        raise arguments.invalid("field_type", f"{field_type} needs value type {FIELD_TYPES[field_type]}.")
    helper_text = arguments.text(fields, "helper_text")
    return PropertyType(
        store.new_id(""), store.next_seq(), key, label, value_type, field_type, helper_text, "CUSTOM", resource_id
    )


def _insert(store: Store, table: dict[str, PropertyType], new: PropertyType) -> Reply:
    if any(each.key == new.key and each.resource_id == new.resource_id for each in table.values()):
        raise arguments.invalid("key", f"Property type with key {new.key} already exists.")
    table[new.id] = new
    return Reply(store.settings.created_status, _render(store, new))


def _create_for_contacts(store: Store) -> Handler:
    """The server adds `custom_` to the key (Create Contact Property Type, Arguments)."""
    return lambda call: _insert(store, store.contact_property_types, _new(store, call.fields(), "custom_", None))


def _create_for_resource(store: Store) -> Handler:
    """Only for CUSTOM resources; no prefix (Create Resource Property Type)."""

    def handler(call: Call) -> Reply:
        fields = call.fields()
        resource = store.resources.get(arguments.text(fields, "resource", required=True))
        if resource is None:
            raise arguments.invalid("resource", "Unknown resource.")
        if resource.type != "CUSTOM":
            raise arguments.invalid("resource", "Property types can only be added to resources with CUSTOM type.")
        return _insert(store, store.resource_property_types, _new(store, fields, "", resource.id))

    return handler


def _may_change_contact_type(store: Store, each: PropertyType, deleting: bool) -> None:
    if each.definition_type != "CUSTOM":
        raise Refusal(400, f"Only custom property types can be {'deleted' if deleting else 'patched'}.")


def _may_change_resource_type(store: Store, each: PropertyType, deleting: bool) -> None:
    resource = store.resources[each.resource_id or ""]
    if resource.type != "CUSTOM":
        raise Refusal(400, "Only property types of resources with CUSTOM type can be changed.")
    if deleting and resource.kind == "ACTIVITY" and each.key in RESERVED:
        raise Refusal(400, "Automatically added property types can't be deleted.")
    if not deleting and store.settings.strict_patch_kind and resource.kind != "OBJECT":
        raise Refusal(400, "Only for resources with CUSTOM type and OBJECT kind.")


def _by_id(
    store: Store,
    path: str,
    table: dict[str, PropertyType],
    may_change: Callable[[Store, PropertyType, bool], None],
) -> list[Route]:
    def get(call: Call) -> PropertyType:
        if call.parts["id"] not in table:
            raise Refusal(404, "Not found.")
        return table[call.parts["id"]]

    def patch(call: Call) -> Reply:
        """Only label and helper_text (Patch ... Property Type, Arguments)."""
        each, fields = get(call), call.fields()
        may_change(store, each, False)
        arguments.unchanged(fields, {"key": each.key, "value_type": each.value_type, "field_type": each.field_type})
        label = arguments.text(fields, "label", each.label, required="label" in fields)
        each.helper_text = arguments.text(fields, "helper_text", each.helper_text)
        each.label = label
        return Reply(200, _render(store, each))

    def delete(call: Call) -> Reply:
        each = get(call)
        may_change(store, each, True)
        del table[each.id]
        if each.resource_id is None:
            for contact in store.contacts.values():
                contact.properties.pop(each.key, None)
        return Reply(200, {})

    item = path + "/{id}"
    return [
        ("GET", item, lambda call: Reply(200, _render(store, get(call)))),
        ("PATCH", item, patch),
        ("DELETE", item, delete),
    ]


def _page(store: Store, call: Call, table: dict[str, PropertyType]) -> Reply:
    query = call.query
    listing.choice(query, "field_type", ("", *FIELD_TYPES))
    listing.choice(query, "value_type", VALUE_TYPES)

    def fits(each: PropertyType) -> bool:
        shown = _render(store, each)
        exact = ("id", "field_type", "value_type", "definition_type", "resource_id", "resource_accessor")
        return listing.equal(query, **{name: shown[name] for name in exact if name in shown}) and listing.contains(
            query, each.key, each.label, each.helper_text
        )

    found = sorted(filter(fits, table.values()), key=lambda each: each.seq, reverse=True)
    return listing.page(found, query, store.settings, lambda each: _render(store, each))


def _list_of_contacts(store: Store) -> Handler:
    def handler(call: Call) -> Reply:
        listing.choice(call.query, "definition_type", ("PREDEFINED", "CUSTOM"))
        return _page(store, call, store.contact_property_types)

    return handler


def _list_of_resources(store: Store) -> Handler:
    return lambda call: _page(store, call, store.resource_property_types)
