"""A suppressed person leaves the mirror, is opted out, and comes back without a double."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from service import resolving
from service.core.records import Platform
from service.errors import PlatformError
from service.platforms.onvoard.enums import ResourceIconType, ResourceKind
from tests.cycle.world import World, is_opt_out, members

WHO = "susan.secret@example.com"
DATA = ("susan", "secretly", "5550142", "Hidden Lane")


async def _susan(world: World, unique_id: str) -> None:
    world.ov.add_contact("ann@example.com", name="Ann Lee")
    world.do.add_contact(unique_id="crm-ann", email="ann@example.com", name_first="Ann", name_last="Lee")
    await world.setup()
    world.ov.add_contact(WHO, name="Susan Secretly", phone="+14155550142", street_address="1 Hidden Lane")
    world.do.add_contact(
        unique_id=unique_id, email=WHO.upper(), name_first="Susan", name_last="Secretly", phone_mobile="+14155550142",
        address="2 Hidden Lane",
    )  # fmt: skip
    product = world.ov.add_product("sku-1", "Kettle")
    world.ov.add_review(WHO, 5, "Susan says: good", product_id=product)
    world.ov.add_activity(WHO, "email_opened", email_name="hello susan")
    await world.import_export()
    await world.sync()
    world.clock.advance(60)
    world.do.edit_contact(unique_id, city="Rome", name_last="Secretly-Lost")
    world.ov.edit_contact(WHO, name="Susan Secretly")
    await world.sync()
    world.clock.advance(60)


def _nothing_left(world: World) -> None:
    mirror = world.mirror_text()
    found = [line for line in mirror.splitlines() for word in DATA if word.lower() in line.lower()]
    assert found == []


async def test_one_of_whom_onvoard_itself_erases_nothing_is_erased_here(world: World) -> None:
    await test_a_suppressed_person_is_opted_out_of_both_and_erased(world, "keep", WHO)


@pytest.mark.parametrize(("kept", "unique_id"), [("erase", "crm-s")])
async def test_a_suppressed_person_is_opted_out_of_both_and_erased(both: World, kept: str, unique_id: str) -> None:
    both.ov.settings.suppressed_data = kept  # type: ignore[assignment]
    await _susan(both, unique_id)
    export_before = both.do.contact(unique_id)
    both.ov.suppress(WHO)
    report = await both.sync()
    there = both.do.contact(unique_id)
    assert there["unsubscribe_email"] is True and there["unsubscribe_sms"] is True
    assert there["name_first"] == "Susan" and not report.needs_person
    _nothing_left(both)
    await both.quiet()
    both.clock.advance(60)
    both.do.edit_contact(unique_id, name_first="Susanna", city="Hidden Lane")
    both.ov.settings.suppressed_data = "keep"
    await both.sync()
    await both.backfill()
    await both.import_export()
    mark = both.mark()
    await both.sync()
    assert both.writes(mark) == [] and len(both.ov.contacts) == 2
    # An older export, in which she was not opted out yet: the opt-out is said once more, and nothing else.
    await both.import_rows({k: v for k, v in export_before.items() if isinstance(v, str)})
    await both.sync()
    assert all(is_opt_out(entry) for entry in both.writes(mark))
    _nothing_left(both)
    await both.quiet()
    assert sorted(row["status"] for row in both.people().values()) == ["linked", "suppressed"]
    assert both.activities("unsubscribed") == []


@pytest.mark.parametrize("unique_id", ["crm-s", WHO, "Susan.Secret@Example.com"])
async def test_an_unsuppressed_person_is_linked_again_and_asked_about(world: World, unique_id: str) -> None:
    await _susan(world, unique_id)
    world.ov.suppress(WHO)
    await world.sync()
    world.clock.advance(60)
    world.ov.unsuppress(WHO)
    report = await world.sync()
    assert report.new_conflicts == 1
    (conflict,) = world.conflicts()
    assert conflict["kind"] == "resubscribed"
    assert (len(world.ov.contacts), len(world.do.contacts)) == (2, 2)
    there = world.do.contact(unique_id)
    assert there["unsubscribe_email"] and there["unsubscribe_sms"] and there["name_first"] == "Susan"
    assert world.ov.contact(WHO)["email_unsubscribed"] is False
    assert world.people()[WHO]["unique_id"] == unique_id
    assert world.ov.contact(WHO)["name"].startswith("Susan"), "what was erased there is filled again"
    await world.quiet()


async def test_who_comes_back_opted_out_is_opted_out_over_there_as_well(world: World) -> None:
    """Also where the opt-outs of the suppression never arrived."""
    await _susan(world, "crm-s")
    world.ov.suppress(WHO)
    world.sandbox.fail("digital_onboarding", "reset_before", method="POST", path="/v1/contacts", times=None)
    with pytest.raises(PlatformError):
        await world.sync()
    assert not world.do.contact("crm-s")["unsubscribe_email"]
    world.sandbox.clear_faults()
    with world.db.begin() as conn:  # as those of unknown outcome are, where everything is decided anew
        conn.execute(text("UPDATE outbox SET status = 'cancelled' WHERE status = 'pending'"))
    world.do.edit_contact("crm-s", email=None)  # or else it would be opted out for its address
    world.clock.advance(600)
    world.ov.unsuppress(WHO)
    world.ov.unsubscribe(WHO)
    mark = world.mark()
    await world.sync()
    assert is_opt_out(world.writes(mark)[0]), "before any other push"
    assert world.do.contact("crm-s")["unsubscribe_email"] and world.conflicts() == []
    await world.quiet()


async def test_who_was_removed_over_there_while_suppressed_is_a_question(world: World) -> None:
    await _susan(world, "crm-s")
    world.ov.suppress(WHO)
    await world.sync()
    world.do.remove_contact("crm-s")
    world.clock.advance(60)
    world.ov.unsuppress(WHO)
    await world.sync()
    (conflict,) = world.conflicts()
    assert conflict["kind"] == "removed_on_digital_onboarding"
    assert world.do.contact("crm-s")["name_first"] is None, "nothing is filled in before a person says so"
    await world.quiet()
    with world.db.begin() as conn:
        resolving.resolve(conn, world.mapping, conflict["id"], Platform.ONVOARD, None, world.clock.now())
    await world.sync()
    assert world.status(WHO) == ("linked", "property") and world.conflicts() == []
    await world.quiet()


async def test_suppressed_before_anybody_knew_is_opted_out_over_there(world: World) -> None:
    world.ov.settings.suppressed_data = "keep"
    world.ov.add_contact(WHO, name="Susan Secretly", phone="+14155550142")
    world.ov.suppress(WHO)
    world.do.add_contact(unique_id="crm-s", email=WHO, name_first="Susan", name_last="Secretly")
    world.do.add_contact(unique_id=WHO, name_first="Susan")
    await world.import_export()
    await world.sync()
    assert world.do.contact("crm-s")["unsubscribe_sms"] and world.do.contact("crm-s")["unsubscribe_email"]
    assert world.do.contact(WHO)["unsubscribe_sms"]
    assert len(world.do.contacts) == 2
    _nothing_left(world)
    await world.quiet()


async def test_a_new_contact_over_there_with_the_address_of_a_suppressed_person(world: World) -> None:
    """Imported after the suppression: opted out, not stored, not created on OnVoard."""
    world.ov.add_contact(WHO, name="Susan Secretly")
    world.ov.suppress(WHO)
    await world.sync()
    world.clock.advance(60)
    world.do.add_contact(unique_id="crm-s", email=WHO.upper(), name_first="Susan", name_last="Secretly")
    await world.import_export()
    await world.sync()
    assert world.do.contact("crm-s")["unsubscribe_email"] and world.do.contact("crm-s")["unsubscribe_sms"]
    assert len(world.ov.contacts) == 1
    _nothing_left(world)
    await world.quiet()


async def test_an_unlinked_contact_that_is_given_the_address_of_somebody_suppressed_has_its_former_one_no_longer(
    world: World,
) -> None:
    """Whose other contact goes on without it; and it is opted out once."""
    await world.linked("ann", "bob")
    for name in ("crm-eve", "crm-eva"):
        world.do.add_contact(unique_id=name, email="eve@example.com")
    await world.import_export()
    world.ov.suppress("ann@example.com")
    await world.sync()
    assert [conflict["kind"] for conflict in world.conflicts()] == ["ambiguous_identity"]
    world.clock.advance(7 * 3600)
    world.do.edit_contact("crm-eve", email="ann@example.com", city="Oslo")
    await world.sync()
    known = world.rows("SELECT email, city FROM digital_onboarding_contacts WHERE unique_id = 'crm-eve'")
    assert known == [{"email": None, "city": None}]
    assert world.do.contact("crm-eve")["unsubscribe_email"] and not world.do.contact("crm-eva")["unsubscribe_email"]
    await world.sync()
    assert world.conflicts() == [] and world.people()["eve@example.com"]["unique_id"] == "crm-eva"
    await world.quiet()
    world.clock.advance(7 * 3600)
    await world.quiet()


async def test_a_suppression_while_something_waits_to_be_pushed(world: World) -> None:
    await _susan(world, "crm-s")
    world.ov.edit_contact(WHO, city="Hidden Lane")
    world.sandbox.fail("digital_onboarding", "status", method="POST", path="/v1/contacts", times=None, status=503)
    with pytest.raises(Exception, match="digital_onboarding"):
        await world.sync()
    world.ov.suppress(WHO)
    world.clock.advance(60)
    with pytest.raises(Exception, match="digital_onboarding"):
        await world.sync()
    world.sandbox.clear_faults()
    await world.sync()
    there = world.do.contact("crm-s")
    assert there["unsubscribe_email"] and there["unsubscribe_sms"] and there["city"] == "Rome"
    _nothing_left(world)
    await world.quiet()


async def test_the_blanks_of_a_suppressed_contact_are_not_carried_over(world: World) -> None:
    await _susan(world, "crm-s")
    world.ov.suppress(WHO)
    await world.sync()
    there = world.do.contact("crm-s")
    assert (there["name_first"], there["phone_mobile"], there["city"]) == ("Susan", "+14155550142", "Rome")


async def test_a_suppression_between_reading_and_writing_ends_quietly(world: World) -> None:
    """The patch is refused; what is refused is no dead letter with her data in it."""
    await _susan(world, "crm-s")
    world.do.edit_contact("crm-s", city="Hidden Lane")
    world.sandbox.when("onvoard", lambda: world.ov.suppress(WHO), method="PATCH")
    await world.sync()
    world.clock.advance(60)
    await world.sync()
    assert world.do.contact("crm-s")["unsubscribe_sms"]
    _nothing_left(world)
    await world.quiet()


async def test_a_patch_refused_because_of_a_suppression_leaves_no_dead_letter(world: World) -> None:
    """Nothing hints at the suppression, and nothing re-reads her before the patch."""
    await _susan(world, "crm-s")
    world.do.edit_contact("crm-s", city="Oslo")
    await world.import_export()
    world.ov.suppress(WHO)
    await world.sync(full=False)
    await world.sync()
    assert world.rows("SELECT id FROM outbox WHERE status = 'dead'") == []
    assert world.do.contact("crm-s")["unsubscribe_sms"]
    _nothing_left(world)


async def test_nothing_is_left_to_look_at_of_somebody_suppressed(world: World) -> None:
    await world.linked("ann", "bob")
    world.ov.suppress("ann@example.com")
    await world.sync()
    world.configure(identity__create_on_onvoard=False)  # what is compared has changed: everybody is looked at once
    await world.sync()
    assert world.rows("SELECT id FROM onvoard_contacts WHERE dirty") == []


async def test_nobody_is_asked_about_a_suppressed_person_because_somebody_else_names_them(world: World) -> None:
    await _susan(world, "crm-s")
    world.ov.suppress(WHO)
    await world.sync()
    world.ov.add_contact("ted@example.com", name="Ted", custom_digital_onboarding_unique_id="crm-s")
    mark = world.mark()
    await world.sync()
    writes = world.journal.writes(mark, "digital_onboarding")
    assert "crm-s" not in [member["unique_id"] for entry in writes for member in members(entry)]
    await world.quiet()


async def test_a_namesake_keeps_what_an_address_like_hers_names(both: World) -> None:
    """`ann@example.com` is no part of `joann@example.com`, and a unique_id that is a number is in no sentence."""
    await both.linked("ann", "joann")
    both.do.edit_contact("crm-joann", email="joann.new@example.com")
    await both.sync()
    both.ov.suppress("ann@example.com")
    await both.sync()
    history = both.rows("SELECT old_value, new_value FROM changes WHERE field = 'email'")
    assert {"old_value": "joann@example.com", "new_value": "joann.new@example.com"} in history
    assert "ann@example.com" not in both.mirror_text().replace("joann@example.com", "")


async def test_whoever_has_the_address_as_a_former_unique_id_is_somebody_else(world: World) -> None:
    """An address was freed and taken by somebody new; the first one still bears it as unique_id, and stays."""
    world.ov.add_contact("ann@example.com", name="Ann First")
    await world.sync()
    world.ov.edit_contact("ann@example.com", email="ann.first@example.com")
    await world.sync()
    world.ov.add_contact("ann@example.com", name="Ann Second")
    await world.sync()
    first = world.do.contact("ann@example.com")
    assert first["email"] == "ann.first@example.com"
    world.ov.suppress("ann@example.com")
    await world.sync()
    assert world.status("ann.first@example.com")[0] == "linked"
    assert not world.do.contact("ann@example.com")["unsubscribe_email"]
    await world.quiet()


async def test_whoever_has_the_address_as_a_former_unique_id_stays_without_a_contact_on_onvoard(world: World) -> None:
    """Nor does it become the suppressed person's contact when its own on OnVoard is deleted."""
    first = world.ov.add_contact("ann@example.com", name="Ann First")["id"]
    await world.sync()
    world.ov.edit_contact(first, email="ann.first@example.com")
    await world.sync()
    world.ov.add_contact("ann@example.com", name="Ann Second")
    await world.sync()
    world.ov.suppress("ann@example.com")
    await world.sync()
    world.ov.delete_contact(first)
    await world.sync()
    world.do.edit_contact("ann@example.com", city="Bern")
    await world.sync()
    assert not world.do.contact("ann@example.com")["unsubscribe_email"]
    assert world.value("SELECT city FROM digital_onboarding_contacts WHERE unique_id = 'ann@example.com'") == "Bern"
    await world.quiet()


