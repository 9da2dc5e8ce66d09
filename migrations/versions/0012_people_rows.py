"""The rows behind the views `people`, `reviews` and `activities`, which triggers keep from now on."""

import re
from pathlib import Path

import sqlalchemy as sa
from alembic import op

from service.store.types import Id, UtcDateTime

revision = "0012_people_rows"
down_revision = "0011_tallies"
branch_labels = None
depends_on = None

SQL = Path(__file__).parents[1] / "sql"
VIEWS = ("people", "reviews", "activities")  # and what fills the rows of the first
TEXTS = (
    "email", "unique_id", "onvoard_contact_id", "digital_onboarding_contact_id", "name_first", "name_last", "phone",
    "matched_by",
)  # fmt: skip
INDEXED = TEXTS[:3]
FIGURES = ["status", "email_opted_out", "sms_opted_out", "review_count"]


def upgrade() -> None:
    op.create_table(
        "people_rows",
        sa.Column("person_id", Id, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Text) for name in TEXTS),
        sa.Column("linked_at", UtcDateTime),
        sa.Column("status", sa.Text),
        sa.Column("email_opted_out", sa.Boolean),
        sa.Column("sms_opted_out", sa.Boolean),
        sa.Column("review_count", sa.Integer),
        sa.Column("avg_rating", sa.Float),
        sa.Column("last_activity_at", UtcDateTime),
    )
    op.create_table(
        "contact_owners",
        sa.Column("contact_id", sa.Text, primary_key=True),
        sa.Column("person_id", Id, nullable=False),
    )
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW {view}")
    for statement in (*statements("0012_views.sql"), *statements("0012_fill.sql")):
        op.execute(statement)
    for name in INDEXED:
        op.create_index(f"ix_people_rows_{name}", "people_rows", [name])
    op.create_index("ix_people_rows_figures", "people_rows", FIGURES)
    op.create_index("ix_contact_owners_person_id", "contact_owners", ["person_id"])
    for statement in triggers():
        op.execute(statement)


def downgrade() -> None:
    for statement in reversed(triggers()):
        trigger, function = re.match(r"CREATE TRIGGER (\w+)", statement), re.match(r"CREATE FUNCTION (\w+)", statement)
        table = re.search(r" ON (\w+)", statement)
        if function:
            op.execute(f"DROP FUNCTION {function[1]}")
        elif trigger and table:
            on = f" ON {table[1]}" if op.get_context().dialect.name == "postgresql" else ""
            op.execute(f"DROP TRIGGER {trigger[1]}{on}")
    for view in (*reversed(VIEWS), "people_source"):
        op.execute(f"DROP VIEW {view}")
    op.drop_table("contact_owners")
    op.drop_table("people_rows")
    for statement in statements("0001_views.sql", ";\n"):
        if re.search(rf"^CREATE VIEW ({'|'.join(VIEWS)}) ", statement, re.MULTILINE):
            op.execute(statement)


def triggers() -> list[str]:
    return statements(f"0012_triggers_{op.get_context().dialect.name}.sql")


def statements(name: str, between: str = "\n-- next\n") -> list[str]:
    return [each.strip() for each in (SQL / name).read_text().split(between) if each.strip()]
