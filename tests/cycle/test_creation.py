"""People without a counterpart: created on the other side, once, and never over somebody else."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from service.core.records import Platform
from service.cycle import Cycle
from service.errors import OutcomeUnknown
from service.store import outbox
from service.store.outbox import Lane
from tests.cycle.world import World, members, show


async def test_a_contact_of_onvoard_is_created_in_two_steps(world: World) -> None:
    world.ov.add_contact("New.One@example.com", name="Nora New", phone="+14155550101", city="Rome", country="IT")
    mark = world.mark()
    await world.sync()
    steps = [members(entry)[0] for entry in world.writes(mark, "digital_onboarding")]
    assert steps[0] == {"unique_id": "new.one@example.com", "email": "New.One@example.com"}
    assert len(steps) == 2 and "email" not in steps[1] and steps[1]["name_first"] == "Nora"
    there = world.do.contact("new.one@example.com")
    assert (there["name_last"], there["phone_mobile"], there["city"], there["country"]) == (
        "New", "+14155550101", "Rome", "IT",
    )  # fmt: skip
    assert world.status("New.One@example.com") == ("linked", "created")
    await world.quiet()


async def test_a_creation_answered_as_existing_is_a_first_link(world: World) -> None:
    """The contact was there all along: blanks are filled, and what differs goes by the newer record."""
    world.do.add_contact(unique_id="ann@example.com", email="ann@example.com", name_first="Anna", city="Paris")
    world.clock.advance(60)
    world.ov.add_contact("ann@example.com", name="Ann Lee", region="CA")
    mark = world.mark()
    await world.sync()
    first = world.writes(mark, "digital_onboarding")[0]
    assert members(first) == [{"unique_id": "ann@example.com", "email": "ann@example.com"}]
    here, there = world.ov.contact("ann@example.com"), world.do.contact("ann@example.com")
    assert here["properties"]["city"] == there["city"] == "Paris" and there["state"] == "CA"
    assert here["name"] == "Ann Lee" and (there["name_first"], there["name_last"]) == ("Ann", "Lee")
    assert world.status("ann@example.com") == ("linked", "email")
    lost = world.conflicts("both_changed", "resolved")
    assert [(c["field"], c["digital_onboarding_value"], c["kept"]) for c in lost] == [("name", "Anna", "onvoard")]
    await world.quiet()


async def test_a_creation_that_finds_an_opted_out_contact_opts_out(world: World) -> None:
    world.do.add_contact(unique_id="ann@example.com", email="ann@example.com", unsubscribe_email=True)
    world.ov.add_contact("ann@example.com", name="Ann Lee")
    await world.sync()
    assert world.ov.contact("ann@example.com")["email_unsubscribed"] is True
    assert world.do.contact("ann@example.com")["unsubscribe_email"] is True
    await world.quiet()


async def test_an_opted_out_contact_is_created_opted_out(world: World) -> None:
    world.ov.add_contact("ann@example.com", name="Ann Lee", email_unsubscribed=True)
    world.do.add_contact(unique_id="crm-bob", email="bob@example.com", name_first="Bob", unsubscribe_email=True)
    await world.import_export()
    await world.sync()
    assert world.do.contact("ann@example.com")["unsubscribe_email"] is True
    assert world.ov.contact("bob@example.com")["email_unsubscribed"] is True
    assert world.conflicts() == []
    await world.quiet()


async def test_a_contact_of_digital_onboarding_is_created_on_onvoard(world: World) -> None:
    await world.setup()
    world.do.add_contact(
        unique_id="crm-1", email="ann@example.com", name_first="Ann", name_last="de la Cruz", country="USA",
        phone_mobile="(415) 555-0101", address="1 Main St", timezone="america/new_york", post_code="94105",
    )  # fmt: skip
    await world.import_export()
    await world.sync()
    here = world.ov.contact("ann@example.com")
    assert here["name"] == "Ann de la Cruz" and here["email_unsubscribed"] is False
    shown = {key: here["properties"][key] for key in ("country", "street_address", "timezone", "postal_code")}
    assert shown == {
        "country": "US", "street_address": "1 Main St", "timezone": "America/New_York", "postal_code": "94105",
    }  # fmt: skip
    assert here["properties"]["custom_digital_onboarding_unique_id"] == "crm-1"
    assert world.do.contact("crm-1")["country"] == "USA", "its own spelling is nobody's edit"
    assert world.status("ann@example.com") == ("linked", "created")
    await world.quiet()


async def test_a_freed_address_gets_a_fresh_unique_id(world: World) -> None:
    """ann@ was somebody's unique_id, who has another address now; the newcomer is not that person."""
    world.ov.add_contact("ann@example.com", name="Ann Old")
    await world.sync()
    world.clock.advance(60)
    world.ov.edit_contact("ann@example.com", email="ann.old@example.com")
    await world.sync()
    assert world.do.contact("ann@example.com")["email"] == "ann.old@example.com"
    world.clock.advance(60)
    world.ov.add_contact("ann@example.com", name="Ann New")
    await world.sync()
    new = world.people()["ann@example.com"]
    assert new["status"] == "linked" and new["unique_id"] not in ("ann@example.com", "ann.old@example.com")
    assert world.do.contact(new["unique_id"])["email"] == "ann@example.com"
    assert world.do.contact("ann@example.com")["name_last"] == "Old" and world.unequal() == []
    await world.quiet()


