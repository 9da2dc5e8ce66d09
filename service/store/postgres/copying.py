"""Rows into Postgres by COPY."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from psycopg.errors import UniqueViolation
from sqlalchemy import Connection

from service.errors import RolledBack

R = TypeVar("R", bound=Mapping[str, Any])


def copy_in(conn: Connection, statement: str, values: Callable[[R], Sequence[Any]], rows: Iterable[R]) -> None:
    """`statement` is a COPY FROM STDIN, `values` a row's in its order. Raises RolledBack where a key is taken: the
    transaction has failed, and begun again it sees who has it."""
    driver: Any = conn.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(values(row))
    except UniqueViolation:
        raise RolledBack("another process wrote the same records", hint="run it again") from None
