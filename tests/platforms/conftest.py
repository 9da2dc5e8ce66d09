from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.platforms.transport import Limits

from .servers import Fake, served


@pytest.fixture(scope="session")
def server() -> Iterator[Fake]:
    with served(Fake()) as fake:
        yield fake


@pytest.fixture
def fake(server: Fake) -> Fake:
    server.replies, server.routes, server.seen = [], {}, []
    return server


@pytest.fixture
def quick() -> Limits:
    """Real retries with waits that nobody notices."""
    return Limits(attempts=3, wait_initial=0.001, wait_max=0.002, wait_jitter=0.001, max_wait=2, read_timeout=2)
