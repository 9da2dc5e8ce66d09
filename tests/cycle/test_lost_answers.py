"""A change whose answer was lost has perhaps arrived: what it left on the platform is ours, and nobody's edit. So the
next edit on the side where it came from wins, whatever else has happened to the other record since (laws 2 and 3)."""

from __future__ import annotations

import contextlib
from typing import Any

from service.errors import PlatformError
from tests.cycle.world import World

ANN = "ann@example.com"
TO_ONVOARD = {"method": "P*", "path": "/v2/contacts*"}
TO_DIGITAL = {"method": "POST", "path": "/v1/contacts"}


async def _lost(world: World, platform: Any, with_text: str, where: dict[str, str], **more: Any) -> None:
    """A cycle that pushes this text, and never hears that it has arrived."""
    world.sandbox.fail(platform, "reset_after", times=None, body_contains=with_text, **where, **more)
    with contextlib.suppress(PlatformError):
        await world.sync()
    world.sandbox.clear_faults()
    world.clock.advance(60)


def _cities(world: World) -> tuple[str, str]:
    return world.ov.contact(ANN)["properties"].get("city") or "", world.do.contact("crm-ann")["city"] or ""


async def test_a_change_of_onvoard_s_is_followed_by_the_next(both: World) -> None:
    await both.linked("ann")
    both.ov.edit_contact(ANN, city="Oslo")
    await _lost(both, "digital_onboarding", "Oslo", TO_DIGITAL)
    both.ov.edit_contact(ANN, city="Bern")
    both.clock.advance(60)
    both.do.edit_contact("crm-ann", state="CA")  # a newer record, of which the city is no part
    await both.sync()
    assert _cities(both) == ("Bern", "Bern")
    assert both.conflicts(status="resolved") == []
    assert [row["new_value"] for row in both.rows("SELECT * FROM changes WHERE field = 'city' ORDER BY id")][-2:] == [
        "Oslo", "Bern",
    ], "what arrived is in the history"  # fmt: skip
    await both.quiet()


async def test_a_change_of_digital_onboarding_s_is_followed_by_the_next(both: World) -> None:
    await both.linked("ann")
    both.do.edit_contact("crm-ann", city="Oslo")
    await _lost(both, "onvoard", "Oslo", TO_ONVOARD)
    both.do.edit_contact("crm-ann", city="Bern")
    both.clock.advance(60)
    both.ov.edit_contact(ANN, region="CA")
    await both.sync()
    assert _cities(both) == ("Bern", "Bern")
    await both.quiet()


async def test_an_edit_that_is_taken_back_meanwhile_stays_taken_back(world: World) -> None:
    await world.linked("ann")
    world.ov.edit_contact(ANN, city="Oslo")
    await _lost(world, "digital_onboarding", "Oslo", TO_DIGITAL)
    world.ov.edit_contact(ANN, city="Rome")
    await world.sync()
    assert _cities(world) == ("Rome", "Rome")
    await world.quiet()


async def test_what_did_not_arrive_is_sent_again(world: World) -> None:
    await world.linked("ann")
    world.ov.edit_contact(ANN, city="Oslo")
    world.sandbox.fail("digital_onboarding", "reset_before", times=None, body_contains="Oslo", **TO_DIGITAL)
    with contextlib.suppress(PlatformError):
        await world.sync()
    world.sandbox.clear_faults()
    await world.sync()
    assert _cities(world) == ("Oslo", "Oslo")
    await world.quiet()


async def test_somebody_else_s_edit_of_the_same_field_is_no_answer_of_ours(world: World) -> None:
    await world.linked("ann")
    world.ov.edit_contact(ANN, city="Oslo")
    await _lost(world, "digital_onboarding", "Oslo", TO_DIGITAL)
    world.do.edit_contact("crm-ann", city="Lima")
    await world.sync()
    assert _cities(world) == ("Lima", "Lima")
    await world.quiet()


async def test_a_contact_made_on_onvoard_without_our_knowing_is_not_the_newer_record(world: World) -> None:
    await world.setup()
    world.do.add_contact(unique_id="crm-ann", email=ANN, city="Oslo")
    await world.import_export()
    await _lost(world, "onvoard", "Oslo", TO_ONVOARD)
    world.do.edit_contact("crm-ann", city="Bern")
    world.clock.advance(60)
    world.ov.edit_contact(ANN, region="CA")
    await world.sync()
    assert _cities(world) == ("Bern", "Bern")
    assert world.status(ANN) == ("linked", "created")
    await world.quiet()


async def test_the_address_of_a_contact_made_on_digital_onboarding_is_no_edit(world: World) -> None:
    contact_id = world.ov.add_contact(ANN, city="Oslo")["id"]

    def moves() -> None:
        world.ov.edit_contact(contact_id, email="ann.new@example.com")
        world.clock.advance(30)

    await _lost(world, "digital_onboarding", ANN, TO_DIGITAL, action=moves)
    await world.sync()
    (there,) = world.do.contact_list()
    assert world.ov.contact(contact_id)["email"] == there["email"] == "ann.new@example.com"
    await world.quiet()
