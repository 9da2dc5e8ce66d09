"""The chapter "Webhooks". They lead nowhere, are made inactive, and the one that is switched on waits for what hardly
happens."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.errors import NotFound
from service.platforms.onvoard.client import OnVoard
from service.platforms.onvoard.enums import WebhookEventType
from service.platforms.onvoard.models import Webhook
from tests.conformance.asking import finds, loses, walk
from tests.conformance.removing import Keep
from tests.conformance.target import Target

RARE = WebhookEventType.BACK_IN_STOCK_NOTIFICATION_CREATED
SECRET = "a-secret-of-nothing"


async def _make(target: Target, onvoard: OnVoard, keep: Keep, *events: WebhookEventType) -> Webhook:
    url = f"https://{target.name()}.invalid/hook"  # no such host can exist (RFC 2606)
    making = onvoard.webhooks.create(url=url, event_types=events, active=False, secret=SECRET)
    made = await keep(making, onvoard.webhooks.delete)
    assert made.url == url
    return made


async def test_a_webhook_is_retrieved_without_its_secret(target: Target, onvoard: OnVoard, keep: Keep) -> None:
    made = await _make(target, onvoard, keep, *WebhookEventType)
    for each in (made, await onvoard.webhooks.retrieve(made.id)):
        assert each.url == made.url and each.active is False
        assert sorted(each.event_types or []) == sorted(WebhookEventType)
        assert SECRET not in json.dumps(each.raw)


async def test_a_webhook_is_listed(target: Target, onvoard: OnVoard, keep: Keep) -> None:
    made = await _make(target, onvoard, keep, RARE)
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"id": made.id}, {"id": "wh_0"}),
        ({"keyword": target.run}, {"keyword": f"{target.run}q"}),
        ({"active": False}, {"active": True}),
        (
            {"event_types": [RARE, WebhookEventType.CONTACT_SAVED]},
            {"event_types": [WebhookEventType.CONTACT_SAVED]},
        ),
    ]
    for fitting, unfitting in pairs:
        assert await finds(onvoard.webhooks.list, made.id, **fitting), fitting
        assert await loses(onvoard.webhooks.list, made.id, **unfitting), unfitting


async def test_webhooks_follow_one_another_on_pages(target: Target, onvoard: OnVoard, keep: Keep) -> None:
    made = {(await _make(target, onvoard, keep, RARE)).id for _ in range(3)}
    own = {"keyword": target.run}
    assert all([await finds(onvoard.webhooks.list, each, **own) for each in made])
    assert made <= {each.id async for each in walk(onvoard.webhooks.list, page_size=1, **own)}


async def test_a_webhook_is_patched(target: Target, onvoard: OnVoard, keep: Keep) -> None:
    made = await _make(target, onvoard, keep, WebhookEventType.PROMPT_RESPONSE_SAVED)
    await onvoard.webhooks.patch(made.id, url=f"{made.url}/moved", event_types=[RARE], secret=SECRET)
    await onvoard.webhooks.patch(made.id, active=True)
    patched = await onvoard.webhooks.retrieve(made.id)
    assert (patched.url, patched.event_types, patched.active) == (f"{made.url}/moved", [RARE], True)


async def test_a_deleted_webhook_is_not_found(target: Target, onvoard: OnVoard, keep: Keep) -> None:
    made = await _make(target, onvoard, keep, RARE)
    await onvoard.webhooks.delete(made.id)
    with pytest.raises(NotFound):
        await onvoard.webhooks.retrieve(made.id)
    assert await loses(onvoard.webhooks.list, made.id)
