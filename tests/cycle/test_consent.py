"""Consent only falls (law 4); that no write ever raises it is looked at after every test, in the whole journal."""

from __future__ import annotations

import pytest

from tests.cycle.world import World, is_opt_out, members, show


def _out(world: World, name: str) -> tuple[bool, bool]:
    here, there = world.ov.contact(f"{name}@example.com"), world.do.contact(f"crm-{name}")
    return here["email_unsubscribed"], there["unsubscribe_email"]


async def test_an_opt_out_reaches_the_other_side_in_the_same_cycle(both: World) -> None:
    await both.linked("ann", "bob", "cat")
    both.ov.unsubscribe("ann@example.com")
    both.do.unsubscribe("crm-bob")
    await both.sync()
    assert _out(both, "ann") == _out(both, "bob") == (True, True) and _out(both, "cat") == (False, False)
    assert not both.do.contact("crm-ann")["unsubscribe_sms"]
    await both.quiet()


@pytest.mark.parametrize("how", ["mark_as_spam", "hard_bounce"])
async def test_spam_and_hard_bounces_count_as_opt_outs(world: World, how: str) -> None:
    await world.linked("ann")
    getattr(world.ov, how)("ann@example.com")
    await world.sync()
    assert _out(world, "ann") == (False, True)
    await world.quiet()


async def test_what_only_looks_like_an_opt_out_is_none(world: World) -> None:
    """Not sendable because unconfirmed, no marketing wanted, no SMS: none of them is an e-mail opt-out."""
    await world.linked("ann")
    world.ov.edit_contact("ann@example.com", email_double_optin_status="NOT_CONFIRMED", accepts_marketing_emails=True)
    world.do.unsubscribe("crm-ann", email=False, sms=True)
    mark = world.mark()
    await world.sync()
    assert world.writes(mark) == [] and _out(world, "ann") == (False, False)


async def test_a_hint_is_enough_without_full(world: World) -> None:
    """Unsubscribing on OnVoard leaves an activity behind."""
    await world.linked("ann")
    world.ov.unsubscribe("ann@example.com")
    await world.sync(full=False)
    assert _out(world, "ann") == (True, True)


async def test_opt_outs_leave_before_all_other_pushes(both: World) -> None:
    both.configure(digital_onboarding__batch_size=2)
    names = [f"p{number}" for number in range(6)]
    await both.linked(*names)
    for name in names:
        both.ov.edit_contact(f"{name}@example.com", city="Oslo")
        both.do.edit_contact(f"crm-{name}", name_last="Long")
    for name in names[3:]:
        both.ov.unsubscribe(f"{name}@example.com")
        both.do.unsubscribe(f"crm-{names[int(name[1:]) - 3]}")
    for number in range(3):
        both.ov.add_contact(f"new{number}@example.com", name="New")
    mark = both.mark()
    await both.sync()
    kinds = [is_opt_out(entry) for entry in both.writes(mark)]
    assert any(kinds) and kinds == sorted(kinds, reverse=True), [show(entry) for entry in both.writes(mark)]
    assert all(c["unsubscribe_email"] for c in both.do.contact_list() if c["unique_id"].startswith("crm-"))
    await both.quiet()


async def test_opt_outs_are_sent_although_something_else_is_refused(world: World) -> None:
    await world.linked("ann", "bob")
    world.ov.edit_contact("ann@example.com", city="poison")
    world.ov.unsubscribe("ann@example.com")
    world.ov.unsubscribe("bob@example.com")
    world.sandbox.fail(
        "digital_onboarding", "status", method="POST", path="/v1/contacts", body_contains="poison", status=422,
        times=None,
    )  # fmt: skip
    report = await world.sync()
    assert _out(world, "ann") == _out(world, "bob") == (True, True) and report.new_dead == 1


