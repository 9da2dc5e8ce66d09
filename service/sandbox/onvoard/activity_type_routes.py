"""HTTP calls on activity types (API document: Contact Activity Types)."""

from __future__ import annotations

from typing import Any

from service.sandbox.app import Route
from service.sandbox.exchange import Call, Refusal, Reply
from service.sandbox.onvoard import arguments, listing
from service.sandbox.onvoard.resource_routes import TYPES
from service.sandbox.onvoard.resource_routes import render as render_resource
from service.sandbox.onvoard.store import ActivityType, Resource, Store


def routes(store: Store) -> list[Route]:
    """All calls under `/v2/contact-activity-types`."""

    def get(call: Call) -> ActivityType:
        if call.parts["id"] not in store.activity_types:
            raise Refusal(404, "Not found.")
        return store.activity_types[call.parts["id"]]

    def shown(each: ActivityType) -> dict[str, Any]:
        resource = render_resource(store.resources[each.resource_id])
        return {"id": each.id, "resource": resource, "descriptor_template": each.descriptor_template}

    def create(call: Call) -> Reply:
        """For a CUSTOM resource of kind ACTIVITY that has none yet: the relation is one-to-one."""
        fields = call.fields()
        resource = store.resources.get(arguments.text(fields, "resource", required=True))
        if resource is None or resource.type != "CUSTOM" or resource.kind != "ACTIVITY":
            raise arguments.invalid("resource", "Must be a resource with CUSTOM type and ACTIVITY kind.")
        if any(each.resource_id == resource.id for each in store.activity_types.values()):
            raise arguments.invalid("resource", "Resource already has an activity type.")
        template = arguments.text(fields, "descriptor_template")
        new = ActivityType(store.new_id("catype_"), store.next_seq(), resource.id, template)
        store.activity_types[new.id] = new
        return Reply(store.settings.created_status, shown(new))

    def custom(call: Call) -> ActivityType:
        each = get(call)
        if store.resources[each.resource_id].type != "CUSTOM":
            raise Refusal(400, "Only custom activity types can be modified or deleted.")
        return each

    def patch(call: Call) -> Reply:
        each, fields = custom(call), call.fields()
        if store.settings.strict_patch_kind:
            # The document asks for kind OBJECT, which the resource of an activity type never has.
            raise Refusal(400, "Only for resources with CUSTOM type and OBJECT kind.")
        arguments.unchanged(fields, {"resource": each.resource_id})
        each.descriptor_template = arguments.text(fields, "descriptor_template", each.descriptor_template)
        return Reply(200, shown(each))

    def delete(call: Call) -> Reply:
        each = custom(call)
        _purge(store, store.resources[each.resource_id])
        del store.activity_types[each.id]
        return Reply(200, {})

    def every(call: Call) -> Reply:
        listing.choice(call.query, "resource_type", TYPES)

        def fits(each: ActivityType) -> bool:
            resource = store.resources[each.resource_id]
            return listing.equal(
                call.query, id=each.id, resource_type=resource.type, accessor=resource.accessor
            ) and listing.contains(call.query, resource.key, resource.name, each.descriptor_template)

        found = sorted(filter(fits, store.activity_types.values()), key=lambda each: each.seq, reverse=True)
        return listing.page(found, call.query, store.settings, shown)

    path = "/v2/contact-activity-types"
    return [
        ("GET", path, every),
        ("POST", path, create),
        ("GET", path + "/{id}", lambda call: Reply(200, shown(get(call)))),
        ("PATCH", path + "/{id}", patch),
        ("DELETE", path + "/{id}", delete),
    ]


def _purge(store: Store, resource: Resource) -> None:
    """Deleting an activity type purges its activities and records (Delete Contact Activity Type)."""
    for key in [each.id for each in store.activities.values() if each.type == resource.accessor]:
        del store.activities[key]
    for key in [each.id for each in store.resource_records.values() if each.resource_id == resource.id]:
        del store.resource_records[key]
