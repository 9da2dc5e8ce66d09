"""Rows into Postgres by COPY."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg.errors import UniqueViolation
from psycopg.sql import SQL, Identifier
from sqlalchemy import Connection

from service.errors import RolledBack


def copy_in(conn: Connection, table: str, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows of these columns. Raises RolledBack where a key is taken: the transaction has failed, and begun again it
    sees who has it."""
    columns = SQL(", ").join(map(Identifier, names))
    statement = SQL("COPY {} ({}) FROM STDIN").format(Identifier(table), columns)
    driver: Any = conn.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except UniqueViolation:
        raise RolledBack(f"others write the same {table}, time and again", hint="run it again") from None
