"""Contract section 4, "Merging": rule by rule."""

from __future__ import annotations

import pytest

from service.core.mapping import Authority, ClearWith
from service.core.reconcile import newer, reconcile
from service.core.records import Loss, Platform, Refusal
from tests.core.making import DO, EARLY, LATE, MAPPING, NOON, OV, decide, field_map, nothing, pair, pushed

ANN = ("Ann", "Lee")


def test_a_field_changed_on_one_side_goes_to_the_other():
    assert pushed(decide({"city": "Rome"}, {"city": "Bonn"}, base={"city": "Bonn"})) == {(DO, "city"): "Rome"}
    assert pushed(decide({"city": "Bonn"}, {"city": "Rome"}, base={"city": "Bonn"})) == {(OV, "city"): "Rome"}


def test_who_is_newer_does_not_matter_where_only_one_side_changed():
    decision = decide({"city": "Rome"}, {"city": "Bonn"}, base={"city": "Bonn"}, edited=(EARLY, LATE))
    assert pushed(decision) == {(DO, "city"): "Rome"}
    assert not decision.losses  # what is overwritten was agreed on: nobody's edit


def test_a_push_says_what_it_overwrites_and_where_it_comes_from():
    [push] = decide({"country": "USA"}, {"country": "DE"}, base={"country": "DE"}).pushes
    assert (push.value, push.old, push.source, push.rule) == ("US", "DE", "USA", "changed on onvoard")


def test_different_fields_go_different_ways():
    base = {"city": "Bonn", "state": "X"}
    decision = decide({"city": "Rome", "state": "X"}, {"city": "Bonn", "state": "Y"}, base=base)
    assert pushed(decision) == {(DO, "city"): "Rome", (OV, "state"): "Y"}


def test_nothing_changed_is_nothing_to_do_even_where_the_sides_differ():
    decision = decide({"city": "Rome"}, {"city": "Bonn"}, bases=({"city": "Rome"}, {"city": "Bonn"}))
    assert nothing(decision)
    assert not any(decision.settled.values())


def test_changed_on_both_to_the_same_is_agreed():
    decision = decide({"city": "Rome"}, {"city": " Rome"}, base={"city": "Bonn"})
    assert nothing(decision)
    assert decision.settled == {OV: {"city": "Rome"}, DO: {"city": " Rome"}}


@pytest.mark.parametrize(
    ("edited", "winner", "why"),
    [
        ((LATE, EARLY), OV, "newer record"),
        ((EARLY, LATE), DO, "newer record"),
        ((NOON, NOON), DO, "tie"),
        ((None, None), DO, "tie"),
        ((NOON, None), OV, "newer record"),
        ((None, NOON), DO, "newer record"),
    ],
)
def test_changed_on_both_the_newer_record_wins(edited, winner, why):
    assert newer(pair({}, {}, edited=edited)) == (winner, why)
    decision = decide({"city": "Rome"}, {"city": "Oslo"}, base={"city": "Bonn"}, edited=edited)
    assert pushed(decision) == {(winner.other, "city"): "Rome" if winner is OV else "Oslo"}
    assert decision.losses == (Loss("city", winner, "Rome", "Oslo", why),)


def test_the_losing_value_is_kept_when_it_is_a_clearing_too():
    decision = decide({"city": ""}, {"city": "Oslo"}, base={"city": "Bonn"}, edited=(EARLY, LATE))
    assert pushed(decision) == {(OV, "city"): "Oslo"}
    assert [loss.kept for loss in decision.losses] == [DO]


def test_what_one_side_does_not_know_waits():
    decision = decide({"city": "Rome"}, {}, base={"city": "Bonn"})
    assert nothing(decision)
    assert not any(decision.settled.values())


# First link


