"""All of the mirror's tables by one name: what each platform said, what was agreed, what is still to be said."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, Table, Text, UniqueConstraint

from service.store.health_tables import alert_messages, alerts, streams
from service.store.platform_tables import (
    digital_onboarding_contacts,
    digital_onboarding_journeys,
    digital_onboarding_objective_completions,
    digital_onboarding_objectives,
    digital_onboarding_templates,
    onvoard_activities,
    onvoard_activity_types,
    onvoard_contact_property_types,
    onvoard_contacts,
    onvoard_product_reviews_summaries,
    onvoard_resource_property_types,
    onvoard_resource_records,
    onvoard_resources,
    onvoard_reviews,
    onvoard_webhooks,
)
from service.store.rule_tables import loader_rows, loader_states, rule_firings, rule_members, rule_states
from service.store.schema import flag, metadata, where
from service.store.types import Id, Json, UtcDateTime
from service.store.view_tables import contact_owners, people_rows

__all__ = [
    "Table",
    "accounts",
    "alert_messages",
    "alerts",
    "bases",
    "changes",
    "conflicts",
    "contact_owners",
    "cursors",
    "digital_onboarding_contacts",
    "digital_onboarding_journeys",
    "digital_onboarding_objective_completions",
    "digital_onboarding_objectives",
    "digital_onboarding_templates",
    "facts",
    "holds",
    "leases",
    "loader_rows",
    "loader_states",
    "metadata",
    "onvoard_activities",
    "onvoard_activity_types",
    "onvoard_contact_property_types",
    "onvoard_contacts",
    "onvoard_product_reviews_summaries",
    "onvoard_resource_property_types",
    "onvoard_resource_records",
    "onvoard_resources",
    "onvoard_reviews",
    "onvoard_webhooks",
    "opt_outs",
    "outbox",
    "outbox_attempts",
    "people_rows",
    "persons",
    "rates",
    "rule_firings",
    "rule_members",
    "rule_states",
    "runs",
    "separations",
    "streams",
    "surprises",
    "sweep_slices",
    "tallies",
    "tombstones",
    "verifications",
    "webhook_events",
    "windows",
]

persons = Table(
    "persons",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("onvoard_contact_id", Text, unique=True),
    Column("unique_id", Text, unique=True),  # of the Digital Onboarding contact
    Column("matched_by", Text),
    Column("linked_at", UtcDateTime),
    Column("settled_at", UtcDateTime),  # when both sides first agreed: from then on the brake counts this person
    Column("state", Text, nullable=False, server_default="active"),  # active, suppressed, erased
    Column("conflict_id", Id, index=True),  # the open conflict that freezes this person
    Column("former_onvoard_contact_id", Text, index=True),  # deleted there: nobody is created for it again
    Column("created_at", UtcDateTime),
    sqlite_autoincrement=True,
)

bases = Table(
    "bases",
    metadata,
    Column("person_id", Id, ForeignKey("persons.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("onvoard", Json, nullable=False),
    Column("digital_onboarding", Json, nullable=False),
    Column("agreed_at", UtcDateTime),
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("person_id", Id, ForeignKey("persons.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("onvoard_contact_id", Text, index=True),
    Column("digital_onboarding_id", Text, index=True),
    Column("unique_id", Text),  # only one that is no address
    Column("email_hash", Text, index=True),
    Column("unique_id_hash", Text, index=True),
    Column("erased_at", UtcDateTime),
)

conflicts = Table(
    "conflicts",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("person_id", Id, index=True),
    Column("kind", Text, nullable=False),
    Column("field", Text),
    Column("status", Text, nullable=False, index=True),  # open, resolved
    Column("reason", Text),
    Column("onvoard_value", Text),
    Column("digital_onboarding_value", Text),
    Column("kept", Text),
    Column("created_at", UtcDateTime),
    Column("resolved_at", UtcDateTime),
    Column("resolved_by", Text),
    Column("run_id", Id),
    Column("note", Text),  # why the person who resolved it did so
    sqlite_autoincrement=True,
)

# Every opt-out that a platform ever showed: it belongs to that contact and to the address that it had.
opt_outs = Table(
    "opt_outs",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("platform", Text, nullable=False),
    Column("contact", Text, nullable=False),  # contact id, or unique_id
    Column("channel", Text, nullable=False),  # email, sms
    Column("email_key", Text, index=True),  # normalised; null once the person is erased
    Column("source", Text, nullable=False),  # unsubscribed, spam, hard_bounce, suppressed
    Column("seen_at", UtcDateTime, nullable=False),
    Column("lifted_at", UtcDateTime),  # the platform showed an opt-in again
    Column("tell_at", UtcDateTime),  # when it began on Digital Onboarding, while OnVoard has not been told
    Index("ix_opt_outs_contact_platform_channel", "contact", "platform", "channel"),
    Index("ix_opt_outs_untold", "id", **where("tell_at IS NOT NULL")),
    sqlite_autoincrement=True,
)

# Contacts that a person has told apart: they are not linked to each other by rule.
separations = Table(
    "separations",
    metadata,
    Column("onvoard_contact_id", Text, primary_key=True),
    Column("unique_id", Text, primary_key=True, index=True),
    Column("since", UtcDateTime, nullable=False),
    Column("reason", Text),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("person_id", Id, index=True),
    Column("platform", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("payload", Json, nullable=False),
    Column("status", Text, nullable=False),  # pending, sending, unknown, held, done, dead, cancelled
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("last_error", Text),
    Column("created_at", UtcDateTime),
    Column("updated_at", UtcDateTime),
    # The bridge's own:
    Column("run_id", Id, index=True),
    Column("lane", Integer, nullable=False),  # of service.store.outbox.Lane
    Column("target", Text),  # the id on the platform: contact id, or unique_id
    Column("details", Json),  # [{field, old, new, why}]: what a plan shows and the history keeps
    Column("basis", Json),  # what the other side held, by field: its base once this is confirmed
    Column("fingerprint", Text, index=True),  # of what is sent: a dead letter is not sent again unchanged
    Column("sync_id", Text, unique=True),  # what is said once and for all (law 5)
    Column("cause", Text),  # `rule NAME` or `loader NAME`, where one asked for it
    Index("ix_outbox_status_platform_lane_id", "status", "platform", "lane", "id"),
    Index("ix_outbox_dead", "person_id", **where("status = 'dead'")),
    Index("ix_outbox_cause", "cause", "status", **where("cause IS NOT NULL")),
    Index("ix_outbox_opt_outs", "target", **where("lane = 0")),
    sqlite_autoincrement=True,
)

outbox_attempts = Table(
    "outbox_attempts",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("push_id", Id, ForeignKey("outbox.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("at", UtcDateTime, nullable=False),
    Column("status", Text, nullable=False),  # what the push became
    Column("reason", Text, nullable=False),
    sqlite_autoincrement=True,
)

holds = Table(
    "holds",
    metadata,
    Column("platform", Text, primary_key=True),
    Column("since", UtcDateTime, nullable=False),
    Column("changed", Integer, nullable=False),
    Column("linked", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("run_id", Id),
)

changes = Table(
    "changes",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("run_id", Id, index=True),
    Column("person_id", Id, index=True),
    Column("platform", Text, nullable=False),
    Column("field", Text),
    Column("old_value", Text),
    Column("new_value", Text),
    Column("rule", Text),
    Column("at", UtcDateTime, index=True),
    Column("outbox_id", Id),
    Column("source", Text),  # the platform whose value it is
    Column("said_at", UtcDateTime),  # when that record was edited, as far as it is known
    Column("losing_value", Text),  # what the other side had changed too, and lost
    sqlite_autoincrement=True,
)

cursors = Table(
    "cursors",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("value", Text),
    Column("updated_at", UtcDateTime),
)

windows = Table(
    "windows",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("stream", Text, nullable=False),
    Column("lower", UtcDateTime, nullable=False),
    Column("upper", UtcDateTime, nullable=False),
    Column("reached", UtcDateTime, nullable=False),  # everything newer is in the mirror
    flag("done"),
    UniqueConstraint("stream", "upper"),
    sqlite_autoincrement=True,
)

# Together the slices of a stream are all the time in which a known record was made.
sweep_slices = Table(
    "sweep_slices",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("stream", Text, nullable=False),
    Column("lower", UtcDateTime, nullable=False),
    Column("upper", UtcDateTime, nullable=False),
    Column("pages", Integer, nullable=False, server_default="0"),  # when it was last read
    Column("swept_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    UniqueConstraint("stream", "upper"),
    sqlite_autoincrement=True,
)

verifications = Table(
    "verifications",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("run_id", Id, nullable=False),
    Column("stream", Text, nullable=False),
    Column("checked", Integer, nullable=False),
    Column("different", Integer, nullable=False),
    Column("gone", Integer, nullable=False),  # in the mirror, and not on the platform
    Column("missing", Integer, nullable=False),  # on the platform, and not in the mirror
    Column("stale", Integer, nullable=False),  # those of the wrong ones that the mirror had only not heard of yet
    Column("drift", Float, nullable=False),  # the share that is wrong; `low` and `high` are its 95 % interval
    Column("low", Float, nullable=False),
    Column("high", Float, nullable=False),
    Column("complete", Boolean, nullable=False),  # everything was compared, not a sample
    Column("repaired", Boolean, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Index("ix_verifications_stream", "stream", "at"),
    sqlite_autoincrement=True,
)

runs = Table(
    "runs",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("outcome", Text),
    Column("counts", Json),
    Column("progress", Json),  # how far it is (`service.headway`), while it runs
    Column("told_at", UtcDateTime),  # when it last said so
    Index("ix_runs_kind_id", "kind", "id"),
    Index("ix_runs_kind_outcome_finished_at", "kind", "outcome", "finished_at"),
    sqlite_autoincrement=True,
)

# What all processes on this mirror have done since it was made, for the metrics: kept when runs and pushes are pruned.
tallies = Table(
    "tallies",
    metadata,
    Column("name", Text, primary_key=True),
    Column("label", Text, primary_key=True),
    Column("number", Float, nullable=False),
)

webhook_events = Table(
    "webhook_events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("platform", Text, nullable=False),
    Column("type", Text),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("payload", Json),
    Column("received_at", UtcDateTime),
    Column("processed_at", UtcDateTime),
    Column("subject", Text, index=True),  # the contact that it is about, as its platform names it
    Index("ix_webhook_events_pending", "received_at", **where("status = 'pending'")),
)

surprises = Table(
    "surprises",
    metadata,
    Column("platform", Text, primary_key=True),
    Column("what", Text, primary_key=True),  # a kind, never a value: "contact.rating: expected number, got text"
    Column("times", Integer, nullable=False),
    Column("first_seen_at", UtcDateTime, nullable=False),
    Column("last_seen_at", UtcDateTime, nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("platform", Text, primary_key=True),
    Column("base_url", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),  # of the credential; the credential itself is nowhere
    Column("since", UtcDateTime),
)

# What all processes share that ask a platform: a mirror belongs to one account of each (law 11).
rates = Table(
    "rates",
    metadata,
    Column("platform", Text, primary_key=True),
    Column("taken_until", UtcDateTime, nullable=False),  # up to here the rate belongs to somebody
    Column("paused_until", UtcDateTime),  # the platform wants to be left alone
    Column("updated_at", UtcDateTime, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)

facts = Table(
    "facts",
    metadata,
    Column("key", Text, primary_key=True),  # first_sync_at, hash_key
    Column("value", Text, nullable=False),
)
