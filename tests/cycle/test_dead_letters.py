"""What an operator does about pushes that were refused."""

from __future__ import annotations

from service.store import outbox
from tests.cycle.world import World

DEAD = "SELECT id, status, last_error FROM outbox WHERE operation = 'patch_contact' ORDER BY id"


async def refused(world: World, **edit: str) -> int:
    """-> the dead letter"""
    await world.linked("ann", "bob")
    fault = {"status": 422, "body": {"error": "no"}, "body_contains": next(iter(edit.values()))}
    world.sandbox.fail("onvoard", "status", method="PATCH", path="/v2/contacts/*", times=None, **fault)
    world.do.edit_contact("crm-ann", **edit)
    assert (await world.sync()).new_dead == 1
    return int(world.value("SELECT id FROM outbox WHERE status = 'dead'"))


async def test_a_dead_letter_is_sent_once_more_when_it_is_retried(both: World) -> None:
    dead = await refused(both, city="Bern")
    both.sandbox.clear_faults()
    await both.sync()
    assert both.ov.contact("ann@example.com")["properties"]["city"] == "Rome"
    with both.db.begin() as conn:
        outbox.retry(conn, [dead], both.clock.now())
    assert both.value(f"SELECT status FROM outbox WHERE id = {dead}") == "pending"
    await both.sync(full=False)
    assert both.ov.contact("ann@example.com")["properties"]["city"] == "Bern"
    assert both.value("SELECT count(*) FROM outbox WHERE status = 'dead'") == 0
    await both.quiet()


async def test_a_retried_one_says_what_is_so_by_then(world: World) -> None:
    dead = await refused(world, city="Bern")
    world.sandbox.clear_faults()
    world.ov.edit_contact("ann@example.com", city="Oslo", at=world.clock.advance(60))
    with world.db.begin() as conn:
        outbox.retry(conn, [dead], world.clock.now())
    await world.sync()
    assert world.do.contact("crm-ann")["city"] == "Oslo" == world.ov.contact("ann@example.com")["properties"]["city"]


async def test_a_discarded_one_is_not_said_again(both: World) -> None:
    dead = await refused(both, city="Bern")
    both.sandbox.clear_faults()
    with both.db.begin() as conn:
        outbox.discard(conn, [dead], both.clock.now())
    mark = both.mark()
    both.do.edit_contact("crm-ann", phone_home="+14155550109")  # looked at once more
    await both.sync()
    assert both.writes(mark) == []
    (row,) = both.rows(DEAD)
    assert row["status"] == "cancelled" and row["last_error"].startswith("discarded by a person: ")
    both.do.edit_contact("crm-ann", city="Wien")  # another value is another matter
    await both.sync()
    assert both.ov.contact("ann@example.com")["properties"]["city"] == "Wien"


async def test_an_opt_out_is_owed_whatever_is_discarded(both: World) -> None:
    await both.linked("ann", "bob")
    both.sandbox.fail("onvoard", "status", method="PATCH", path="/v2/contacts/*", status=422, times=1)
    both.do.unsubscribe("crm-ann")
    assert (await both.sync()).new_dead == 1
    dead = int(both.value("SELECT id FROM outbox WHERE status = 'dead'"))
    with both.db.begin() as conn:
        outbox.discard(conn, [dead], both.clock.now())
    both.do.edit_contact("crm-ann", city="Bern")
    await both.sync()
    assert both.ov.contact("ann@example.com")["email_unsubscribed"] is True
