"""HTTP calls on resource records (API document: Resource Records)."""

from __future__ import annotations

from typing import Any

from service.sandbox.app import Route
from service.sandbox.clock import iso_micro
from service.sandbox.exchange import Call, Refusal, Reply
from service.sandbox.onvoard import arguments, listing
from service.sandbox.onvoard.record_data import check_data
from service.sandbox.onvoard.store import Resource, ResourceRecord, Store

PATH = "/v2/resource-records"


def _render(store: Store, each: ResourceRecord) -> dict[str, Any]:
    return {
        "id": each.id,
        "resource_id": each.resource_id,
        "resource_accessor": store.resources[each.resource_id].accessor,
        "context_id": each.context_id,
        "created_datetime": iso_micro(each.created),
        "data": each.data,
    }


def _writable(resource: Resource | None) -> Resource:
    if resource is None or resource.type != "CUSTOM" or resource.kind != "OBJECT":
        raise arguments.invalid("resource", "Must be a resource with CUSTOM type and OBJECT kind.")
    return resource


def _get(store: Store, call: Call) -> ResourceRecord:
    if call.parts["id"] not in store.resource_records:
        raise Refusal(404, "Not found.")
    return store.resource_records[call.parts["id"]]


def _set(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None}


def routes(store: Store) -> list[Route]:
    """All calls under `/v2/resource-records`."""

    def create(call: Call) -> Reply:
        """A context_id is unique within its resource."""
        fields = call.fields()
        resource = _writable(store.resources.get(arguments.text(fields, "resource", required=True)))
        context = arguments.text(fields, "context_id", required=True)
        data = check_data(store, resource, arguments.mapping(fields, "data"), "data")
        taken = (r.resource_id == resource.id and r.context_id == context for r in store.resource_records.values())
        if any(taken):
            raise arguments.invalid("context_id", "Record with this context_id already exists.")
        now = store.clock.now()
        new = ResourceRecord(store.new_id("rsrcd_"), store.next_seq(), resource.id, context, now, _set(data))
        store.resource_records[new.id] = new
        return Reply(store.settings.created_status, _render(store, new))

    def patch(call: Call) -> Reply:
        """Only named keys change; null unsets, as in contact properties."""
        each, fields = _get(store, call), call.fields()
        resource = _writable(store.resources[each.resource_id])
        arguments.unchanged(fields, {"resource": each.resource_id, "context_id": each.context_id})
        data = check_data(store, resource, arguments.mapping(fields, "data"), "data")
        each.data = _set({**each.data, **data})
        return Reply(200, _render(store, each))

    def delete(call: Call) -> Reply:
        each = _get(store, call)
        if store.resources[each.resource_id].type == "ONVOARD":
            raise Refusal(400, "Only records of resources with EXTERNAL or CUSTOM type can be deleted.")
        del store.resource_records[each.id]
        return Reply(200, {})

    return [
        ("GET", PATH, lambda call: _every(store, call)),
        ("POST", PATH, create),
        ("GET", PATH + "/{id}", lambda call: Reply(200, _render(store, _get(store, call)))),
        ("PATCH", PATH + "/{id}", patch),
        ("DELETE", PATH + "/{id}", delete),
    ]


def _texts(value: Any) -> tuple[str, ...]:
    """How `prop_value` may spell a value: 79.0 also as `79`, flags as in JSON, nothing for an unset one."""
    if isinstance(value, float) and value.is_integer():
        return str(value), str(int(value))
    return () if value is None else (str(value).lower() if isinstance(value, bool) else str(value),)


def _every(store: Store, call: Call) -> Reply:
    """List all Resource Records; `prop_key` and `prop_value` only together."""
    query = call.query
    if ("prop_key" in query) != ("prop_value" in query):
        raise Refusal(400, "prop_key and prop_value must be used together.")
    inside = listing.within(query, store.settings, "created_before", "created_after")

    def fits(each: ResourceRecord) -> bool:
        accessor = store.resources[each.resource_id].accessor
        return (
            inside(each.created)
            and listing.equal(
                query, id=each.id, resource_id=each.resource_id, resource_accessor=accessor, context_id=each.context_id
            )
            and listing.contains(query, each.context_id, *map(str, each.data.values()))
            and ("prop_key" not in query or query["prop_value"] in _texts(each.data.get(query["prop_key"])))
        )

    found = sorted(filter(fits, store.resource_records.values()), key=lambda r: (r.created, r.seq), reverse=True)
    return listing.page(found, query, store.settings, lambda each: _render(store, each))
