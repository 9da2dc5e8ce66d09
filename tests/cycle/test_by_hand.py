"""Links joined and cut by a person: what was said by hand stands, and the history stays."""

from __future__ import annotations

import pytest

from service import relinking
from service.core import consent
from service.errors import NobodyFound, UsageError
from service.store import ledger
from tests.cycle.world import World

LINK = "custom_digital_onboarding_unique_id"


def link(world: World, onvoard: str, digital: str, reason: str | None = None) -> str:
    with world.db.begin() as conn:
        return relinking.link(conn, onvoard, digital, reason, world.clock.now())


def unlink(world: World, who: str, digital: str | None = None, reason: str | None = None) -> str:
    with world.db.begin() as conn:
        return relinking.unlink(conn, who, digital, reason, world.clock.now())


def ct(world: World, who: str) -> str:
    return str(world.ov.contact(who)["id"])


def person_of(world: World, key: str) -> dict:
    (row,) = world.rows("SELECT * FROM people WHERE onvoard_contact_id = :key OR unique_id = :key", key=key)
    return row


async def strangers(world: World) -> None:
    """Ann on either side, under addresses that no rule connects."""
    world.configure(identity__create_on_onvoard=False, identity__create_on_digital_onboarding=False)
    await world.setup()
    world.ov.add_contact("ann@example.com", name="Ann Lee", city="Rome")
    world.do.add_contact(unique_id="crm-ann", email="ann.work@example.com", name_first="Ann", name_last="Lee")
    await world.import_export()
    await world.sync()
    world.clock.advance(60)


async def twins(world: World) -> None:
    """Who is who of one on OnVoard and two on Digital Onboarding is asked."""
    await world.setup()
    world.ov.add_contact("twin@example.com", name="Tom Twin", city="Rome")
    for number in (1, 2):
        world.do.add_contact(unique_id=f"crm-{number}", email="twin@example.com", name_first=f"T{number}")
    world.ov.add_contact("free@example.com", name="Fay Free")
    world.do.add_contact(unique_id="crm-free", email="free@example.com", city="Oslo")
    await world.import_export()
    await world.sync()
    assert len(world.conflicts("ambiguous_identity")) == 1
    world.clock.advance(60)


async def test_two_contacts_are_made_one_person(both: World) -> None:
    await strangers(both)
    told = link(both, "ann@example.com", "crm-ann", "both told us so")
    assert "crm-ann" in told and both.ov.contact("ann@example.com")["properties"].get(LINK) is None
    await both.sync()
    assert person_of(both, "crm-ann")["matched_by"] == "manual" and person_of(both, "crm-ann")["status"] == "linked"
    assert both.do.contact("crm-ann")["city"] == "Rome" and both.unequal() == []
    contact = both.ov.contact_list()[0]
    assert contact["properties"][LINK] == "crm-ann"
    assert [row["field"] for row in both.conflicts(status="resolved")] == ["email"], "the losing e-mail is on record"
    await both.quiet()


async def test_an_opt_out_reaches_the_other_side_of_a_link_by_hand(world: World) -> None:
    await strangers(world)
    world.do.unsubscribe("crm-ann")
    await world.sync()
    assert not world.ov.contact("ann@example.com")["email_unsubscribed"]
    link(world, "ann@example.com", "crm-ann")
    await world.sync()
    assert world.ov.contact_list()[0]["email_unsubscribed"] is True and world.conflicts() == []
    await world.quiet()


async def test_what_was_agreed_before_is_void_for_a_link_by_hand(world: World) -> None:
    """An opt-out that some agreement remembers is no opt-in again."""
    await strangers(world)
    world.do.unsubscribe("crm-ann")
    await world.sync()
    with world.db.begin() as conn:
        agreed = consent.confirmed(ledger.get_bases(conn, 1))
        for row in world.rows("SELECT id FROM persons"):
            ledger.put_bases(conn, row["id"], agreed, world.clock.now())
    link(world, "ann@example.com", "crm-ann")
    await world.sync()
    assert world.ov.contact_list()[0]["email_unsubscribed"] is True and world.conflicts() == []


