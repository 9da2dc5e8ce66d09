"""The suite runs against a sandbox of its own, over real HTTP, wherever `python -m tests.conformance` has not named
other servers: nothing in the environment, and no option, makes pytest alone talk to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from service import settings
from service.bridge import Bridge
from service.platforms.digital_onboarding.client import DigitalOnboarding
from service.platforms.onvoard.client import OnVoard
from service.platforms.onvoard.enums import ResourceIconType, ResourceKind
from service.platforms.onvoard.models import Contact, Resource
from service.sandbox import Sandbox
from service.sandbox.digital_onboarding import DigitalOnboardingSettings
from tests.conformance.removing import Keep, remove_contact, sweep
from tests.conformance.target import CONSENT, Target

NewContact = Callable[..., Awaitable[Contact]]
NewResource = Callable[[ResourceKind], Awaitable[Resource]]


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    given = [plugin for plugin in request.config.pluginmanager.get_plugins() if isinstance(plugin, Target)]
    if given:
        yield given[0]
        return
    with Sandbox(digital_onboarding_settings=DigitalOnboardingSettings(listing=True)) as sandbox:
        sandbox.load_world()
        own = Target(settings_of(sandbox, tmp_path_factory.mktemp("conformance")), frozenset(CONSENT), own=True)
        yield own
        assert asyncio.run(sweep(own)) == ([], []), "the tests leave something behind"


def settings_of(sandbox: Sandbox, folder: Path) -> settings.Settings:
    return settings.load(
        {
            "onvoard.base_url": sandbox.onvoard_url,
            "onvoard.api_key": sandbox.api_key,
            "digital_onboarding.base_url": sandbox.digital_onboarding_url,
            "digital_onboarding.client_id": sandbox.client_id,
            "digital_onboarding.client_secret": sandbox.client_secret,
            "database_url": f"sqlite:///{folder / 'unused.db'}",
            "state_dir": str(folder),
        },
        environ={},
    )


@pytest.fixture
async def bridge(target: Target) -> AsyncIterator[Bridge]:
    async with target.clients() as wired:
        yield wired


@pytest.fixture
def onvoard(bridge: Bridge) -> OnVoard:
    return bridge.onvoard


@pytest.fixture
def digital(bridge: Bridge) -> DigitalOnboarding:
    return bridge.digital


@pytest.fixture
async def keep(target: Target, bridge: Bridge, request: pytest.FixtureRequest) -> AsyncIterator[Keep]:
    """Removes what a test has made, however it ended. Where strangers' servers do not let it, nothing else is made."""
    made = Keep()
    yield made
    if problems := await made.remove():
        target.stuck += problems
        if not target.own:
            request.session.shouldstop = "what was made cannot be removed"
        pytest.fail("\n".join(problems))


@pytest.fixture
def new_contact(target: Target, onvoard: OnVoard, keep: Keep) -> NewContact:
    """Makes a contact who has unsubscribed, so that no mail goes out whatever is tried on it."""

    async def make(**fields: Any) -> Contact:
        whole = {"email": target.email(), "name": f"Conformance {target.run}", "email_unsubscribed": True} | fields
        return await keep(onvoard.contacts.create(**whole), partial(remove_contact, onvoard))

    return make


@pytest.fixture
def new_resource(target: Target, onvoard: OnVoard) -> NewResource:
    """One resource of each kind for the whole run, because they cannot be removed."""

    async def make(kind: ResourceKind) -> Resource:
        target.needs("resources")
        if kind not in target.shared:
            name = target.lasting(f"OnVoard: {kind} resource")
            target.shared[kind] = await onvoard.resources.create(
                key=name.replace("-", "_"),
                name=name,
                kind=kind,
                icon_type=ResourceIconType.NATIVE,
                icon_class="add",
                helper_text="Left by a conformance run",
            )
        return target.shared[kind]

    return make


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The test that looks back on the whole run comes last."""
    items.sort(key=lambda item: item.name == "test_every_method_of_both_clients_was_run")
