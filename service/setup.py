"""What the bridge needs on OnVoard, and how an operator has it made: `load.needs` knows the how."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from service.bridge import Bridge, claim_accounts
from service.core.loaders import Stopped
from service.cycle import LISTINGS
from service.decide import happenings
from service.errors import SettingsError, UsageError
from service.extract.loaders import mapped
from service.extract.loaders import survey as survey_of
from service.extract.onvoard import OnvoardReader
from service.load import loader_schema
from service.load import needs as needed
from service.load.needs import CustomActivity, Known, Need, same_address
from service.load.needs import Part as Part
from service.load.needs import State as State
from service.load.needs import What as What
from service.load.needs import judge as judge
from service.load.needs import known_of as known_of
from service.platforms.onvoard.client import OnVoard
from service.platforms.onvoard.enums import WebhookEventType
from service.platforms.payload import UNSET
from service.progress import Silent
from service.settings import Settings
from service.settings.values import is_loopback
from service.store import loaded

EVENTS = tuple(WebhookEventType)
WEBHOOK_PATH, THIN_PATH = "/webhooks/onvoard", "/webhooks/digital-onboarding"
REMEDY = "remove it on OnVoard (its support can), then contact-bridge setup"
SECRET_UNSEEN = "OnVoard never shows its secret: after a change of it, contact-bridge setup --renew-secret"
PLAIN_HTTP = "over plain http anybody on the way reads about your contacts"
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
    helper = "Who this contact is on Digital Onboarding. Kept by contact-bridge."
    link = needed.contact_property(LINK_KEY, COMMON["unique_id"], helper)
    return [link, *(need for activity in ACTIVITIES for need in needed.activity(_with_common(activity)))]


def _with_common(activity: CustomActivity) -> CustomActivity:
    return replace(activity, properties=COMMON | activity.properties)


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


def is_ours(settings: Settings, url: str) -> bool:
    """Whether a webhook at this address is this bridge's; nobody's is where it has no address of its own."""
    address = settings.web.public_url
    return address is not None and same_address(url) == same_address(address + WEBHOOK_PATH)


def is_exposed(url: str) -> bool:
    """Whether what is sent there travels in the clear."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


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


async def survey(
    client: OnVoard, settings: Settings, *, more: Sequence[Need] = (), relabel: bool = False, renew_secret: bool = False
) -> list[Part]:
    """What `complete` would find. Reads only; PlatformError where OnVoard does not answer."""
    needs = [*schema(), *more, *webhook(settings, renew_secret)]
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
    client: OnVoard, settings: Settings, *, more: Sequence[Need] = (), relabel: bool = False, renew_secret: bool = False
) -> list[Part]:
    """Creates what is missing and repairs what can be: CREATED, REPAIRED, REFUSED, or as `judge` found it. `more`: what
    loaders need.

    PlatformError where OnVoard fails; what was made until then is found by the next run.
    """
    needs = [*schema(), *more, *webhook(settings, renew_secret)]
    known = await known_of(client, *What)
    parts = await _settled(client, needs, known, relabel)
    return [*parts, *_left_out(settings), *elsewhere(needs, known)]


def of_loaders(bridge: Bridge) -> list[Need]:
    """What the loaders need, by their results; one that cannot be read now is left to `check`."""
    taken, found = mapped(bridge.mapping), dict[needed.Key, Need]()
    for loader in bridge.loaders:
        with bridge.db.begin(write=False) as conn:
            known = loaded.survey(conn, loader)
        with suppress(Stopped, UsageError):
            known = known or survey_of(bridge.db, loader, bridge.rules.meta_public, taken)
        if known is not None and loader.enabled:
            found |= {need.key: need for need in loader_schema.of(known)}
    return list(found.values())


async def register(client: OnVoard, settings: Settings, *, renew_secret: bool = False) -> list[Part]:
    """`complete` for the webhook alone. SettingsError where the settings lack what it takes."""
    if lacking := webhooks_lack(settings):
        raise SettingsError([f"{name}: missing; a webhook needs it" for name in lacking])
    needs = webhook(settings, renew_secret)
    known = await known_of(client, What.WEBHOOK)
    return [*await _settled(client, needs, known), *elsewhere(needs, known)]


async def _settled(client: OnVoard, needs: Sequence[Need], known: Known, relabel: bool = False) -> list[Part]:
    parts = judge(needs, known, relabel)
    return [await needed.settle(client, need, part, known) for need, part in zip(needs, parts, strict=True)]


async def refresh_mirror(bridge: Bridge, listings: Sequence[str] = LISTINGS) -> None:
    """The mirror learns at once what is there now: activities wait for their types. ForeignAccount as a cycle."""
    await claim_accounts(bridge)
    sweep_after = bridge.settings.schedule.sweep_after
    reader = OnvoardReader(bridge.onvoard, bridge.db, 0, bridge.now, Silent(), sweep_after)
    for name in listings:
        await reader.listing(name)
