"""Gone from one side: noticed by proof, never re-created by the bridge."""

from __future__ import annotations

import pytest

from service import planning, runs
from service.errors import PlatformError, SuspiciouslyEmpty
from service.schedule import JOBS
from service.store import slices
from tests.cycle.world import World, show


async def test_a_contact_gone_from_onvoard_is_not_created_again(both: World) -> None:
    await both.linked("ann", "bob")
    both.ov.delete_contact("ann@example.com")
    both.do.edit_contact("crm-ann", city="Bern")
    mark = both.mark()
    await both.sync()
    assert both.writes(mark) == [] and len(both.ov.contacts) == 1
    gone = both.rows("SELECT email FROM onvoard_contacts WHERE deleted_at IS NOT NULL")
    assert gone == [{"email": "ann@example.com"}]
    assert both.people()["ann@example.com"]["status"] == "digital_onboarding_only"
    both.do.edit_contact("crm-ann", city="Oslo")
    await both.sync()
    assert len(both.ov.contacts) == 1
    await both.quiet()


async def test_the_same_email_under_a_new_id_is_linked_again(world: World) -> None:
    await world.linked("ann", "bob")
    world.ov.delete_contact("ann@example.com")
    await world.sync()
    world.clock.advance(60)
    world.ov.add_contact("ann@example.com", name="Ann Back")
    await world.sync()
    assert world.status("ann@example.com") == ("linked", "email") and len(world.do.contacts) == 2
    assert world.people()["ann@example.com"]["unique_id"] == "crm-ann" and world.unequal() == []
    assert world.do.contact("crm-ann")["name_last"] == "Back"
    await world.quiet()


async def test_deleted_and_made_anew_between_two_syncs(world: World) -> None:
    await world.linked("ann", "bob")
    world.ov.delete_contact("ann@example.com")
    world.ov.add_contact("ann@example.com", name="Ann Back")
    await world.sync()
    await world.sync()
    person = world.people()["ann@example.com"]
    assert person["status"] == "linked" and person["unique_id"] == "crm-ann" and len(world.do.contacts) == 2
    assert world.unequal() == [] and world.conflicts() == []
    await world.quiet()


async def test_only_a_404_on_the_id_proves_a_deletion(world: World) -> None:
    """The list leaves somebody out for a moment."""
    await world.linked("ann", "bob")
    stolen = world.ov.record("ann@example.com")

    def hide() -> None:
        world.ov.contacts.pop(stolen.id)

    def show() -> None:
        world.ov.contacts[stolen.id] = stolen

    world.sandbox.when("onvoard", hide, method="GET", path="/v2/contacts")
    world.sandbox.when("onvoard", show, method="GET", path=f"/v2/contacts/{stolen.id}")
    await world.sync()
    assert world.rows("SELECT id FROM onvoard_contacts WHERE deleted_at IS NOT NULL") == []
    assert world.status("ann@example.com") == ("linked", "email")
    await world.quiet()


async def test_gone_from_onvoard_while_a_push_is_under_way(world: World) -> None:
    await world.linked("ann", "bob")
    world.do.edit_contact("crm-ann", city="Bern")
    world.sandbox.when("onvoard", lambda: world.ov.delete_contact("ann@example.com"), method="PATCH")
    report = await world.sync()
    assert not report.new_dead and len(world.ov.contacts) == 1
    assert world.people()["ann@example.com"]["status"] == "digital_onboarding_only"
    await world.quiet()


async def test_removed_on_digital_onboarding_is_asked_about_once_and_not_filled(world: World) -> None:
    await world.linked("ann", "bob", "cat")
    world.do.remove_contact("crm-ann")
    world.do.edit_contact("crm-bob", city="Oslo")
    report = await world.sync()
    assert report.new_conflicts == 1
    assert [c["kind"] for c in world.conflicts()] == ["removed_on_digital_onboarding"]
    assert world.do.contact("crm-ann")["name_first"] is None, "the probe had to make it anew; nothing was filled in"
    assert world.ov.contact("ann@example.com")["name"] == "Ann Lee"
    assert world.ov.contact("bob@example.com")["properties"]["city"] == "Oslo"
    assert world.people()["ann@example.com"]["status"] == "conflict"
    assert (await world.sync()).new_conflicts == 0
    await world.quiet()


