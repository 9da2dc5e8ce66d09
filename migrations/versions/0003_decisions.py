"""Opt-outs on record, people told apart by hand, why a conflict was resolved, and who said what a change carried."""

import sqlalchemy as sa
from alembic import op

from service.store.types import Id, UtcDateTime

revision = "0003_decisions"
down_revision = "0002_surprises"
branch_labels = None
depends_on = None

HISTORY = {
    "0001": """
SELECT c.person_id, c.platform, c.field, c.old_value, c.new_value, c.rule, c.run_id, c.at
FROM changes c""",
    "0003": """
SELECT
    c.person_id, c.platform, c.field, c.old_value, c.new_value, c.rule, c.run_id, c.at, c.source, c.said_at,
    c.losing_value
FROM changes c
UNION ALL
SELECT
    k.person_id, NULL AS platform, k.field, NULL AS old_value, NULL AS new_value, k.reason AS rule, k.run_id,
    k.created_at AS at, CASE WHEN k.onvoard_value IS NULL THEN 'digital_onboarding' ELSE 'onvoard' END AS source,
    NULL AS said_at, COALESCE(k.onvoard_value, k.digital_onboarding_value) AS losing_value
FROM conflicts k
WHERE k.kind = 'not_transferable'""",
}


def upgrade() -> None:
    op.create_table(
        "opt_outs",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("platform", sa.Text, nullable=False),
        sa.Column("contact", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("email_key", sa.Text, index=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("seen_at", UtcDateTime, nullable=False),
        sa.Column("lifted_at", UtcDateTime),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_opt_outs_contact_platform_channel", "opt_outs", ["contact", "platform", "channel"])
    op.create_table(
        "separations",
        sa.Column("onvoard_contact_id", sa.Text, primary_key=True),
        sa.Column("unique_id", sa.Text, primary_key=True, index=True),
        sa.Column("since", UtcDateTime, nullable=False),
        sa.Column("reason", sa.Text),
    )
    op.add_column("conflicts", sa.Column("note", sa.Text))
    op.execute("DROP VIEW field_history")
    for column in (sa.Column("source", sa.Text), sa.Column("said_at", UtcDateTime), sa.Column("losing_value", sa.Text)):
        op.add_column("changes", column)
    op.execute(f"CREATE VIEW field_history AS{HISTORY['0003']}")


def downgrade() -> None:
    op.execute("DROP VIEW field_history")
    for name in ("losing_value", "said_at", "source"):
        op.drop_column("changes", name)
    op.execute(f"CREATE VIEW field_history AS{HISTORY['0001']}")
    op.drop_column("conflicts", "note")
    op.drop_table("separations")
    op.drop_table("opt_outs")
