"""What was done since the mirror was made, for the metrics; and how runs ended, without reading all of them."""

import sqlalchemy as sa
from alembic import op

revision = "0011_tallies"
down_revision = "0010_health"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tallies",
        sa.Column("name", sa.Text),
        sa.Column("label", sa.Text),
        sa.Column("number", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("name", "label", name="pk_tallies"),
    )
    op.create_index("ix_runs_kind_outcome_finished_at", "runs", ["kind", "outcome", "finished_at"])


def downgrade() -> None:
    op.drop_index("ix_runs_kind_outcome_finished_at", "runs")
    op.drop_table("tallies")
