"""What the bridge needs on OnVoard, and creating it: listed first, then what is missing, so that it may run again.

Keys and kinds can never be changed there, and resources never be deleted (traps 11 and 28): what exists as something
else is reported. Labels and descriptors that somebody has changed there are left alone unless `relabel` says otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from service.bridge import Bridge, claim_accounts
from service.cycle import LISTINGS
from service.decide import happenings
from service.errors import Denied, PlatformError, Rejected, Verdict
from service.extract.onvoard import OnvoardReader
from service.platforms.onvoard.client import OnVoard
from service.platforms.onvoard.enums import (
    PropertyFieldType,
    PropertyValueType,
    ResourceIconType,
    ResourceKind,
    WebhookEventType,
)
from service.platforms.onvoard.wire import DEFAULT_PAGE_SIZE, is_last
from service.platforms.payload import UNSET
from service.progress import Silent
from service.settings import Settings
from service.settings.values import is_loopback

TRIES, PAUSE = 3, 0.5  # seconds before looking for what an unanswered creation may have made
EVENTS, TEXT = tuple(WebhookEventType), PropertyValueType.STRING
FREE_TEXT = ("", PropertyFieldType.TEXT, PropertyFieldType.MULTI_LINE_TEXT)  # all others check or reformat a value
WEBHOOK_PATH = "/webhooks/onvoard"
REMEDY = "remove it on OnVoard (its support can), then contact-bridge setup"
SECRET_UNSEEN = "OnVoard never shows its secret: after a change of it, contact-bridge setup --renew-secret"
PLAIN_HTTP = "over plain http anybody on the way reads about your contacts"


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
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that is needed on OnVoard. `name` is a key, an accessor, `accessor.key` or a webhook's address."""

    what: What
    name: str
    state: State
    detail: str = ""


Key = tuple[What, str]
Known = dict[Key, Any]  # what OnVoard has, as its client's models; of webhooks a list, the one that counts first


@dataclass(frozen=True, slots=True)
class Need:
    """`wrong` says what nobody can repair in a record that exists, `stale` what `repair` can; "" where nothing.

    `under` is the need without which this one cannot be made. `texts`: what people read there, and may have changed.
    `note` is told whatever its state.
    """

    what: What
    name: str
    create: Callable[[OnVoard, Known], Awaitable[Any]]
    wrong: Callable[[Any], str] = lambda record: ""
    stale: Callable[[Any], str] = lambda record: ""
    repair: Callable[[OnVoard, Any], Awaitable[Any]] | None = None
    under: Key | None = None
    texts: dict[str, str] = field(default_factory=dict)
    note: str = ""

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
    label, helper = COMMON["unique_id"], "Who this contact is on Digital Onboarding. Kept by contact-bridge."

    def create(client: OnVoard, _: Known) -> Awaitable[Any]:
        return client.contact_property_types.create(key=LINK_KEY, label=label, value_type=TEXT, helper_text=helper)

    texts = {"label": label, "helper_text": helper}
    link = Need(What.CONTACT_PROPERTY, f"custom_{LINK_KEY}", create, wrong=_not_text, texts=texts)
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

    descriptor = {"descriptor_template": activity.descriptor}
    return [
        Need(*resource, create_resource, wrong=_not_an_activity, texts={"name": activity.name}),
        *(_record_property(resource, key, label) for key, label in (COMMON | activity.properties).items()),
        Need(What.ACTIVITY_TYPE, activity.accessor, create_type, under=resource, texts=descriptor),
    ]


def _record_property(resource: Key, key: str, label: str) -> Need:
    def create(client: OnVoard, known: Known) -> Awaitable[Any]:
        return client.resource_property_types.create(resource=known[resource], key=key, label=label, value_type=TEXT)

    name, texts = f"{resource[1]}.{key}", {"label": label}
    return Need(What.RESOURCE_PROPERTY, name, create, wrong=_not_text, under=resource, texts=texts)


