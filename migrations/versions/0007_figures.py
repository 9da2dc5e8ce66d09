"""Indexes by which analysts count reviews and activities, and find the newest changes, without reading the rows; and
two that no longer hold the many rows which have nothing in that column."""

import sqlalchemy as sa
from alembic import op

revision = "0007_figures"
down_revision = "0006_content_hashes"
branch_labels = None
depends_on = None

FIGURES = ["product_id", "status", "rating", "created_at", "deleted_at"]
FILLED = {"onvoard_activities": "sync_id", "onvoard_contacts": "link_unique_id"}


def upgrade() -> None:
    op.create_index("ix_changes_at", "changes", ["at"])
    op.create_index("ix_onvoard_activities_type_occurred_at", "onvoard_activities", ["type", "occurred_at"])
    op.create_index("ix_onvoard_reviews_figures", "onvoard_reviews", FIGURES)
    for table, column in FILLED.items():
        filled = sa.text(f"{column} IS NOT NULL")
        op.drop_index(f"ix_{table}_{column}", table)
        op.create_index(f"ix_{table}_{column}", table, [column], sqlite_where=filled, postgresql_where=filled)


def downgrade() -> None:
    for table, column in FILLED.items():
        op.drop_index(f"ix_{table}_{column}", table)
        op.create_index(f"ix_{table}_{column}", table, [column])
    op.drop_index("ix_onvoard_reviews_figures", "onvoard_reviews")
    op.drop_index("ix_onvoard_activities_type_occurred_at", "onvoard_activities")
    op.drop_index("ix_changes_at", "changes")
