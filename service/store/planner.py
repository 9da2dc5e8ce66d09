"""What SQLite is told that it cannot know: it keeps no figures about the tables by itself."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, null


def unindexed(column: Any) -> Any:
    """The column where there is a better index than its own: SQLite would walk all pushes of a status for the few of
    some people, or all people who are in no conflict. Postgres sees the bare column."""
    return func.coalesce(column, null())
