"""What OnVoard's answers say, as values. Fields are named as the mirror's columns: `*_datetime` is `*_at`, aware and
in UTC.

None is null, missing or of an unusable type; `raw`, the untouched payload, tells these apart. Enums are kept as text,
since an answer may hold a value that the document does not know. `repr` shows the id alone: the rest is personal.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from service.platforms.payload import model


class _Quiet:
    """A repr without personal data."""

    __slots__ = ()

    def __repr__(self) -> str:
        key = "product_id" if isinstance(self, ProductReviewsSummary) else "id"
        return f"<{type(self).__name__} {getattr(self, key)}>"


@model
class Contact(_Quiet):
    """`lists`, `tags`, `segments`: objects with `id` and `name`. `properties`: by key, custom ones with their
    `custom_` prefix."""

    id: str
    email: str | None
    name: str | None
    phone: str | None
    accepts_marketing_emails: bool | None
    suppressed: bool | None
    email_sendable: bool | None
    email_unsubscribed: bool | None
    email_marked_as_spam: bool | None
    email_hard_bounced: bool | None
    email_soft_bounced_count: int | None
    email_double_optin_status: str | None
    email_double_opted_in: bool | None
    created_at: datetime | None
    modified_at: datetime | None
    suppressed_at: datetime | None
    lists: list[dict[str, Any]] | None
    tags: list[dict[str, Any]] | None
    segments: list[dict[str, Any]] | None
    properties: dict[str, Any] | None
    raw: dict[str, Any]


@model
class ContactPropertyType(_Quiet):
    id: str
    key: str | None
    label: str | None
    helper_text: str | None
    field_type: str | None
    value_type: str | None
    definition_type: str | None
    raw: dict[str, Any]


@model
class Activity(_Quiet):
    """`type` is the accessor of its activity type (`email_opened`, `custom.wishlist_item_added`), not an id."""

    id: str
    contact_id: str | None
    contact_email: str | None
    type: str | None
    occurred_at: datetime | None
    record_data: dict[str, Any] | None
    raw: dict[str, Any]


@model
class ActivityType(_Quiet):
    """`resource_id`, `accessor` and `name` are those of its resource, which is whole in `resource`."""

    id: str
    resource_id: str | None
    accessor: str | None
    name: str | None
    descriptor_template: str | None
    resource: dict[str, Any] | None
    raw: dict[str, Any]


@model
class Resource(_Quiet):
    id: str
    namespace: str | None
    key: str | None
    accessor: str | None
    name: str | None
    helper_text: str | None
    type: str | None
    kind: str | None
    icon_type: str | None
    icon_class: str | None
    icon_media: dict[str, Any] | None
    raw: dict[str, Any]


@model
class ResourcePropertyType(_Quiet):
    id: str
    key: str | None
    label: str | None
    helper_text: str | None
    field_type: str | None
    value_type: str | None
    resource_id: str | None
    resource_accessor: str | None
    raw: dict[str, Any]


@model
class ResourceRecord(_Quiet):
    id: str
    resource_id: str | None
    resource_accessor: str | None
    context_id: str | None
    created_at: datetime | None
    data: dict[str, Any] | None
    raw: dict[str, Any]


@model
class Review(_Quiet):
    """`product_*` and `reviewer_*` are the document's nested objects laid flat; `assets` is as it came."""

    id: str
    title: str | None
    content: str | None
    rating: float | None
    entity: str | None
    status: str | None
    is_verified: bool | None
    product_id: str | None
    product_external_id: str | None
    product_name: str | None
    product_url: str | None
    product_image_url: str | None
    reviewer_id: str | None
    reviewer_contact_id: str | None
    reviewer_email: str | None
    reviewer_display_name: str | None
    num_upvotes: int | None
    created_at: datetime | None
    reply_at: datetime | None
    reply_html: str | None
    assets: list[dict[str, Any]] | None
    raw: dict[str, Any]


@model
class ProductReviewsSummary(_Quiet):
    product_id: str
    product_external_id: str | None
    product_name: str | None
    last_reviewed_at: datetime | None
    num_reviews: int | None
    avg_rating: float | None
    num_5_stars: int | None
    num_4_stars: int | None
    num_3_stars: int | None
    num_2_stars: int | None
    num_1_star: int | None
    raw: dict[str, Any]


@model
class Webhook(_Quiet):
    """The secret never comes back."""

    id: str
    active: bool | None
    url: str | None
    event_types: list[str] | None
    raw: dict[str, Any]
