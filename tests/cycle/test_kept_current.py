"""Everything that can be listed is in the mirror, as it is now: what is gone over there is gone here, by proof."""

from __future__ import annotations

from typing import Any

import pytest

from service.platforms.onvoard.enums import PropertyValueType, ResourceKind, ResourceType, WebhookEventType
from tests.cycle.world import World

GONE = {
    "onvoard_contact_property_types": "contact_property_types",
    "onvoard_activity_types": "activity_types",
    "onvoard_resource_property_types": "resource_property_types",
    "onvoard_webhooks": "webhooks",
    "onvoard_resource_records": "resource_records",
    "onvoard_activities": "activities",
}


async def everything(world: World) -> None:
    """One of each at least."""
    await world.linked("ann")
    await world.setup()
    client = world.bridge.onvoard
    await client.webhooks.create(url="https://example.com/hook", event_types=[WebhookEventType.CONTACT_SAVED])
    await client.contact_property_types.create(key="shoe_size", label="Shoe size", value_type=PropertyValueType.NUMBER)
    thing = next(r for r in world.ov.resources.values() if r.type == ResourceType.CUSTOM)
    made = await client.resources.create(key="thing", name="Thing", kind=ResourceKind.OBJECT, icon_type=thing.icon_type,
                                         icon_class=thing.icon_class)  # fmt: skip
    await client.resource_records.create(resource=made.id, context_id="1", data={})
    world.ov.add_activity("ann@example.com", "custom.digital_onboarding_unsubscribed", channel="email")
    world.ov.add_review("ann@example.com", 4, "Fine", product_id=world.ov.add_product("sku-1", "Chair"))
    await world.sync()


@pytest.mark.parametrize("table", GONE)
async def test_what_is_gone_leaves_the_mirror(both: World, table: str) -> None:
    await everything(both)
    kept: dict[str, Any] = getattr(both.ov, GONE[table])
    before = both.value(f"SELECT count(*) FROM {table}")
    assert before == len(kept) > 0
    kept.pop(next(reversed(kept)))
    await both.sync()
    assert both.value(f"SELECT count(*) FROM {table}") == before - 1


async def test_a_shifted_page_is_no_proof(world: World) -> None:
    """The list leaves a webhook out, and yet there it is."""
    await everything(world)
    body = {"results": [], "current_page": 1, "page_size": 100}
    world.sandbox.fail("onvoard", "status", method="GET", path="/v2/webhooks", status=200, body=body, times=1)
    await world.sync()
    assert world.value("SELECT count(*) FROM onvoard_webhooks") == 1


async def test_a_summary_goes_with_its_last_review(both: World) -> None:
    await everything(both)
    assert both.value("SELECT num_reviews FROM onvoard_product_reviews_summaries WHERE product_name = 'Chair'") == 1
    both.ov.reviews.clear()
    both.ov.products.clear()
    await both.sync()
    assert both.value("SELECT count(*) FROM onvoard_product_reviews_summaries") == 0


async def test_templates_and_objectives_follow_but_an_empty_answer_is_a_suspicion(both: World) -> None:
    await both.linked("ann")
    count = "SELECT count(*) FROM digital_onboarding_objectives"
    known = both.value(count)
    body = {"objectives": []}
    both.sandbox.fail("digital_onboarding", "status", path="/v1/objectives", status=200, body=body, times=1)
    await both.sync()
    assert both.value(count) == known > 1
    both.sandbox.fail(
        "digital_onboarding", "status", path="/v1/objectives", status=200, times=1,
        body={"objectives": [{"id": "o-1", "key": "online-banking", "name": "Online banking", "team_id": None}]},
    )  # fmt: skip
    await both.sync()
    assert both.value(count) == 1


async def test_lists_tags_and_segments_can_be_queried(both: World) -> None:
    """There is no endpoint for them: they are found on contacts (traps 6)."""
    vip = both.ov.add_list("VIP")
    for name, tags in (("ann", ["new", "gold"]), ("bob", ["gold"])):
        both.ov.add_contact(f"{name}@example.com", name=name, lists=[vip], tags=tags)
    await both.sync()
    assert both.rows("SELECT id, name, contact_count FROM onvoard_lists") == [
        {"id": vip, "name": "VIP", "contact_count": 2}
    ]
    tags = both.rows("SELECT name, contact_count FROM onvoard_tags ORDER BY name")
    assert tags == [{"name": "gold", "contact_count": 2}, {"name": "new", "contact_count": 1}]
    assert both.value("SELECT count(*) FROM onvoard_segments") > 0
    both.ov.delete_contact("bob@example.com")
    await both.sync()
    assert both.value("SELECT contact_count FROM onvoard_lists") == 1
    mine = "SELECT m.name FROM onvoard_memberships m JOIN people p ON p.onvoard_contact_id = m.contact_id"
    assert both.rows(f"{mine} WHERE p.email = 'ann@example.com' AND m.kind = 'tag' ORDER BY m.name") == [
        {"name": "gold"}, {"name": "new"},
    ]  # fmt: skip
