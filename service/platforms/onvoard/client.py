"""OnVoard's API: its 47 documented operations, one attribute per chapter of the document, one method per operation.

"Patch Contact" is `onvoard.contacts.patch(...)`, "List all Contact Activities" is
`onvoard.contact_activities.list(...)`. An argument left out is not sent: that is not null. Lists take their filters
as keywords; None means no filter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from datetime import datetime

import httpx

from service.errors import RuleBroken
from service.metrics import Requests
from service.platforms.onvoard.activities import ContactActivities, ContactActivityTypes
from service.platforms.onvoard.calling import Caller
from service.platforms.onvoard.contacts import ContactPropertyTypes, Contacts
from service.platforms.onvoard.resources import ResourcePropertyTypes, ResourceRecords, Resources
from service.platforms.onvoard.reviews import ProductReviewsSummaries, Reviews
from service.platforms.onvoard.webhooks import Webhooks
from service.platforms.onvoard.wire import API_KEY_HEADER
from service.platforms.pace import State
from service.platforms.payload import OnSurprise
from service.platforms.transport import Limits, Transport, local_now

PLATFORM = "onvoard"


class OnVoard:
    """An async client; close it with `aclose` or `async with`.

    `http` takes the place of the network, `now` is the local clock, `meter` counts every attempt, `on_surprise` is told
    of what answers hold beyond the document.
    Every method may raise the PlatformErrors of `Transport.request`, and RuleBroken before anything is sent.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        limits: Limits | None = None,
        http: httpx.AsyncBaseTransport | None = None,
        now: Callable[[], datetime] = local_now,
        meter: Requests | None = None,
        on_surprise: OnSurprise | None = None,
    ) -> None:
        auth = _ApiKey(api_key)
        self._transport = Transport(PLATFORM, base_url, auth=auth, limits=limits, http=http, now=now, meter=meter)
        caller = Caller(self._transport, on_surprise)
        self.contacts = Contacts(caller)
        self.contact_property_types = ContactPropertyTypes(caller)
        self.contact_activities = ContactActivities(caller)
        self.contact_activity_types = ContactActivityTypes(caller)
        self.resources = Resources(caller)
        self.resource_property_types = ResourcePropertyTypes(caller)
        self.resource_records = ResourceRecords(caller)
        self.reviews = Reviews(caller)
        self.product_reviews_summaries = ProductReviewsSummaries(caller)
        self.webhooks = Webhooks(caller)

    async def __aenter__(self) -> OnVoard:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @property
    def silent_since(self) -> datetime | None:
        return self._transport.silent_since

    async def aclose(self) -> None:
        await self._transport.aclose()

    @property
    def state(self) -> State:
        return self._transport.pace.state


class _ApiKey(httpx.Auth):
    """The `X-API-Key` header ("Introduction")."""

    def __init__(self, key: str) -> None:
        if not re.fullmatch(r"[\x21-\x7e]+", key):
            raise RuleBroken("onvoard: the API key is empty or holds characters that no header can")
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers[API_KEY_HEADER] = self._key
        yield request