async def test_a_unique_id_stays_somebody_s_when_their_contact_was_removed_over_there(world: World) -> None:
    """Nobody else is created under it, neither by the address nor by the link property."""
    await world.setup()
    world.configure(digital_onboarding__refresh="off")
    await world.linked("bob")
    world.ov.add_contact("ann@example.com", name="Ann Old")
    await world.sync()
    world.do.remove_contact("ann@example.com")
    world.ov.edit_contact("ann@example.com", email="ann.old@example.com")
    await world.sync()
    assert [c["kind"] for c in world.conflicts()] == ["removed_on_digital_onboarding"]
    world.ov.add_contact("ANN@example.com", name="Ann New")
    world.ov.add_contact("cat@example.com", name="Cat Lee", custom_digital_onboarding_unique_id="ann@example.com")
    await world.sync()
    for email in ("ANN@example.com", "cat@example.com"):
        new = world.people()[email]
        assert new["status"] == "linked" and new["unique_id"] not in (email, "ann@example.com")
        assert world.do.contact(new["unique_id"])["email"] == email
    assert world.do.contact("ann@example.com")["email"] == "ann.old@example.com"
    await world.quiet()


async def test_an_address_freed_and_taken_in_one_cycle_merges_nobody(world: World) -> None:
    await world.linked("ann")
    world.ov.edit_contact("ann@example.com", email="ann.old@example.com")
    world.ov.add_contact("ann@example.com", name="Ann New")
    await world.sync()
    await world.sync()
    assert world.do.contact("crm-ann")["email"] == "ann.old@example.com"
    new = world.people()["ann@example.com"]
    assert new["status"] == "linked" and new["unique_id"] != "crm-ann"
    assert world.do.contact("crm-ann")["name_last"] == "Lee" and world.unequal() == []
    await world.quiet()


async def test_creation_can_be_switched_off(world: World) -> None:
    world.configure(identity__create_on_onvoard=False, identity__create_on_digital_onboarding=False)
    world.ov.add_contact("ann@example.com")
    world.do.add_contact(unique_id="crm-1", email="bob@example.com")
    await world.import_export()
    await world.sync()
    assert (len(world.ov.contacts), len(world.do.contacts)) == (1, 1)
    world.configure(identity__create_on_onvoard=True, identity__create_on_digital_onboarding=True)
    await world.sync()
    assert {row["status"] for row in world.people().values()} == {"linked"}
    await world.quiet()


async def test_a_creation_whose_answer_was_lost_is_still_our_creation(world: World) -> None:
    world.ov.add_contact("ann@example.com", name="Ann Lee", city="Rome")
    for _ in range(3):
        world.sandbox.fail("digital_onboarding", "reset_after", method="POST", path="/v1/contacts")
    try:
        await world.sync()
    except Exception as error:
        assert "digital_onboarding" in str(error)
    await world.sync()
    assert world.status("ann@example.com") == ("linked", "created") and len(world.do.contacts) == 1
    assert world.unequal() == [] and world.conflicts(status="resolved") == []
    await world.quiet()


async def _half_created(world: World) -> None:
    """ann@ is made on Digital Onboarding by a run that never hears of it."""
    world.ov.add_contact("ann@example.com", name="Ann Lee")
    for _ in range(3):
        world.sandbox.fail("digital_onboarding", "reset_after", method="POST", path="/v1/contacts")
    with pytest.raises(OutcomeUnknown):
        await world.sync()
    world.clock.advance(60)
    assert world.do.find("ann@example.com") is not None


async def test_a_creation_that_is_sent_again_overwrites_nothing(world: World) -> None:
    await _half_created(world)
    world.do.edit_contact("ann@example.com", email="ann.lee@example.com")
    await world.import_export()
    await world.sync()
    assert world.do.contact("ann@example.com")["email"] == "ann.lee@example.com"
    assert world.status("ann.lee@example.com") == ("linked", "created") and world.unequal() == []
    await world.quiet()


async def test_whom_an_unheard_creation_made_is_theirs_whatever_address_they_have_by_now(both: World) -> None:
    """Somebody else has her new address over there: a question, and no double of her under the old one."""
    both.do.add_contact(unique_id="crm-lee", email="lee@example.com", name_first="Lee", name_last="Other")
    await _half_created(both)
    both.ov.edit_contact("ann@example.com", email="lee@example.com")
    await both.import_export()
    await both.sync()
    assert (len(both.ov.contacts), len(both.do.contacts)) == (1, 2)
    assert both.do.contact("crm-lee")["name_last"] == "Other"
    assert both.value("SELECT unique_id FROM people WHERE onvoard_contact_id IS NOT NULL") == "ann@example.com"
    await both.quiet()