def _not_text(record: Any) -> str:
    if record.value_type not in (None, TEXT):
        return f"has value type {record.value_type}, and {TEXT} is needed"
    free = record.field_type is None or record.field_type in FREE_TEXT
    return "" if free else f"has field type {record.field_type}, and one that takes any text is needed"


def _not_an_activity(record: Any) -> str:
    return "" if record.kind in (None, ResourceKind.ACTIVITY) else f"is of kind {record.kind}, and ACTIVITY is needed"


def webhooks_lack(settings: Settings) -> list[str]:
    """The variables without which there can be no webhook."""
    address, secret = settings.web.public_url, settings.onvoard.webhook_secret
    given = {"BRIDGE_WEB__PUBLIC_URL": address, "BRIDGE_ONVOARD__WEBHOOK_SECRET": secret}
    return [name for name, value in given.items() if value is None]


def webhook(settings: Settings, renew_secret: bool = False) -> list[Need]:
    """Ours, known by its address; none where the settings do not ask for it.

    `renew_secret`: give it the secret again. Which one it has, if any, is never shown (trap 42).
    """
    address, secret = settings.web.public_url, settings.onvoard.webhook_secret
    if address is None or secret is None:
        return []
    url = address + WEBHOOK_PATH

    def create(client: OnVoard, _: Known) -> Awaitable[Any]:
        return client.webhooks.create(url=url, event_types=EVENTS, active=True, secret=secret.get_secret_value())

    def stale(hooks: Any) -> str:
        return _unfit(hooks) or ("to be given its secret again" if renew_secret else "")

    async def repair(client: OnVoard, hooks: Any) -> None:
        # With the secret: one that differs is the likeliest reason for OnVoard to have switched it off.
        events = EVENTS if _unheard(hooks[0]) else UNSET
        await client.webhooks.patch(hooks[0].id, active=True, event_types=events, secret=secret.get_secret_value())
        for hook in _surplus(hooks):
            await client.webhooks.patch(hook.id, active=False)

    note = f"{PLAIN_HTTP}; {SECRET_UNSEEN}" if is_exposed(url) else SECRET_UNSEEN
    return [Need(What.WEBHOOK, same_address(url), create, stale=stale, repair=repair, note=note)]


