"""The chapters "Contacts" and "Contact Property Types"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Never, Unpack

from service.errors import Rejected
from service.platforms.judging import Call
from service.platforms.onvoard import rules, wire
from service.platforms.onvoard.calling import Caller
from service.platforms.onvoard.enums import ContactPropertyDefinitionType, PropertyFieldType, PropertyValueType
from service.platforms.onvoard.kinds import CONTACT_PROPERTY_TYPES, CONTACTS
from service.platforms.onvoard.models import Contact, ContactPropertyType
from service.platforms.onvoard.rules import ContactFields
from service.platforms.onvoard.wire import DEFAULT_PAGE_SIZE, Page
from service.platforms.payload import UNSET, Unset


class Contacts:
    """Refer to a contact by its id: the e-mail can change ("Patch Contact")."""

    _ALL = "/v2/contacts"
    _ONE = "/v2/contacts/:contact_id"

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def list(
        self,
        *,
        page: int = 1,
        page_size: int = DEFAULT_PAGE_SIZE,
        id: str | None = None,
        email: str | None = None,
        keyword: str | None = None,
        accepts_marketing_emails: bool | None = None,
        suppressed: bool | None = None,
        email_sendable: bool | None = None,
        email_unsubscribed: bool | None = None,
        email_marked_as_spam: bool | None = None,
        email_hard_bounced: bool | None = None,
        list_ids: Sequence[str] | None = None,
        tag_ids: Sequence[str] | None = None,
        segment_ids: Sequence[str] | None = None,
        created_before: datetime | None = None,
        created_after: datetime | None = None,
    ) -> Page[Contact]:
        """List all Contacts, newest first, suppressed ones included. None: no filter. `email` is exact, `keyword` is
        not."""
        filters = wire.filters(
            id=id,
            email=email,
            keyword=keyword,
            accepts_marketing_emails=accepts_marketing_emails,
            suppressed=suppressed,
            email_sendable=email_sendable,
            email_unsubscribed=email_unsubscribed,
            email_marked_as_spam=email_marked_as_spam,
            email_hard_bounced=email_hard_bounced,
            list_ids=list_ids,
            tag_ids=tag_ids,
            segment_ids=segment_ids,
            created_before=created_before,
            created_after=created_after,
        )
        return await self._caller.page(CONTACTS, self._ALL, page, page_size, filters)

    async def retrieve(self, contact_id: str) -> Contact:
        """Retrieve Contact. NotFound: deleted."""
        return await self._caller.retrieve(CONTACTS, self._ONE, contact_id)

    async def create(self, **fields: Unpack[ContactFields]) -> Contact:
        """Create Contact; `email` is required. Rejected where it is taken. Not repeated after an unclear outcome."""
        body = rules.contact_body("Create Contact", fields, needs_email=True)
        return await self._caller.record(CONTACTS, Call.of("POST", self._ALL, safe=False), body)

    async def patch(self, contact: str | Contact, **fields: Unpack[ContactFields]) -> Contact:
        """Patch Contact, by id or by model. Only what is given changes. RuleBroken where the model is suppressed,
        Rejected where the platform alone knows it."""
        where = "Patch Contact"
        contact_id = rules.living(contact, where)
        body = rules.contact_body(where, fields, needs_email=False)
        rules.check_patch(where, body)
        call = Call.of("PATCH", self._ONE, contact_id, safe=not rules.sends_mail(fields))
        with _perhaps_suppressed():
            return await self._caller.record(CONTACTS, call, body)

    async def delete(self, contact: str | Contact) -> None:
        """Delete Contact, by id or by model. No erasure: it may come back; see `suppress`. Refused as `patch`."""
        contact_id = rules.living(contact, "Delete Contact")
        with _perhaps_suppressed():
            await self._caller.delete(self._ONE, contact_id)

    async def create_or_update(self, **fields: Unpack[ContactFields]) -> Contact:
        """Create or Update Contact, matched by `email` alone: with a changed one it makes a second contact."""
        body = rules.contact_body("Create or Update Contact", fields, needs_email=True)
        call = Call.of("POST", "/v2/contacts/create-or-update", safe=not rules.sends_mail(fields))
        return await self._caller.record(CONTACTS, call, body)

    async def suppress(self, contact_id: str) -> Contact:
        """Suppress Contact: the platform erases and forgets the person. Also succeeds where it is suppressed
        already."""
        return await self._set_suppressed(contact_id, "/v2/contacts/:contact_id/suppress", True)

    async def unsuppress(self, contact_id: str) -> Contact:
        """Unsuppress Contact: only ever on a person's explicit word. Also succeeds where it is not suppressed."""
        return await self._set_suppressed(contact_id, "/v2/contacts/:contact_id/unsuppress", False)

    async def _set_suppressed(self, contact_id: str, route: str, wanted: bool) -> Contact:
        try:
            return await self._caller.record(CONTACTS, Call.of("POST", route, contact_id, safe=True))
        except Rejected:
            # A repetition whose first answer was lost may be refused because it is done.
            contact = await self.retrieve(contact_id)
            if contact.suppressed is not wanted:
                raise
            return contact


