"""The mirror's tables of what each platform said.

Names and columns of contract section 3, named as the platform names them, `*_datetime` as `*_at`; each keeps the
untouched payload in `raw` (law 10). `dirty` marks a contact that was not looked at since it changed, `unexamined` a
record at which no rule has looked since.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, Index, Integer, Table, Text

from service.store.schema import flag, metadata, where, where_false, where_true
from service.store.types import Json, UtcDateTime

onvoard_contacts = Table(
    "onvoard_contacts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("email", Text),
    Column("name", Text),
    Column("phone", Text),
    Column("accepts_marketing_emails", Boolean),
    Column("suppressed", Boolean),
    Column("email_sendable", Boolean),
    Column("email_unsubscribed", Boolean),
    Column("email_marked_as_spam", Boolean),
    Column("email_hard_bounced", Boolean),
    Column("email_soft_bounced_count", Integer),
    Column("email_double_optin_status", Text),
    Column("email_double_opted_in", Boolean),
    Column("created_at", UtcDateTime),
    Column("modified_at", UtcDateTime),
    Column("suppressed_at", UtcDateTime),
    Column("lists", Json),
    Column("tags", Json),
    Column("segments", Json),
    Column("properties", Json),
    Column("raw", Json),
    Column("deleted_at", UtcDateTime),
    # The bridge's own:
    Column("email_key", Text, index=True),  # normalised
    Column("link_unique_id", Text),  # the link property
    Column("content_hash", Text),  # everything but the times
    Column("edited_at", UtcDateTime),  # the newest time that no write of ours explains
    Column("own_modified_at", UtcDateTime),  # the time that our last write left behind
    Column("seen_at", UtcDateTime),
    flag("dirty"),
    flag("unexamined"),
    Index("ix_onvoard_contacts_dirty", "id", **where_true("dirty")),
    Index("ix_onvoard_contacts_unexamined", "id", **where_true("unexamined")),
    Index("ix_onvoard_contacts_created_at", "created_at"),
    Index("ix_onvoard_contacts_unseen", "id", **where("seen_at IS NULL")),
    Index("ix_onvoard_contacts_link_unique_id", "link_unique_id", **where("link_unique_id IS NOT NULL")),
)

onvoard_reviews = Table(
    "onvoard_reviews",
    metadata,
    Column("id", Text, primary_key=True),
    Column("title", Text),
    Column("content", Text),
    Column("rating", Float),
    Column("entity", Text),
    Column("status", Text),
    Column("is_verified", Boolean),
    Column("product_id", Text),
    Column("product_external_id", Text),
    Column("product_name", Text),
    Column("product_url", Text),
    Column("product_image_url", Text),
    Column("reviewer_id", Text),
    Column("reviewer_contact_id", Text, index=True),
    Column("reviewer_email", Text),
    Column("reviewer_display_name", Text),
    Column("num_upvotes", Integer),
    Column("created_at", UtcDateTime, index=True),
    Column("reply_at", UtcDateTime),
    Column("reply_html", Text),
    Column("assets", Json),
    Column("raw", Json),
    Column("deleted_at", UtcDateTime),
    flag("unexamined"),
    Index("ix_onvoard_reviews_unexamined", "id", **where_true("unexamined")),
    # For whoever counts, without the rows, which are ten times as large.
    Index("ix_onvoard_reviews_figures", "product_id", "status", "rating", "created_at", "deleted_at"),
)

onvoard_activities = Table(
    "onvoard_activities",
    metadata,
    Column("id", Text, primary_key=True),
    Column("contact_id", Text),
    Column("contact_email", Text),
    Column("type", Text),
    Column("occurred_at", UtcDateTime, index=True),
    Column("record_data", Json),
    Column("raw", Json),
    Column("sync_id", Text),  # of the bridge's own activities
    flag("unexamined"),
    Index("ix_onvoard_activities_unexamined", "id", **where_true("unexamined")),
    Index("ix_onvoard_activities_sync_id", "sync_id", **where("sync_id IS NOT NULL")),
    Index("ix_onvoard_activities_contact_id_occurred_at", "contact_id", "occurred_at"),
    Index("ix_onvoard_activities_type_occurred_at", "type", "occurred_at"),
)

onvoard_activity_types = Table(
    "onvoard_activity_types",
    metadata,
    Column("id", Text, primary_key=True),
    Column("resource_id", Text),
    Column("accessor", Text, index=True),
    Column("name", Text),
    Column("descriptor_template", Text),
    Column("resource", Json),
    Column("raw", Json),
)

onvoard_resources = Table(
    "onvoard_resources",
    metadata,
    Column("id", Text, primary_key=True),
    Column("namespace", Text),
    Column("key", Text),
    Column("accessor", Text),
    Column("name", Text),
    Column("helper_text", Text),
    Column("type", Text),
    Column("kind", Text),
    Column("icon_type", Text),
    Column("icon_class", Text),
    Column("icon_media", Json),
    Column("raw", Json),
)

onvoard_resource_property_types = Table(
    "onvoard_resource_property_types",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key", Text),
    Column("label", Text),
    Column("helper_text", Text),
    Column("field_type", Text),
    Column("value_type", Text),
    Column("resource_id", Text),
    Column("resource_accessor", Text),
    Column("raw", Json),
)

onvoard_resource_records = Table(
    "onvoard_resource_records",
    metadata,
    Column("id", Text, primary_key=True),
    Column("resource_id", Text, index=True),
    Column("resource_accessor", Text),
    Column("context_id", Text),
    Column("created_at", UtcDateTime, index=True),
    Column("data", Json),
    Column("raw", Json),
)

onvoard_contact_property_types = Table(
    "onvoard_contact_property_types",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key", Text),
    Column("label", Text),
    Column("helper_text", Text),
    Column("field_type", Text),
    Column("value_type", Text),
    Column("definition_type", Text),
    Column("raw", Json),
)

onvoard_product_reviews_summaries = Table(
    "onvoard_product_reviews_summaries",
    metadata,
    Column("product_id", Text, primary_key=True),
    Column("product_external_id", Text),
    Column("product_name", Text),
    Column("last_reviewed_at", UtcDateTime),
    Column("num_reviews", Integer),
    Column("avg_rating", Float),
    Column("num_5_stars", Integer),
    Column("num_4_stars", Integer),
    Column("num_3_stars", Integer),
    Column("num_2_stars", Integer),
    Column("num_1_star", Integer),
    Column("raw", Json),
)

onvoard_webhooks = Table(
    "onvoard_webhooks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("active", Boolean),
    Column("url", Text),
    Column("event_types", Json),
    Column("raw", Json),
)

digital_onboarding_contacts = Table(
    "digital_onboarding_contacts",
    metadata,
    Column("id", Text, index=True),  # unknown for an imported row that did not name it
    Column("unique_id", Text, primary_key=True),
    Column("name_title", Text),
    Column("name_first", Text),
    Column("name_last", Text),
    Column("name_suffix", Text),
    Column("address", Text),
    Column("address2", Text),
    Column("city", Text),
    Column("state", Text),
    Column("county", Text),
    Column("country", Text),
    Column("post_code", Text),
    Column("timezone", Text),
    Column("email", Text),
    Column("phone_home", Text),
    Column("phone_mobile", Text),
    Column("phone_work", Text),
    Column("unsubscribe_email", Boolean),
    Column("unsubscribe_sms", Boolean),
    Column("meta_public", Json),
    Column("inserted_at", UtcDateTime),
    Column("updated_at", UtcDateTime),
    Column("origin", Text),  # import, push, refresh, webhook
    Column("raw", Json),
    # The bridge's own:
    Column("email_key", Text, index=True),
    Column("unique_id_key", Text, index=True),
    Column("content_hash", Text),
    Column("edited_at", UtcDateTime),
    Column("refreshed_at", UtcDateTime, index=True),  # when the platform itself last answered
    Column("removed_at", UtcDateTime),  # it was gone there: a probe had to create it anew
    flag("created_by_bridge"),
    flag("announced"),  # its contact_added activity is on its way, or is not to be made
    flag("dirty"),
    Index("ix_digital_onboarding_contacts_dirty", "unique_id", **where_true("dirty")),
    Index("ix_digital_onboarding_contacts_unannounced", "inserted_at", **where_false("announced")),
)

digital_onboarding_templates = Table(
    "digital_onboarding_templates",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text),
    Column("raw", Json),
)

digital_onboarding_objectives = Table(
    "digital_onboarding_objectives",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key", Text, index=True),
    Column("name", Text),
    Column("team_id", Text),
    Column("raw", Json),
)

digital_onboarding_journeys = Table(
    "digital_onboarding_journeys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("unique_id", Text, index=True),
    Column("template_id", Text),
    Column("name", Text),
    Column("slug", Text),
    Column("web_client_url", Text),
    Column("started_at", UtcDateTime),
    Column("raw", Json),
    flag("announced"),
    Index("ix_digital_onboarding_journeys_unannounced", "started_at", **where_false("announced")),
)

digital_onboarding_objective_completions = Table(
    "digital_onboarding_objective_completions",
    metadata,
    Column("unique_id", Text, primary_key=True),
    Column("objective_key", Text, primary_key=True),
    Column("completed_at", UtcDateTime),  # null: completed, nobody said when
    Column("origin", Text),
    flag("announced"),
    Index("ix_digital_onboarding_objective_completions_unannounced", "completed_at", **where_false("announced")),
)
