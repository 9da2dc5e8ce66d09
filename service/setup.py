"""What the bridge needs on OnVoard, and creating it: listed first, then what is missing, so that it may run again.

Keys and kinds can never be changed there, and resources never be deleted (traps 11 and 28): what exists is left
alone, and what exists as something else is reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Any

from service.bridge import Bridge, claim_accounts
from service.cycle import LISTINGS
from service.decide import happenings
from service.errors import PlatformError, Rejected, Verdict
from service.extract.onvoard import OnvoardReader
from service.platforms.onvoard.client import OnVoard
from service.platforms.onvoard.enums import PropertyValueType, ResourceIconType, ResourceKind, WebhookEventType
from service.platforms.onvoard.wire import DEFAULT_PAGE_SIZE, is_last
from service.platforms.payload import UNSET
from service.progress import Silent
from service.settings import Settings

TRIES, PAUSE = 3, 0.5  # seconds before looking for what an unanswered creation may have made
EVENTS, TEXT = tuple(WebhookEventType), PropertyValueType.STRING
WEBHOOK_PATH = "/webhooks/onvoard"


class What(StrEnum):
    CONTACT_PROPERTY = "contact property type"
    RESOURCE = "resource"
    RESOURCE_PROPERTY = "resource property type"
    ACTIVITY_TYPE = "activity type"
    WEBHOOK = "webhook"


class State(StrEnum):
    THERE, MISSING = "already there", "missing"
    STALE, REPAIRED = "needs repair", "repaired"
    WRONG, LEFT_OUT, CREATED = "cannot be repaired", "left out", "created"


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that is needed on OnVoard. `name` is a key, an accessor, `accessor.key` or a webhook's address."""

    what: What
    name: str
    state: State
    detail: str = ""


Key = tuple[What, str]
Known = dict[Key, Any]  # what OnVoard has, as its client's models


@dataclass(frozen=True, slots=True)
class Need:
    """`wrong` says what nobody can repair in a record that exists, `stale` what `repair` can; "" where nothing.

    `under` is the need without which this one cannot be made.
    """

    what: What
    name: str
    create: Callable[[OnVoard, Known], Awaitable[Any]]
    wrong: Callable[[Any], str] = lambda record: ""
    stale: Callable[[Any], str] = lambda record: ""
    repair: Callable[[OnVoard, Any], Awaitable[Any]] | None = None
    under: Key | None = None

    @property
    def key(self) -> Key:
        return self.what, self.name


@dataclass(frozen=True, slots=True)
class CustomActivity:
    """`properties`: keys of its record data with their labels; all hold text. `icon`: one of Blueprint's."""

    accessor: str
    name: str
    icon: str
    descriptor: str
    properties: dict[str, str] = field(default_factory=dict)


LINK_KEY = "digital_onboarding_unique_id"  # OnVoard itself puts `custom_` before it
COMMON = {"sync_id": "Sync ID", "unique_id": "Digital Onboarding unique ID"}
# The record data is what `decide.happenings` and `store.announcements` send.
ACTIVITIES = (
    CustomActivity(
        happenings.CONTACT_ADDED, "Added to Digital Onboarding", "new-person", "Known there as {{ unique_id }}"
    ),
    CustomActivity(
        happenings.JOURNEY_STARTED, "Digital Onboarding Journey Started", "play", "{{ journey_name }}",
        {"journey_id": "Journey ID", "template_id": "Template ID", "journey_name": "Journey"},
    ),
    CustomActivity(
        happenings.OBJECTIVE_COMPLETED, "Digital Onboarding Objective Completed", "tick-circle", "{{ objective_name }}",
        {"objective_key": "Objective key", "objective_name": "Objective"},
    ),
    CustomActivity(
        happenings.UNSUBSCRIBED, "Unsubscribed on Digital Onboarding", "blocked-person", "Opted out of {{ channel }}",
        {"channel": "Channel"},
    ),
)  # fmt: skip