def test_at_first_link_a_blank_takes_the_others_value():
    ours, theirs = {"city": "", "state": "X", "name": ("", "")}, {"city": "Bonn", "state": "", "name": ANN}
    decision = decide(ours, theirs, edited=(LATE, EARLY))
    assert pushed(decision) == {(OV, "city"): "Bonn", (DO, "state"): "X", (OV, "name"): ANN}
    assert not decision.losses


def test_at_first_link_blank_space_is_blank():
    decision = decide({"city": "   "}, {"city": "Bonn"}, edited=(LATE, EARLY))
    assert pushed(decision) == {(OV, "city"): "Bonn"}


def test_at_first_link_a_blank_email_takes_the_others():
    """A Digital Onboarding contact without an e-mail, found by a `unique_id` that is the other side's."""
    assert pushed(decide({"email": "a@x.de"}, {"email": ""})) == {(DO, "email"): "a@x.de"}


def test_at_first_link_two_values_go_by_the_same_rule():
    decision = decide({"city": "Rome"}, {"city": "Oslo"}, edited=(LATE, EARLY))
    assert pushed(decision) == {(DO, "city"): "Rome"}
    assert decision.losses == (Loss("city", OV, "Rome", "Oslo", "newer record"),)
    assert pushed(decide({"city": "Rome"}, {"city": "Oslo"})) == {(OV, "city"): "Oslo"}


@pytest.mark.parametrize("half", [("Ann", ""), ("", "Lee"), (" Ann", " ")])
@pytest.mark.parametrize("platform", Platform)
def test_at_first_link_a_blank_half_of_a_name_is_filled_whoever_is_newer(half, platform):
    sides = [{"name": half}, {"name": ANN}] if platform is OV else [{"name": ANN}, {"name": half}]
    decision = decide(*sides, edited=(LATE, EARLY) if platform is OV else (EARLY, LATE))
    assert pushed(decision) == {(platform, "name"): ANN}
    assert [(loss.kept, loss.reason) for loss in decision.losses] == [(platform.other, "fills a blank")]


def test_at_first_link_a_half_that_differs_is_another_name():
    decision = decide({"name": ("Anna", "")}, {"name": ANN}, edited=(LATE, EARLY))
    assert pushed(decision) == {(DO, "name"): ("Anna", "")}


def test_at_first_link_equal_values_are_agreed():
    decision = decide({"country": "US", "name": ("", "")}, {"country": "usa", "name": ("", "")})
    assert nothing(decision)
    assert decision.settled == {OV: {"country": "US", "name": ("", "")}, DO: {"country": "usa", "name": ("", "")}}


def test_a_field_that_is_mapped_later_is_linked_for_the_first_time():
    decision = decide({"city": "Rome", "state": ""}, {"city": "Rome", "state": "Y"}, base={"city": "Rome"})
    assert pushed(decision) == {(OV, "state"): "Y"}


# Clearing


@pytest.mark.parametrize(("clear_with", "sent"), [(ClearWith.EMPTY, ""), (ClearWith.NULL, None)])
def test_a_cleared_field_travels_to_digital_onboarding(clear_with, sent):
    mapping = field_map(clear_with)
    base = {"city": "Bonn", "name": ANN}
    decision = decide({"city": "", "name": ("", "")}, base, mapping, base=base)
    assert pushed(decision) == {(DO, "city"): "", (DO, "name"): ("", "")}
    body = mapping.payload(DO, {push.field: push.value for push in decision.pushes})
    assert body == {"city": sent, "name_first": sent, "name_last": sent}


def test_clearing_there_may_be_switched_off():
    mapping = field_map(ClearWith.NEVER)
    decision = decide({"city": ""}, {"city": "Bonn"}, mapping, base={"city": "Bonn"})
    assert not decision.pushes
    assert [(r.field, r.platform) for r in decision.refusals] == [("city", DO)]
    assert decision.settled == {OV: {"city": ""}, DO: {"city": "Bonn"}}  # reported once