def is_exposed(url: str) -> bool:
    """Whether what is sent there travels in the clear."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def same_address(url: str) -> str:
    """The URL as it is compared: OnVoard may show host, port and a trailing slash in another way than it took them."""
    parts = urlsplit(url)
    host = parts.netloc.lower().removesuffix({"https": ":443", "http": ":80"}.get(parts.scheme, ""))
    return parts._replace(netloc=host, path=parts.path.rstrip("/")).geturl()


def _unfit(hooks: Sequence[Any]) -> str:
    unheard, more = ", ".join(_unheard(hooks[0])), len(_surplus(hooks))
    told = [
        "switched off" if hooks[0].active is False else "",
        unheard and f"without {unheard}",
        f"{more} more at this address, to be switched off" if more else "",
    ]
    return "; ".join(filter(None, told))


def _surplus(hooks: Sequence[Any]) -> list[Any]:
    """Each would bring every event once more."""
    return [hook for hook in hooks[1:] if hook.active is not False]


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
    What.WEBHOOK: (lambda client: client.webhooks, lambda record: same_address(record.url or "")),
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
        if what is What.WEBHOOK:  # one that is switched on counts, and for everybody who asks the same one
            for hook in sorted(records, key=lambda hook: (hook.active is False, hook.id)):
                known.setdefault((what, name(hook) or ""), []).append(hook)
        else:
            known |= {(what, name(record) or ""): record for record in records}
    return known


def judge(needs: Sequence[Need], known: Known, relabel: bool = False) -> list[Part]:
    """Where each need stands: THERE, MISSING, STALE, WRONG, or LEFT_OUT where what it rests on is wrong."""
    parts: dict[Key, Part] = {}
    for need in needs:
        state, detail = _judged(need, known.get(need.key), parts.get(need.under) if need.under else None, relabel)
        parts[need.key] = Part(need.what, need.name, state, "; ".join(filter(None, [detail, need.note])))
    return list(parts.values())


def _judged(need: Need, record: Any, under: Part | None, relabel: bool) -> tuple[State, str]:
    if under is not None and under.state is State.WRONG:
        return State.LEFT_OUT, "its resource cannot be used"
    if record is None:
        return State.MISSING, ""
    if wrong := need.wrong(record):
        return State.WRONG, f"{wrong}; OnVoard never changes that"
    if stale := need.stale(record):
        return State.STALE, stale
    if changed := ", ".join(_changed(need, record)):
        return (State.STALE, changed) if relabel else (State.THERE, f"{changed} changed on OnVoard: left alone")
    return State.THERE, ""


def _changed(need: Need, record: Any) -> dict[str, str]:
    """The texts that are others by now, as `setup` gave them."""
    return {key: text for key, text in need.texts.items() if getattr(record, key) not in (None, text)}


async def survey(
    client: OnVoard, settings: Settings, *, relabel: bool = False, renew_secret: bool = False
) -> list[Part]:
    """What `complete` would find. Reads only; PlatformError where OnVoard does not answer."""
    needs = [*schema(), *webhook(settings, renew_secret)]
    known = await known_of(client, *What)
    return [*judge(needs, known, relabel), *_left_out(settings), *elsewhere(needs, known)]


def _left_out(settings: Settings) -> list[Part]:
    lacking = webhooks_lack(settings)
    return [Part(What.WEBHOOK, WEBHOOK_PATH, State.LEFT_OUT, f"set {' and '.join(lacking)}")] if lacking else []


def elsewhere(needs: Sequence[Need], known: Known) -> list[Part]:
    """Webhooks to a bridge at another address than this one's: a former one, or somebody else's."""
    ours = {need.key for need in needs}
    return [
        Part(what, url, State.THERE, "not at BRIDGE_WEB__PUBLIC_URL: remove it on OnVoard if no bridge is there")
        for (what, url), hooks in known.items()
        if what is What.WEBHOOK and url.endswith(WEBHOOK_PATH) and (what, url) not in ours and hooks[0].active
    ]


async def complete(
    client: OnVoard, settings: Settings, *, relabel: bool = False, renew_secret: bool = False
) -> list[Part]:
    """Creates what is missing and repairs what can be: CREATED, REPAIRED, REFUSED, or as `judge` found it.

    PlatformError where OnVoard fails; what was made until then is found by the next run.
    """
    needs = [*schema(), *webhook(settings, renew_secret)]
    known = await known_of(client, *What)
    parts = [
        await _settled(client, need, part, known)
        for need, part in zip(needs, judge(needs, known, relabel), strict=True)
    ]
    return [*parts, *_left_out(settings), *elsewhere(needs, known)]


async def _settled(client: OnVoard, need: Need, part: Part, known: Known) -> Part:
    """What became of one part. One that is refused does not keep the others from being made."""
    try:
        if part.state is State.MISSING:
            if need.under is not None and need.under not in known:
                return replace(part, state=State.LEFT_OUT, detail="its resource could not be made")
            known[need.key] = await _made(client, need, known)
            return replace(part, state=State.CREATED)
        if part.state is State.STALE:
            record = known[need.key]
            if need.repair is not None:
                await need.repair(client, record)
            else:
                chapter, _ = _CHAPTERS[need.what]
                await chapter(client).patch(record, **_changed(need, record))
            return replace(part, state=State.REPAIRED)
    except (Denied, Rejected) as error:
        return replace(part, state=State.REFUSED, detail=f"{error.call} answered {error.status}: {error.detail}")
    return part


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
    sweep_after = bridge.settings.schedule.sweep_after
    reader = OnvoardReader(bridge.onvoard, bridge.db, 0, bridge.now, Silent(), sweep_after)
    for name in LISTINGS:
        await reader.listing(name)
