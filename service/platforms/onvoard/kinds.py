"""The kinds of record that OnVoard answers with: how each is read, and which fields its document knows; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from service.platforms.onvoard import enums
from service.platforms.onvoard.models import (
    Activity,
    ActivityType,
    Contact,
    ContactPropertyType,
    ProductReviewsSummary,
    Resource,
    ResourcePropertyType,
    ResourceRecord,
    Review,
    Webhook,
)
from service.platforms.payload import Fields, identity

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """One kind of record: its name in surprises, the key of its id, the fields of its document, and how to read it."""

    name: str
    id_key: str
    known: frozenset[str]
    read: Callable[[str, dict[str, Any], Fields], T]

    def parse(self, payload: dict[str, Any], surprises: Counter[str]) -> T:
        """For a payload that `identity` finds an id in; see `record_fault` and `parse_page`."""
        fields = Fields(self.name, payload, surprises)
        fields.note_new(self.known)
        return self.read(identity(payload, self.id_key) or "", payload, fields)


def _contact(id: str, raw: dict[str, Any], f: Fields) -> Contact:
    return Contact(
        id=id,
        email=f.text("email"),
        name=f.text("name"),
        phone=f.text("phone"),
        accepts_marketing_emails=f.flag("accepts_marketing_emails"),
        suppressed=f.flag("suppressed"),
        email_sendable=f.flag("email_sendable"),
        email_unsubscribed=f.flag("email_unsubscribed"),
        email_marked_as_spam=f.flag("email_marked_as_spam"),
        email_hard_bounced=f.flag("email_hard_bounced"),
        # In some of the document's examples, not among its attributes: no surprise either way.
        email_soft_bounced_count=f.integer("email_soft_bounced_count") if "email_soft_bounced_count" in raw else None,
        email_double_optin_status=f.choice("email_double_optin_status", enums.EmailDoubleOptinStatus),
        email_double_opted_in=f.flag("email_double_opted_in"),
        created_at=f.moment("created_datetime"),
        modified_at=f.moment("modified_datetime"),
        suppressed_at=f.moment("suppressed_datetime"),
        lists=f.objects("lists"),
        tags=f.objects("tags"),
        segments=f.objects("segments"),
        properties=f.mapping("properties"),
        raw=raw,
    )


def _contact_property_type(id: str, raw: dict[str, Any], f: Fields) -> ContactPropertyType:
    return ContactPropertyType(
        id=id,
        key=f.text("key"),
        label=f.text("label"),
        helper_text=f.text("helper_text"),
        field_type=f.choice("field_type", enums.PropertyFieldType),
        value_type=f.choice("value_type", enums.PropertyValueType),
        definition_type=f.choice("definition_type", enums.ContactPropertyDefinitionType),
        raw=raw,
    )


def _activity(id: str, raw: dict[str, Any], f: Fields) -> Activity:
    contact = f.inner("contact")
    return Activity(
        id=id,
        contact_id=contact.text("id"),
        contact_email=contact.text("email"),
        type=f.text("type"),
        occurred_at=f.moment("datetime"),
        record_data=f.mapping("record_data"),
        raw=raw,
    )


def _activity_type(id: str, raw: dict[str, Any], f: Fields) -> ActivityType:
    resource = f.inner("resource")
    return ActivityType(
        id=id,
        resource_id=resource.text("id"),
        accessor=resource.text("accessor"),
        name=resource.text("name"),
        descriptor_template=f.text("descriptor_template"),
        resource=raw["resource"] if isinstance(raw.get("resource"), dict) else None,
        raw=raw,
    )


def _resource(id: str, raw: dict[str, Any], f: Fields) -> Resource:
    return Resource(
        id=id,
        namespace=f.text("namespace"),
        key=f.text("key"),
        accessor=f.text("accessor"),
        name=f.text("name"),
        helper_text=f.text("helper_text"),
        type=f.choice("type", enums.ResourceType),
        kind=f.choice("kind", enums.ResourceKind),
        icon_type=f.choice("icon_type", enums.ResourceIconType),
        icon_class=f.text("icon_class"),
        icon_media=f.mapping("icon_media"),
        raw=raw,
    )


def _resource_property_type(id: str, raw: dict[str, Any], f: Fields) -> ResourcePropertyType:
    return ResourcePropertyType(
        id=id,
        key=f.text("key"),
        label=f.text("label"),
        helper_text=f.text("helper_text"),
        field_type=f.choice("field_type", enums.PropertyFieldType),
        value_type=f.choice("value_type", enums.PropertyValueType),
        resource_id=f.text("resource_id"),
        resource_accessor=f.text("resource_accessor"),
        raw=raw,
    )


def _resource_record(id: str, raw: dict[str, Any], f: Fields) -> ResourceRecord:
    return ResourceRecord(
        id=id,
        resource_id=f.text("resource_id"),
        resource_accessor=f.text("resource_accessor"),
        context_id=f.text("context_id"),
        created_at=f.moment("created_datetime"),
        data=f.mapping("data"),
        raw=raw,
    )


def _review(id: str, raw: dict[str, Any], f: Fields) -> Review:
    product, reviewer = f.inner("product"), f.inner("reviewer")
    contact = reviewer.inner("contact")
    return Review(
        id=id,
        title=f.text("title"),
        content=f.text("content"),
        rating=f.number("rating"),
        entity=f.choice("entity", enums.ReviewEntity),
        status=f.choice("status", enums.ReviewStatus),
        is_verified=f.flag("is_verified"),
        product_id=product.text("id"),
        product_external_id=product.text("external_id"),
        product_name=product.text("name"),
        product_url=product.text("url"),
        product_image_url=product.text("image_url"),
        reviewer_id=reviewer.text("id"),
        reviewer_contact_id=contact.text("id"),
        reviewer_email=contact.text("email"),
        reviewer_display_name=reviewer.text("display_name"),
        num_upvotes=f.integer("num_upvotes"),
        created_at=f.moment("created_datetime"),
        reply_at=f.moment("reply_datetime"),
        reply_html=f.text("reply_html"),
        assets=f.objects("assets"),
        raw=raw,
    )


def _product_reviews_summary(id: str, raw: dict[str, Any], f: Fields) -> ProductReviewsSummary:
    return ProductReviewsSummary(
        product_id=id,
        product_external_id=f.text("product_external_id"),
        product_name=f.text("product_name"),
        last_reviewed_at=f.moment("last_reviewed_datetime"),
        num_reviews=f.integer("num_reviews"),
        avg_rating=f.number("avg_rating"),
        num_5_stars=f.integer("num_5_stars"),
        num_4_stars=f.integer("num_4_stars"),
        num_3_stars=f.integer("num_3_stars"),
        num_2_stars=f.integer("num_2_stars"),
        num_1_star=f.integer("num_1_star"),
        raw=raw,
    )


def _webhook(id: str, raw: dict[str, Any], f: Fields) -> Webhook:
    return Webhook(id=id, active=f.flag("active"), url=f.text("url"), event_types=f.texts("event_types"), raw=raw)


def _kind(name: str, read: Callable[[str, dict[str, Any], Fields], T], known: str, id_key: str = "id") -> Kind[T]:
    return Kind(name, id_key, frozenset(known.split()), read)


CONTACTS = _kind(
    "contact",
    _contact,
    "id email name phone accepts_marketing_emails suppressed email_sendable email_unsubscribed "
    "email_marked_as_spam email_hard_bounced email_soft_bounced_count email_double_optin_status "
    "email_double_opted_in created_datetime modified_datetime suppressed_datetime lists tags segments "
    "properties",
)
CONTACT_PROPERTY_TYPES = _kind(
    "contact_property_type",
    _contact_property_type,
    "id key label helper_text field_type value_type definition_type",
)
ACTIVITIES = _kind(
    "contact_activity",
    _activity,
    "id contact type datetime record_data",
)
ACTIVITY_TYPES = _kind(
    "contact_activity_type",
    _activity_type,
    "id resource descriptor_template",
)
RESOURCES = _kind(
    "resource",
    _resource,
    "id namespace key accessor name helper_text type kind icon_type icon_class icon_media",
)
RESOURCE_PROPERTY_TYPES = _kind(
    "resource_property_type",
    _resource_property_type,
    "id key label helper_text field_type value_type resource_id resource_accessor",
)
RESOURCE_RECORDS = _kind(
    "resource_record",
    _resource_record,
    "id resource_id resource_accessor context_id created_datetime data",
)
REVIEWS = _kind(
    "review",
    _review,
    "id title content rating entity status is_verified product reviewer num_upvotes created_datetime "
    "reply_datetime reply_html assets",
)
SUMMARIES = _kind(
    "product_reviews_summary",
    _product_reviews_summary,
    "product_id product_external_id product_name last_reviewed_datetime num_reviews avg_rating num_5_stars "
    "num_4_stars num_3_stars num_2_stars num_1_star",
    id_key="product_id",
)
WEBHOOKS = _kind(
    "webhook",
    _webhook,
    "id active url event_types",
)
