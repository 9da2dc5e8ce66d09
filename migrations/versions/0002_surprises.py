"""Surprises counted by kind, whom a webhook event is about, and OnVoard's lists, tags and segments as views."""

import sqlalchemy as sa
from alembic import op

from service.store.types import UtcDateTime

revision = "0002_surprises"
down_revision = "0001_mirror"
branch_labels = None
depends_on = None


VIEWS = ("onvoard_memberships", "onvoard_lists", "onvoard_tags", "onvoard_segments")


def views(dialect):
    """As this revision created them; service/store/views.py declares them as they are now."""
    elements = {
        "sqlite": "json_each(CASE json_type(c.{0}) WHEN 'array' THEN c.{0} ELSE '[]' END)",
        "postgresql": "jsonb_array_elements(CASE jsonb_typeof(c.{0}) WHEN 'array' THEN c.{0} ELSE '[]' END)",
    }[dialect]
    member = """SELECT
    c.id AS contact_id, '{0}' AS kind, CAST(g.value ->> 'id' AS TEXT) AS id, CAST(g.value ->> 'name' AS TEXT) AS name
FROM onvoard_contacts c CROSS JOIN {1} g
WHERE c.deleted_at IS NULL"""
    kinds = ("list", "tag", "segment")
    members = "\nUNION ALL\n".join(member.format(kind, elements.format(f"{kind}s")) for kind in kinds)
    yield f"CREATE VIEW onvoard_memberships AS\n{members}"
    for kind in kinds:
        yield f"""CREATE VIEW onvoard_{kind}s AS
SELECT id, MAX(name) AS name, COUNT(*) AS contact_count
FROM onvoard_memberships
WHERE kind = '{kind}'
GROUP BY id"""


def upgrade() -> None:
    op.create_table(
        "surprises",
        sa.Column("platform", sa.Text, primary_key=True),
        sa.Column("what", sa.Text, primary_key=True),
        sa.Column("times", sa.Integer, nullable=False),
        sa.Column("first_seen_at", UtcDateTime, nullable=False),
        sa.Column("last_seen_at", UtcDateTime, nullable=False),
    )
    op.add_column("webhook_events", sa.Column("subject", sa.Text))
    op.create_index("ix_webhook_events_subject", "webhook_events", ["subject"])
    pending = sa.text("status = 'pending'")
    op.create_index(
        "ix_webhook_events_pending", "webhook_events", ["received_at"],
        sqlite_where=pending, postgresql_where=pending,
    )
    for statement in views(op.get_context().dialect.name):
        op.execute(statement)


def downgrade() -> None:
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW {view}")
    for name in ("pending", "subject"):
        op.drop_index(f"ix_webhook_events_{name}", "webhook_events")
    op.drop_column("webhook_events", "subject")
    op.drop_table("surprises")
