"""Everything that the emulated OnVoard account holds: plain records in dictionaries by id."""

from __future__ import annotations

import itertools
import random
import string
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service.sandbox.clock import Clock
from service.sandbox.courier import Courier
from service.sandbox.onvoard.settings import OnVoardSettings

ALPHABET = string.ascii_lowercase + string.digits


@dataclass
class Contact:
    """A contact; lists and tags by id, `properties` without what is derived. Times are aware UTC."""

    id: str
    seq: int
    email: str
    created: datetime
    modified: datetime
    name: str = ""
    phone: str = ""
    accepts_marketing_emails: bool = False
    email_unsubscribed: bool = False
    email_marked_as_spam: bool = False
    email_hard_bounced: bool = False
    email_soft_bounced_count: int = 0
    email_double_optin_status: str = "NOT_SET"
    suppressed_at: datetime | None = None
    lists: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    properties: dict[str, Any] = field(default_factory=dict)


@dataclass
class PropertyType:
    """Of a contact (`resource_id` None) or of a resource; `field_type` is "" where unset."""

    id: str
    seq: int
    key: str
    label: str
    value_type: str
    field_type: str = ""
    helper_text: str = ""
    definition_type: str = "CUSTOM"
    resource_id: str | None = None


@dataclass
class Resource:
    """A resource; `icon_media` is an Image Media Object or None."""

    id: str
    seq: int
    namespace: str
    key: str
    name: str
    type: str
    kind: str
    icon_type: str
    icon_class: str = ""
    icon_media: dict[str, Any] | None = None
    helper_text: str = ""

    @property
    def accessor(self) -> str:
        """`key`, or `namespace.key`."""
        return f"{self.namespace}.{self.key}" if self.namespace else self.key


@dataclass
class ActivityType:
    """One-to-one with its resource."""

    id: str
    seq: int
    resource_id: str
    descriptor_template: str = ""


@dataclass
class Activity:
    """A happening; `at` in whole seconds, `data` without the four augmented keys."""

    id: str
    seq: int
    contact_id: str
    type: str
    at: datetime
    data: dict[str, Any]


@dataclass
class ResourceRecord:
    """A record of a resource of kind OBJECT."""

    id: str
    seq: int
    resource_id: str
    context_id: str
    created: datetime
    data: dict[str, Any]


@dataclass
class Product:
    """A product of the shop; the API shows products only inside reviews and summaries."""

    id: str
    seq: int
    external_id: str
    name: str
    url: str
    image_url: str
    group_id: str | None = None


@dataclass
class Review:
    """A review; `reviewer_id` by contact."""

    id: str
    seq: int
    contact_id: str
    reviewer_id: str
    display_name: str
    content: str
    rating: float
    entity: str
    status: str
    created: datetime
    title: str = ""
    product_id: str | None = None
    is_verified: bool = False
    num_upvotes: int = 0
    reply_at: datetime | None = None
    reply_html: str = ""
    assets: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Webhook:
    """A webhook; `failures` in a row."""

    id: str
    seq: int
    url: str
    event_types: list[str]
    active: bool = True
    secret: str = ""
    failures: int = 0


class Store:
    """The account's data. Whoever touches it holds `lock`."""

    def __init__(self, clock: Clock | None = None, settings: OnVoardSettings | None = None) -> None:
        self.clock = clock or Clock()
        self.settings = settings or OnVoardSettings()
        self.lock = threading.RLock()
        self.courier = Courier()
        self.contacts: dict[str, Contact] = {}
        self.contact_by_email: dict[str, str] = {}
        self.lists: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.segments: dict[str, tuple[str, Callable[[Contact], bool]]] = {}
        self.contact_property_types: dict[str, PropertyType] = {}
        self.resources: dict[str, Resource] = {}
        self.resource_property_types: dict[str, PropertyType] = {}
        self.resource_records: dict[str, ResourceRecord] = {}
        self.activity_types: dict[str, ActivityType] = {}
        self.activities: dict[str, Activity] = {}
        self.products: dict[str, Product] = {}
        self.reviews: dict[str, Review] = {}
        self.reviewers: dict[str, str] = {}
        self.webhooks: dict[str, Webhook] = {}
        self.optin_mails: list[str] = []
        self.back_in_stock: dict[tuple[str, str], dict[str, Any]] = {}
        self.prompts: dict[str, str] = {}
        self.prompt_responses: dict[str, dict[str, Any]] = {}
        self._dice = random.Random(20)
        self._numbers = itertools.count(1)

    def new_id(self, prefix: str, length: int = 15) -> str:
        """`prefix` and random lower-case letters and digits; the same sequence in every run."""
        return prefix + "".join(self._dice.choices(ALPHABET, k=length))

    def next_seq(self) -> int:
        """A growing number that breaks ties in "newest first"."""
        return next(self._numbers)

    def find_contact(self, email: str) -> Contact | None:
        """The contact with this e-mail, whatever its case."""
        contact_id = self.contact_by_email.get(email.strip().lower())
        return self.contacts[contact_id] if contact_id else None

    def find_resource(self, accessor: str) -> Resource | None:
        """The resource with this accessor."""
        return next((r for r in self.resources.values() if r.accessor == accessor), None)