async def test_removed_on_digital_onboarding_and_found_out_by_a_push(world: World) -> None:
    """Without a probe: the answer to the change itself says that the contact is new."""
    world.configure(digital_onboarding__refresh="off")
    await world.linked("ann", "bob")
    world.do.remove_contact("crm-ann")
    world.ov.edit_contact("ann@example.com", city="Oslo")
    report = await world.sync()
    assert report.new_conflicts == 1
    assert world.people()["ann@example.com"]["status"] == "conflict"
    await world.quiet()


async def test_removed_and_made_anew_by_somebody_else(world: World) -> None:
    """The unique_id is answered for by another record than the one that we knew."""
    await world.linked("ann", "bob")
    world.do.remove_contact("crm-ann")
    world.do.add_contact(unique_id="crm-ann", email="ann@example.com", name_first="Other")
    await world.sync()
    assert [c["kind"] for c in world.conflicts()] == ["removed_on_digital_onboarding"]
    assert world.ov.contact("ann@example.com")["name"] == "Ann Lee"
    await world.quiet()


async def test_an_onvoard_that_suddenly_lists_nobody_is_an_outage(world: World) -> None:
    await world.linked("ann", "bob", "cat")
    people = dict(world.ov.contacts)
    world.ov.contacts.clear()
    mark = world.mark()
    with pytest.raises(SuspiciouslyEmpty):
        await world.sync()
    assert world.writes(mark) == []
    assert world.rows("SELECT id FROM onvoard_contacts WHERE deleted_at IS NOT NULL") == []
    world.ov.contacts.update(people)
    await world.quiet()
    assert {row["status"] for row in world.people().values()} == {"linked"}


async def test_a_digital_onboarding_that_suddenly_knows_nobody_is_an_outage(world: World) -> None:
    await world.linked("ann", "bob", "cat", "dan")
    for name in ("ann", "bob", "cat", "dan"):
        world.do.remove_contact(f"crm-{name}")
    with pytest.raises(SuspiciouslyEmpty):
        await world.sync()
    assert all(contact["name"].endswith("Lee") for contact in world.ov.contact_list())
    await world.quiet()


async def test_what_waits_for_a_deleted_contact_is_not_sent(world: World) -> None:
    await world.setup()
    await world.linked("ann", "bob")
    world.do.complete_objective("crm-ann", "online-banking")
    world.do.edit_contact("crm-ann", city="Bern")
    await world.import_export()
    world.sandbox.fail("onvoard", "status", method="P*", times=None, status=503)
    for _ in range(2):
        with pytest.raises(PlatformError):
            await world.sync()
    world.sandbox.clear_faults()
    world.ov.delete_contact("ann@example.com")
    mark = world.mark()
    report = await world.sync()
    assert [show(entry) for entry in world.writes(mark, "onvoard")] == [] and not report.new_dead
    assert world.rows("SELECT id FROM outbox WHERE status NOT IN ('done', 'cancelled')") == []
    await world.quiet()


async def test_the_last_activities_may_go_with_their_contact(world: World) -> None:
    """It is a side without people that is taken for an outage."""
    await world.linked("ann", "bob")
    for name in ("one", "two", "three"):
        world.ov.add_activity("ann@example.com", "email_opened", email_name=name)
    await world.sync()
    world.ov.delete_contact("ann@example.com")
    await world.sync()
    assert world.people()["ann@example.com"]["status"] == "digital_onboarding_only"
    await world.quiet()


async def test_nothing_is_left_to_look_at_of_somebody_deleted(world: World) -> None:
    await world.linked("ann", "bob")
    world.ov.delete_contact("ann@example.com")
    await world.sync()
    assert world.rows("SELECT id FROM onvoard_contacts WHERE dirty") == []
    assert world.rows("SELECT unique_id FROM digital_onboarding_contacts WHERE dirty") == []


async def _job(world: World, name: str) -> None:
    """As the daemon runs it, with everything due."""
    (work,) = (job.work for job in JOBS if job.name == name)
    world.clock.advance(2)
    with world.db.begin() as conn:
        slices.all_due(conn, world.clock.now())
    await runs.run(world.bridge, name, work)


async def test_a_deletion_leaves_the_other_side_untouched(world: World) -> None:
    await world.linked("ann", "bob", "cat")
    before = world.do.contact("crm-ann"), world.ov.contact("bob@example.com")
    world.ov.delete_contact("ann@example.com")
    world.do.remove_contact("crm-bob")
    mark = world.mark()
    await world.sync()
    assert [show(entry) for entry in world.writes(mark)] == []
    assert (world.do.contact("crm-ann"), world.ov.contact("bob@example.com")) == before