async def test_a_unique_id_that_differs_in_capitals_is_somebody_else_s(both: World) -> None:
    """Whose own history stays, and who does not let the suppressed person back in either."""
    upper = both.ov.add_contact("ann@example.com", name="Ann Upper")["id"]
    both.do.add_contact(unique_id="ANN@EXAMPLE.COM", email="ANN@EXAMPLE.COM", name_first="Ann", name_last="Upper")
    await both.import_export()
    await both.sync()
    both.ov.edit_contact(upper, email="ann.upper@example.com")
    await both.sync()
    both.do.add_contact(unique_id="ann@example.com", email="ann.lower@example.com", name_first="Ann", name_last="Lower")
    await both.import_export()
    await both.sync()
    both.ov.delete_contact(upper)
    both.ov.suppress("ann.lower@example.com")
    both.clock.advance(60)
    both.do.edit_contact("ann@example.com", email="")
    await both.sync()
    await both.import_export()
    await both.sync()
    assert both.rows("SELECT old_value, new_value FROM changes WHERE field = 'email' AND rule LIKE 'changed%'") == [
        {"old_value": "ANN@EXAMPLE.COM", "new_value": "ann.upper@example.com"},
    ]  # fmt: skip
    assert not both.do.contact("ANN@EXAMPLE.COM")["unsubscribe_email"]
    assert both.do.contact("ann@example.com")["unsubscribe_email"] is True
    assert both.rows("SELECT unique_id FROM digital_onboarding_contacts") == [{"unique_id": "ANN@EXAMPLE.COM"}]
    await both.quiet()


