"""Both emulated platforms with one person on them, and a mirror in which she is linked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.sandbox import Sandbox
from service.store import migrate
from service.store.database import Database
from tests.web.dashboard import ANN, synced


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        running.onvoard.add_contact(ANN, name="Ann Able", phone="+14155550123")
        yield running


@pytest.fixture
async def linked(sqlite_url: str, sandbox: Sandbox) -> str:
    """Ann is linked and agreed on."""
    database = Database(sqlite_url)
    migrate.upgrade(database)
    database.close()
    for _ in range(2):
        await synced(sqlite_url, sandbox)
    return sqlite_url