async def test_a_link_by_hand_answers_who_is_who(both: World) -> None:
    await twins(both)
    link(both, ct(both, "twin@example.com"), "crm-1", "asked her")
    (asked,) = both.conflicts(status="resolved")
    assert (asked["resolved_by"], asked["kept"], asked["note"]) == ("person", "manual", "asked her")
    assert both.rows("SELECT id FROM persons WHERE conflict_id IS NOT NULL") == []
    await both.sync()
    assert person_of(both, "crm-1")["matched_by"] == "manual" and both.do.contact("crm-1")["city"] == "Rome"
    assert both.do.contact("crm-2")["city"] is None
    assert [c["kind"] for c in both.conflicts()] == ["ambiguous_identity"], "crm-2 is asked about anew"
    assert person_of(both, "crm-2")["status"] == "conflict" and person_of(both, "crm-free")["status"] == "linked"
    unlink(both, ct(both, "twin@example.com"), "crm-2", "her brother")
    await both.sync()
    assert both.conflicts() == [] and person_of(both, "crm-2")["status"] == "digital_onboarding_only"
    assert person_of(both, "crm-1")["status"] == "linked" and len(both.ov.contacts) == 2
    await both.quiet()


async def test_who_is_told_apart_from_one_of_two_is_the_other(world: World) -> None:
    await twins(world)
    unlink(world, "twin@example.com", "crm-1")
    await world.sync()
    assert person_of(world, "crm-2")["matched_by"] == "email" and world.conflicts() == []
    assert person_of(world, "crm-1")["status"] == "digital_onboarding_only" and len(world.ov.contacts) == 2
    await world.quiet()


async def test_who_is_told_apart_from_everybody_is_asked_about_no_more(world: World) -> None:
    await twins(world)
    for unique_id in ("crm-1", "crm-2"):
        unlink(world, "twin@example.com", unique_id, "three people")
    assert world.conflicts() == []
    (asked,) = world.conflicts(status="resolved")
    assert (asked["resolved_by"], asked["note"]) == ("person", "three people")
    mark = world.mark()
    await world.sync()
    assert world.writes(mark) == [] and world.conflicts() == []
    assert (len(world.ov.contacts), len(world.do.contacts)) == (2, 3)
    await world.quiet()


async def test_a_link_is_cut_and_stays_so(both: World) -> None:
    await both.setup()
    await both.linked("ann", "bob")
    both.do.edit_contact("crm-ann", city="Bern")
    await both.sync()
    assert both.ov.contact("ann@example.com")["properties"][LINK] == "crm-ann"
    before = both.rows("SELECT id, person_id FROM changes WHERE field = 'city'")
    told = unlink(both, "ann@example.com", reason="two Anns")
    mark = both.mark()
    await both.sync()
    here, there = person_of(both, ct(both, "ann@example.com")), person_of(both, "crm-ann")
    assert (here["status"], there["status"]) == ("onvoard_only", "digital_onboarding_only")
    assert both.rows("SELECT id, person_id FROM changes WHERE field = 'city'") == before
    assert before[0]["person_id"] == here["person_id"] and f"person:{there['person_id']}" in told
    assert [entry.body for entry in both.writes(mark)] == [{"properties": {LINK: None}}]
    assert LINK not in both.ov.contact("ann@example.com")["properties"]
    (blanked,) = both.rows("SELECT * FROM changes WHERE rule = 'unlinked by hand'")
    assert (blanked["field"], blanked["old_value"], blanked["new_value"]) == (LINK, "crm-ann", None)
    await both.quiet()
    both.do.edit_contact("crm-ann", city="Oslo", at=both.clock.advance(60))
    both.ov.edit_contact("ann@example.com", name="Ann Other")
    mark = both.mark()
    await both.sync()
    assert both.writes(mark) == [] and (len(both.ov.contacts), len(both.do.contacts)) == (2, 2)


@pytest.mark.parametrize("rule", ["property", "email", "unique_id"])
async def test_no_rule_links_again_whom_a_person_has_told_apart(world: World, rule: str) -> None:
    await world.setup()
    keyed = "ann@example.com" if rule == "unique_id" else "crm-ann"
    world.ov.add_contact("ann@example.com", name="Ann", **({LINK: keyed} if rule == "property" else {}))
    world.do.add_contact(unique_id=keyed, email="ann@example.com" if rule == "email" else "", name_first="Ann")
    await world.import_export()
    await world.sync()
    assert person_of(world, keyed)["matched_by"] == rule
    unlink(world, ct(world, "ann@example.com"), keyed)
    await world.sync()
    if rule == "property":  # by hand once more
        world.ov.edit_contact("ann@example.com", **{LINK: keyed})
        await world.sync()
        assert LINK not in world.ov.contact("ann@example.com")["properties"]
    assert person_of(world, ct(world, "ann@example.com"))["status"] == "onvoard_only"
    assert (len(world.ov.contacts), len(world.do.contacts)) == (1, 1)
    await world.quiet()


