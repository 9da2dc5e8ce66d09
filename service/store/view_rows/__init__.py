"""What keeps the rows of `view_tables`: triggers, in the transaction of whatever changes them. So no view shows as they
were people who were erased or opted out a moment ago, whoever wrote that and however.

Like the views this is the declaration: a migration keeps its own copy of the text, and a test compares.
"""

from __future__ import annotations


def declared(dialect: str) -> dict[str, str]:
    """What creates each function and trigger, in order, by what drops it."""
    if dialect == "sqlite":
        from service.store.view_rows.sqlite import statements
    else:
        from service.store.view_rows.postgres import statements
    return dict(statements())
