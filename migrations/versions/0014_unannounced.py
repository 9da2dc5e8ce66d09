"""What OnVoard has not been told of is found without a walk through all journeys and completions."""

import sqlalchemy as sa
from alembic import op

revision = "0014_unannounced"
down_revision = "0013_opt_outs"
branch_labels = None
depends_on = None

DATED_BY = {"digital_onboarding_journeys": "started_at", "digital_onboarding_objective_completions": "completed_at"}


def upgrade() -> None:
    for table, column in DATED_BY.items():
        op.create_index(
            f"ix_{table}_unannounced", table, [column],
            sqlite_where=sa.text("announced = 0"), postgresql_where=sa.text("NOT announced"),
        )  # fmt: skip


def downgrade() -> None:
    for table in DATED_BY:
        op.drop_index(f"ix_{table}_unannounced", table)
