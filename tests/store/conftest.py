"""An empty mirror, once on SQLite and once on Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from service.store.database import Database


@pytest.fixture
def db(mirror_url: str) -> Iterator[Database]:
    with closing(Database(mirror_url)) as database:
        yield database