def schema() -> list[Need]:
    """Property types, resources and activity types, each after what it rests on."""

    def create(client: OnVoard, _: Known) -> Awaitable[Any]:
        label, helper = COMMON["unique_id"], "Who this contact is on Digital Onboarding. Kept by contact-bridge."
        return client.contact_property_types.create(key=LINK_KEY, label=label, value_type=TEXT, helper_text=helper)

    link = Need(What.CONTACT_PROPERTY, f"custom_{LINK_KEY}", create, wrong=_not_text)
    return [link, *(need for activity in ACTIVITIES for need in _needs_of(activity))]


def _needs_of(activity: CustomActivity) -> list[Need]:
    resource = (What.RESOURCE, activity.accessor)

    def create_resource(client: OnVoard, _: Known) -> Awaitable[Any]:
        return client.resources.create(
            key=activity.accessor.removeprefix("custom."),
            name=activity.name,
            helper_text="Made by contact-bridge.",
            kind=ResourceKind.ACTIVITY,
            icon_type=ResourceIconType.NATIVE,
            icon_class=activity.icon,
        )

    def create_type(client: OnVoard, known: Known) -> Awaitable[Any]:
        return client.contact_activity_types.create(resource=known[resource], descriptor_template=activity.descriptor)

    return [
        Need(*resource, create_resource, wrong=_not_an_activity),
        *(_record_property(resource, key, label) for key, label in (COMMON | activity.properties).items()),
        Need(What.ACTIVITY_TYPE, activity.accessor, create_type, under=resource),
    ]


def _record_property(resource: Key, key: str, label: str) -> Need:
    def create(client: OnVoard, known: Known) -> Awaitable[Any]:
        return client.resource_property_types.create(resource=known[resource], key=key, label=label, value_type=TEXT)

    return Need(What.RESOURCE_PROPERTY, f"{resource[1]}.{key}", create, wrong=_not_text, under=resource)


def _not_text(record: Any) -> str:
    return "" if record.value_type in (None, TEXT) else f"has value type {record.value_type}, and {TEXT} is needed"


def _not_an_activity(record: Any) -> str:
    return "" if record.kind in (None, ResourceKind.ACTIVITY) else f"is of kind {record.kind}, and ACTIVITY is needed"


def webhooks_lack(settings: Settings) -> list[str]:
    """The variables without which there can be no webhook."""
    address, secret = settings.web.public_url, settings.onvoard.webhook_secret
    given = {"BRIDGE_WEB__PUBLIC_URL": address, "BRIDGE_ONVOARD__WEBHOOK_SECRET": secret}
    return [name for name, value in given.items() if value is None]


def webhook(settings: Settings) -> list[Need]:
    """Ours, known by its address; none where the settings do not ask for it."""
    address, secret = settings.web.public_url, settings.onvoard.webhook_secret
    if address is None or secret is None:
        return []
    url = address.rstrip("/") + WEBHOOK_PATH

    def create(client: OnVoard, _: Known) -> Awaitable[Any]:
        return client.webhooks.create(url=url, event_types=EVENTS, active=True, secret=secret.get_secret_value())

    def repair(client: OnVoard, record: Any) -> Awaitable[Any]:
        # With the secret: one that differs is the likeliest reason for OnVoard to have switched it off.
        events = EVENTS if _unheard(record) else UNSET
        return client.webhooks.patch(record.id, active=True, event_types=events, secret=secret.get_secret_value())

    return [Need(What.WEBHOOK, url, create, stale=_unfit, repair=repair)]


def _unfit(record: Any) -> str:
    off = "switched off" if record.active is False else ""
    unheard = ", ".join(_unheard(record))
    return "; ".join(filter(None, [off, unheard and f"without {unheard}"]))


def _unheard(record: Any) -> list[str]:
    heard = EVENTS if record.event_types is None else record.event_types
    return [event for event in EVENTS if event not in heard]


_CHAPTERS: dict[What, tuple[Callable[[OnVoard], Any], Callable[[Any], str | None]]] = {
    What.CONTACT_PROPERTY: (lambda client: client.contact_property_types, lambda record: record.key),
    What.RESOURCE: (lambda client: client.resources, lambda record: record.accessor),
    What.RESOURCE_PROPERTY: (
        lambda client: client.resource_property_types, lambda record: f"{record.resource_accessor}.{record.key}",
    ),
    What.ACTIVITY_TYPE: (lambda client: client.contact_activity_types, lambda record: record.accessor),
    What.WEBHOOK: (lambda client: client.webhooks, lambda record: (record.url or "").rstrip("/")),
}  # fmt: skip


