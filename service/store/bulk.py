"""Many rows by one statement, as cheaply as each database takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Table,
    Text,
    bindparam,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from service.store.types import Json, JsonDocument, UtcDateTime, document, iso, moment

Row = Mapping[str, Any]
Values = Callable[[Row], tuple[Any, ...]]
FEW = 100
"""Rows on Postgres for which the JSON of one statement is as good as a COPY."""
TOGETHER = 200
"""Rows of one statement on SQLite: while it is at work, other threads of this process are too."""


class _Document(TypeDecorator[Any]):
    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        return document(list(value))


class _Each(FunctionElement[Any]):
    """The texts in a JSON array, in a column `value`."""

    inherit_cache = True


@compiles(_Each)
def _on_postgres(element: _Each, compiler: Any, **how: Any) -> str:
    return f"json_array_elements_text(CAST({compiler.process(element.clauses, **how)} AS JSON))"


@compiles(_Each, "sqlite")
def _each_on_sqlite(element: _Each, compiler: Any, **how: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **how)})"


def among(column: Column[Any], name: str) -> ColumnElement[bool]:
    """`column IN (...)`, of the texts in the parameter `name`: thousands of them, without one parameter for each."""
    each = _Each(bindparam(name, type_=_Document())).table_valued("value")
    return column.in_(select(each.c.value))


def insert_for(dialect: str, table: Table) -> Any:
    """The dialect's INSERT, which knows ON CONFLICT. Postgres' is imported where it is spoken."""
    if dialect == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)


def insert(dialect: str, table: Table, names: tuple[str, ...]) -> Any:
    """An INSERT of rows with these columns, for `execute`; it knows ON CONFLICT.

    Postgres takes all rows as one JSON document, each a list in the order of `names`: that costs it two thirds of what
    a list of objects costs, and both ends far less than a statement for each row.
    """
    statement = insert_for(dialect, table)
    if dialect == "sqlite":
        return statement
    rows = cast(bindparam("rows", type_=Text), Json)
    row = func.jsonb_array_elements(rows).column_valued("given")
    values = [_value(row, place, table.c[name].type) for place, name in enumerate(names)]
    return statement.from_select(names, select(*values))


def _value(row: ColumnElement[Any], place: int, type_: TypeEngine[Any]) -> ColumnElement[Any]:
    at: ColumnElement[Any] = literal_column(str(place))
    if isinstance(type_, JsonDocument):
        return func.nullif(row.op("->")(at), literal_column("'null'::jsonb"))
    return cast(row.op("->>")(at), type_)


def copies(conn: Connection, rows: Sequence[Row]) -> bool:
    """Whether it pays to ask which of these rows are new, and to `copy` them: on Postgres, for more than a few."""
    return conn.dialect.name == "postgresql" and len(rows) >= FEW


def copy(conn: Connection, table: Table, names: tuple[str, ...], rows: Iterable[Row]) -> None:
    """Rows whose keys Postgres does not have yet, by COPY: half the work of an INSERT that reads them from JSON.

    Raises RolledBack where somebody wrote one of them meanwhile, so that the transaction is begun again.
    """
    from service.store.postgres.copying import copy_in

    copy_in(conn, table.name, names, map(_to_copy(table, names), rows))


@cache
def _to_copy(table: Table, names: tuple[str, ...]) -> Values:
    return _values(names, [table.c[name].type for name in names], moment)


def execute(conn: Connection, statement: Any, names: tuple[str, ...], rows: Sequence[Row]) -> None:
    """A statement of `insert`, with the same `names` and no parameters of its own. There should be few of them: each is
    compiled once."""
    if conn.dialect.name == "postgresql":
        conn.execute(statement, {"rows": document(list(map(itemgetter(*names), rows)))})
        return
    one, many, values = _on_sqlite(statement, names)
    given = [values(row) for row in rows]
    whole = len(given) - len(given) % TOGETHER
    for start in range(0, whole, TOGETHER):
        conn.exec_driver_sql(many, tuple(chain.from_iterable(given[start : start + TOGETHER])))
    if given[whole:]:
        conn.exec_driver_sql(one, given[whole:])


@cache
def _on_sqlite(statement: Any, names: tuple[str, ...]) -> tuple[str, str, Values]:
    """The statement for one row, the same for `TOGETHER` of them, and a row as the driver takes it. SQLAlchemy's own
    way costs several times what SQLite does."""
    dialect = sqlite.dialect(json_serializer=document)
    compiled = statement.compile(dialect=dialect, column_keys=names)
    order = compiled.positiontup
    values = _values(order, [compiled.binds[name].type for name in order], iso)
    one, row_of = str(compiled), f"({', '.join('?' * len(order))})"
    return one, one.replace(f"VALUES {row_of}", f"VALUES {', '.join([row_of] * TOGETHER)}", 1), values


def _values(names: Sequence[str], types: Sequence[TypeEngine[Any]], time: Callable[[datetime], str]) -> Values:
    """A row's values in this order, as a driver takes them; SQLAlchemy's own way is slower."""
    times = [(place, time) for place, type_ in enumerate(types) if isinstance(type_, UtcDateTime)]
    documents = [(place, document) for place, type_ in enumerate(types) if isinstance(type_, JsonDocument)]
    encoders: list[tuple[int, Callable[[Any], str]]] = [*times, *documents]
    of = itemgetter(*names)

    def values(row: Row) -> tuple[Any, ...]:
        found = list(of(row))
        for place, encode in encoders:
            if found[place] is not None:
                found[place] = encode(found[place])
        return tuple(found)

    return values
