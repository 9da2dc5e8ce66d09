"""Both emulated platforms with one person on them, and a mirror in which she is linked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.sandbox import Sandbox
from tests.web.dashboard import ANN, synced


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        running.onvoard.add_contact(ANN, name="Ann Able", phone="+14155550123")
        yield running


@pytest.fixture
async def linked(sqlite_mirror: str, sandbox: Sandbox) -> str:
    """Ann is linked and agreed on."""
    for _ in range(2):
        await synced(sqlite_mirror, sandbox)
    return sqlite_mirror
