"""When an opt-out began on Digital Onboarding, while OnVoard has not been told of it."""

import sqlalchemy as sa
from alembic import op

from service.store.types import UtcDateTime

revision = "0009_untold"
down_revision = "0008_rules"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("opt_outs", sa.Column("tell_at", UtcDateTime))
    untold = sa.text("tell_at IS NOT NULL")
    op.create_index("ix_opt_outs_untold", "opt_outs", ["id"], sqlite_where=untold, postgresql_where=untold)


def downgrade() -> None:
    op.drop_index("ix_opt_outs_untold", "opt_outs")
    op.drop_column("opt_outs", "tell_at")
