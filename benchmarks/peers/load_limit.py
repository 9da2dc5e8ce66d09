"""What Postgres itself allows: rows that lie ready in COPY's own text, by COPY into a temporary table and a merge from
there into the migrated mirror. No platform, no parsing, nothing else.

    python -m benchmarks.peers.load_limit <database URL> <folder>                 loads
    python -m benchmarks.peers.load_limit --save <database URL> <folder>          takes the rows from a filled mirror
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import psycopg

TABLES = ("onvoard_contacts", "onvoard_reviews", "onvoard_activities")
ROWS = 10_000
"""Of a COPY and a merge."""


def save(database_url: str, folder: Path) -> None:
    with psycopg.connect(database_url) as connection:
        for table in TABLES:
            columns = ", ".join(_columns(connection, table))
            with (
                (folder / table).open("wb") as file,
                connection.cursor().copy(f"COPY {table} ({columns}) TO STDOUT") as rows,
            ):
                file.writelines(rows)


def load(database_url: str, folder: Path) -> None:
    with psycopg.connect(database_url) as connection:
        for table in TABLES:
            columns = _columns(connection, table)
            connection.execute(f"CREATE TEMPORARY TABLE fresh (LIKE {table} INCLUDING DEFAULTS) ON COMMIT DELETE ROWS")
            named, news = ", ".join(columns), ", ".join(f"{name} = excluded.{name}" for name in columns)
            merge = f"INSERT INTO {table} ({named}) SELECT {named} FROM fresh ON CONFLICT (id) DO UPDATE SET {news}"
            for chunk in _chunks(folder / table):
                with connection.cursor().copy(f"COPY fresh ({named}) FROM STDIN") as copy:
                    copy.write(chunk)
                connection.execute(merge)
                connection.commit()
            connection.execute("DROP TABLE fresh")


def _columns(connection: psycopg.Connection, table: str) -> list[str]:
    found = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = %s ORDER BY ordinal_position", [table]
    )
    return [str(name) for (name,) in found]


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while rows := list(islice(file, ROWS)):
            yield b"".join(rows)


if __name__ == "__main__":
    if sys.argv[1] == "--save":
        save(sys.argv[2], Path(sys.argv[3]))
    else:
        load(sys.argv[1], Path(sys.argv[2]))