async def known_of(client: OnVoard, *kinds: What) -> Known:
    """What OnVoard lists of these kinds, all of it. PlatformError as the client's lists."""
    known: Known = {}
    for what in kinds:
        chapter, name = _CHAPTERS[what]
        records: list[Any] = []
        for number in count(1):
            page = await chapter(client).list(page=number)
            records += page.items
            if is_last(page, DEFAULT_PAGE_SIZE):
                break
        if what is What.WEBHOOK:  # of two with one address, one that is switched on counts
            records.sort(key=lambda record: record.active is not False)
        known |= {(what, name(record) or ""): record for record in records}
    return known


def judge(needs: Sequence[Need], known: Known) -> list[Part]:
    """Where each need stands: THERE, MISSING, STALE, WRONG, or LEFT_OUT where what it rests on is wrong."""
    parts: dict[Key, Part] = {}
    for need in needs:
        state, detail = _judged(need, known.get(need.key), parts.get(need.under) if need.under else None)
        parts[need.key] = Part(need.what, need.name, state, detail)
    return list(parts.values())


def _judged(need: Need, record: Any, under: Part | None) -> tuple[State, str]:
    if under is not None and under.state is State.WRONG:
        return State.LEFT_OUT, "its resource cannot be used"
    if record is None:
        return State.MISSING, ""
    if wrong := need.wrong(record):
        return State.WRONG, f"{wrong}; OnVoard never changes that"
    stale = need.stale(record)
    return (State.STALE if stale else State.THERE), stale


async def survey(client: OnVoard, settings: Settings) -> list[Part]:
    """What `complete` would find. Reads only; PlatformError where OnVoard does not answer."""
    return [*judge([*schema(), *webhook(settings)], await known_of(client, *What)), *_left_out(settings)]


def _left_out(settings: Settings) -> list[Part]:
    lacking = webhooks_lack(settings)
    return [Part(What.WEBHOOK, WEBHOOK_PATH, State.LEFT_OUT, f"set {' and '.join(lacking)}")] if lacking else []


async def complete(client: OnVoard, settings: Settings) -> list[Part]:
    """Creates what is missing and repairs what can be: CREATED, REPAIRED, or as `judge` found it.

    PlatformError where OnVoard refuses or fails; what was made until then is found by the next run.
    """
    needs = [*schema(), *webhook(settings)]
    known = await known_of(client, *What)
    parts: list[Part] = []
    for need, part in zip(needs, judge(needs, known), strict=True):
        state = part.state
        if state is State.MISSING:
            known[need.key] = await _made(client, need, known)
            state = State.CREATED
        elif state is State.STALE and need.repair is not None:
            await need.repair(client, known[need.key])
            state = State.REPAIRED
        parts.append(Part(part.what, part.name, state, part.detail))
    return [*parts, *_left_out(settings)]


async def _made(client: OnVoard, need: Need, known: Known) -> Any:
    """The new record. Where it is unclear whether one was made, or one is refused because it is there already (by
    somebody else at this moment), it is looked for before another is asked for."""
    for left in reversed(range(TRIES)):
        try:
            return await need.create(client, known)
        except PlatformError as error:
            unclear = error.verdict is Verdict.LOOK
            if not unclear and not isinstance(error, Rejected):
                raise
            await asyncio.sleep(PAUSE if unclear else 0)
            found = (await known_of(client, need.what)).get(need.key)
            if found is not None:
                return found
            if not unclear or not left:
                raise
    raise AssertionError("unreachable")


async def refresh_mirror(bridge: Bridge) -> None:
    """The mirror learns at once what is there now: activities wait for their types. ForeignAccount as a cycle."""
    await claim_accounts(bridge)
    reader = OnvoardReader(bridge.onvoard, bridge.db, 0, bridge.now, Silent())
    for name in LISTINGS:
        await reader.listing(name)
