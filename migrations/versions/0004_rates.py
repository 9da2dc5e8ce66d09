"""The rate that all processes share which ask a platform."""

import sqlalchemy as sa
from alembic import op

from service.store.types import UtcDateTime

revision = "0004_rates"
down_revision = "0003_decisions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rates",
        sa.Column("platform", sa.Text, primary_key=True),
        sa.Column("taken_until", UtcDateTime, nullable=False),
        sa.Column("paused_until", UtcDateTime),
        sa.Column("updated_at", UtcDateTime, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("rates")
