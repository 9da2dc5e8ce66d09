"""`world` as in tests/cycle. `ov` and `do` are the two clients alone, against a `sandbox` of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from service.platforms.digital_onboarding.client import DigitalOnboarding
from service.platforms.onvoard.client import OnVoard
from service.sandbox import Sandbox
from tests.cycle.conftest import _sqlite_engine, _sqlite_mirror, world  # noqa: F401
from tests.cycle.world import FAST


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
async def ov(sandbox: Sandbox) -> AsyncIterator[OnVoard]:
    async with OnVoard(sandbox.onvoard_url, sandbox.api_key, limits=FAST, now=sandbox.clock.now) as client:
        yield client


@pytest.fixture
async def do(sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[DigitalOnboarding]:
    async with DigitalOnboarding(
        sandbox.digital_onboarding_url, sandbox.client_id, sandbox.client_secret,
        state_dir=tmp_path, limits=FAST, now=sandbox.clock.now,
    ) as client:  # fmt: skip
        yield client