@contextmanager
def _perhaps_suppressed() -> Iterator[None]:
    """The platform refuses whatever touches a suppressed contact, and its document does not say how one sees why."""
    try:
        yield
    except Rejected as error:
        error.hint = "a suppressed contact can only be unsuppressed: see whether this one is"
        raise


class ContactPropertyTypes:
    """The schema of contact properties. The platform prefixes created keys with `custom_`; values are written with
    it."""

    _ALL = "/v2/contact-property-types"
    _ONE = "/v2/contact-property-types/:contact_proptype_id"

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def list(
        self,
        *,
        page: int = 1,
        page_size: int = DEFAULT_PAGE_SIZE,
        id: str | None = None,
        keyword: str | None = None,
        field_type: PropertyFieldType | None = None,
        value_type: PropertyValueType | None = None,
        definition_type: ContactPropertyDefinitionType | None = None,
    ) -> Page[ContactPropertyType]:
        """List all Contact Property Types. None: no filter."""
        filters = wire.filters(
            id=id, keyword=keyword, field_type=field_type, value_type=value_type, definition_type=definition_type
        )
        return await self._caller.page(CONTACT_PROPERTY_TYPES, self._ALL, page, page_size, filters)

    async def retrieve(self, contact_proptype_id: str) -> ContactPropertyType:
        """Retrieve Contact Property Type."""
        return await self._caller.retrieve(CONTACT_PROPERTY_TYPES, self._ONE, contact_proptype_id)

    async def create(
        self,
        *,
        key: str,
        label: str,
        value_type: PropertyValueType,
        field_type: PropertyFieldType | Unset = UNSET,
        helper_text: str | Unset = UNSET,
    ) -> ContactPropertyType:
        """Create Contact Property Type. `key` without `custom_`; it can never be changed. Not repeated when unclear."""
        where = "Create Contact Property Type"
        body = rules.property_type_body(
            where, key=key, label=label, value_type=value_type, field_type=field_type, helper_text=helper_text
        )
        return await self._caller.record(CONTACT_PROPERTY_TYPES, Call.of("POST", self._ALL, safe=False), body)

    async def patch(
        self,
        contact_proptype: str | ContactPropertyType,
        *,
        label: str | Unset = UNSET,
        helper_text: str | Unset = UNSET,
        **fixed: Never,
    ) -> ContactPropertyType:
        """Patch Contact Property Type, by id or by model: the key and the types can't be changed."""
        where = "Patch Contact Property Type"
        identifier = rules.custom_property_type(contact_proptype, where)
        body = rules.patch_body(where, fixed, label=label, helper_text=helper_text)
        return await self._caller.record(
            CONTACT_PROPERTY_TYPES, Call.of("PATCH", self._ONE, identifier, safe=True), body
        )

    async def delete(self, contact_proptype: str | ContactPropertyType) -> None:
        """Delete Contact Property Type, by id or by model; custom ones only."""
        identifier = rules.custom_property_type(contact_proptype, "Delete Contact Property Type")
        await self._caller.delete(self._ONE, identifier)
