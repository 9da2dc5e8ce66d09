"""HTTP calls on resources (API document: Resources)."""

from __future__ import annotations

from typing import Any

from service.sandbox.app import Route
from service.sandbox.clock import iso_micro
from service.sandbox.exchange import Call, Refusal, Reply
from service.sandbox.onvoard import arguments, listing, predefined
from service.sandbox.onvoard.store import Resource, Store

TYPES = ("ONVOARD", "EXTERNAL", "CUSTOM")
KINDS = ("OBJECT", "ACTIVITY")
ICONS = ("NATIVE", "UPLOADED")


def render(resource: Resource) -> dict[str, Any]:
    """The Resource Object."""
    return {
        "id": resource.id,
        "namespace": resource.namespace,
        "key": resource.key,
        "accessor": resource.accessor,
        "name": resource.name,
        "helper_text": resource.helper_text,
        "type": resource.type,
        "kind": resource.kind,
        "icon_type": resource.icon_type,
        "icon_class": resource.icon_class,
        "icon_media": resource.icon_media,
    }


def _get(store: Store, call: Call) -> Resource:
    if call.parts["id"] not in store.resources:
        raise Refusal(404, "Not found.")
    return store.resources[call.parts["id"]]


def _set_icon(store: Store, resource: Resource, fields: dict[str, Any]) -> None:
    """NATIVE needs `icon_class`, UPLOADED needs `icon_url`, which comes back as `icon_media` (trap 29)."""
    kind = arguments.enum(fields, "icon_type", ICONS, resource.icon_type)
    needed = "icon_class" if kind == "NATIVE" else "icon_url"
    present = kind == resource.icon_type and (resource.icon_class if kind == "NATIVE" else resource.icon_media)
    value = arguments.text(fields, needed, required=not present)
    resource.icon_type = kind
    if kind == "NATIVE":
        resource.icon_class, resource.icon_media = value or resource.icon_class, None
    elif value:
        resource.icon_class, resource.icon_media = "", _media(store, value)


def _media(store: Store, url: str) -> dict[str, Any]:
    if not url.startswith(("http://", "https://")):
        raise arguments.invalid("icon_url", "Enter a valid URL.")
    name = url.rsplit("/", 1)[-1].split("?")[0]
    return {
        "id": store.new_id("file_"),
        "file_url": f"https://cdn.example.com/upload/resource/icon-media/{name}",
        "created_datetime": iso_micro(store.clock.now()),
        "height": 200,
        "width": 200,
    }


def routes(store: Store) -> list[Route]:
    """All calls under `/v2/resources`; resources can't be deleted."""

    def create(call: Call) -> Reply:
        """Always CUSTOM with namespace `custom`; kind ACTIVITY brings four property types along."""
        fields = call.fields()
        key = arguments.key(fields)
        name = arguments.text(fields, "name", required=True)
        kind = arguments.enum(fields, "kind", KINDS)
        icon = arguments.enum(fields, "icon_type", ICONS)
        helper = arguments.text(fields, "helper_text")
        if store.find_resource(f"custom.{key}"):
            raise arguments.invalid("key", f"Resource with key {key} already exists.")
        new = Resource(
            store.new_id("resrc_"), store.next_seq(), "custom", key, name, "CUSTOM", kind, icon, helper_text=helper
        )
        _set_icon(store, new, fields)
        store.resources[new.id] = new
        if kind == "ACTIVITY":
            predefined.add_reserved(store, new)
        return Reply(store.settings.created_status, render(new))

    def patch(call: Call) -> Reply:
        resource, fields = _get(store, call), call.fields()
        if resource.type != "CUSTOM":
            raise Refusal(400, "Only custom resources can be modified.")
        arguments.unchanged(fields, {"key": resource.key, "kind": resource.kind})
        name = arguments.text(fields, "name", resource.name, required="name" in fields)
        helper = arguments.text(fields, "helper_text", resource.helper_text)
        _set_icon(store, resource, fields)
        resource.name, resource.helper_text = name, helper
        return Reply(200, render(resource))

    def every(call: Call) -> Reply:
        query = call.query
        listing.choice(query, "type", TYPES)
        listing.choice(query, "kind", KINDS)

        def fits(each: Resource) -> bool:
            return listing.equal(
                query, id=each.id, type=each.type, kind=each.kind, accessor=each.accessor
            ) and listing.contains(query, each.key, each.name, each.helper_text)

        found = sorted(filter(fits, store.resources.values()), key=lambda each: each.seq, reverse=True)
        return listing.page(found, query, store.settings, render)

    return [
        ("GET", "/v2/resources", every),
        ("POST", "/v2/resources", create),
        ("GET", "/v2/resources/{id}", lambda call: Reply(200, render(_get(store, call)))),
        ("PATCH", "/v2/resources/{id}", patch),
    ]
