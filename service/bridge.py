"""What all work needs, and what a run came to."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from service.core.mapping import FieldMap
from service.core.records import Platform
from service.platforms.digital_onboarding.client import DigitalOnboarding
from service.platforms.onvoard.client import OnVoard
from service.settings import Settings
from service.store import cursors
from service.store.database import Connection, Database


def local_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Bridge:
    """All that work needs, wired by `service.app`."""

    settings: Settings
    db: Database
    onvoard: OnVoard
    digital: DigitalOnboarding
    mapping: FieldMap
    now: Callable[[], datetime] = local_now


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

    @property
    def needs_person(self) -> bool:
        return bool(self.held or self.new_conflicts or self.new_dead)

    @property
    def outcome(self) -> str:
        return "held" if self.held else "ok"

    def counts(self) -> dict[str, Any]:
        return {
            "pulled": dict(self.pulled),
            "pushed": self.pushed,
            "refused": self.refused,
            "held": {platform.value: why for platform, why in self.held.items()},
            "new_conflicts": self.new_conflicts,
            "new_dead_letters": self.new_dead,
        }


def claim_accounts(conn: Connection, bridge: Bridge) -> None:
    """Law 11; `ForeignAccount` where the mirror is another account's."""
    settings, now, key = bridge.settings, bridge.now(), cursors.hash_key(conn)
    api_key = settings.onvoard.api_key.get_secret_value() if settings.onvoard.api_key else ""
    for platform, base_url, credential in (
        ("onvoard", settings.onvoard.base_url, api_key),
        ("digital_onboarding", settings.digital_onboarding.base_url, settings.digital_onboarding.client_id or ""),
    ):
        fingerprint = hmac.new(key, credential.encode(), hashlib.sha256).hexdigest()[:16]
        cursors.claim_account(conn, platform, base_url.rstrip("/"), fingerprint, now)