async def test_a_record_that_names_a_suppressed_person_does_not_come_back(world: World) -> None:
    await world.linked("ann", "bob")
    client = world.bridge.onvoard
    made = await client.resources.create(
        key="loan", name="Loan", kind=ResourceKind.OBJECT, icon_type=ResourceIconType.NATIVE, icon_class="bank"
    )
    for name in ("ann", "bob"):
        await client.resource_records.create(resource=made.id, context_id=f"{name}@example.com", data={})
    await world.sync()
    assert world.value("SELECT count(*) FROM onvoard_resource_records") == 2
    world.ov.suppress("ann@example.com")
    await world.sync()
    await world.sync()
    assert world.value("SELECT context_id FROM onvoard_resource_records") == "bob@example.com"


async def test_who_is_given_the_address_of_somebody_suppressed_stands_still_until_it_is_another(both: World) -> None:
    await both.linked("ann", "bob")
    both.ov.suppress("ann@example.com")
    await both.sync()
    both.do.edit_contact("crm-bob", email="ann@example.com", city="Bern")
    report = await both.sync()
    assert report.new_conflicts == 1 and both.conflicts("address_of_the_erased")
    assert both.do.contact("crm-bob")["unsubscribe_email"] is True, "the address is opted out"
    assert both.ov.contact("bob@example.com")["properties"]["city"] == "Rome"
    assert "ann@example.com" not in both.mirror_text()
    assert (await both.sync()).new_conflicts == 0
    await both.quiet()
    both.ov.unsubscribe("bob@example.com")
    await both.sync()
    await both.quiet()
    both.clock.advance(60)
    both.do.edit_contact("crm-bob", email="bob@example.com")
    await both.sync()
    assert both.conflicts() == []
    assert both.ov.contact("bob@example.com")["properties"]["city"] == "Bern"
    assert both.ov.contact("bob@example.com")["email_unsubscribed"] is True
    await both.quiet()
