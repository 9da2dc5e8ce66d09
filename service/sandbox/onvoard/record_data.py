"""Checks of data against a resource's property types (API document: Resource Property Types)."""

from __future__ import annotations

from typing import Any

from service.sandbox.onvoard.arguments import invalid
from service.sandbox.onvoard.predefined import RESERVED
from service.sandbox.onvoard.store import Resource, Store
from service.sandbox.onvoard.values import check_value


def check_data(store: Store, resource: Resource, data: dict[str, Any], name: str) -> dict[str, Any]:
    """The data as stored: numbers as floats, nulls kept as "unset". 400 for unknown keys and wrong types.

    The four keys that OnVoard adds to activities by itself may not be sent.
    """
    types = {each.key: each for each in store.resource_property_types.values() if each.resource_id == resource.id}
    checked: dict[str, Any] = {}
    for key, value in data.items():
        if resource.kind == "ACTIVITY" and key in RESERVED:
            raise invalid(name, f"{key} is added automatically and can't be set.")
        if key not in types:
            raise invalid(name, f"Unknown property {key!r} for {resource.accessor}.")
        proptype = types[key]
        checked[key] = None if value is None else check_value(key, value, proptype.value_type, proptype.field_type)
    return checked