async def test_a_link_that_was_cut_may_be_joined_again(world: World) -> None:
    await world.setup()
    await world.linked("ann")
    await world.sync()
    unlink(world, "crm-ann")
    link(world, "ann@example.com", "crm-ann", "a mistake")
    assert world.rows("SELECT * FROM separations") == []
    await world.sync()
    assert world.status("ann@example.com") == ("linked", "manual")
    assert world.ov.contact("ann@example.com")["properties"][LINK] == "crm-ann"
    world.do.edit_contact("crm-ann", city="Bern", at=world.clock.advance(60))
    await world.sync()
    assert world.ov.contact("ann@example.com")["properties"]["city"] == "Bern"
    await world.quiet()


async def test_what_was_decided_for_two_as_one_does_not_leave_once_they_are_told_apart(world: World) -> None:
    await world.setup()
    await world.linked("ann", "bob")
    world.do.complete_objective("crm-ann", "online-banking")
    world.do.edit_contact("crm-ann", city="Bern")
    await world.import_export()
    world.sandbox.fail("onvoard", "status", method="P*", path="/v2/*", status=503, times=None)
    with pytest.raises(Exception, match="onvoard"):
        await world.sync()
    world.sandbox.clear_faults()
    unlink(world, "crm-ann")
    await world.sync()
    assert world.activities() == [] and world.ov.contact("ann@example.com")["properties"]["city"] == "Rome"
    await world.quiet()


async def test_a_lost_mirror_does_not_rebuild_a_link_that_was_cut(world: World) -> None:
    """By the property; that the two are different people is known to the mirror alone."""
    await world.setup()
    world.ov.add_contact("ann@example.com", name="Ann", **{LINK: "crm-1"})
    world.do.add_contact(unique_id="crm-1", email="other@example.com", name_first="Other")
    await world.sync()
    assert person_of(world, "crm-1")["matched_by"] == "property"
    unlink(world, "crm-1")
    await world.sync()
    assert all(LINK not in contact["properties"] for contact in world.ov.contact_list())


async def test_a_creation_that_waits_is_not_made_for_somebody_linked_by_hand(world: World) -> None:
    await world.setup()
    world.ov.add_contact("ann@example.com", name="Ann")
    world.do.add_contact(unique_id="crm-ann", name_first="Ann")
    await world.import_export()
    world.sandbox.fail("digital_onboarding", "status", method="POST", body_contains="ann@", status=503, times=None)
    with pytest.raises(Exception, match="digital"):
        await world.sync()
    world.sandbox.clear_faults()
    link(world, "ann@example.com", "crm-ann")
    await world.sync()
    assert [c["unique_id"] for c in world.do.contact_list()] == ["crm-ann"]
    assert person_of(world, "crm-ann")["status"] == "linked"
    await world.quiet()


async def test_what_cannot_be_linked_or_cut_says_the_way_out(world: World) -> None:
    await world.linked("ann", "bob")
    world.do.add_contact(unique_id="crm-x", name_first="X")
    world.ov.add_contact("gone@example.com")
    await world.import_export()
    await world.sync()
    world.ov.suppress("gone@example.com")
    await world.sync()
    refused = {
        ("ann@example.com", "crm-bob"): "contact-bridge people unlink",
        ("ann@example.com", "crm-x"): f"contact-bridge people unlink {ct(world, 'ann@example.com')}",
        ("ann@example.com", "crm-ann"): "contact-bridge explain",
        ("gone@example.com", "crm-x"): "contact-bridge explain",
    }
    for pair, hint in refused.items():
        with pytest.raises(UsageError) as error:
            link(world, *pair)
        assert hint in error.value.hint, pair
    for pair in (("nobody@example.com", "crm-x"), ("ann@example.com", "crm-nobody")):
        with pytest.raises(NobodyFound):
            link(world, *pair)
    with pytest.raises(UsageError):
        unlink(world, "crm-x")
    with pytest.raises(NobodyFound):
        unlink(world, "nobody@example.com")
    assert world.status("ann@example.com") == ("linked", "email")
