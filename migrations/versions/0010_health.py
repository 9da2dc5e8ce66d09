"""How far a run is, when each stream last succeeded, and what whoever is on call was told."""

import sqlalchemy as sa
from alembic import op

from service.store.types import Id, Json, UtcDateTime

revision = "0010_health"
down_revision = "0009_untold"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("progress", Json))
    op.add_column("runs", sa.Column("told_at", UtcDateTime))
    op.create_index("ix_runs_kind_id", "runs", ["kind", "id"])
    op.create_table(
        "streams",
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("succeeded_at", UtcDateTime),
        sa.Column("failing_since", UtcDateTime),
        sa.Column("failure", sa.Text),
    )
    op.create_table(
        "alerts",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("since", UtcDateTime, nullable=False),
        sa.Column("problem", Json, nullable=False),
        sa.Column("told_at", UtcDateTime),
        sa.Column("ended_at", UtcDateTime),
    )
    op.create_table(
        "alert_messages",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("due_at", UtcDateTime, nullable=False),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    for table in ("alert_messages", "alerts", "streams"):
        op.drop_table(table)
    op.drop_index("ix_runs_kind_id", "runs")
    op.drop_column("runs", "told_at")
    op.drop_column("runs", "progress")
