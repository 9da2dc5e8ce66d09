"""Whom the suite talks to, and what it may do there."""

from __future__ import annotations

import inspect
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, NoReturn

import pytest

from service import app
from service.bridge import Bridge
from service.platforms.digital_onboarding.client import DigitalOnboarding
from service.platforms.onvoard.client import OnVoard
from service.settings import Settings

PREFIX = "cb-conformance"
CONSENT = {
    "resources": (
        "OnVoard: two resources, which no call deletes. Without them no property type of a resource, no record, "
        "no activity type and no activity is made."
    ),
    "tags": "OnVoard: one tag, which no call deletes.",
    "publishing": "OnVoard: one review of the site is public for as long as a call or two take.",
    "contacts": (
        "Digital Onboarding: two contacts, opted out of e-mail and SMS, one of them with an objective completed. "
        "No call deletes them."
    ),
    "journeys": (
        "Digital Onboarding: two journeys of the first template, for one of those contacts (contacts is needed too). "
        "No call deletes them."
    ),
}
"""What goes beyond creating and removing again, by the name that allows it."""


@dataclass(eq=False)
class Target:
    """`own`: the sandbox that this very process has started, where nothing may be skipped. `run` is in the name of all
    that is made; `left` is what stays because it was allowed, `stuck` what should not have. `shared` is made once.

    Handed to pytest as a plugin; without one, the fixtures start a sandbox.
    """

    settings: Settings
    allowed: frozenset[str]
    own: bool = False
    run: str = field(default_factory=lambda: f"x{secrets.token_hex(4)}")
    called: set[str] = field(default_factory=set)
    left: dict[str, str] = field(default_factory=dict)
    stuck: list[str] = field(default_factory=list)
    shared: dict[str, Any] = field(default_factory=dict)
    _count: int = 0

    @asynccontextmanager
    async def clients(self) -> AsyncIterator[Bridge]:
        """Both clients, wired as the command line wires them; every call that succeeds is put down in `called`."""
        with closing(app.open_database(self.settings)) as unused:
            async with app.open_bridge(self.settings, unused) as bridge:
                for name, holder, method in methods(bridge.onvoard, bridge.digital):
                    setattr(holder, method.__name__, self._noted(name, method))
                yield bridge

    def name(self) -> str:
        """Another name of this run, for addresses and ids."""
        self._count += 1
        return f"{PREFIX}-{self.run}-{self._count}"

    def lasting(self, what: str) -> str:
        """The name of the one `what` that this run may leave: always the same, so that another try makes no second."""
        return self.left.setdefault(what, self.name())

    def key(self) -> str:
        """The same for keys: lowercase letters, digits and underscores."""
        return self.name().replace("-", "_")

    def email(self) -> str:
        """Nobody has a mailbox under example.com (RFC 2606)."""
        return f"{self.name()}@example.com"

    def needs(self, *words: str) -> None:
        """Skips what goes beyond creating and removing again, where nobody has allowed it."""
        if missing := [word for word in words if word not in self.allowed]:
            pytest.skip(f"needs ALLOW={' '.join(missing)}, as said above")

    def lacks(self, what: str) -> NoReturn:
        """The servers have nothing to try this on, or read the documents in another way that these leave open."""
        (pytest.fail if self.own else pytest.skip)(what)

    def _noted(self, name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @wraps(method)
        async def call(*args: Any, **kwargs: Any) -> Any:
            answer = await method(*args, **kwargs)
            self.called.add(name)
            return answer

        return call


def methods(*clients: OnVoard | DigitalOnboarding) -> Iterable[tuple[str, Any, Callable[..., Awaitable[Any]]]]:
    """Every public call: (`onvoard.contacts.patch`, the object that has it, the bound method)."""
    for client in clients:
        platform = type(client).__module__.split(".")[-2]
        chapters = {f"{platform}.{name}.": each for name, each in vars(client).items() if not name.startswith("_")}
        for prefix, holder in ({f"{platform}.": client} | chapters).items():
            for name, _ in inspect.getmembers(type(holder), inspect.iscoroutinefunction):
                if not name.startswith("_") and name != "aclose":
                    yield prefix + name, holder, getattr(holder, name)
