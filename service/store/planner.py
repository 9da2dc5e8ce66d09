"""What databases are told that they cannot know: SQLite keeps no figures about the tables by itself, and those of
Postgres are older than what a first sync has just written."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, null


def unindexed(column: Any) -> Any:
    """The column where there is a better index than its own: they would walk all pushes of a status for the few of some
    people, or all people who are in no conflict."""
    return func.coalesce(column, null())
