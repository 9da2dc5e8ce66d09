"""What rules and loaders have led to, who asked for a push, and which records no rule has looked at yet."""

import sqlalchemy as sa
from alembic import op

from service.store.types import Id, Json, UtcDateTime

revision = "0008_rules"
down_revision = "0007_figures"
branch_labels = None
depends_on = None

EXAMINED = ("onvoard_contacts", "onvoard_reviews", "onvoard_activities")


def where(condition: str, on_postgres: str = "") -> dict[str, sa.TextClause]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(on_postgres or condition)}


def upgrade() -> None:
    op.create_table(
        "rule_states",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("since", UtcDateTime, nullable=False),
        sa.Column("condition", sa.Text, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("examined_at", UtcDateTime),
    )
    op.create_table(
        "rule_firings",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("person_id", Id, nullable=False),
        sa.Column("happening", sa.Text, nullable=False),
        sa.Column("happened_at", UtcDateTime, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("sync_id", sa.Text),
        sa.Column("run_id", Id),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.UniqueConstraint("rule", "happening", "person_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_rule_firings_person_id", "rule_firings", ["person_id"])
    op.create_index("ix_rule_firings_status_id", "rule_firings", ["status", "id"])
    op.create_table(
        "rule_members",
        sa.Column("rule", sa.Text, primary_key=True),
        sa.Column("contact_id", sa.Text, primary_key=True),
        sa.Column("since", UtcDateTime, nullable=False),
    )
    op.create_table(
        "loader_states",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("ran_at", UtcDateTime),
        sa.Column("succeeded_at", UtcDateTime),
        sa.Column("stopped", sa.Text),
        sa.Column("rows", sa.Integer),
        sa.Column("changed", sa.Integer),
        sa.Column("seconds", sa.Integer),
        sa.Column("run_id", Id),
    )
    op.create_table(
        "loader_rows",
        sa.Column("loader", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("person_id", Id),
        sa.Column("found", Json),
        sa.Column("sent", Json),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("sync_id", sa.Text),
        sa.Column("run_id", Id),
        sa.Column("updated_at", UtcDateTime, nullable=False),
    )
    op.create_index("ix_loader_rows_person_id", "loader_rows", ["person_id"])
    op.create_index("ix_loader_rows_open", "loader_rows", ["loader", "key"], **where("status IN ('due', 'staged')"))
    op.add_column("outbox", sa.Column("cause", sa.Text))
    op.create_index("ix_outbox_cause", "outbox", ["cause", "status"], **where("cause IS NOT NULL"))
    for table in EXAMINED:
        op.add_column(table, sa.Column("unexamined", sa.Boolean, nullable=False, server_default=sa.text("false")))
        op.create_index(f"ix_{table}_unexamined", table, ["id"], **where("unexamined = 1", "unexamined"))


def downgrade() -> None:
    for table in EXAMINED:
        op.drop_index(f"ix_{table}_unexamined", table)
        op.drop_column(table, "unexamined")
    op.drop_index("ix_outbox_cause", "outbox")
    op.drop_column("outbox", "cause")
    op.drop_table("loader_rows")
    op.drop_table("loader_states")
    op.drop_table("rule_members")
    op.drop_table("rule_firings")
    op.drop_table("rule_states")
