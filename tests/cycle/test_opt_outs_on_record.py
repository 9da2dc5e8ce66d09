"""Every opt-out is on record: whose, since when, when the other side had it; and an address that opted out stays so."""

from __future__ import annotations

from typing import Any

from service.store import consent_report
from tests.cycle.world import World


def report(world: World, **where: Any) -> list[dict[str, Any]]:
    with world.db.begin(write=False) as conn:
        rows = list(consent_report.report(conn))
    return [row for row in rows if all(row[key] == value for key, value in where.items())]


async def test_where_and_when_it_was_seen_and_when_the_other_side_confirmed(world: World) -> None:
    await world.linked("ann", "bob")
    assert report(world) == []
    world.do.unsubscribe("crm-ann")
    world.ov.unsubscribe("bob@example.com")
    began = world.clock.now()
    await world.sync()
    ann, bob = report(world)
    assert (ann["email"], ann["channel"], ann["first_seen_on"]) == ("ann@example.com", "email", "digital_onboarding")
    assert (bob["email"], bob["first_seen_on"]) == ("bob@example.com", "onvoard")
    assert (ann["confirmed_on"], bob["confirmed_on"]) == ("onvoard", "digital_onboarding")
    for row in (ann, bob):
        assert row["state"] == "confirmed" and row["source"] == "unsubscribed" and row["lifted_at"] is None
        assert began <= row["first_seen_at"] <= row["confirmed_at"] and row["delay_seconds"] >= 0
    await world.sync()
    assert report(world) == [ann, bob]


async def test_a_delay_is_what_the_other_side_took(world: World) -> None:
    await world.linked("ann")
    world.sandbox.fail("onvoard", "status", method="PATCH", path="/v2/contacts/*", status=422, times=1)
    world.do.unsubscribe("crm-ann")
    await world.sync()
    assert [row["state"] for row in report(world)] == ["dead"]
    world.clock.advance(600)
    world.ov.unsubscribe("ann@example.com")
    await world.sync()
    (row,) = report(world)
    assert row["state"] == "confirmed" and 600 <= row["delay_seconds"] < 700


async def test_spam_and_bounces_count_and_sms_stands_for_itself(both: World) -> None:
    await both.linked("ann", "bob", "cid")
    both.ov.mark_as_spam("ann@example.com")
    both.ov.hard_bounce("bob@example.com")
    both.do.unsubscribe("crm-cid", email=False, sms=True)
    await both.sync()
    assert [(row["source"], row["state"]) for row in report(both)] == [
        ("spam", "confirmed"), ("hard_bounce", "confirmed"), ("unsubscribed", "stands"),
    ]  # fmt: skip
    assert both.do.contact("crm-ann")["unsubscribe_email"] and both.do.contact("crm-bob")["unsubscribe_email"]
    assert not both.ov.contact("cid@example.com")["email_unsubscribed"]


async def test_an_opt_in_by_the_platform_itself_lifts_it(both: World) -> None:
    await both.linked("ann")
    both.ov.unsubscribe("ann@example.com")
    await both.sync()
    both.clock.advance(60)
    both.ov.resubscribe("ann@example.com")
    await both.sync()
    (row,) = report(both)
    assert row["state"] == "lifted" and row["lifted_at"] > row["confirmed_at"]
    assert both.do.contact("crm-ann")["unsubscribe_email"] is True
    both.clock.advance(60)
    both.ov.unsubscribe("ann@example.com")
    await both.sync()
    assert [row["state"] for row in report(both)] == ["lifted", "confirmed"]


async def test_a_suppressed_person_is_reported_without_an_address(world: World) -> None:
    await world.linked("ann")
    world.ov.suppress("ann@example.com")
    await world.sync()
    rows = report(world)
    assert {row["channel"] for row in rows} == {"email", "sms"}
    for row in rows:
        assert row["email"] is None and row["source"] == "suppressed" and row["state"] == "confirmed"
        assert row["confirmed_on"] == "digital_onboarding"
    await world.sync()
    assert report(world) == rows


async def test_the_address_stays_opted_out_when_its_contact_is_gone(world: World) -> None:
    """Deleted, and imported anew under the same address: an opt-out belongs to the address, too."""
    world.configure(identity__create_on_digital_onboarding=False)
    world.ov.add_contact("ann@example.com", name="Ann")
    world.ov.add_contact("bob@example.com", name="Bob")
    world.ov.unsubscribe("ann@example.com")
    await world.sync()
    world.ov.delete_contact("ann@example.com")
    await world.sync()
    world.clock.advance(60)
    world.ov.add_contact("ann@example.com", name="Ann", accepts_marketing_emails=True)
    await world.sync()
    assert world.ov.contact("ann@example.com")["email_unsubscribed"] is True
    assert world.ov.contact("bob@example.com")["email_unsubscribed"] is False
    await world.quiet()


async def test_whoever_takes_over_the_address_takes_over_its_opt_out(world: World) -> None:
    await world.linked("ann", "bob")
    world.ov.unsubscribe("ann@example.com")
    await world.sync()
    world.do.edit_contact("crm-ann", email="ann@new.example.com")
    await world.sync()
    assert world.ov.contact("ann@new.example.com")["email_unsubscribed"] is True
    world.clock.advance(60)
    world.do.edit_contact("crm-bob", email="ann@example.com")
    await world.sync()
    await world.sync()
    assert world.ov.contact("ann@example.com")["name"] == "Bob Lee"
    assert world.ov.contact("ann@example.com")["email_unsubscribed"] is True
    assert world.do.contact("crm-bob")["unsubscribe_email"] is True
    assert world.conflicts() == []
    await world.quiet()


async def test_who_opted_in_again_by_hand_is_not_opted_out_by_the_address(world: World) -> None:
    world.configure(identity__create_on_digital_onboarding=False)
    world.ov.add_contact("ann@example.com", name="Ann")
    world.ov.unsubscribe("ann@example.com")
    await world.sync()
    world.clock.advance(60)
    world.ov.resubscribe("ann@example.com")
    await world.sync()
    await world.sync()
    assert world.ov.contact("ann@example.com")["email_unsubscribed"] is False


async def test_nobody_is_created_past_an_opt_out_of_the_address(world: World) -> None:
    world.configure(identity__create_on_digital_onboarding=False)
    world.ov.add_contact("ann@example.com", name="Ann")
    world.ov.unsubscribe("ann@example.com")
    await world.sync()
    world.ov.delete_contact("ann@example.com")
    await world.sync()
    world.do.add_contact(unique_id="crm-ann", email="ann@example.com", name_first="Ann", name_last="Lee")
    await world.import_export()
    mark = world.mark()
    await world.sync()
    assert world.do.contact("crm-ann")["unsubscribe_email"] is True
    created = [entry.body for entry in world.writes(mark, "onvoard") if entry.method == "POST"]
    assert all(body["email_unsubscribed"] is True for body in created)
    await world.quiet()
