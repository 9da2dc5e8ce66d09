"""Digital Onboarding's API: every documented call, and one that is not (`list_contacts`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx

from service.errors import RuleBroken
from service.metrics import Requests
from service.platforms.digital_onboarding import wire
from service.platforms.digital_onboarding.models import Contact, Journey, Objective, Template
from service.platforms.digital_onboarding.token import BearerAuth, Tokens
from service.platforms.digital_onboarding.wire import BatchAnswer, JourneyForm, Listing
from service.platforms.judging import Call
from service.platforms.pace import State
from service.platforms.payload import OnSurprise
from service.platforms.transport import Answer, Limits, Transport, local_now

PLATFORM = "digital_onboarding"

T = TypeVar("T")


class DigitalOnboarding:
    """An async client; close it with `aclose` or `async with`.

    `state_dir` holds the token cache (None: memory only). `http` takes the place of the network, `now` is the local
    clock, `meter` counts every attempt, `on_surprise` is told of what answers hold beyond the document. Every call may
    raise the PlatformErrors of `Transport.request`, and Denied of `POST /oauth2/token` where the credentials are wrong;
    RuleBroken before anything is sent.
    """

    def __init__(
        self,
        base_url: str,
        client_id: str,
        client_secret: str,
        *,
        state_dir: Path | None = None,
        limits: Limits | None = None,
        journey_form: JourneyForm = JourneyForm.NESTED,
        http: httpx.AsyncBaseTransport | None = None,
        now: Callable[[], datetime] = local_now,
        meter: Requests | None = None,
        on_surprise: OnSurprise | None = None,
    ) -> None:
        limits = limits or Limits()
        basic = httpx.BasicAuth(client_id, client_secret)
        lane = replace(limits, requests_per_second=None, max_in_flight=1)
        self._granting = Transport(PLATFORM, base_url, auth=basic, limits=lane, http=http, now=now, meter=meter)
        bearer = BearerAuth(Tokens(self._granting, client_id, state_dir, now=now))
        self._transport = Transport(PLATFORM, base_url, auth=bearer, limits=limits, http=http, now=now, meter=meter)
        self._journey_form = journey_form
        self._on_surprise = on_surprise

    async def __aenter__(self) -> DigitalOnboarding:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @property
    def silent_since(self) -> datetime | None:
        return self._transport.silent_since

    async def aclose(self) -> None:
        await self._transport.aclose()
        await self._granting.aclose()

    @property
    def state(self) -> State:
        return self._transport.pace.state

    async def upsert_contact(self, contact: Mapping[str, Any], *, objectives: Collection[str] | None = None) -> Contact:
        """Create or Update. `contact` as in `wire.contact_body`; the answer does not say which of the two it was.

        Repeated after an unclear outcome, unless it carries a journey, which would be started or changed once more.
        """
        body = wire.contact_body(contact, form=self._journey_form, objectives=objectives)
        call = Call.of("POST", "/v1/contacts", safe=not wire.starts_journey(contact))
        answer = await self._transport.request(call, json=body, check=wire.record_fault)
        return self._read(answer.data, wire.read_contact)

    async def upsert_contacts(
        self, contacts: Sequence[Mapping[str, Any]], *, objectives: Collection[str] | None = None
    ) -> BatchAnswer:
        """Create or Update a Batch. `contacts` as in `wire.batch_body`; match the answer by `unique_id`, never by
        order.

        Idempotent by `unique_id`, so repeated after an unclear outcome, unless a member carries a journey. TooLarge:
        split it.
        """
        body = wire.batch_body(contacts, form=self._journey_form, objectives=objectives)
        call = Call.of("POST", "/v1/contacts", safe=not any(wire.starts_journey(contact) for contact in contacts))
        answer = await self._transport.request(call, json=body, check=wire.batch_fault)
        parsed = _batch_answer(answer)
        self._tell(parsed.surprises)
        return parsed

    async def create_journey(
        self,
        template_id: str,
        *,
        contact: Mapping[str, Any],
        name: str | None = None,
        owner_id: str | None = None,
        objectives: Collection[str] | None = None,
    ) -> Journey:
        """Create a Journey from a Template, for one contact. `name` None: the template's. Not idempotent: an unclear
        outcome (verdict LOOK) is for the caller to look into."""
        body = wire.journey_body(contact, name, owner_id, objectives)
        call = Call.of("POST", "/v1/templates/:template_id/journeys", template_id, safe=False)
        answer = await self._transport.request(call, json=body, check=wire.record_fault)
        return self._read(answer.data, wire.read_journey)

    async def list_templates(self) -> Listing[Template]:
        """Get a list of templates: all of them, in one answer."""
        return await self._listing("/v1/templates", "templates", "template", wire.read_template)

    async def list_objectives(self) -> Listing[Objective]:
        """Get a list of objectives: the team's and the global ones, in one answer."""
        return await self._listing("/v1/objectives", "objectives", "objective", wire.read_objective)

    async def list_contacts(
        self,
        *,
        limit: int,
        offset: int,
        sort_column: str | None = None,
        sort_direction: str | None = None,
        search: str | None = None,
    ) -> Listing[Contact]:
        """One page of contacts. Undocumented, observed for interactive users' tokens: Denied or NotFound is to be
        expected."""
        if limit < 1 or offset < 0:
            raise RuleBroken("Digital Onboarding: limit begins at 1, offset at 0")
        given = {"limit": limit, "offset": offset, "sort_column": sort_column, "sort_direction": sort_direction}
        params = {key: str(value) for key, value in (given | {"search": search}).items() if value is not None}
        return await self._listing("/v1/contacts", "contacts", "contact", wire.read_contact, params)

    async def _listing(
        self,
        route: str,
        key: str,
        kind: str,
        read: Callable[[dict[str, Any], Counter[str]], T],
        params: dict[str, str] | None = None,
    ) -> Listing[T]:
        call = Call.of("GET", route, safe=True)
        answer = await self._transport.request(call, params=params, check=wire.listing_fault(key))
        items, refused, surprises = wire.parse_many(kind, wire.listed(answer.data, key), read)
        self._tell(surprises)
        return Listing(items, refused, surprises, answer.server_time)

    def _read(self, payload: dict[str, Any], read: Callable[[dict[str, Any], Counter[str]], T]) -> T:
        surprises: Counter[str] = Counter()
        record = read(payload, surprises)
        self._tell(surprises)
        return record

    def _tell(self, surprises: Mapping[str, int]) -> None:
        if surprises and self._on_surprise is not None:
            self._on_surprise(surprises)


def _batch_answer(answer: Answer) -> BatchAnswer:
    new, refused_new, surprises = wire.parse_many("contact", answer.data.get("new_contacts") or [], wire.read_contact)
    existing, refused_existing, more = wire.parse_many(
        "contact", answer.data.get("existing_contacts") or [], wire.read_contact
    )
    return BatchAnswer(
        new=new,
        existing=existing,
        refused=refused_new + refused_existing,
        surprises=dict(Counter(surprises) + Counter(more)),
        sent_at=answer.sent_at,
        received_at=answer.received_at,
        server_time=answer.server_time,
    )
