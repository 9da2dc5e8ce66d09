"""Law 1 over all that the platforms' documents leave open: the second sync writes nothing."""

from __future__ import annotations

import pytest

from tests.cycle.world import World

QUIRKS = {
    "touched by probes, phones as written": {"do": {"touch_on_probe": True}, "ov": {"reformat_phone": False}},
    "inclusive, flags unset, reversed": {
        "ov": {"boundary": "inclusive"},
        "do": {"unset_flag": None, "answer_order": "reversed"},
    },
    "truncated, 404 past the end, read-only refused": {
        "ov": {"boundary": "truncated", "past_end": "404", "readonly_properties": "reject", "created_status": 200}
    },
    "blanks ignored": {"do": {"on_empty": "ignore", "on_null": "ignore", "touch_on_probe": True}},
    "blanks refused": {"do": {"on_empty": "reject", "on_null": "reject"}},
    "suppressed data kept, journey echoed": {
        "ov": {"suppressed_data": "keep"},
        "do": {"echo_journey": True, "meta_public": "merge"},
    },
}


def _switch(world: World, quirk: dict[str, dict[str, object]]) -> None:
    for side, values in quirk.items():
        settings = (world.ov if side == "ov" else world.do).settings
        for name, value in values.items():
            assert hasattr(settings, name)
            setattr(settings, name, value)


def _messy(world: World) -> None:
    """One of each: equal, different, blank on one side, alone, spelled differently, suppressed, opted out, odd."""
    ov, do = world.ov, world.do
    ov.add_contact("same@example.com", name="Sam  Same", phone="+1 (415) 555-0101", country="US")
    do.add_contact(
        unique_id="crm-same", email="SAME@example.com", name_first="Sam", name_last="Same", country="USA",
        phone_mobile="415.555.0101",
    )  # fmt: skip
    ov.add_contact("differ@example.com", name="Ann van Dyke", phone="0039 06 1234567", city="Rome")
    do.add_contact(unique_id="crm-differ", email="differ@example.com", name_first="Ann van", name_last="Dyke", city="X")
    ov.add_contact("blank@example.com")
    do.add_contact(unique_id="crm-blank", email="blank@example.com", name_last="Only", phone_mobile="call me")
    do.add_contact(unique_id="crm-alone", email="alone@example.com", country="Atlantis", timezone="Mars/Base", city="C")
    ov.add_contact("solo@example.com", name="Müller-Lüdenscheidt", timezone="Europe/Rome")
    ov.add_contact("gone@example.com", name="Gus Gone", phone="+14155550199")
    do.add_contact(unique_id="crm-gone", email="gone@example.com", name_first="Gus", name_last="Gone")
    ov.add_contact("out@example.com", email_unsubscribed=True)
    do.add_contact(unique_id="crm-out", email="out@example.com")
    ov.suppress("gone@example.com")
    template = do.add_template("Welcome")
    do.add_contact(unique_id="crm-j", email="j@example.com", journey={"template_id": template}, meta_public={"a": 1})


@pytest.mark.parametrize("quirk", QUIRKS.values(), ids=QUIRKS.keys())
async def test_the_second_sync_makes_no_write(world: World, quirk: dict[str, dict[str, object]]) -> None:
    _switch(world, quirk)
    _messy(world)
    await world.setup()
    await world.import_export()
    await world.sync()
    await world.quiet()
    world.clock.advance(60)
    world.ov.edit_contact("same@example.com", phone="(415) 555-0123", city="Oslo")
    world.do.edit_contact("crm-differ", name_first="Anna", phone_mobile="+39 06 7654321", city="")
    await world.sync()
    assert world.do.contact("crm-same")["city"] == "Oslo"
    assert world.ov.contact("differ@example.com")["name"] == "Anna Dyke"
    await world.quiet(plain=True)


async def test_the_second_sync_makes_no_write_on_postgres_either(postgres_world: World) -> None:
    _messy(postgres_world)
    await postgres_world.setup()
    await postgres_world.import_export()
    await postgres_world.sync()
    await postgres_world.quiet(plain=True)


async def test_a_platform_that_clears_what_is_left_out_corrupts_nothing_over_there(world: World) -> None:
    """The other reading of trap 49: even a probe would wipe a contact. What is lost there must not be taken for
    everybody's edits: the brake holds it, and OnVoard keeps its values."""
    world.configure(limits__max_changed_count=2)
    await world.linked("ann", "bob", "cat", "dan")
    world.do.settings.omitted = "clear"
    before = {c["email"]: (c["name"], c["phone"], c["properties"].get("city")) for c in world.ov.contact_list()}
    report = await world.sync()
    after = {c["email"]: (c["name"], c["phone"], c["properties"].get("city")) for c in world.ov.contact_list()}
    assert after == before and report.held
