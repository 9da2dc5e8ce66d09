"""${message}

It holds the SQL of its own time and imports nothing that will change but the column types. It loses no rows, in neither
direction. Drop the views (and create them again as they were, or are to be) around `op.batch_alter_table`: SQLite renames
the rebuilt table, and refuses to while a view names it.
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
