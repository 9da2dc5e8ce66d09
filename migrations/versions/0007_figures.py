"""Indexes by which analysts count reviews and activities, and find the newest changes, without reading the rows;
for who is to be read again, or announced; and two that no longer hold the rows which have nothing in that column."""

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
    op.create_index(
        "ix_onvoard_contacts_unseen", "onvoard_contacts", ["id"],
        sqlite_where=sa.text("seen_at IS NULL"), postgresql_where=sa.text("seen_at IS NULL"),
    )  # fmt: skip
    op.create_index(
        "ix_digital_onboarding_contacts_unannounced", "digital_onboarding_contacts", ["inserted_at"],
        sqlite_where=sa.text("announced = 0"), postgresql_where=sa.text("NOT announced"),
    )  # fmt: skip
    for table, column in FILLED.items():
        filled = sa.text(f"{column} IS NOT NULL")
        op.drop_index(f"ix_{table}_{column}", table)
        op.create_index(f"ix_{table}_{column}", table, [column], sqlite_where=filled, postgresql_where=filled)


def downgrade() -> None:
    for table, column in FILLED.items():
        op.drop_index(f"ix_{table}_{column}", table)
        op.create_index(f"ix_{table}_{column}", table, [column])
    op.drop_index("ix_digital_onboarding_contacts_unannounced", "digital_onboarding_contacts")
    op.drop_index("ix_onvoard_contacts_unseen", "onvoard_contacts")
    op.drop_index("ix_onvoard_reviews_figures", "onvoard_reviews")
    op.drop_index("ix_onvoard_activities_type_occurred_at", "onvoard_activities")
    op.drop_index("ix_changes_at", "changes")
