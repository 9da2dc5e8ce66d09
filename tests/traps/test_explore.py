from tests.cycle.world import World, show


async def test_x(world: World) -> None:
    world.ov.settings.defaults_on_update = True
    await world.linked("ann")
    world.ov.unsubscribe("ann@example.com")
    await world.sync()
    print("A", world.ov.contact("ann@example.com")["email_unsubscribed"], world.do.contact("crm-ann")["unsubscribe_email"])
    world.clock.advance(60)
    world.do.edit_contact("crm-ann", city="Bern")
    mark = world.mark()
    await world.sync()
    print([show(e) for e in world.writes(mark)])
    print("B", world.ov.contact("ann@example.com")["email_unsubscribed"], world.do.contact("crm-ann")["unsubscribe_email"], world.conflicts())
    await world.sync()
    print("C", world.ov.contact("ann@example.com")["email_unsubscribed"], world.do.contact("crm-ann")["unsubscribe_email"], world.conflicts())
    assert 0
