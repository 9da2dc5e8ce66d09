"""The rows behind the analysts' views. Triggers keep them (`view_rows`): nobody else writes them."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, Index, Integer, Table, Text

from service.store.schema import metadata
from service.store.types import Id, UtcDateTime

people_rows = Table(
    "people_rows",
    metadata,
    Column("person_id", Id, primary_key=True, autoincrement=False),
    Column("email", Text, index=True),
    Column("unique_id", Text, index=True),
    Column("onvoard_contact_id", Text, index=True),
    Column("digital_onboarding_contact_id", Text),
    Column("name_first", Text),
    Column("name_last", Text),
    Column("phone", Text),
    Column("matched_by", Text),
    Column("linked_at", UtcDateTime),
    Column("status", Text),
    Column("email_opted_out", Boolean),
    Column("sms_opted_out", Boolean),
    Column("review_count", Integer),
    Column("avg_rating", Float),
    Column("last_activity_at", UtcDateTime),
    # For whoever counts, without the rows.
    Index("ix_people_rows_figures", "status", "email_opted_out", "sms_opted_out", "review_count"),
)

# Whose activities and reviews those of an OnVoard contact are.
contact_owners = Table(
    "contact_owners",
    metadata,
    Column("contact_id", Text, primary_key=True),
    Column("person_id", Id, nullable=False, index=True),
)

# Always empty, and locked on Postgres (`view_rows.turns`).
people_turn = Table("people_turn", metadata, Column("nobody", Integer))

MADE_BY_TRIGGERS = (people_rows, contact_owners)
