"""The chapters "Resources", "Resource Property Types" and "Resource Records"."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Never

from service.platforms.judging import Call
from service.platforms.onvoard import arguments, rules, wire
from service.platforms.onvoard.calling import Caller
from service.platforms.onvoard.enums import (
    PropertyFieldType,
    PropertyValueType,
    ResourceIconType,
    ResourceKind,
    ResourceType,
)
from service.platforms.onvoard.kinds import RESOURCE_PROPERTY_TYPES, RESOURCE_RECORDS, RESOURCES
from service.platforms.onvoard.models import Resource, ResourcePropertyType, ResourceRecord
from service.platforms.onvoard.wire import DEFAULT_PAGE_SIZE, Page
from service.platforms.payload import UNSET, Unset


class Resources:
    """Resources cannot be deleted; only custom ones can be made or changed."""

    _ALL = "/v2/resources"
    _ONE = "/v2/resources/:resource_id"

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def list(
        self,
        *,
        page: int = 1,
        page_size: int = DEFAULT_PAGE_SIZE,
        id: str | None = None,
        keyword: str | None = None,
        type: ResourceType | None = None,
        kind: ResourceKind | None = None,
        accessor: str | None = None,
    ) -> Page[Resource]:
        """List all Resources. None: no filter."""
        filters = wire.filters(id=id, keyword=keyword, type=type, kind=kind, accessor=accessor)
        return await self._caller.page(RESOURCES, self._ALL, page, page_size, filters)

    async def retrieve(self, resource_id: str) -> Resource:
        """Retrieve Resource."""
        return await self._caller.retrieve(RESOURCES, self._ONE, resource_id)

    async def create(
        self,
        *,
        key: str,
        name: str,
        kind: ResourceKind,
        icon_type: ResourceIconType,
        icon_class: str | Unset = UNSET,
        icon_url: str | Unset = UNSET,
        helper_text: str | Unset = UNSET,
    ) -> Resource:
        """Create Resource, of type CUSTOM. Its key and kind can never be changed, and it can never be deleted."""
        body = rules.resource_body(
            key=key,
            name=name,
            kind=kind,
            icon_type=icon_type,
            icon_class=icon_class,
            icon_url=icon_url,
            helper_text=helper_text,
        )
        return await self._caller.record(RESOURCES, Call.of("POST", self._ALL, safe=False), body)

    async def patch(
        self,
        resource: str | Resource,
        *,
        name: str | Unset = UNSET,
        icon_type: ResourceIconType | Unset = UNSET,
        icon_class: str | Unset = UNSET,
        icon_url: str | Unset = UNSET,
        helper_text: str | Unset = UNSET,
        **fixed: Never,
    ) -> Resource:
        """Patch Resource, by id or by model; custom ones only. The key and the kind can't be changed."""
        where = "Patch Resource"
        identifier = rules.custom_resource(resource, where)
        icon = {"icon_type": icon_type, "icon_class": icon_class, "icon_url": icon_url}
        body = rules.patch_body(where, fixed, name=name, helper_text=helper_text, **icon)
        rules.check_icon(where, body)
        return await self._caller.record(RESOURCES, Call.of("PATCH", self._ONE, identifier, safe=True), body)


