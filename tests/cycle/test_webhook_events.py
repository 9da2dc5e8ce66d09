"""What becomes of webhook events: real ones of both platforms, and a mirror on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest

from service import runs
from service.cycle import Cycle
from service.errors import PlatformError
from service.store import inbox
from tests.cycle.world import World, is_probe
from tests.web.delivery import delivering

ANN, BOB = "ann@example.com", "bob@example.com"


def requests(world: World, mark: int, platform: str) -> list[str]:
    return [f"{e.method} {e.path}" for e in world.journal.entries(mark, platform=platform)]


async def test_an_edit_travels_by_its_event_alone(world: World) -> None:
    await world.linked("ann", "bob")
    async with delivering(world) as delivery:
        await delivery.register()
        world.ov.edit_contact(ANN, city="Oslo")
        world.do.edit_contact("crm-bob", city="Bern")
        await delivery.arrived()
        mark = world.mark()
        report = await delivery.look()
        ann = world.ov.contact(ANN)["id"]
        assert requests(world, mark, "onvoard") == [f"GET /v2/contacts/{ann}"]
        assert report.pulled == {"webhook_events.processed": 2}
        await delivery.push()
        assert world.do.contact("crm-ann")["city"] == "Oslo"
        assert world.ov.contact(BOB)["properties"]["city"] == "Bern"
        first = {each.subject: (each.platform, each.status, each.reason) for each in delivery.events()[:2]}
        assert first == {
            ann: ("onvoard", "processed", None),
            world.do.contact("crm-bob")["id"]: ("digital_onboarding", "processed", None),
        }


async def test_many_events_of_one_contact_are_one_request(world: World) -> None:
    await world.linked("ann", "bob")
    async with delivering(world) as delivery:
        await delivery.register()
        for number in range(30):
            world.ov.edit_contact(ANN, city=f"Oslo {number}")
            world.do.edit_contact("crm-bob", city=f"Bern {number}")
        await delivery.arrived()
        mark = world.mark()
        await delivery.look()
        assert len(requests(world, mark, "onvoard")) == 1
        assert len(requests(world, mark, "digital_onboarding")) == 1
        assert {each.status for each in delivery.events()} == {"processed"}
        mark = world.mark()
        await delivery.look()
        assert world.journal.entries(mark) == []


async def test_a_new_contact_and_a_new_review_are_read(both: World) -> None:
    product = both.ov.add_product("63", "Wallet")
    await both.linked("bob")
    async with delivering(both) as delivery:
        await delivery.register()
        both.ov.add_contact(ANN, name="Ann Lee")
        both.ov.add_review(ANN, 5, "Good", product_id=product)
        await delivery.arrived()
        await delivery.look()
        assert [(type_, status) for type_, status, _ in delivery.told()] == [
            ("contact.created", "processed"), ("contact.saved", "processed"), ("review.created", "processed"),
        ]  # fmt: skip
        contact, review = both.rows("SELECT * FROM onvoard_contacts WHERE email = :e", e=ANN)[0], both.rows(
            "SELECT * FROM onvoard_reviews"
        )[0]
        assert (review["reviewer_contact_id"], review["rating"]) == (contact["id"], 5)
        assert delivery.events(type="review.created")[0].subject == contact["id"]


async def test_what_names_nobody_by_id_finds_its_contact_by_the_address(world: World) -> None:
    await world.linked("ann")
    world.ov.add_contact(BOB)  # not in the mirror yet
    async with delivering(world) as delivery:
        for number, email in enumerate((ANN.upper(), BOB, "nobody@example.com")):
            data = {"prompt_response": {"id": "pmtresp_1", "data": {"email": email}}}
            event = {"id": f"evt_{number}", "type": "prompt_response.saved", "data": data}
            assert await delivery.send(event) == 200
        data = {"back_in_stock_subscribed": {"contact_id": world.ov.contact(ANN)["id"], "contact_email": ANN}}
        await delivery.send({"id": "evt_3", "type": "back_in_stock_subscriber.saved", "data": data})
        world.ov.edit_contact(ANN, city="Oslo")
        await delivery.look()
        ids = {email: world.ov.contact(email)["id"] for email in (ANN, BOB)}
        assert [each.subject for each in delivery.events()] == [ids[ANN], ids[BOB], None, ids[ANN]]
        assert {each.status for each in delivery.events()} == {"processed"}
        assert delivery.events()[0].payload["data"]["prompt_response"]["data"]["email"] == ANN.upper()
        assert world.value("SELECT email FROM onvoard_contacts WHERE id = :id", id=ids[BOB]) == BOB
        await delivery.push()
        assert world.do.contact("crm-ann")["city"] == "Oslo"


async def test_an_unknown_contact_is_kept_as_ignored_with_its_reason(world: World) -> None:
    async with delivering(world) as delivery:
        event = {"id": "evt_1", "type": "contact.saved", "data": {"contact": {"id": "ct_nobody"}}}
        assert await delivery.send(event) == 200
        await delivery.register()
        world.do.add_contact(unique_id="crm-ann", email=ANN)
        world.do.edit_contact("crm-ann", city="Oslo")
        await delivery.arrived()
        mark = world.mark()
        await delivery.look()
        assert {(status, reason) for _, status, reason in delivery.told()} == {("ignored", inbox.UNKNOWN)}
        assert delivery.events()[0].payload == event
        assert world.journal.writes(mark) == []


async def test_a_contact_that_is_gone_is_marked_deleted(world: World) -> None:
    await world.linked("ann")
    contact_id = world.ov.contact(ANN)["id"]
    async with delivering(world) as delivery:
        await delivery.register(digital=False)
        world.ov.edit_contact(ANN, city="Oslo")
        await delivery.arrived()
        world.ov.delete_contact(contact_id)
        await delivery.look()
        assert delivery.told() == [("contact.saved", "processed", inbox.DELETED)]
    assert world.value("SELECT deleted_at FROM onvoard_contacts WHERE id = :id", id=contact_id)


async def test_a_failure_leaves_its_events_for_later_and_no_other(world: World) -> None:
    await world.linked("ann", "bob")
    async with delivering(world) as delivery:
        await delivery.register()
        world.ov.edit_contact(ANN, city="Oslo")
        world.ov.edit_contact(BOB, city="Rome 2")
        world.do.edit_contact("crm-bob", name_last="Ray")
        await delivery.arrived()
        path = f"/v2/contacts/{world.ov.contact(ANN)['id']}"
        world.sandbox.fail("onvoard", "status", path=path, times=None, status=500)
        world.sandbox.fail("digital_onboarding", "status", path="/*contacts*", times=None, status=500)
        with pytest.raises(PlatformError):
            await delivery.look()
        bob = world.ov.contact(BOB)["id"]
        assert [each.subject for each in delivery.events(status="processed")] == [bob]
        assert len(delivery.events(status="pending")) == 2
        mark = world.mark()
        await delivery.look()
        assert world.journal.entries(mark) == [], "not at once"
        world.sandbox.clear_faults()
        world.clock.advance(60)
        await delivery.look()
        assert {each.status for each in delivery.events()} == {"processed"}
        await delivery.push()
        assert world.unequal() == []


async def test_a_platform_that_is_down_is_asked_once_a_turn(world: World) -> None:
    names = [f"p{number}" for number in range(20)]
    await world.linked(*names)
    async with delivering(world) as delivery:
        await delivery.register(digital=False)
        for name in names:
            world.ov.edit_contact(f"{name}@example.com", city="Oslo")
        await delivery.arrived()
        world.sandbox.fail("onvoard", "status", times=None, status=401)
        mark = world.mark()
        with pytest.raises(PlatformError):
            await delivery.look()
        assert len(requests(world, mark, "onvoard")) <= 8
        assert {each.status for each in delivery.events()} == {"pending"}


async def test_what_is_refused_or_has_waited_a_day_has_failed(world: World) -> None:
    await world.linked("ann", "bob")
    async with delivering(world) as delivery:
        await delivery.register(digital=False)
        world.ov.edit_contact(ANN, city="Oslo")
        world.ov.edit_contact(BOB, city="Oslo")
        await delivery.arrived()
        for email, status in ((ANN, 422), (BOB, 500)):
            path = f"/v2/contacts/{world.ov.contact(email)['id']}"
            world.sandbox.fail("onvoard", "status", path=path, times=None, status=status)
        with pytest.raises(PlatformError):
            await delivery.look()
        assert [each.status for each in delivery.events()] == ["failed", "pending"]
        world.clock.advance(timedelta(hours=24).total_seconds())
        await delivery.look()
        assert [each.status for each in delivery.events()] == ["failed", "failed"]
        assert "answered 422" in delivery.events()[0].reason and "answered 500" in delivery.events()[1].reason


async def test_of_a_suppressed_person_nothing_stays(both: World) -> None:
    both.ov.settings.saved_event_on_suppress = True
    both.ov.settings.suppressed_data = "keep"
    await both.linked("ann", "bob")
    async with delivering(both) as delivery:
        await delivery.register()
        both.ov.edit_contact(ANN, city="Oslo")
        both.do.edit_contact("crm-ann", city="Bern")
        await delivery.arrived()
        await delivery.look()
        both.ov.suppress(ANN)
        await delivery.arrived()
        await delivery.look()
        await delivery.push()
        assert both.do.contact("crm-ann")["unsubscribe_sms"] is True
        both.do.edit_contact("crm-ann", city="Rome")
        both.clock.advance(10)
        (suppressed,) = (each for each in both.ov.contact_list() if each["email"] == ANN)
        event = {"id": "evt_late", "type": "contact.saved", "data": {"contact": suppressed}}
        await delivery.send(event)
        await delivery.arrived()
        await delivery.look()
        assert delivery.events(id="evt_late")[0].payload == {}
        late = [each for each in delivery.events() if each.reason == inbox.SUPPRESSED]
        assert {(each.status, str(each.payload)) for each in late} == {("ignored", "{}")}
        assert not [word for word in (ANN, "Ann Lee", "Oslo") if word in both.mirror_text()]


async def test_a_contact_that_is_unsuppressed_lives_again_by_its_event(world: World) -> None:
    await world.linked("ann")
    world.ov.suppress(ANN)
    await world.sync()
    async with delivering(world) as delivery:
        await delivery.register(digital=False)
        contact_id = world.value("SELECT id FROM onvoard_contacts")
        world.ov.unsuppress(contact_id)
        await delivery.arrived()
        await delivery.look()
        assert delivery.told()[-1][1] == "processed"
        assert world.value("SELECT suppressed FROM onvoard_contacts") in (False, 0)


@pytest.mark.parametrize(("refresh", "status", "reason"), [("off", "ignored", "off"), ("list", "processed", None)])
async def test_what_is_known_there_is_read_in_the_way_that_is_set(
    world: World, refresh: str, status: str, reason: str | None
) -> None:
    await world.linked("ann")
    world.configure(digital_onboarding__refresh=refresh)
    world.do.settings.listing = True
    async with delivering(world) as delivery:
        await delivery.register()
        world.do.edit_contact("crm-ann", city="Oslo")
        world.do.add_contact(unique_id="crm-bob", email=BOB)
        await delivery.arrived()
        mark = world.mark()
        await delivery.look()
        assert world.journal.writes(mark) == []
        assert {each.status for each in delivery.events()} == {status}
        assert all((reason or "") in (each.reason or "") for each in delivery.events())


async def test_two_edits_within_a_second_are_both_seen(world: World) -> None:
    """They may be one event: the same body with the same whole `t`."""
    await world.linked("ann")
    async with delivering(world) as delivery:
        await delivery.register()
        world.do.edit_contact("crm-ann", city="Oslo")
        await delivery.arrived()
        mark = world.mark()
        await delivery.look(after=0)
        (asked,) = world.journal.entries(mark, platform="digital_onboarding")
        assert asked.at - delivery.events()[0].received_at >= timedelta(seconds=1)


async def test_a_platform_that_tells_of_every_question_is_asked_ever_less(world: World) -> None:
    """To ask is to write: without this, each answer would lead to the next question."""
    await world.linked("ann")
    async with delivering(world) as delivery:
        await delivery.register()
        world.do.edit_contact("crm-ann", city="Oslo")
        await delivery.arrived()
        thin = {"contact_id": world.do.contact("crm-ann")["id"], "type": "contact.updated"}
        mark = world.mark()
        for number in range(120):  # two minutes, an event in each second
            with world.db.begin() as conn:
                at = world.clock.now() - timedelta(seconds=1)
                inbox.keep(conn, [inbox.Incoming(f"do_{number}", inbox.Platform.DIGITAL_ONBOARDING, "contact.updated",
                                                 thin, at, thin["contact_id"])])  # fmt: skip
            await delivery.look(after=1)
        probes = [e for e in world.journal.entries(mark, platform="digital_onboarding") if is_probe(e)]
        assert 3 <= len(probes) <= 9
        assert delivery.events(status="pending"), "nothing is lost: it is asked once more, later"
        world.do.edit_contact("crm-ann", city="Bern")
        world.clock.advance(600)
        await delivery.look()
        assert world.value("SELECT city FROM digital_onboarding_contacts") == "Bern"
        assert not delivery.events(status="pending")


# The brake


async def _nearly_shut(world: World, *names: str) -> None:
    world.configure(limits__max_changed_count=0, limits__max_changed_share=0.0)
    await world.linked(*names)


async def test_opt_outs_that_events_tell_of_pass_the_brake(world: World) -> None:
    await _nearly_shut(world, "ann", "bob", "cem")
    async with delivering(world) as delivery:
        await delivery.register()
        world.ov.unsubscribe(ANN)
        world.do.unsubscribe("crm-bob")
        for email in (ANN, "cem@example.com"):
            world.ov.edit_contact(email, city="Oslo")
        await delivery.arrived()
        await delivery.look()
        report = await delivery.push()
        assert world.do.contact("crm-ann")["unsubscribe_email"] is True
        assert world.ov.contact(BOB)["email_unsubscribed"] is True
        assert list(report.held) == ["digital_onboarding"] and "2 of 3" in report.held["digital_onboarding"]
        assert {world.do.contact(f"crm-{name}")["city"] for name in ("ann", "cem")} == {"Rome"}, "only opt-outs pass"


async def test_one_that_was_read_and_held_before_passes_when_its_event_is_looked_into(world: World) -> None:
    await _nearly_shut(world, "ann", "bob")
    async with delivering(world) as delivery:
        await delivery.register()
        world.ov.unsubscribe(ANN)
        world.do.unsubscribe("crm-bob")
        await delivery.arrived()
        assert len((await runs.run(world.bridge, "sweep", _sweep_and_push)).held) == 2
        await delivery.look()
        assert not (await runs.run(world.bridge, "reconcile", _take_up_and_push)).held
        assert world.do.contact("crm-ann")["unsubscribe_email"] is True
        assert world.ov.contact(BOB)["email_unsubscribed"] is True
        await world.quiet()


async def _sweep_and_push(cycle: Cycle) -> None:
    """As the daemon does, before its inbox has had its turn."""
    await cycle.pull(full=True)
    await cycle.refresh(full=True)
    await cycle.reconcile_and_push()


async def _take_up_and_push(cycle: Cycle) -> None:
    await cycle.take_up()
    await cycle.reconcile_and_push()


async def test_other_events_let_no_mass_change_pass(world: World) -> None:
    """Neither those from before the opt-outs nor those of others."""
    await _nearly_shut(world, "ann", "bob", "cem")
    async with delivering(world) as delivery:
        await delivery.register()
        world.ov.edit_contact(ANN, tags=["Gold"])
        world.do.edit_contact("crm-bob", name_title="Dr")
        world.ov.edit_contact("cem@example.com", tags=["Gold"])
        await delivery.arrived()
        await delivery.look()
        assert {each.status for each in delivery.events()} == {"processed"}
        world.ov.webhooks.clear()
        world.do.configure_webhook(None)
        world.clock.advance(60)
        world.ov.unsubscribe(ANN)
        world.do.unsubscribe("crm-bob")
        mark = world.mark()
        report = await world.sync()
        assert set(report.held) == {"onvoard", "digital_onboarding"} and world.writes(mark) == []
        await delivery.register()
        mark = world.mark()
        world.ov.edit_contact("cem@example.com", tags=["Silver"])
        await delivery.arrived()
        await delivery.look()
        await runs.run(world.bridge, "reconcile", _take_up_and_push)
        assert world.writes(mark) == []


async def test_what_an_event_told_of_long_ago_lets_nothing_pass(world: World) -> None:
    await _nearly_shut(world, "ann")
    async with delivering(world) as delivery:
        await delivery.register(digital=False)
        world.ov.unsubscribe(ANN)
        await delivery.arrived()
        await delivery.look()
        world.clock.advance(25 * 3600)
        assert (await delivery.push()).held


async def test_a_sync_looks_into_what_has_come_in(world: World) -> None:
    await world.linked("ann", "bob")
    async with delivering(world) as delivery:
        await delivery.register()
        world.ov.edit_contact(ANN, city="Oslo")
        await delivery.arrived()
        await world.sync(full=False)
        assert world.do.contact("crm-ann")["city"] == "Oslo"
        assert delivery.events()[0].status == "processed"
