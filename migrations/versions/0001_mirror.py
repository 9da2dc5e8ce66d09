"""The mirror: what each platform said, what was agreed, what is still to be said, and the views on them."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from service.store.types import Id, Json, UtcDateTime

revision = "0001_mirror"
down_revision = None
branch_labels = None
depends_on = None

# fmt: off
VIEWS = ("people", "reviews", "activities", "field_history")


def upgrade() -> None:
    onvoard()
    digital_onboarding()
    people()
    work()
    for statement in (Path(__file__).parents[1] / "sql" / "0001_views.sql").read_text().split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW {view}")
    for table in reversed(TABLES):
        op.drop_table(table)


def key(name):
    return sa.Column(name, sa.Text, primary_key=True)


def serial():
    return sa.Column("id", Id, primary_key=True, autoincrement=True)


def person():
    whose = sa.ForeignKey("persons.id", ondelete="CASCADE")
    return sa.Column("person_id", Id, whose, primary_key=True, autoincrement=False)


def columns(kind, *names, nullable=True, index=False):
    return [sa.Column(name, kind, nullable=nullable, index=index) for name in names]


def flag(name):
    return sa.Column(name, sa.Boolean, nullable=False, server_default=sa.text("false"))


def partial_index(name, table, fields, where, postgresql=None):
    op.create_index(
        name, table, fields, sqlite_where=sa.text(where), postgresql_where=sa.text(postgresql or where)
    )


def onvoard() -> None:
    op.create_table(
        "onvoard_contacts", key("id"), *columns(sa.Text, "email", "name", "phone"),
        *columns(sa.Boolean, "accepts_marketing_emails", "suppressed", "email_sendable", "email_unsubscribed"),
        *columns(sa.Boolean, "email_marked_as_spam", "email_hard_bounced"),
        sa.Column("email_soft_bounced_count", sa.Integer), sa.Column("email_double_optin_status", sa.Text),
        sa.Column("email_double_opted_in", sa.Boolean),
        *columns(UtcDateTime, "created_at", "modified_at", "suppressed_at"),
        *columns(Json, "lists", "tags", "segments", "properties", "raw"), sa.Column("deleted_at", UtcDateTime),
        *columns(sa.Text, "email_key", "link_unique_id", index=True), sa.Column("content_hash", sa.Text),
        *columns(UtcDateTime, "edited_at", "own_modified_at", "seen_at"), flag("dirty")
    )
    op.create_index("ix_onvoard_contacts_created_at", "onvoard_contacts", ["created_at"])
    partial_index("ix_onvoard_contacts_dirty", "onvoard_contacts", ["id"], "dirty = 1", "dirty")
    op.create_table(
        "onvoard_reviews", key("id"), *columns(sa.Text, "title", "content"), sa.Column("rating", sa.Float),
        *columns(sa.Text, "entity", "status"), sa.Column("is_verified", sa.Boolean),
        *columns(sa.Text, "product_id", "product_external_id", "product_name", "product_url", "product_image_url"),
        *columns(sa.Text, "reviewer_id"), sa.Column("reviewer_contact_id", sa.Text, index=True),
        *columns(sa.Text, "reviewer_email", "reviewer_display_name"), sa.Column("num_upvotes", sa.Integer),
        sa.Column("created_at", UtcDateTime, index=True), sa.Column("reply_at", UtcDateTime),
        sa.Column("reply_html", sa.Text), *columns(Json, "assets", "raw"), sa.Column("deleted_at", UtcDateTime)
    )
    op.create_table(
        "onvoard_activities", key("id"), *columns(sa.Text, "contact_id", "contact_email", "type"),
        sa.Column("occurred_at", UtcDateTime, index=True), *columns(Json, "record_data", "raw"),
        sa.Column("sync_id", sa.Text, index=True)
    )
    op.create_index("ix_onvoard_activities_contact_id_occurred_at", "onvoard_activities", ["contact_id", "occurred_at"])
    op.create_table(
        "onvoard_activity_types", key("id"), sa.Column("resource_id", sa.Text),
        sa.Column("accessor", sa.Text, index=True), *columns(sa.Text, "name", "descriptor_template"),
        *columns(Json, "resource", "raw")
    )
    op.create_table(
        "onvoard_resources", key("id"),
        *columns(sa.Text, "namespace", "key", "accessor", "name", "helper_text", "type", "kind", "icon_type"),
        *columns(sa.Text, "icon_class"), *columns(Json, "icon_media", "raw")
    )
    op.create_table(
        "onvoard_resource_property_types", key("id"),
        *columns(sa.Text, "key", "label", "helper_text", "field_type", "value_type", "resource_id"),
        *columns(sa.Text, "resource_accessor"), sa.Column("raw", Json)
    )
    op.create_table(
        "onvoard_resource_records", key("id"), sa.Column("resource_id", sa.Text, index=True),
        *columns(sa.Text, "resource_accessor", "context_id"), sa.Column("created_at", UtcDateTime),
        *columns(Json, "data", "raw")
    )
    op.create_table(
        "onvoard_contact_property_types", key("id"),
        *columns(sa.Text, "key", "label", "helper_text", "field_type", "value_type", "definition_type"),
        sa.Column("raw", Json)
    )
    op.create_table(
        "onvoard_product_reviews_summaries", key("product_id"),
        *columns(sa.Text, "product_external_id", "product_name"), sa.Column("last_reviewed_at", UtcDateTime),
        sa.Column("num_reviews", sa.Integer), sa.Column("avg_rating", sa.Float),
        *columns(sa.Integer, "num_5_stars", "num_4_stars", "num_3_stars", "num_2_stars", "num_1_star"),
        sa.Column("raw", Json)
    )
    op.create_table(
        "onvoard_webhooks", key("id"), sa.Column("active", sa.Boolean), sa.Column("url", sa.Text),
        *columns(Json, "event_types", "raw")
    )


def digital_onboarding() -> None:
    op.create_table(
        "digital_onboarding_contacts", sa.Column("id", sa.Text, index=True), key("unique_id"),
        *columns(sa.Text, "name_title", "name_first", "name_last", "name_suffix", "address", "address2", "city"),
        *columns(sa.Text, "state", "county", "country", "post_code", "timezone", "email", "phone_home"),
        *columns(sa.Text, "phone_mobile", "phone_work"), *columns(sa.Boolean, "unsubscribe_email", "unsubscribe_sms"),
        sa.Column("meta_public", Json), *columns(UtcDateTime, "inserted_at", "updated_at"),
        sa.Column("origin", sa.Text), sa.Column("raw", Json),
        *columns(sa.Text, "email_key", "unique_id_key", index=True), sa.Column("content_hash", sa.Text),
        sa.Column("edited_at", UtcDateTime), sa.Column("refreshed_at", UtcDateTime, index=True),
        sa.Column("removed_at", UtcDateTime), flag("created_by_bridge"), flag("announced"), flag("dirty")
    )
    partial_index(
        "ix_digital_onboarding_contacts_dirty", "digital_onboarding_contacts", ["unique_id"],
        "dirty = 1", "dirty"
    )
    op.create_table(
        "digital_onboarding_templates", key("id"), sa.Column("name", sa.Text), sa.Column("raw", Json)
    )
    op.create_table(
        "digital_onboarding_objectives", key("id"), sa.Column("key", sa.Text, index=True),
        *columns(sa.Text, "name", "team_id"), sa.Column("raw", Json)
    )
    op.create_table(
        "digital_onboarding_journeys", key("id"), sa.Column("unique_id", sa.Text, index=True),
        *columns(sa.Text, "template_id", "name", "slug", "web_client_url"), sa.Column("started_at", UtcDateTime),
        sa.Column("raw", Json), flag("announced")
    )
    op.create_table(
        "digital_onboarding_objective_completions", key("unique_id"), key("objective_key"),
        sa.Column("completed_at", UtcDateTime), sa.Column("origin", sa.Text), flag("announced")
    )


def people() -> None:
    op.create_table(
        "persons", serial(), sa.Column("onvoard_contact_id", sa.Text, unique=True),
        sa.Column("unique_id", sa.Text, unique=True), sa.Column("matched_by", sa.Text),
        *columns(UtcDateTime, "linked_at", "settled_at"),
        sa.Column("state", sa.Text, nullable=False, server_default="active"),
        sa.Column("conflict_id", Id, index=True), sa.Column("former_onvoard_contact_id", sa.Text, index=True),
        sa.Column("created_at", UtcDateTime),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "bases", person(), *columns(Json, "onvoard", "digital_onboarding", nullable=False),
        sa.Column("agreed_at", UtcDateTime)
    )
    op.create_table(
        "tombstones", person(), *columns(sa.Text, "onvoard_contact_id", "digital_onboarding_id", index=True),
        sa.Column("unique_id", sa.Text), *columns(sa.Text, "email_hash", "unique_id_hash", index=True),
        sa.Column("erased_at", UtcDateTime)
    )
    op.create_table(
        "conflicts", serial(), sa.Column("person_id", Id, index=True), sa.Column("kind", sa.Text, nullable=False),
        sa.Column("field", sa.Text), sa.Column("status", sa.Text, nullable=False, index=True),
        *columns(sa.Text, "reason", "onvoard_value", "digital_onboarding_value", "kept"),
        *columns(UtcDateTime, "created_at", "resolved_at"), sa.Column("resolved_by", sa.Text), sa.Column("run_id", Id),
        sqlite_autoincrement=True,
    )


def work() -> None:
    op.create_table(
        "outbox", serial(), sa.Column("person_id", Id, index=True),
        *columns(sa.Text, "platform", "operation", nullable=False), sa.Column("payload", Json, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"), sa.Column("last_error", sa.Text),
        *columns(UtcDateTime, "created_at", "updated_at"), sa.Column("run_id", Id, index=True),
        sa.Column("lane", sa.Integer, nullable=False), sa.Column("target", sa.Text),
        *columns(Json, "details", "basis"), sa.Column("fingerprint", sa.Text, index=True),
        sa.Column("sync_id", sa.Text, unique=True),
        sqlite_autoincrement=True,
    )
    partial_index("ix_outbox_dead", "outbox", ["person_id"], "status = 'dead'")
    op.create_index("ix_outbox_status_platform_lane_id", "outbox", ["status", "platform", "lane", "id"])
    op.create_table(
        "holds", key("platform"), sa.Column("since", UtcDateTime, nullable=False),
        *columns(sa.Integer, "changed", "linked", nullable=False), sa.Column("reason", sa.Text, nullable=False),
        sa.Column("run_id", Id)
    )
    op.create_table(
        "changes", serial(), *columns(Id, "run_id", "person_id", index=True),
        sa.Column("platform", sa.Text, nullable=False), *columns(sa.Text, "field", "old_value", "new_value", "rule"),
        sa.Column("at", UtcDateTime), sa.Column("outbox_id", Id),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "cursors", key("stream"), sa.Column("value", sa.Text), sa.Column("updated_at", UtcDateTime)
    )
    op.create_table(
        "windows", serial(), sa.Column("stream", sa.Text, nullable=False),
        *columns(UtcDateTime, "lower", "upper", "reached", nullable=False), flag("done"),
        sa.UniqueConstraint("stream", "upper"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "runs", serial(), sa.Column("kind", sa.Text, nullable=False),
        *columns(UtcDateTime, "started_at", "finished_at"), sa.Column("outcome", sa.Text), sa.Column("counts", Json),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "webhook_events", key("id"), sa.Column("platform", sa.Text, nullable=False), sa.Column("type", sa.Text),
        sa.Column("status", sa.Text, nullable=False), sa.Column("reason", sa.Text), sa.Column("payload", Json),
        *columns(UtcDateTime, "received_at", "processed_at")
    )
    op.create_table(
        "accounts", key("platform"), *columns(sa.Text, "base_url", "fingerprint", nullable=False),
        sa.Column("since", UtcDateTime)
    )
    op.create_table(
        "leases", key("name"), sa.Column("owner", sa.Text, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False)
    )
    op.create_table(
        "facts", key("key"), sa.Column("value", sa.Text, nullable=False)
    )


TABLES = (
    "onvoard_contacts", "onvoard_reviews", "onvoard_activities", "onvoard_activity_types", "onvoard_resources",
    "onvoard_resource_property_types", "onvoard_resource_records", "onvoard_contact_property_types",
    "onvoard_product_reviews_summaries", "onvoard_webhooks", "digital_onboarding_contacts",
    "digital_onboarding_templates", "digital_onboarding_objectives", "digital_onboarding_journeys",
    "digital_onboarding_objective_completions", "persons", "bases", "tombstones", "conflicts", "outbox", "holds",
    "changes", "cursors", "windows", "runs", "webhook_events", "accounts", "leases", "facts",
)