class ResourcePropertyTypes:
    """The schema of a custom resource's records. Unlike a contact's, their keys get no prefix."""

    _ALL = "/v2/resource-property-types"
    _ONE = "/v2/resource-property-types/:resource_proptype_id"

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def list(
        self,
        *,
        page: int = 1,
        page_size: int = DEFAULT_PAGE_SIZE,
        id: str | None = None,
        resource_id: str | None = None,
        resource_accessor: str | None = None,
        keyword: str | None = None,
        field_type: PropertyFieldType | None = None,
        value_type: PropertyValueType | None = None,
    ) -> Page[ResourcePropertyType]:
        """List all Resource Property Types. None: no filter."""
        filters = wire.filters(
            id=id,
            resource_id=resource_id,
            resource_accessor=resource_accessor,
            keyword=keyword,
            field_type=field_type,
            value_type=value_type,
        )
        return await self._caller.page(RESOURCE_PROPERTY_TYPES, self._ALL, page, page_size, filters)

    async def retrieve(self, resource_proptype_id: str) -> ResourcePropertyType:
        """Retrieve Resource Property Type."""
        return await self._caller.retrieve(RESOURCE_PROPERTY_TYPES, self._ONE, resource_proptype_id)

    async def create(
        self,
        *,
        resource: str | Resource,
        key: str,
        label: str,
        value_type: PropertyValueType,
        field_type: PropertyFieldType | Unset = UNSET,
        helper_text: str | Unset = UNSET,
    ) -> ResourcePropertyType:
        """Create Resource Property Type for a custom resource (id or model). Its key can never be changed."""
        where = "Create Resource Property Type"
        body = rules.property_type_body(
            where,
            resource=rules.custom_resource(resource, where),
            key=key,
            label=label,
            value_type=value_type,
            field_type=field_type,
            helper_text=helper_text,
        )
        return await self._caller.record(RESOURCE_PROPERTY_TYPES, Call.of("POST", self._ALL, safe=False), body)

    async def patch(
        self,
        resource_proptype: str | ResourcePropertyType,
        *,
        label: str | Unset = UNSET,
        helper_text: str | Unset = UNSET,
        **fixed: Never,
    ) -> ResourcePropertyType:
        """Patch Resource Property Type, by id or by model: the key and the types can't be changed."""
        where = "Patch Resource Property Type"
        identifier = rules.custom_property_type(resource_proptype, where)
        body = rules.patch_body(where, fixed, label=label, helper_text=helper_text)
        call = Call.of("PATCH", self._ONE, identifier, safe=True)
        return await self._caller.record(RESOURCE_PROPERTY_TYPES, call, body)

    async def delete(self, resource_proptype: str | ResourcePropertyType) -> None:
        """Delete Resource Property Type, by id or by model; custom ones only."""
        identifier = rules.custom_property_type(resource_proptype, "Delete Resource Property Type")
        await self._caller.delete(self._ONE, identifier)


class ResourceRecords:
    """Records of activities come from activities; only records of CUSTOM resources of kind OBJECT are made here."""

    _ALL = "/v2/resource-records"
    _ONE = "/v2/resource-records/:resource_record_id"

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def list(
        self,
        *,
        page: int = 1,
        page_size: int = DEFAULT_PAGE_SIZE,
        id: str | None = None,
        resource_id: str | None = None,
        resource_accessor: str | None = None,
        keyword: str | None = None,
        context_id: str | None = None,
        prop_key: str | None = None,
        prop_value: str | None = None,
        created_before: datetime | None = None,
        created_after: datetime | None = None,
    ) -> Page[ResourceRecord]:
        """List all Resource Records, newest first. None: no filter. `prop_key` and `prop_value` go together."""
        if (prop_key is None) is not (prop_value is None):
            raise arguments.broken("prop_key and prop_value must be used together", "List all Resource Records")
        filters = wire.filters(
            id=id,
            resource_id=resource_id,
            resource_accessor=resource_accessor,
            keyword=keyword,
            context_id=context_id,
            prop_key=prop_key,
            prop_value=prop_value,
            created_before=created_before,
            created_after=created_after,
        )
        return await self._caller.page(RESOURCE_RECORDS, self._ALL, page, page_size, filters)

    async def retrieve(self, resource_record_id: str) -> ResourceRecord:
        """Retrieve Resource Record."""
        return await self._caller.retrieve(RESOURCE_RECORDS, self._ONE, resource_record_id)

    async def create(
        self, *, resource: str | Resource, context_id: str, data: Mapping[str, Any] | Unset = UNSET
    ) -> ResourceRecord:
        """Create Resource Record for a resource (id or model) of type CUSTOM and kind OBJECT."""
        where = "Create Resource Record"
        resource_id = rules.custom_resource(resource, where, ResourceKind.OBJECT)
        body = arguments.body(where, resource=resource_id, context_id=context_id, data=data)
        rules.require(where, body, "context_id")
        return await self._caller.record(RESOURCE_RECORDS, Call.of("POST", self._ALL, safe=False), body)

    async def patch(
        self, resource_record_id: str, *, data: Mapping[str, Any] | Unset = UNSET, **fixed: Never
    ) -> ResourceRecord:
        """Patch Resource Record: only its data."""
        body = rules.patch_body("Patch Resource Record", fixed, data=data)
        call = Call.of("PATCH", self._ONE, resource_record_id, safe=True)
        return await self._caller.record(RESOURCE_RECORDS, call, body)

    async def delete(self, resource_record: str | ResourceRecord) -> None:
        """Delete Resource Record, by id or by model; of a resource of type EXTERNAL or CUSTOM only."""
        await self._caller.delete(self._ONE, rules.record_of_others(resource_record, "Delete Resource Record"))
