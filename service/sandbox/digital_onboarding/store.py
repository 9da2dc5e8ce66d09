"""Everything that the emulated Digital Onboarding team holds."""

from __future__ import annotations

import random
import threading
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service.sandbox.clock import Clock
from service.sandbox.courier import Courier
from service.sandbox.digital_onboarding.settings import DigitalOnboardingSettings

TEXT_FIELDS = (
    "name_title",
    "name_first",
    "name_last",
    "name_suffix",
    "address",
    "address2",
    "city",
    "state",
    "county",
    "country",
    "post_code",
    "timezone",
    "email",
    "phone_home",
    "phone_mobile",
    "phone_work",
)
FLAG_FIELDS = ("unsubscribe_email", "unsubscribe_sms")
SYSTEM_FIELDS = ("id", "inserted_at", "updated_at")
FIELDS = ("unique_id", *TEXT_FIELDS, *FLAG_FIELDS, "meta_public")
STANDARD_OBJECTIVES = (
    "debit-card-activation",
    "direct-deposit",
    "online-bill-pay",
    "online-banking",
    "mobile-banking",
    "estatements",
    "open-cross-sell-account",
    "corporate-card-activation",
    "merchant-access",
    "ach-payroll",
    "remote-deposit",
    "automate-payments",
)
TEAM_ID = "7c1e6f0a-52a5-4f0e-9d43-0b7f7f1f2a10"


@dataclass
class Contact:
    """A contact; `fields` holds every documented field that is set. Times are aware UTC."""

    id: str
    unique_id: str
    inserted_at: datetime
    updated_at: datetime
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass
class Objective:
    """An objective; `team_id` None where it is global."""

    id: str
    key: str
    name: str
    team_id: str | None = None


@dataclass
class Journey:
    """A journey of one contact."""

    id: str
    slug: str
    contact_id: str
    template_id: str
    name: str
    owner_id: str | None
    started_at: datetime


@dataclass
class Hook:
    """The webhook of the admin interface: `secrets` current first, then the previous one."""

    url: str
    secrets: tuple[str, ...]


class Store:
    """The team's data. Whoever touches it holds `lock`."""

    def __init__(self, clock: Clock | None = None, settings: DigitalOnboardingSettings | None = None) -> None:
        self.clock = clock or Clock()
        self.settings = settings or DigitalOnboardingSettings()
        self.lock = threading.RLock()
        self.courier = Courier()
        self.contacts: dict[str, Contact] = {}
        self.id_by_unique_id: dict[str, str] = {}
        self.templates: dict[str, str] = {}
        self.objectives: dict[str, Objective] = {}
        self.completions: dict[tuple[str, str], datetime] = {}
        self.journeys: dict[str, Journey] = {}
        self.ignored_keys: list[tuple[str, str, Any]] = []
        self.left_out_of_export: set[str] = set()
        self.hook: Hook | None = None
        self.tokens: dict[str, datetime] = {}
        self.credentials_revoked = False
        self._dice = random.Random(21)
        for key in STANDARD_OBJECTIVES:
            self.add_objective_record(key, key.replace("-", " ").title(), None)

    def new_id(self) -> str:
        """A UUIDv4; the same sequence in every run."""
        while (found := str(uuid.UUID(int=self._dice.getrandbits(128), version=4))) in self.contacts:
            # An export of another sandbox brings ids of this very sequence along.
            pass
        return found

    def add_objective_record(self, key: str, name: str, team_id: str | None) -> Objective:
        """Store an objective under its key."""
        self.objectives[key] = Objective(self.new_id(), key, name, team_id)
        return self.objectives[key]

    def find(self, unique_id: str) -> Contact | None:
        """The contact with exactly this unique_id."""
        contact_id = self.id_by_unique_id.get(unique_id)
        return self.contacts[contact_id] if contact_id else None