def test_clearing_may_not_be_switched_off_towards_onvoard():
    mapping = field_map(ClearWith.NEVER)
    base = {"city": "Bonn", "phone": "1234"}
    decision = decide(base, {"city": "", "phone": ""}, mapping, base=base)
    assert pushed(decision) == {(OV, "city"): "", (OV, "phone"): ""}
    body = mapping.payload(OV, {push.field: push.value for push in decision.pushes})
    assert body == {"properties": {"city": None}, "phone": ""}  # traps 3


@pytest.mark.parametrize("field", ["city", "phone", "country", "timezone"])
@pytest.mark.parametrize("platform", Platform)
def test_blank_space_clears_like_nothing(field, platform):
    good = {"city": "Bonn", "phone": "+4930123456", "country": "DE", "timezone": "Europe/Berlin"}
    sides = [{field: "  "}, {field: good[field]}]
    decision = decide(*(sides if platform is DO else sides[::-1]), base=good)
    assert pushed(decision) == {(platform, field): ""}
    assert not decision.refusals


def test_blank_space_does_not_get_around_a_switched_off_clearing():
    mapping = field_map(ClearWith.NEVER)
    base = {"city": "Bonn", "name": ANN}
    decision = decide({"city": " ", "name": (" ", "")}, base, mapping, base=base)
    assert not decision.pushes
    assert {r.field for r in decision.refusals} == {"city", "name"}


def test_half_a_name_is_not_cleared_where_clearing_is_switched_off():
    mapping = field_map(ClearWith.NEVER)
    decision = decide({"name": ("Cher", "")}, {"name": ANN}, mapping, base={"name": ANN})
    assert not decision.pushes  # neither "Cher" nor "Cher Lee", whom nobody named
    assert [r.field for r in decision.refusals] == ["name"]


def test_half_a_name_may_take_the_place_of_half_a_name():
    mapping = field_map(ClearWith.NEVER)
    decision = decide({"name": ("Cher", "")}, {"name": ("Ann", "")}, mapping, base={"name": ("Ann", "")})
    assert pushed(decision) == {(DO, "name"): ("Cher", "")}
    assert mapping.payload(DO, {"name": ("Cher", "")}) == {"name_first": "Cher"}


# The e-mail


@pytest.mark.parametrize("platform", Platform)
@pytest.mark.parametrize("blank", ["", "  "])
def test_a_cleared_email_does_not_travel(platform, blank):
    sides = [{"email": blank}, {"email": "a@x.de"}]
    decision = decide(*(sides if platform is DO else sides[::-1]), base={"email": "a@x.de"})
    assert not decision.pushes
    assert not decision.losses
    assert decision.refusals == (Refusal("email", platform, blank, "a cleared e-mail does not travel"),)
    assert decision.settled[platform.other] == {"email": blank}  # reported once


def test_a_cleared_email_does_not_win_either():
    decision = decide({"email": ""}, {"email": "b@x.de"}, base={"email": "a@x.de"}, edited=(LATE, EARLY))
    assert pushed(decision) == {(OV, "email"): "b@x.de"}


def test_an_email_that_was_cleared_is_written_again_when_it_changes_there():
    first = decide({"email": ""}, {"email": "a@x.de"}, base={"email": "a@x.de"})
    bases = (first.settled[OV], first.settled[DO])
    assert nothing(decide({"email": ""}, {"email": "a@x.de"}, bases=bases))
    assert pushed(decide({"email": ""}, {"email": "b@x.de"}, bases=bases)) == {(OV, "email"): "b@x.de"}


