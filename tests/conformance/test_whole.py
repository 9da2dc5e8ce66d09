"""That the suite is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.bridge import Bridge
from tests.conformance.target import Target, methods

SUITE = set(Path(__file__).parent.glob("test_*.py")) - {Path(__file__).with_name("test_command.py")}


def test_every_method_of_both_clients_was_run(target: Target, bridge: Bridge, request: pytest.FixtureRequest) -> None:
    """The last one of all: see `pytest_collection_modifyitems`."""
    chosen = request.config.option.keyword or request.config.option.markexpr
    if chosen or SUITE - {item.path for item in request.session.items}:
        pytest.skip("only a part of the suite was asked for")
    missing = {name for name, _, _ in methods(bridge.onvoard, bridge.digital)} - target.called
    if missing and not target.own:
        pytest.skip(f"not run, see the other skips: {', '.join(sorted(missing))}")
    assert not missing
