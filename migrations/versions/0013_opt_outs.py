"""Whether a contact's opt-out is on its way already, without a look at all that are."""

import sqlalchemy as sa
from alembic import op

revision = "0013_opt_outs"
down_revision = "0012_people_rows"
branch_labels = None
depends_on = None


def upgrade() -> None:
    opt_outs = sa.text("lane = 0")
    op.create_index("ix_outbox_opt_outs", "outbox", ["target"], sqlite_where=opt_outs, postgresql_where=opt_outs)


def downgrade() -> None:
    op.drop_index("ix_outbox_opt_outs", "outbox")
