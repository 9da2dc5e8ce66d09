"""What is needed on OnVoard, and creating it: listed first, then what is missing, so that it may be done again.

Keys and kinds can never be changed there, and resources never be deleted (traps 11 and 28): what exists as something
else is reported. Labels and descriptors that somebody has changed there are left alone unless `relabel` says otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from service.errors import Denied, PlatformError, Rejected, Verdict
from service.platforms.onvoard.enums import PropertyFieldType, PropertyValueType, ResourceIconType, ResourceKind
from service.platforms.onvoard.wire import DEFAULT_PAGE_SIZE, is_last

if TYPE_CHECKING:
    from service.platforms.onvoard.client import OnVoard

TRIES, PAUSE = 3, 0.5  # seconds before looking for what an unanswered creation may have made
TEXT = PropertyValueType.STRING
FREE_TEXT = ("", PropertyFieldType.TEXT, PropertyFieldType.MULTI_LINE_TEXT)  # all others check or reformat a value


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
    """`properties`: keys of its record data with their labels; `types`: of those that hold no text. `icon`: one of
    Blueprint's."""

    accessor: str
    name: str
    icon: str
    descriptor: str
    properties: dict[str, str] = field(default_factory=dict)
    types: dict[str, PropertyValueType] = field(default_factory=dict)


def activity(activity: CustomActivity) -> list[Need]:
    """Its resource, the properties of its records, and its type."""
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
        *(
            _record_property(resource, key, label, activity.types.get(key, TEXT))
            for key, label in activity.properties.items()
        ),
        Need(What.ACTIVITY_TYPE, activity.accessor, create_type, under=resource, texts=descriptor),
    ]


def _record_property(resource: Key, key: str, label: str, value_type: PropertyValueType) -> Need:
    def create(client: OnVoard, known: Known) -> Awaitable[Any]:
        return client.resource_property_types.create(
            resource=known[resource], key=key, label=label, value_type=value_type
        )

    name, texts = f"{resource[1]}.{key}", {"label": label}
    return Need(What.RESOURCE_PROPERTY, name, create, wrong=_not_of(value_type), under=resource, texts=texts)


def contact_property(key: str, label: str, helper_text: str, value_type: PropertyValueType = TEXT) -> Need:
    """`key`: without the `custom_` that OnVoard itself puts before it."""

    def create(client: OnVoard, _: Known) -> Awaitable[Any]:
        return client.contact_property_types.create(
            key=key, label=label, value_type=value_type, helper_text=helper_text
        )

    texts = {"label": label, "helper_text": helper_text}
    return Need(What.CONTACT_PROPERTY, f"custom_{key}", create, wrong=_not_of(value_type), texts=texts)


def _not_of(value_type: PropertyValueType) -> Callable[[Any], str]:
    def wrong(record: Any) -> str:
        as_text = value_type is PropertyValueType.DATETIME and record.value_type == TEXT
        if record.value_type not in (None, value_type) and not as_text:
            return f"has value type {record.value_type}, and {value_type} is needed"
        free = value_type is not TEXT or record.field_type is None or record.field_type in FREE_TEXT
        return "" if free else f"has field type {record.field_type}, and one that takes any text is needed"

    return wrong


def _not_an_activity(record: Any) -> str:
    return "" if record.kind in (None, ResourceKind.ACTIVITY) else f"is of kind {record.kind}, and ACTIVITY is needed"


def same_address(url: str) -> str:
    """The URL as it is compared: OnVoard may show host, port and a trailing slash in another way than it took them."""
    parts = urlsplit(url)
    host = parts.netloc.lower().removesuffix({"https": ":443", "http": ":80"}.get(parts.scheme, ""))
    return parts._replace(netloc=host, path=parts.path.rstrip("/")).geturl()


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
    if texts := ", ".join(_changed(need, record)):
        return (State.STALE, texts) if relabel else (State.THERE, f"{texts} changed on OnVoard: left alone")
    return State.THERE, ""


def _changed(need: Need, record: Any) -> dict[str, str]:
    """The texts that are others by now, as `setup` gave them."""
    return {key: text for key, text in need.texts.items() if getattr(record, key) not in (None, text)}


async def settle(client: OnVoard, need: Need, part: Part, known: Known) -> Part:
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