async def test_an_opt_out_before_the_first_link_reaches_the_other_side(world: World) -> None:
    for name, here, there in (("ann", True, False), ("bob", False, True), ("cat", True, True)):
        world.ov.add_contact(f"{name}@example.com", email_unsubscribed=here, name=name)
        world.do.add_contact(unique_id=f"crm-{name}", email=f"{name}@example.com", unsubscribe_email=there)
    await world.setup()
    await world.import_export()
    await world.sync()
    assert {_out(world, name) for name in ("ann", "bob", "cat")} == {(True, True)}
    assert world.conflicts() == [] and world.activities("unsubscribed") == []
    await world.quiet()


async def test_in_doubt_an_opt_out_goes_to_every_contact_with_the_address(world: World) -> None:
    world.ov.add_contact("twin@example.com")
    world.do.add_contact(unique_id="crm-1", email="twin@example.com", unsubscribe_email=True)
    world.do.add_contact(unique_id="crm-2", email="Twin@example.com")
    await world.import_export()
    await world.sync()
    assert world.ov.contact("twin@example.com")["email_unsubscribed"]
    assert world.do.contact("crm-2")["unsubscribe_email"] and len(world.conflicts()) == 1
    await world.quiet()


async def test_a_later_opt_out_of_somebody_in_conflict_still_travels(both: World) -> None:
    """A conflict about the person does not stop it: neither where it is ambiguous who it is, nor where an edit would
    merge two links."""
    await both.linked("ann", "bob")
    both.ov.add_contact("twin@example.com")
    for number in (1, 2):
        both.do.add_contact(unique_id=f"crm-{number}", email="twin@example.com")
    both.do.edit_contact("crm-ann", email="bob@example.com")
    await both.import_export()
    await both.sync()
    assert len(both.conflicts()) == 2
    both.clock.advance(60)
    both.ov.unsubscribe("twin@example.com")
    both.ov.unsubscribe("ann@example.com")
    await both.sync()
    assert both.do.contact("crm-1")["unsubscribe_email"] and both.do.contact("crm-2")["unsubscribe_email"]
    assert both.do.contact("crm-ann")["unsubscribe_email"]
    await both.quiet()


@pytest.mark.parametrize("side", ["onvoard", "digital_onboarding"])
async def test_a_resubscription_is_asked_about_once_and_raises_nothing(world: World, side: str) -> None:
    await world.linked("ann")
    world.ov.unsubscribe("ann@example.com")
    await world.sync()
    world.clock.advance(60)
    if side == "onvoard":
        world.ov.resubscribe("ann@example.com")
    else:
        world.do.resubscribe("crm-ann")
    mark = world.mark()
    report = await world.sync()
    assert report.new_conflicts == 1 and len(world.conflicts("resubscribed")) == 1
    assert world.writes(mark) == [] and _out(world, "ann") == (side != "onvoard", side == "onvoard")
    await world.quiet()
    assert len(world.conflicts()) == 1
    world.clock.advance(60)
    world.ov.edit_contact("ann@example.com", city="Oslo")
    await world.sync()
    assert world.do.contact("crm-ann")["city"] == "Oslo", "the question is about consent, not about the person"


async def test_an_opt_out_after_a_resubscription_travels_again(world: World) -> None:
    await world.linked("ann")
    world.ov.unsubscribe("ann@example.com")
    await world.sync()
    for step in (world.ov.resubscribe, world.do.resubscribe):
        world.clock.advance(60)
        step("ann@example.com" if step == world.ov.resubscribe else "crm-ann")
    await world.sync()
    assert _out(world, "ann") == (False, False)
    world.clock.advance(60)
    world.do.unsubscribe("crm-ann")
    await world.sync()
    assert _out(world, "ann") == (True, True)
    await world.quiet()


async def test_resubscribe_never_records_without_asking(world: World) -> None:
    world.configure(consent__resubscribe="never")
    await world.linked("ann")
    world.do.unsubscribe("crm-ann")
    await world.sync()
    world.clock.advance(60)
    world.do.resubscribe("crm-ann")
    report = await world.sync()
    assert not report.needs_person and len(world.conflicts("resubscribed", "resolved")) == 1
    assert _out(world, "ann") == (True, False)
    await world.quiet()


