"""The mass change brake."""

from __future__ import annotations

from tests.cycle.world import World

NAMES = [f"p{number}" for number in range(8)]


async def _edited(world: World, number: int, **fields: str) -> None:
    for name in NAMES[:number]:
        world.ov.edit_contact(f"{name}@example.com", **(fields or {"city": "Oslo"}))


async def test_exactly_the_limit_passes_and_one_more_is_held(both: World) -> None:
    both.configure(limits__max_changed_count=3, limits__max_changed_share=0.0)
    await both.linked(*NAMES)
    await _edited(both, 3)
    report = await both.sync()
    assert not report.held and both.do.contact("crm-p2")["city"] == "Oslo"
    both.clock.advance(60)
    await _edited(both, 4, city="Bern")
    both.do.edit_contact("crm-p7", city="Lima")
    mark = both.mark()
    report = await both.sync()
    assert list(report.held) == ["digital_onboarding"] and report.needs_person and report.outcome == "held"
    assert both.writes(mark, "digital_onboarding") == []
    assert both.ov.contact("p7@example.com")["properties"]["city"] == "Lima", "the other direction goes on"
    held = both.rows("SELECT * FROM outbox WHERE status = 'held'")
    assert len(held) == 4 and all(row["platform"] == "digital_onboarding" for row in held)
    report = await both.sync(allow=True)
    assert not report.held and both.unequal() == []
    assert both.rows("SELECT * FROM outbox WHERE status = 'held'") == []
    await both.quiet()


async def test_the_share_has_to_be_exceeded_as_well(world: World) -> None:
    world.configure(limits__max_changed_count=0, limits__max_changed_share=0.5)
    await world.linked(*NAMES)
    await _edited(world, 4)
    assert not (await world.sync()).held
    world.clock.advance(60)
    await _edited(world, 5, city="Bern")
    assert (await world.sync()).held
    assert (await world.sync()).held, "it stays held until somebody says otherwise"
    world.clock.advance(60)
    await _edited(world, 1, city="Oslo")  # back to what it was: one less
    assert not (await world.sync()).held
    assert world.unequal() == []
    await world.quiet()


async def test_creations_and_first_links_are_not_counted(world: World) -> None:
    world.configure(limits__max_changed_count=0, limits__max_changed_share=0.0)
    for name in NAMES:
        world.ov.add_contact(f"{name}@example.com", city="Rome")
        world.do.add_contact(unique_id=f"crm-{name}", email=f"{name}@example.com", name_first=name)
        world.ov.add_contact(f"new-{name}@example.com", name=name)
    await world.import_export()
    report = await world.sync()
    assert not report.held and world.unequal() == [] and len(world.do.contacts) == 16
    await world.quiet()


async def test_held_opt_outs_go_out_by_themselves_after_a_day(world: World) -> None:
    world.configure(limits__max_changed_count=2, limits__max_changed_share=0.0)
    await world.linked(*NAMES)
    await _edited(world, 2)
    for name in NAMES[:4]:
        world.do.unsubscribe(f"crm-{name}")
    for name in NAMES[4:]:
        world.ov.unsubscribe(f"{name}@example.com")
    mark = world.mark()
    report = await world.sync()
    assert set(report.held) == {"onvoard", "digital_onboarding"} and world.writes(mark) == []
    world.clock.advance(23 * 3600)
    await world.sync()
    assert world.writes(mark) == []
    world.clock.advance(2 * 3600)
    report = await world.sync()
    assert all(contact["email_unsubscribed"] for contact in world.ov.contact_list())
    assert all(contact["unsubscribe_email"] for contact in world.do.contact_list())
    await world.sync(allow=True)
    assert world.unequal() == []
    await world.quiet()


async def test_suppressions_pass_the_brake(world: World) -> None:
    world.configure(limits__max_changed_count=0, limits__max_changed_share=0.0)
    await world.linked(*NAMES)
    for name in NAMES[:5]:
        world.ov.suppress(f"{name}@example.com")
    report = await world.sync()
    assert not report.held
    assert all(world.do.contact(f"crm-{name}")["unsubscribe_sms"] for name in NAMES[:5])
    await world.quiet()
