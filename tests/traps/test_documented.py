"""docs/platforms.md has a row for each method of both clients, and says where it goes and whether it is repeated."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from service import errors
from service.platforms.digital_onboarding.client import DigitalOnboarding
from service.platforms.onvoard.client import OnVoard
from service.platforms.onvoard.enums import (
    PropertyValueType,
    ResourceIconType,
    ResourceKind,
    ReviewEntity,
    ReviewStatus,
    WebhookEventType,
)
from service.platforms.transport import Limits
from tests.cycle.world import FAST

DOCUMENT = Path(__file__).parents[2] / "docs" / "platforms.md"
URL = "https://api.example.com"
ROW = re.compile(r"\| ([^|]+) \| (GET|POST|PATCH|DELETE) (/\S+) \| `([a-z_.]+)` \| ([^|]+) \| (yes|no)\b[^|]* \|")
PROPERTY: dict[str, Any] = {"key": "x", "label": "x", "value_type": PropertyValueType.STRING}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "contacts.create": {"email": "a@example.com"},
    "contacts.create_or_update": {"email": "a@example.com"},
    "contacts.patch": {"name": "x"},
    "contact_property_types.create": PROPERTY,
    "contact_property_types.patch": {"label": "x"},
    "contact_activities.create": {"type": "custom.x", "contact_id": "x"},
    "contact_activity_types.patch": {"descriptor_template": "x"},
    "resources.create": {
        "key": "x", "kind": ResourceKind.OBJECT, "icon_type": ResourceIconType.NATIVE, "icon_class": "x",
    },
    "resources.patch": {"name": "x"},
    "resource_property_types.create": PROPERTY,
    "resource_property_types.patch": {"label": "x"},
    "resource_records.create": {"data": {"x": 1}},
    "resource_records.patch": {"data": {"x": 1}},
    "reviews.create": {"rating": 5, "entity": ReviewEntity.SITE, "status": ReviewStatus.PENDING},
    "reviews.patch": {"status": ReviewStatus.PENDING},
    "webhooks.create": {"url": URL, "event_types": [WebhookEventType.CONTACT_SAVED]},
    "webhooks.patch": {"active": True},
    "upsert_contact": {"contact": {"unique_id": "x"}},
    "upsert_contacts": {"contacts": [{"unique_id": "x"}]},
    "create_journey": {"contact": {"unique_id": "x"}},
    "list_contacts": {"limit": 1, "offset": 0},
}  # fmt: skip


def _methods(client: OnVoard | DigitalOnboarding) -> dict[str, Any]:
    """By the name that the document gives them."""
    holders = {"": client} | {f"{name}.": each for name, each in vars(client).items() if not name.startswith("_")}
    return {
        prefix + name: method
        for prefix, holder in holders.items()
        for name, method in inspect.getmembers(holder, inspect.iscoroutinefunction)
        if not name.startswith("_") and name != "aclose"
    }


def _arguments(name: str, method: Any) -> dict[str, Any]:
    wanted = inspect.signature(method).parameters.values()
    missing = [p.name for p in wanted if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    return dict.fromkeys(missing, "x") | ARGUMENTS.get(name, {})


class Failing:
    """Answers 500 to everything but a request for a token."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth2/token":
            return httpx.Response(200, json={"access_token": "t", "token_type": "bearer", "expires_in": 60})
        self.seen.append((request.method, request.url.path))
        return httpx.Response(500)


@pytest.fixture
async def failing() -> AsyncIterator[tuple[Failing, dict[str, Any]]]:
    answers, limits = Failing(), replace(FAST, attempts=2, wait_max=0.0)  # no breaker: each is asked
    http = httpx.MockTransport(answers)
    async with (
        OnVoard(URL, "key", limits=limits, http=http) as onvoard,
        DigitalOnboarding(URL, "id", "secret", limits=limits, http=http) as digital,
    ):
        yield answers, _methods(onvoard) | _methods(digital)


def _rows() -> list[tuple[str, ...]]:
    return ROW.findall(DOCUMENT.read_text())


async def test_each_method_has_one_row_and_each_row_a_method(failing: tuple[Failing, dict[str, Any]]) -> None:
    named = [row[3] for row in _rows()]
    assert sorted(named) == sorted(failing[1]) and len(named) == 47 + 6
    assert "| POST /oauth2/token |" in DOCUMENT.read_text(), "the one that no method makes"


def test_each_method_of_onvoard_is_named_after_its_operation() -> None:
    """"Create or Update Contact" is `contacts.create_or_update`, "List all Reviews" is `reviews.list`."""
    verbs = ("List all", "Create or Update", "Retrieve", "Create", "Patch", "Delete", "Suppress", "Unsuppress")
    for operation, _, path, name, _, _ in _rows():
        if not path.startswith("/v2/"):
            continue
        verb = next(each for each in verbs if operation.startswith(each))
        chapter = operation.removeprefix(verb).strip().lower().replace(" ", "_")
        chapter = chapter if verb == "List all" else re.sub(r"y$", "ie", chapter) + "s"
        assert name == f"{chapter}.{verb.removesuffix(' all').lower().replace(' ', '_')}"


def test_the_pauses_are_those_of_the_client() -> None:
    limits = Limits()
    told = " ".join(DOCUMENT.read_text().split())
    assert f"is sent at most {limits.attempts} times" in told
    assert f"grow from {limits.wait_initial} s to at most {limits.wait_max:g} s" in told


async def test_each_row_says_where_it_goes_and_whether_it_is_repeated(failing: tuple[Failing, dict[str, Any]]) -> None:
    answers, methods = failing
    for _, verb, path, name, _, repeated in _rows():
        answers.seen.clear()
        with pytest.raises(errors.ServerFailed):
            await methods[name](**_arguments(name, methods[name]))
        where = (verb, re.sub(r":\w+", "x", path))
        assert answers.seen == [where] * (2 if repeated == "yes" else 1), name


def test_what_is_not_used_yet_is_not_called_anywhere() -> None:
    """And what the bridge is said to do, it does: the name of the call stands somewhere outside of the clients."""
    service = Path(__file__).parents[2] / "service"
    inside = [service / "platforms", service / "sandbox", service / "cli"]
    files = [file for file in service.rglob("*.py") if not any(folder in file.parents for folder in inside)]
    text = "\n".join(file.read_text() for file in files)
    for _, _, _, name, use, _ in _rows():
        chapter, _, method = name.rpartition(".")
        called = re.search(rf"(?<!sandbox)\.{re.escape(name)}\b", text) is not None
        if use.startswith("not used yet"):
            assert not called, name
        elif method in ("list", "retrieve", "patch", "create"):  # some are reached by the chapter
            assert f".{chapter}" in text, name
        else:
            assert called, name