async def test_who_was_found_under_another_address_is_not_created_again(world: World) -> None:
    """The answer that told of her creation on OnVoard was lost, and she has moved since: her link property tells."""
    await world.setup()
    world.do.add_contact(unique_id="crm-ann", email="ann@example.com", name_first="Ann", name_last="Lee")
    await world.import_export()
    for _ in range(3):
        world.sandbox.fail("onvoard", "reset_after", method="POST", path="/v2/contacts/create-or-update")
    with pytest.raises(OutcomeUnknown):
        await world.sync()
    world.clock.advance(60)
    world.ov.edit_contact("ann@example.com", email="ann.lee@example.com")
    await world.sync()
    assert [contact["email"] for contact in world.ov.contact_list()] == ["ann.lee@example.com"]
    assert world.do.contact("crm-ann")["email"] == "ann.lee@example.com"
    await world.quiet()


async def test_one_who_appeared_on_onvoard_meanwhile_is_linked_and_not_overwritten(world: World) -> None:
    world.do.add_contact(unique_id="crm-1", email="ann@example.com", name_first="Anna", city="Rome")
    await world.import_export()
    world.sandbox.when(
        "onvoard",
        lambda: world.ov.add_contact("ann@example.com", name="Ann Lee"),
        method="GET",
        path="/v2/product-reviews-summaries",
    )
    mark = world.mark()
    await world.sync()
    creations = [show(e) for e in world.writes(mark, "onvoard") if e.path.endswith("create-or-update")]
    assert creations == [] and world.ov.contact("ann@example.com")["properties"]["city"] == "Rome"
    assert world.ov.contact("ann@example.com")["name"] == "Ann Lee", "it is the newer record"
    await world.quiet()


async def test_many_people_are_created_in_batches(world: World) -> None:
    world.configure(digital_onboarding__batch_size=7)
    for number in range(30):
        world.ov.add_contact(f"p{number}@example.com", name=f"P{number} Lee", city="Rome")
        world.do.add_contact(unique_id=f"crm-{number}", email=f"q{number}@example.com", city="Bern")
    await world.import_export()
    await world.sync()
    assert len(world.ov.contacts) == len(world.do.contacts) == 60 and world.unequal() == []
    await world.quiet()


async def _about_to_be_made(world: World, *names: str) -> tuple[Cycle, list[dict[str, Any]]]:
    """Strangers of Digital Onboarding's, and their creations on OnVoard, taken as the next ones to be sent."""
    await world.setup()
    for name in names:
        world.do.add_contact(unique_id=f"crm-{name}", email=f"{name}@example.com", name_first=name, city="Bern")
    await world.import_export()
    cycle = Cycle(world.bridge, 9, world.clock.now())
    await cycle.decide()
    with world.db.begin() as conn:
        rows = outbox.waiting(conn, Lane.CREATION, Platform.ONVOARD, 100)
        outbox.mark_sending(conn, [row["id"] for row in rows], world.clock.now())
    assert len(rows) == len(names)
    return cycle, rows


async def test_creations_that_are_answered_together_cost_few_statements(world: World) -> None:
    cycle, rows = await _about_to_be_made(world, *(f"p{number}" for number in range(12)))
    made = [await world.bridge.onvoard.contacts.create(**row["payload"]) for row in rows]
    said: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    event.listen(world.db.engine, "before_cursor_execute", note)
    try:
        with world.db.begin() as conn:
            assert cycle.drain.onvoard._settle(conn, list(zip(rows, made, strict=True))) == {}
    finally:
        event.remove(world.db.engine, "before_cursor_execute", note)
    assert len(said) < 25
    assert {world.status(contact.email) for contact in made} == {("linked", "created")}


async def test_creations_that_are_answered_with_one_contact_stop_nobody(world: World) -> None:
    """OnVoard alone takes two addresses for one."""
    cycle, rows = await _about_to_be_made(world, "ann", "ben", "cid")
    made = {row["target"]: await world.bridge.onvoard.contacts.create(**row["payload"]) for row in rows}
    answers = [made[row["target"]] for row in rows]
    answered = list(zip(rows, (answers[0], answers[0], answers[2]), strict=True))
    with world.db.begin() as conn:
        assert cycle.drain.onvoard._settle(conn, answered) == {}
    assert {row["status"] for row in world.rows("SELECT status FROM outbox WHERE lane = 1")} == {"done"}
    assert world.value("SELECT count(*) FROM persons WHERE onvoard_contact_id = :id", id=answers[0].id) == 1
    assert world.status(answers[2].email) == ("linked", "created")
