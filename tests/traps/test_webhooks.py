"""Traps 39 to 41 and 43 of traps.md: webhooks whose shapes, order, silence and echoes mislead. (42 stands in
test_reading.py; replays in tests/web/test_webhooks.py, and what becomes of each kind of event in
tests/cycle/test_webhook_events.py.)"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from service.schedule import Schedule, intervals
from service.store import tables as t
from tests.cycle.world import World, show
from tests.web.delivery import Delivery, delivering

ANN = "ann@example.com"


def mirrored(world: World, table: str) -> dict[str, Any]:
    """The only row, but for when it was read and edited."""
    (row,) = world.rows(f"SELECT * FROM {table}")
    row["raw"] = json.loads(row["raw"]) | {"modified_datetime": None}
    return {key: value for key, value in row.items() if key not in ("seen_at", "dirty", "modified_at", "edited_at")}


async def test_trap_39_the_shapes_of_events_never_reach_the_mirror(world: World) -> None:
    """Flat names, tags as text, epoch integers, no lists, no properties, no time of modification."""
    product = world.ov.add_product("63", "Wallet")
    await world.linked("ann")
    world.ov.edit_contact(ANN, tags=["Gold"], region="Lazio")
    world.ov.add_review(ANN, 5, "Good", product_id=product, image_urls=["https://example.com/1.jpeg"])
    await world.sync()
    contact, review = mirrored(world, "onvoard_contacts"), mirrored(world, "onvoard_reviews")
    async with delivering(world) as delivery:
        await delivery.register()
        world.ov.edit_contact(ANN, city="Oslo")
        world.ov.edit_contact(ANN, city="Rome")  # as it was: only the time differs
        flat = {"id": review["id"], "rating": 5, "product_id": product, "reply_html": None, "created_datetime": 1}
        await delivery.send({"id": "evt_r", "type": "review.created", "data": {"review": flat}})
        await delivery.arrived()
        payload = delivery.events(type="contact.saved")[0].payload["data"]["contact"]
        assert isinstance(payload["created_datetime"], int) and payload["tags"] == ["Gold"]
        assert not payload.keys() & {"properties", "lists", "modified_datetime"}
        await delivery.look()
        assert {each.status for each in delivery.events()} == {"processed"}
        assert mirrored(world, "onvoard_contacts") == contact
        assert mirrored(world, "onvoard_reviews") == review
        mark = world.mark()
        await delivery.push()
        assert [show(entry) for entry in world.writes(mark)] == []


async def test_trap_39_back_in_stock_events_carry_their_data_under_another_name(world: World) -> None:
    await world.linked("ann")
    contact_id = world.ov.contact(ANN)["id"]
    async with delivering(world) as delivery:
        await delivery.register()
        data = {"back_in_stock_subscribed": {"contact_id": contact_id, "contact_email": ANN}}
        world.ov.fire_event("back_in_stock_subscriber.saved", data)
        await delivery.arrived()
        await delivery.look()
        (event,) = delivery.events()
        assert (event.status, event.subject) == ("processed", contact_id)


@pytest.mark.parametrize("order", ["as sent", "backwards", "twice, the oldest last"])
async def test_trap_40_whatever_order_events_come_in_the_latest_edit_stands(world: World, order: str) -> None:
    await world.linked("ann")
    async with delivering(world) as delivery:
        await delivery.register()
        for city in ("Oslo", "Bern", "Lima"):
            world.ov.edit_contact(ANN, city=city, name=f"Ann {city}")
        await delivery.arrived()
        payloads = [event.payload for event in delivery.events()]
        with world.db.begin() as conn:
            conn.execute(t.webhook_events.delete())
        orders = {"as sent": payloads, "backwards": payloads[::-1]}
        for number, payload in enumerate(orders.get(order, [*payloads, *payloads[::-1]])):
            await delivery.send({**payload, "id": f"evt_{number}"})
            await delivery.look()
            await delivery.push()
        assert world.do.contact("crm-ann")["city"] == "Lima"
        assert world.do.contact("crm-ann")["name_last"] == "Lima"
        assert world.ov.contact(ANN)["name"] == "Ann Lima"
        await world.quiet()


async def test_trap_40_an_opt_out_is_found_though_no_event_is_named_after_it(world: World) -> None:
    await world.linked("ann")
    async with delivering(world) as delivery:
        await delivery.register()
        world.ov.unsubscribe(ANN)
        stale = {"id": world.ov.contact(ANN)["id"], "email": ANN, "email_unsubscribed": False}
        await delivery.send({"id": "evt_old", "type": "contact.saved", "data": {"contact": stale}})
        await delivery.look()
        await delivery.push()
        assert world.do.contact("crm-ann")["unsubscribe_email"] is True


# 41


@asynccontextmanager
async def scheduled(world: World, monkeypatch: pytest.MonkeyPatch, grace: float = 5) -> AsyncIterator[Schedule]:
    often = timedelta(milliseconds=300)
    monkeypatch.setattr("service.schedule.intervals", lambda settings: dict.fromkeys(intervals(settings), often))
    schedule = Schedule(world.bridge)
    await schedule.start()
    try:
        yield schedule
    finally:
        await schedule.stop(grace)


async def until(what: Callable[[], Any], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110
            await asyncio.sleep(0.03)


async def _switched_off(delivery: Delivery) -> None:
    """Twenty failures in a row, and then an edit that nobody is told of."""
    world = delivery.world
    world.ov.settings.webhook_retry_delay = 0.001
    (hook,) = world.ov.webhooks.values()
    hook.secret = "another one"  # which the receiver refuses
    world.ov.edit_contact(ANN, city="Oslo")
    await delivery.arrived()
    assert hook.active is False
    world.ov.edit_contact(ANN, city="Bern")
    assert delivery.events() == []


def sweeps(world: World) -> list[Any]:
    return world.rows("SELECT * FROM runs WHERE kind = 'sweep' AND outcome = 'ok'")


async def test_trap_41_a_webhook_that_was_switched_off_is_switched_on_and_the_gap_swept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.linked("ann")
    async with delivering(world) as delivery:
        world.configure(web__public_url=delivery.here)
        await delivery.register(digital=False)
        await _switched_off(delivery)
        world.clock.advance(120)  # beyond the overlap in which new contacts are looked for
        with capture_logs() as logged:
            async with scheduled(world, monkeypatch):
                await until(lambda: sweeps(world))
                await until(lambda: world.do.contact("crm-ann")["city"] == "Bern")
                (hook,) = world.ov.webhooks.values()
                assert hook.active is True
                world.ov.edit_contact(ANN, city="Lima")
                await delivery.arrived()
                assert delivery.events(), "it tells again, signed with our secret"
                done = world.value("SELECT count(*) FROM runs WHERE kind = 'resources'")
                await until(lambda: world.value("SELECT count(*) FROM runs WHERE kind = 'resources'") >= done + 2)
        assert len([line for line in logged if "switched the webhook off" in line["event"]]) == 1
        assert len(sweeps(world)) == 1


async def test_trap_41_the_gap_is_swept_though_the_daemon_died_while_it_switched_the_webhook_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.linked("ann")
    async with delivering(world) as delivery:
        world.configure(web__public_url=delivery.here)
        await delivery.register(digital=False)
        await _switched_off(delivery)
        world.clock.advance(120)
        patched = world.sandbox.fail(
            "onvoard", "delay", method="PATCH", path="/v2/webhooks/*", seconds=30, after_effect=True
        )
        async with scheduled(world, monkeypatch, grace=0):
            await until(lambda: patched.struck)
        assert sweeps(world) == []
        world.sandbox.clear_faults()
        (hook,) = world.ov.webhooks.values()
        assert hook.active is True, "and nothing on OnVoard says that it was ever off"
        async with scheduled(world, monkeypatch):
            await until(lambda: sweeps(world), 8)
            await until(lambda: world.do.contact("crm-ann")["city"] == "Bern")


@pytest.mark.parametrize("public_url", [None, "https://elsewhere.example.com"])
async def test_trap_41_a_webhook_that_is_not_ours_stays_as_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch, public_url: str | None
) -> None:
    await world.linked("ann")
    async with delivering(world) as delivery:
        world.configure(web__public_url=public_url)
        await delivery.register(digital=False)
        await _switched_off(delivery)
        async with scheduled(world, monkeypatch):
            await until(lambda: world.value("SELECT count(*) FROM runs WHERE kind = 'resources'") > 2)
        (hook,) = world.ov.webhooks.values()
        assert hook.active is False and sweeps(world) == []


# 43


async def test_trap_43_the_bridges_own_writes_come_back_and_lead_to_no_new_write(world: World) -> None:
    await world.setup()
    await world.linked("ann", "bob")
    async with delivering(world) as delivery:
        await delivery.register()
        world.do.edit_contact("crm-ann", city="Oslo", phone_mobile="+44 20 7946 0018")
        world.ov.edit_contact("bob@example.com", city="Bern")
        world.do.add_contact(unique_id="crm-joe", email="joe@example.com", name_first="Joe")
        await delivery.arrived()
        await world.import_export()
        await delivery.look()
        await delivery.push()
        assert world.unequal() == []
        await delivery.arrived()
        echoes = delivery.events(status="pending", platform="onvoard")
        assert {each.type for each in echoes} == {"contact.created", "contact.saved"}, "what we wrote comes back"
        before = json.dumps([world.ov.contact_list(), world.do.contact_list()], default=str)
        mark = world.mark()
        for _ in range(3):
            await delivery.arrived()
            await delivery.look()
            await delivery.push()
        assert [show(entry) for entry in world.writes(mark)] == []
        assert json.dumps([world.ov.contact_list(), world.do.contact_list()], default=str) == before
        assert delivery.events(status="pending") == []
        mark = world.mark()
        await delivery.look()
        await delivery.push()
        assert world.journal.writes(mark) == [], "not even a probe"
    with world.db.begin(write=False) as conn:
        assert conn.execute(select(t.conflicts).where(t.conflicts.c.status == "open")).all() == []