async def test_the_daemon_re_creates_nobody(world: World) -> None:
    await world.linked("ann", "bob")
    world.ov.delete_contact("ann@example.com")
    world.do.edit_contact("crm-ann", city="Bern")
    mark = world.mark()
    for name in ("contacts", "refresh", "reconcile", "sweep", "reconcile", "refresh", "reconcile"):
        await _job(world, name)
    assert len(world.ov.contacts) == 1 and world.writes(mark, "digital_onboarding") == []
    assert world.people()["ann@example.com"]["status"] == "digital_onboarding_only"
    await world.quiet()


async def test_nobody_is_created_for_a_contact_that_was_deleted_before_it_could_be(world: World) -> None:
    """Its creation on the other side was still waiting."""
    world.configure(digital_onboarding__refresh="off")
    world.ov.add_contact("ann@example.com", name="Ann Lee")
    world.sandbox.fail("digital_onboarding", "status", method="POST", path="/v1/contacts", times=None, status=503)
    with pytest.raises(PlatformError):
        await world.sync()
    world.sandbox.clear_faults()
    world.ov.delete_contact("ann@example.com")
    world.ov.add_contact("bob@example.com", name="Bob Lee")
    await world.sync()
    assert [contact["email"] for contact in world.do.contact_list()] == ["bob@example.com"]
    assert world.rows("SELECT id FROM outbox WHERE status NOT IN ('done', 'cancelled')") == []
    await world.quiet()


async def test_an_edit_that_waits_is_not_carried_over_after_the_deletion_but_an_opt_out_is(world: World) -> None:
    world.configure(digital_onboarding__refresh="off")
    await world.linked("ann", "bob", "cat")
    world.ov.edit_contact("ann@example.com", city="Oslo")
    world.ov.unsubscribe("bob@example.com")
    world.sandbox.fail("digital_onboarding", "status", method="POST", path="/v1/contacts", times=None, status=503)
    with pytest.raises(PlatformError):
        await world.sync()
    world.sandbox.clear_faults()
    world.ov.delete_contact("ann@example.com")
    world.ov.delete_contact("bob@example.com")
    await world.sync()
    assert world.do.contact("crm-ann")["city"] == "Rome" and not world.do.contact("crm-ann")["unsubscribe_email"]
    assert world.do.contact("crm-bob")["unsubscribe_email"] is True
    await world.quiet()


async def test_removed_there_and_the_mirror_lost(world: World) -> None:
    """The link property names somebody who is gone: asking makes them anew, and nothing is filled in."""
    await world.setup()
    world.ov.add_contact("ann@example.com", name="Ann Lee", custom_digital_onboarding_unique_id="crm-ann")
    report = await world.sync()
    assert report.new_conflicts == 1
    assert [conflict["kind"] for conflict in world.conflicts()] == ["removed_on_digital_onboarding"]
    assert [contact["name_first"] for contact in world.do.contact_list()] == [None]
    await world.quiet()


# consent.on_deletion = "opt_out"


async def test_by_policy_who_is_deleted_on_onvoard_is_opted_out_over_there_once(both: World) -> None:
    both.configure(consent__on_deletion="opt_out")
    await both.linked("ann", "bob")
    both.ov.delete_contact("ann@example.com")
    mark = both.mark()
    await both.sync()
    (write,) = both.writes(mark)
    assert write.body == {"contacts": [{"unique_id": "crm-ann", "unsubscribe_email": True}]}
    (told,) = both.rows("SELECT * FROM changes WHERE field = 'unsubscribe_email'")
    assert told["rule"] == "deleted on onvoard"
    assert both.people()["ann@example.com"]["status"] == "digital_onboarding_only"
    await both.quiet()
    both.clock.advance(60)
    both.do.resubscribe("crm-ann")
    await both.sync()
    assert both.do.contact("crm-ann")["unsubscribe_email"] is False, "that is the person's own word"
    await both.quiet()


async def test_by_policy_a_plan_tells_and_sends_nothing(world: World) -> None:
    world.configure(consent__on_deletion="opt_out")
    await world.linked("ann", "bob")
    world.ov.delete_contact("ann@example.com")
    mark = world.mark()
    (change,) = (await planning.plan(world.bridge, full=True)).changes
    assert (change["email"], change["field"], change["why"]) == (
        "ann@example.com", "unsubscribe_email", "deleted on onvoard",
    )  # fmt: skip
    assert world.journal.writes(mark) == []