@pytest.mark.parametrize("spelling", ["A@X.DE", " a@x.de ", "a@X.de"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_change_of_case_alone_is_no_change(spelling, turned):
    sides = [{"email": spelling}, {"email": "a@x.de"}]
    assert nothing(decide(*(sides[::-1] if turned else sides), base={"email": "a@x.de"}))
    assert nothing(decide(*(sides[::-1] if turned else sides)))


def test_nothing_is_guessed_beyond_ascii():
    decision = decide({"email": "É@x.de"}, {"email": "é@x.de"}, base={"email": "é@x.de"})
    assert pushed(decision) == {(DO, "email"): "É@x.de"}


def test_a_changed_email_is_carried_over():
    decision = decide({"email": " B@x.de"}, {"email": "a@x.de"}, base={"email": "a@x.de"})
    assert pushed(decision) == {(DO, "email"): "B@x.de"}


@pytest.mark.parametrize("nonsense", ["nobody", "a b@x.de", "@x.de", "a@"])
def test_what_is_no_email_does_not_travel(nonsense):
    decision = decide({"email": "a@x.de"}, {"email": nonsense}, base={"email": "a@x.de"})
    assert not decision.pushes
    assert [r.field for r in decision.refusals] == ["email"]


# What the other side cannot take


@pytest.mark.parametrize(("field", "value"), [("country", "Narnia"), ("timezone", "Mars/Olympus"), ("phone", "n/a")])
@pytest.mark.parametrize("platform", Platform)
def test_what_cannot_be_taken_is_reported_once_and_left_alone(field, value, platform):
    old = {"country": "US", "timezone": "Europe/Berlin", "phone": "5550100000"}[field]
    sides = [{field: value}, {field: old}] if platform is DO else [{field: old}, {field: value}]
    first = decide(*sides, base={field: old})
    assert not first.pushes
    assert not first.losses
    assert [(r.field, r.platform, r.value) for r in first.refusals] == [(field, platform, value)]
    settled = (first.settled[OV], first.settled[DO])
    assert nothing(decide(*sides, bases=settled))
    good = {"country": "FR", "timezone": "UTC", "phone": "5550100009"}[field]
    changed = [{field: good}, {field: old}] if platform is DO else [{field: old}, {field: good}]
    assert pushed(decide(*changed, bases=settled)) == {(platform, field): good}


def test_a_value_that_cannot_be_taken_does_not_stop_its_neighbours():
    decision = decide({"country": "Narnia", "city": "Rome"}, {"country": "", "city": ""})
    assert pushed(decision) == {(DO, "city"): "Rome"}
    assert len(decision.refusals) == 1


@pytest.mark.parametrize("spelling", ["USA", "us", "United States", " USA "])
def test_what_can_be_translated_is(spelling):
    assert pushed(decide({"country": ""}, {"country": spelling})) == {(OV, "country"): "US"}


def test_a_time_zone_is_written_as_it_is_known():
    assert pushed(decide({"timezone": ""}, {"timezone": "america/new york"})) == {(OV, "timezone"): "America/New_York"}


# What a platform makes of a value


@pytest.mark.parametrize(
    ("field", "base", "now"),
    [
        ("phone", "+15550100000", "+1 (555) 010-0000"),
        ("name", ("Mary Ann", "Lee"), ("Mary", "Ann Lee")),
        ("country", "US", "USA"),
        ("timezone", "Europe/Berlin", "europe/berlin"),
        ("address", "1 Main St\nApt 2", "1 Main St Apt 2"),
    ],
)
@pytest.mark.parametrize("platform", Platform)
def test_a_spelling_is_no_edit(field, base, now, platform):
    sides = [{field: now}, {field: base}] if platform is OV else [{field: base}, {field: now}]
    assert nothing(decide(*sides, base={field: base}))


@pytest.mark.parametrize(
    ("field", "base", "now", "other"),
    [
        ("phone", "+15550100000", "+1 (555) 010-0000", ""),
        ("name", ("Mary Ann", "Lee"), ("Mary", "Ann Lee"), ("M.", "L.")),
        ("country", "US", "USA", "Narnia"),
        ("city", "Bonn", " Bonn ", "BONN"),
        ("email", "a@x.de", "A@x.de", ""),
    ],
)
@pytest.mark.parametrize("platform", Platform)
def test_a_spelling_is_no_edit_either_where_the_sides_agreed_to_differ(field, base, now, other, platform):
    """The other side had dropped it, or could not take it."""
    sides, bases = [{field: now}, {field: other}], ({field: base}, {field: other})
    if platform is DO:
        sides, bases = sides[::-1], bases[::-1]
    assert nothing(decide(*sides, bases=bases))


def test_one_number_in_two_spellings_is_one_number():
    ours = {"phone": "+1 555 010 0000", "country": "US"}
    assert nothing(decide(ours, {"phone": "(555) 010-0000", "country": "USA"}))


def test_a_number_is_read_in_the_terms_of_the_country_that_one_side_knows():
    """The person is one: where a side has no country, the other's says how its national numbers are meant."""
    decision = decide({"phone": "+1 555 010 0000", "country": "US"}, {"phone": "(555) 010-0000", "country": ""})
    assert pushed(decision) == {(DO, "country"): "US"}
    assert not decision.losses


def test_the_same_text_is_never_pushed_whatever_the_countries_make_of_it():
    ours, theirs = {"phone": "030 123456", "country": "DE"}, {"phone": "030 123456", "country": "US"}
    decision = decide(ours, theirs)
    assert "phone" not in {push.field for push in decision.pushes} | {loss.field for loss in decision.losses}


def test_a_spelling_that_was_no_edit_is_none_later_when_the_country_is_gone():
    agreed = {"phone": "+49 30 123456", "country": "DE"}, {"phone": "", "country": "DE"}  # the other side dropped it
    decision = decide({"phone": "030 123456", "country": "DE"}, agreed[1], bases=agreed)
    assert nothing(decision)
    bases = tuple({**was, **decision.settled[side]} for was, side in zip(agreed, (OV, DO), strict=True))
    gone = [{"phone": "030 123456", "country": ""}, {"phone": "", "country": ""}]
    assert nothing(decide(*gone, bases=bases))


def test_a_change_of_country_is_no_change_of_the_phone():
    base = {"phone": "030 123456", "country": "DE"}
    assert pushed(decide(base | {"country": "US"}, base, base=base)) == {(DO, "country"): "US"}


# Authority


def test_the_side_without_authority_is_put_right():
    mapping = field_map(city=Authority.ONVOARD)
    decision = decide({"city": "Bonn"}, {"city": "Oslo"}, mapping, base={"city": "Bonn"}, edited=(EARLY, LATE))
    assert pushed(decision) == {(DO, "city"): "Bonn"}
    assert decision.losses == (Loss("city", OV, "Bonn", "Oslo", "authority of onvoard"),)


@pytest.mark.parametrize("platform", Platform)
def test_the_side_with_authority_wins_whoever_is_newer(platform):
    mapping = field_map(city=Authority(platform.value))
    edited = (EARLY, LATE) if platform is OV else (LATE, EARLY)
    for base in ({"city": "Bonn"}, {}):
        decision = decide({"city": "Rome"}, {"city": "Oslo"}, mapping, base=base, edited=edited)
        assert pushed(decision) == {(platform.other, "city"): "Rome" if platform is OV else "Oslo"}
        assert len(decision.losses) == 1


@pytest.mark.parametrize("platform", Platform)
def test_the_side_with_authority_fills_the_others_blank(platform):
    mapping = field_map(city=Authority(platform.value))
    sides = [{"city": "Rome"}, {"city": ""}] if platform is OV else [{"city": ""}, {"city": "Rome"}]
    assert pushed(decide(*sides, mapping)) == {(platform.other, "city"): "Rome"}


def test_reconcile_leaves_its_input_alone():
    one = pair({"city": "Rome"}, {"city": "Oslo"}, base={"city": "Bonn"})
    assert reconcile(one, MAPPING) == reconcile(one, MAPPING)
    assert one == pair({"city": "Rome"}, {"city": "Oslo"}, base={"city": "Bonn"})
