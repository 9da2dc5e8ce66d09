"""Who adds persons waits for whoever changes what persons show, and for nobody who adds some too."""

import sqlalchemy as sa
from alembic import op

revision = "0015_people_turn"
down_revision = "0014_unannounced"
branch_labels = None
depends_on = None

SHOWN = ("onvoard_contacts", "digital_onboarding_contacts", "onvoard_reviews", "onvoard_activities", "tombstones")
LOCK = "LOCK TABLE people_turn IN {} MODE"
BEFORE = 7_265_646_374_726_548


def upgrade() -> None:
    op.create_table("people_turn", sa.Column("nobody", sa.Integer))
    adding, alone = LOCK.format("SHARE"), LOCK.format("EXCLUSIVE")
    replace(f"IF TG_OP = 'INSERT' THEN {adding}; ELSE {alone}; END IF", LOCK.format("ROW EXCLUSIVE"))


def downgrade() -> None:
    replace(f"PERFORM pg_advisory_xact_lock({BEFORE})", f"PERFORM pg_advisory_xact_lock_shared({BEFORE})")
    op.drop_table("people_turn")


def replace(of_persons: str, of_what_they_show: str) -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for table, does in {"persons": of_persons, **dict.fromkeys(SHOWN, of_what_they_show)}.items():
        text = f"\nBEGIN\n{does};\nRETURN NULL;\nEND "
        op.execute(f"CREATE OR REPLACE FUNCTION {table}_turn() RETURNS trigger LANGUAGE plpgsql AS $${text}$$")