async def test_a_lost_answer_to_an_opt_out_is_said_again(world: World) -> None:
    await world.linked("ann", "bob")
    world.ov.unsubscribe("ann@example.com")
    world.do.unsubscribe("crm-bob")
    for platform, path in (("digital_onboarding", "/v1/contacts"), ("onvoard", "/v2/contacts/*")):
        world.sandbox.fail(platform, "reset_before", method="POST" if "v1" in path else "PATCH", path=path, times=3)
    with pytest.raises(Exception, match=r"onvoard|digital"):
        await world.sync()
    world.sandbox.clear_faults()
    await world.sync()
    assert _out(world, "ann") == _out(world, "bob") == (True, True)
    await world.quiet()


async def test_an_import_never_raises_consent(world: World) -> None:
    await world.linked("ann")
    world.do.unsubscribe("crm-ann")
    await world.sync()
    later = "2031-01-01T00:00:00Z"
    await world.import_rows(
        {"unique_id": "crm-ann", "email": "ann@example.com", "unsubscribe_email": "false", "updated_at": later}
    )
    assert world.value("SELECT unsubscribe_email FROM digital_onboarding_contacts") in (True, 1)
    mark = world.mark()
    await world.sync(full=False)
    assert _out(world, "ann") == (True, True) and world.conflicts() == []
    assert all("unsubscribe_email" not in member for e in world.writes(mark) for member in members(e))


async def test_an_update_repeats_a_fallen_flag_where_defaults_are_taken_literally(world: World) -> None:
    """Traps 4: the document also says that what a patch leaves out gets its default, which is "not unsubscribed"."""
    world.sandbox.onvoard.settings.defaults_on_update = True
    await world.linked("ann")
    world.ov.unsubscribe("ann@example.com")
    await world.sync()
    world.clock.advance(60)
    world.do.edit_contact("crm-ann", city="Bern")
    await world.sync()
    assert world.ov.contact("ann@example.com")["properties"]["city"] == "Bern"
    assert _out(world, "ann") == (True, True) and world.conflicts() == []


async def test_a_repeated_flag_does_not_take_back_an_opt_in_that_nobody_has_read_yet(world: World) -> None:
    await world.linked("ann")
    world.ov.unsubscribe("ann@example.com")
    await world.sync()
    world.clock.advance(60)
    world.ov.resubscribe("ann@example.com")  # no hint, no full read
    world.do.edit_contact("crm-ann", city="Bern")
    world.configure(schedule__refresh_within="1s")
    await world.sync(full=False)
    assert world.ov.contact("ann@example.com")["email_unsubscribed"] is False
    assert [conflict["kind"] for conflict in world.conflicts()] == ["resubscribed"]
    assert world.ov.contact("ann@example.com")["properties"]["city"] == "Bern"


@pytest.mark.parametrize("began", ["onvoard", "digital_onboarding"])
async def test_an_edit_that_the_answer_to_an_opt_out_shows_is_not_overwritten(both: World, began: str) -> None:
    """It was made after the last read, and the change of the same field was decided without it."""
    await both.linked("ann", "bob")
    ov, do = both.ov, both.do
    if began == "digital_onboarding":
        do.unsubscribe("crm-ann")
        do.edit_contact("crm-ann", city="Bern")
        both.sandbox.when("onvoard", lambda: ov.edit_contact("ann@example.com", city="Oslo"), method="PATCH")
    else:
        ov.unsubscribe("ann@example.com")
        ov.edit_contact("ann@example.com", city="Bern")
        both.sandbox.when(
            "digital_onboarding", lambda: do.edit_contact("crm-ann", city="Oslo"), method="POST", skip=1
        )  # the first is the probe
    both.clock.advance(60)
    await both.sync()
    await both.sync()
    here, there = ov.contact("ann@example.com"), do.contact("crm-ann")
    assert here["email_unsubscribed"] is True and there["unsubscribe_email"] is True
    assert here["properties"]["city"] == there["city"] == "Oslo"
    lost = both.conflicts("both_changed", "resolved")
    assert "Bern" in {lost[-1]["onvoard_value"], lost[-1]["digital_onboarding_value"]}
    await both.quiet()