async def test_by_policy_who_is_removed_on_digital_onboarding_is_opted_out_on_onvoard_once(both: World) -> None:
    both.configure(consent__on_deletion="opt_out")
    await both.linked("ann", "bob")
    both.do.remove_contact("crm-ann")
    mark = both.mark()
    await both.sync()
    (write,) = both.writes(mark, "onvoard")
    assert write.body == {"email_unsubscribed": True}
    assert both.ov.contact("ann@example.com")["email_unsubscribed"] is True
    assert not both.ov.contact("bob@example.com")["email_unsubscribed"]
    both.clock.advance(60)
    both.ov.resubscribe("ann@example.com")
    await both.sync()
    told = both.rows("SELECT id FROM changes WHERE rule = 'removed on digital_onboarding'")
    assert len(told) == 1


async def test_who_was_opted_out_when_deleted_and_is_no_longer_stays_so(world: World) -> None:
    world.configure(consent__on_deletion="opt_out")
    await world.linked("ann", "bob")
    world.ov.unsubscribe("ann@example.com")
    await world.sync()
    world.ov.delete_contact("ann@example.com")
    await world.sync()
    world.clock.advance(60)
    world.do.resubscribe("crm-ann")
    await world.sync()
    assert world.do.contact("crm-ann")["unsubscribe_email"] is False
    await world.quiet()


async def test_an_opt_out_that_was_lifted_before_the_deletion_hinders_no_policy(world: World) -> None:
    world.configure(consent__on_deletion="opt_out")
    await world.linked("ann", "bob")
    world.do.unsubscribe("crm-ann")
    await world.sync()
    world.clock.advance(60)
    world.do.resubscribe("crm-ann")
    world.ov.resubscribe("ann@example.com")
    await world.sync()
    world.clock.advance(60)
    world.ov.delete_contact("ann@example.com")
    await world.sync()
    assert world.do.contact("crm-ann")["unsubscribe_email"] is True
    await world.quiet()


async def test_deletions_in_bulk_are_for_the_brake(world: World) -> None:
    names = [f"p{number}" for number in range(8)]
    world.configure(consent__on_deletion="opt_out", limits__max_changed_count=2, limits__max_changed_share=0.3)
    await world.linked(*names)
    for name in names[:4]:
        world.ov.delete_contact(f"{name}@example.com")
    mark = world.mark()
    for _ in range(2):
        report = await world.sync()
        (why,) = report.held.values()
        assert "4 of 8 linked people would change, 4 of them by an opt-out" in why
    assert world.writes(mark) == []
    await world.sync(allow=True)
    assert [world.do.contact(f"crm-{name}")["unsubscribe_email"] for name in names] == [True] * 4 + [False] * 4
    await world.quiet()


async def test_who_came_back_before_the_opt_out_left_is_linked_and_not_opted_out(world: World) -> None:
    world.configure(consent__on_deletion="opt_out", limits__max_changed_count=0, limits__max_changed_share=0.0)
    await world.linked("ann", "bob")
    world.ov.delete_contact("ann@example.com")
    assert (await world.sync()).held
    world.clock.advance(60)
    world.ov.add_contact("ann@example.com", name="Ann Lee", phone="+14155550101", city="Rome")
    await world.sync()
    assert world.status("ann@example.com") == ("linked", "email")
    assert world.do.contact("crm-ann")["unsubscribe_email"] is False
    await world.quiet()


async def test_the_same_email_under_a_new_id_is_linked_again_and_the_opt_out_stands(world: World) -> None:
    world.configure(consent__on_deletion="opt_out")
    await world.linked("ann", "bob")
    world.ov.delete_contact("ann@example.com")
    await world.sync()
    world.clock.advance(60)
    world.ov.add_contact("ann@example.com", name="Ann Back")
    await world.sync()
    assert world.status("ann@example.com") == ("linked", "email") and len(world.do.contacts) == 2
    assert world.ov.contact("ann@example.com")["email_unsubscribed"] is True
    await world.quiet()


async def test_a_side_that_suddenly_knows_nobody_opts_nobody_out_until_a_person_says_so(world: World) -> None:
    world.configure(consent__on_deletion="opt_out")
    names = ("ann", "bob", "cat", "dan")
    await world.linked(*names)
    for name in names:
        world.do.remove_contact(f"crm-{name}")
    mark = world.mark()
    with pytest.raises(SuspiciouslyEmpty):
        await world.sync()
    await world.sync()
    await _job(world, "reconcile")
    assert world.writes(mark, "onvoard") == []
    await world.sync(allow=True)
    assert all(contact["email_unsubscribed"] for contact in world.ov.contact_list())
