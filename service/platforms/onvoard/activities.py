"""The chapters "Contact Activities" and "Contact Activity Types"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Never

from service.platforms.judging import Call
from service.platforms.onvoard import arguments, rules, wire
from service.platforms.onvoard.calling import Caller
from service.platforms.onvoard.enums import ResourceKind, ResourceType
from service.platforms.onvoard.kinds import ACTIVITIES, ACTIVITY_TYPES
from service.platforms.onvoard.models import Activity, ActivityType, Resource
from service.platforms.onvoard.wire import DEFAULT_PAGE_SIZE, Page
from service.platforms.payload import UNSET, Unset


class ContactActivities:
    """There is no patch and no idempotency key: after an unclear outcome look before creating again."""

    _ALL = "/v2/contact-activities"
    _ONE = "/v2/contact-activities/:contact_activity_id"

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def list(
        self,
        *,
        page: int = 1,
        page_size: int = DEFAULT_PAGE_SIZE,
        id: str | None = None,
        contact_id: str | None = None,
        contact_email: str | None = None,
        keyword: str | None = None,
        activity_types: Sequence[str] | None = None,
        before: datetime | None = None,
        after: datetime | None = None,
    ) -> Page[Activity]:
        """List all Contact Activities, latest first. None: no filter; `activity_types` are accessors."""
        filters = wire.filters(
            id=id,
            contact_id=contact_id,
            contact_email=contact_email,
            keyword=keyword,
            activity_types=activity_types,
            before=before,
            after=after,
        )
        return await self._caller.page(ACTIVITIES, self._ALL, page, page_size, filters)

    async def retrieve(self, contact_activity_id: str) -> Activity:
        """Retrieve Contact Activity."""
        return await self._caller.retrieve(ACTIVITIES, self._ONE, contact_activity_id)

    async def create(
        self,
        *,
        type: str,
        contact_id: str | Unset = UNSET,
        contact_email: str | Unset = UNSET,
        timestamp: datetime | Unset = UNSET,
        record_data: Mapping[str, Any] | Unset = UNSET,
    ) -> Activity:
        """Create Contact Activity. `type` is an accessor, `custom.<key>`; an unknown `contact_email` creates a contact.

        `timestamp` (aware; sent as whole seconds) left out means now. OutcomeUnknown and ServerFailed, verdict LOOK:
        it may have been made.
        """
        body = rules.activity_body(
            type=type,
            contact_id=contact_id,
            contact_email=contact_email,
            timestamp=timestamp,
            record_data=record_data,
        )
        return await self._caller.record(ACTIVITIES, Call.of("POST", self._ALL, safe=False), body)

    async def delete(self, activity: str | Activity) -> None:
        """Delete Contact Activity, by id or by model; custom ones only. The document's path is in the singular."""
        identifier = rules.custom_activity(activity, "Delete Contact Activity")
        await self._caller.delete("/v2/contact-activity/:contact_activity_id", identifier)


class ContactActivityTypes:
    """One per resource of kind ACTIVITY."""

    _ALL = "/v2/contact-activity-types"
    _ONE = "/v2/contact-activity-types/:activity_type_id"

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def list(
        self,
        *,
        page: int = 1,
        page_size: int = DEFAULT_PAGE_SIZE,
        id: str | None = None,
        keyword: str | None = None,
        resource_type: ResourceType | None = None,
        accessor: str | None = None,
    ) -> Page[ActivityType]:
        """List all Contact Activity Types. None: no filter."""
        filters = wire.filters(id=id, keyword=keyword, resource_type=resource_type, accessor=accessor)
        return await self._caller.page(ACTIVITY_TYPES, self._ALL, page, page_size, filters)

    async def retrieve(self, activity_type_id: str) -> ActivityType:
        """Retrieve Contact Activity Type."""
        return await self._caller.retrieve(ACTIVITY_TYPES, self._ONE, activity_type_id)

    async def create(self, *, resource: str | Resource, descriptor_template: str | Unset = UNSET) -> ActivityType:
        """Create Contact Activity Type for a resource (id or model) of type CUSTOM and kind ACTIVITY."""
        where = "Create Contact Activity Type"
        resource_id = rules.custom_resource(resource, where, ResourceKind.ACTIVITY)
        body = arguments.body(where, resource=resource_id, descriptor_template=descriptor_template)
        return await self._caller.record(ACTIVITY_TYPES, Call.of("POST", self._ALL, safe=False), body)

    async def patch(
        self, activity_type: str | ActivityType, *, descriptor_template: str | Unset = UNSET, **fixed: Never
    ) -> ActivityType:
        """Patch Contact Activity Type, by id or by model: its resource can't be changed."""
        where = "Patch Contact Activity Type"
        identifier = rules.custom_activity_type(activity_type, where)
        body = rules.patch_body(where, fixed, descriptor_template=descriptor_template)
        return await self._caller.record(ACTIVITY_TYPES, Call.of("PATCH", self._ONE, identifier, safe=True), body)

    async def delete(self, activity_type: str | ActivityType) -> None:
        """Delete Contact Activity Type, by id or by model; custom ones only. Purges all its activities and records."""
        identifier = rules.custom_activity_type(activity_type, "Delete Contact Activity Type")
        await self._caller.delete(self._ONE, identifier)
