"""A migrated mirror, once on SQLite and once on Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from service.store import migrate
from service.store.database import Database


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url)) as database:
        migrate.upgrade(database)
        yield database
