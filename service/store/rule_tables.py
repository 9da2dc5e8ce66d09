"""What the operator's rules and loaders have led to: who was touched, by what, and what is still to leave.

Nobody is named here but by ids, save in what a loader's SELECT returned.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table, Text, UniqueConstraint

from service.store.schema import flag, metadata, where
from service.store.types import Id, Json, UtcDateTime

rule_states = Table(
    "rule_states",
    metadata,
    Column("name", Text, primary_key=True),
    Column("since", UtcDateTime, nullable=False),  # what happened before is history
    Column("condition", Text, nullable=False),  # another one is a new beginning
    flag("enabled"),  # as the rules file had it when it was last read
    Column("examined_at", UtcDateTime),
)

rule_firings = Table(
    "rule_firings",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("rule", Text, nullable=False),
    Column("person_id", Id, nullable=False, index=True),
    Column("happening", Text, nullable=False),  # the activity, the review, or which condition came true when
    Column("happened_at", UtcDateTime, nullable=False),
    Column("status", Text, nullable=False),  # due, staged, done, dead, skipped
    Column("reason", Text),  # why it was skipped, or what it waits for
    Column("sync_id", Text),  # of its push
    Column("run_id", Id),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("rule", "happening", "person_id"),
    Index("ix_rule_firings_status_id", "status", "id"),
    sqlite_autoincrement=True,
)

# For whom a condition that lasts (a tag, a list, a segment, a property) holds, so that its beginning is told.
rule_members = Table(
    "rule_members",
    metadata,
    Column("rule", Text, primary_key=True),
    Column("contact_id", Text, primary_key=True),  # OnVoard's
    Column("since", UtcDateTime, nullable=False),
)

loader_states = Table(
    "loader_states",
    metadata,
    Column("name", Text, primary_key=True),
    Column("definition", Text, nullable=False),  # of what the file says
    Column("ran_at", UtcDateTime),
    Column("succeeded_at", UtcDateTime),
    Column("stopped", Text),  # why the last run came to nothing; null where it did not
    Column("rows", Integer),  # that the SELECT returned the last time
    Column("changed", Integer),  # of them, and of those that have left
    Column("seconds", Integer),
    Column("run_id", Id),
)

loader_rows = Table(
    "loader_rows",
    metadata,
    Column("loader", Text, primary_key=True),
    Column("key", Text, primary_key=True),  # as text: the key column, and what tells two rows of a person apart
    Column("person_id", Id, index=True),  # where the key is known
    Column("found", Json),  # the values as the SELECT returned them; null where it no longer does
    Column("sent", Json),  # the values that were last staged; null where none were
    Column("status", Text, nullable=False),  # due, staged, done, dead, skipped
    Column("reason", Text),
    Column("sync_id", Text),  # of its push
    Column("run_id", Id),
    Column("updated_at", UtcDateTime, nullable=False),
    Index("ix_loader_rows_open", "loader", "key", **where("status IN ('due', 'staged')")),
)
