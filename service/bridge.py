"""What all work needs, and what a run came to."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from service.core.loaders import Loader
from service.core.mapping import FieldMap
from service.core.records import Platform
from service.core.rules import NO_RULES, Ruleset
from service.errors import Denied, ForeignAccount, NotFound, PlatformError
from service.settings import Settings
from service.store import cursors, mirror
from service.store.cursors import ANOTHER_MIRROR
from service.store.database import Connection, Database

if TYPE_CHECKING:
    from service.platforms.digital_onboarding.client import DigitalOnboarding
    from service.platforms.onvoard.client import OnVoard

LISTED_WHOLE = frozenset({
    "contact_property_types", "resources", "resource_property_types", "activity_types", "webhooks", "summaries",
    "templates", "objectives",
})  # fmt: skip

_ON_DIGITAL_ONBOARDING = {
    "templates": "digital_onboarding.templates", "objectives": "digital_onboarding.objectives",
    "digital_onboarding_contacts": "digital_onboarding.contacts",
}  # fmt: skip


def stream_name(counted: str) -> str:
    """As cursors and freshness name what a report counts under this name."""
    return _ON_DIGITAL_ONBOARDING.get(counted) or f"onvoard.{counted}"


def local_now() -> datetime:
    return datetime.now(UTC)


def no_surprises() -> dict[Platform, Counter[str]]:
    return {platform: Counter() for platform in Platform}


@dataclass(frozen=True)
class Bridge:
    """All that work needs, wired by `service.app`."""

    settings: Settings
    db: Database
    onvoard: OnVoard
    digital: DigitalOnboarding
    mapping: FieldMap
    now: Callable[[], datetime] = local_now
    surprises: Mapping[Platform, Counter[str]] = field(default_factory=no_surprises)
    """What the clients found beyond the documents and no run has counted yet."""
    rules: Ruleset = NO_RULES
    loaders: tuple[Loader, ...] = ()


@dataclass(slots=True)
class Report:
    """What a run came to. `needs_person` is what makes a command end with 3."""

    run_id: int
    pulled: Counter[str] = field(default_factory=Counter)
    pushed: dict[str, int] = field(default_factory=dict)
    held: dict[Platform, str] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)  # records without an id, by stream
    new_conflicts: int = 0
    new_dead: int = 0
    pruned: Counter[str] = field(default_factory=Counter)  # rows that were kept long enough, by kind
    stopped: dict[str, str] = field(default_factory=dict)  # loaders that went on until now, and why they do no longer
    changed: dict[str, int] = field(default_factory=dict)  # values that were carried over, by `platform.field`
    read: set[str] = field(default_factory=set)  # streams that were read to the end
    failed: dict[str, PlatformError] = field(default_factory=dict)  # and those that could not be
    pushes: bool = False  # it has looked for what is to be pushed

    @property
    def needs_person(self) -> bool:
        return bool(self.held or self.new_conflicts or self.new_dead or self.stopped)

    @property
    def outcome(self) -> str:
        """Of a run that came to its end."""
        if any(isinstance(error, Denied) for error in self.failed.values()):
            return "denied"
        if self.failed and not self.read:
            return "failed"
        if self.held:
            return "held"
        if self.failed or self.refused or (self.pushes and self.new_dead):
            return "partial"
        return "empty as expected" if self.is_empty else "ok"

    @property
    def is_empty(self) -> bool:
        """It asked for news, and there were none. Beside people, what is listed whole each time is none."""
        if not (self.pulled or self.pushes):
            return False
        streams = self.pulled.keys() - LISTED_WHOLE if "contacts" in self.pulled else self.pulled.keys()
        return not (any(self.pulled[name] for name in streams) or self.pushed or self.new_conflicts or self.stopped)

    def failures(self) -> dict[str, str]:
        """Stream -> `denied` or `failed`."""
        return {name: "denied" if isinstance(error, Denied) else "failed" for name, error in self.failed.items()}

    def counts(self) -> dict[str, Any]:
        return {
            "pulled": dict(self.pulled),
            "pushed": self.pushed,
            "refused": self.refused,
            "held": {platform.value: why for platform, why in self.held.items()},
            "new_conflicts": self.new_conflicts,
            "new_dead_letters": self.new_dead,
            "stopped_loaders": self.stopped,
            "changed": self.changed,
            "failed": self.failures(),
            **({"pruned": dict(self.pruned)} if self.pruned else {}),
        }


def accounts(settings: Settings, hash_key: bytes) -> dict[str, tuple[str, str]]:
    """By platform: the address, and the fingerprint of the credential, which itself is nowhere."""
    api_key = settings.onvoard.api_key.get_secret_value() if settings.onvoard.api_key else ""
    credentials = {
        "onvoard": (settings.onvoard.base_url, api_key),
        "digital_onboarding": (settings.digital_onboarding.base_url, settings.digital_onboarding.client_id or ""),
    }
    return {
        platform: (base_url.rstrip("/"), hmac.new(hash_key, credential.encode(), hashlib.sha256).hexdigest()[:16])
        for platform, (base_url, credential) in credentials.items()
    }


async def claim_accounts(bridge: Bridge) -> None:
    """The accounts that a mirror met first are the only ones that it mirrors (law 11); ForeignAccount for another.

    A new API key at the same address may be the old account's: it is, if it knows a contact that the mirror knows.
    """

    def claim(conn: Connection) -> list[str]:
        mine = accounts(bridge.settings, cursors.hash_key(conn))
        return [
            platform
            for platform, (base_url, fingerprint) in mine.items()
            if not cursors.claim_account(conn, platform, base_url, fingerprint, bridge.now())
        ]

    for platform in await bridge.db.run(claim):
        if platform != "onvoard" or not await _same_onvoard(bridge):
            raise ForeignAccount(
                f"{platform}: this mirror belongs to another account (its credentials differ)", hint=ANOTHER_MIRROR
            )
        await bridge.db.run(
            lambda conn: cursors.renew_account(
                conn, "onvoard", accounts(bridge.settings, cursors.hash_key(conn))["onvoard"][1]
            )
        )


async def _same_onvoard(bridge: Bridge) -> bool:
    """Raises Denied where the key is nobody's."""
    await bridge.onvoard.contacts.list(page_size=1)
    known = await bridge.db.run(lambda conn: mirror.some_contacts(conn, 3))
    for contact_id in known:
        with suppress(NotFound):
            await bridge.onvoard.contacts.retrieve(contact_id)
            return True
    return not known
