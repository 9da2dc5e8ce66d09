"""The chapter "Webhooks"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Never

from service.platforms.judging import Call
from service.platforms.onvoard import arguments, rules, wire
from service.platforms.onvoard.calling import Caller
from service.platforms.onvoard.enums import WebhookEventType
from service.platforms.onvoard.kinds import WEBHOOKS
from service.platforms.onvoard.models import Webhook
from service.platforms.onvoard.wire import DEFAULT_PAGE_SIZE, Page
from service.platforms.payload import UNSET, Unset


class Webhooks:
    """Twenty failures in a row switch a webhook off. Its secret never comes back."""

    _ALL = "/v2/webhooks"
    _ONE = "/v2/webhooks/:webhook_id"

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def list(
        self,
        *,
        page: int = 1,
        page_size: int = DEFAULT_PAGE_SIZE,
        id: str | None = None,
        keyword: str | None = None,
        active: bool | None = None,
        event_types: Sequence[WebhookEventType] | None = None,
    ) -> Page[Webhook]:
        """List all Webhooks. None: no filter."""
        filters = wire.filters(id=id, keyword=keyword, active=active, event_types=event_types)
        return await self._caller.page(WEBHOOKS, self._ALL, page, page_size, filters)

    async def retrieve(self, webhook_id: str) -> Webhook:
        """Retrieve Webhook."""
        return await self._caller.retrieve(WEBHOOKS, self._ONE, webhook_id)

    async def create(
        self,
        *,
        url: str,
        event_types: Sequence[WebhookEventType],
        active: bool | Unset = UNSET,
        secret: str | Unset = UNSET,
    ) -> Webhook:
        """Create Webhook. Only with a `secret` are its requests signed."""
        where = "Create Webhook"
        body = arguments.body(where, url=url, event_types=event_types, active=active, secret=secret)
        rules.check_webhook(where, body)
        return await self._caller.record(WEBHOOKS, Call.of("POST", self._ALL, safe=False), body)

    async def patch(
        self,
        webhook_id: str,
        *,
        url: str | Unset = UNSET,
        event_types: Sequence[WebhookEventType] | Unset = UNSET,
        active: bool | Unset = UNSET,
        secret: str | Unset = UNSET,
        **fixed: Never,
    ) -> Webhook:
        """Patch Webhook."""
        where = "Patch Webhook"
        body = rules.patch_body(where, fixed, url=url, event_types=event_types, active=active, secret=secret)
        rules.check_webhook(where, body)
        return await self._caller.record(WEBHOOKS, Call.of("PATCH", self._ONE, webhook_id, safe=True), body)

    async def delete(self, webhook_id: str) -> None:
        """Delete Webhook."""
        await self._caller.delete(self._ONE, webhook_id)
