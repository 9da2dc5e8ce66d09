"""What all tables are declared with."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, Column, MetaData, text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def where(condition: str, *, on_postgres: str = "") -> dict[str, Any]:
    """A partial index, over rows of which this is true. (What Postgres is told, `postgres.driver` adds: the argument
    for it would import that dialect with the tables.)"""
    return {"sqlite_where": text(condition), "info": {"postgresql_where": text(on_postgres or condition)}}


def where_true(flag: str) -> dict[str, Any]:
    """A partial index over the few rows whose flag is set."""
    return where(f"{flag} = 1", on_postgres=flag)


def where_false(flag: str) -> dict[str, Any]:
    """The same for the few rows whose flag is not set."""
    return where(f"{flag} = 0", on_postgres=f"NOT {flag}")


def flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=text("false"))
