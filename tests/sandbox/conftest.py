"""A running sandbox for each test, and plain HTTP clients for it: none of the project's own."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from service.sandbox import Sandbox
from tests.sandbox.asking import QUICK, fetch_token


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def onvoard(sandbox: Sandbox) -> Iterator[httpx.Client]:
    headers = {"X-API-Key": sandbox.api_key}
    with httpx.Client(base_url=sandbox.onvoard_url, headers=headers, **QUICK) as client:
        yield client


@pytest.fixture
def digital_onboarding(sandbox: Sandbox) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {fetch_token(sandbox).json()['access_token']}"}
    with httpx.Client(base_url=sandbox.digital_onboarding_url, headers=headers, **QUICK) as client:
        yield client
