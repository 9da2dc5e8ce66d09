"""How fresh the mirror is (slices of the rolling sweep, verifications), and why each attempt of a push failed."""

import sqlalchemy as sa
from alembic import op

from service.store.types import Id, UtcDateTime

revision = "0005_freshness"
down_revision = "0004_rates"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sweep_slices",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("lower", UtcDateTime, nullable=False),
        sa.Column("upper", UtcDateTime, nullable=False),
        sa.Column("pages", sa.Integer, nullable=False, server_default="0"),
        sa.Column("swept_at", UtcDateTime, nullable=False),
        sa.Column("due_at", UtcDateTime, nullable=False),
        sa.UniqueConstraint("stream", "upper"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "verifications",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("run_id", Id, nullable=False),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("checked", sa.Integer, nullable=False),
        sa.Column("different", sa.Integer, nullable=False),
        sa.Column("gone", sa.Integer, nullable=False),
        sa.Column("missing", sa.Integer, nullable=False),
        sa.Column("stale", sa.Integer, nullable=False),
        sa.Column("drift", sa.Float, nullable=False),
        sa.Column("low", sa.Float, nullable=False),
        sa.Column("high", sa.Float, nullable=False),
        sa.Column("complete", sa.Boolean, nullable=False),
        sa.Column("repaired", sa.Boolean, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_verifications_stream", "verifications", ["stream", "at"])
    op.create_table(
        "outbox_attempts",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("push_id", Id, sa.ForeignKey("outbox.id", ondelete="CASCADE"), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_attempts_push_id", "outbox_attempts", ["push_id"])
    op.create_index("ix_onvoard_resource_records_created_at", "onvoard_resource_records", ["created_at"])


def downgrade() -> None:
    op.drop_index("ix_onvoard_resource_records_created_at", "onvoard_resource_records")
    op.drop_table("outbox_attempts")
    op.drop_table("verifications")
    op.drop_table("sweep_slices")
