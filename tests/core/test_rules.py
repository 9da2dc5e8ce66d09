"""Contract section 7: what a happening asks for, once or again; and rules that would run in a circle."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.rule_words import in_words, span
from service.core.rules import (
    ActivityOf,
    CompleteObjective,
    Emits,
    Facts,
    Group,
    Happening,
    MemberOf,
    PropertyAt,
    ReviewWith,
    Rule,
    Ruleset,
    SetMetaPublic,
    Source,
    StartJourney,
    asked_for,
    holding,
    loop,
)
from tests.core.making import NOON

DAY = timedelta(days=1)
ORDER = ActivityOf(frozenset({"order_placed"}))
FIRST = Rule("first", ORDER, CompleteObjective("online-banking"))
JOURNEY = Rule("journey", ORDER, StartJourney("Go Mobile"))
FLAG = Rule("flag", ORDER, SetMetaPublic("has_ordered", True))
EMITS = Emits("completed", "started", {"loaded": frozenset({"completed"}), "both": frozenset({"completed", "started"})})


def order(at=NOON, kind="order_placed"):
    return Happening(Source.ACTIVITIES, {"type": kind}, at)


def fires(happening, facts=None, *rules):
    return [each.rule.name for each in asked_for(Ruleset(rules), happening, facts or Facts()) if not each.withheld]


@given(
    st.lists(st.integers(0, 40), max_size=12).map(sorted),
    st.one_of(st.none(), st.integers(1, 15).map(lambda days: days * DAY)),
)
def test_once_for_a_person_or_again_after_the_time_that_the_rule_says(days, again_after):
    rule = replace(FIRST, again_after=again_after)
    fired, withheld = [], []
    for at in (NOON + day * DAY for day in days):
        [asked] = asked_for(Ruleset((rule,)), order(at), Facts(fired={"first": fired, "other": [at]}))
        assert asked.at == at
        (withheld if asked.withheld else fired).append(at)
    if again_after is None:
        assert len(fired) == min(1, len(days))
    else:
        assert all(later - earlier >= again_after for earlier, later in pairwise(fired))
        assert all(any(at - earlier < again_after for earlier in fired if earlier <= at) for at in withheld)


def test_news_that_comes_late_counts_by_its_own_time():
    again = replace(FIRST, again_after=10 * DAY)
    assert fires(order(NOON - 9 * DAY), Facts(fired={"first": [NOON]}), again) == []
    assert fires(order(NOON - 10 * DAY), Facts(fired={"first": [NOON]}), again) == ["first"]


def test_another_happening_asks_for_nothing():
    assert fires(order(kind="order_fulfilled"), None, FIRST, JOURNEY, FLAG) == []
    assert fires(Happening(Source.REVIEWS, {"type": "order_placed"}, NOON), None, FIRST) == []


def test_what_happened_before_the_rule_began_is_history():
    rule = replace(FIRST, since=NOON)
    assert fires(order(NOON), None, rule) == ["first"]
    assert fires(order(NOON - timedelta(microseconds=1)), None, rule) == []


def test_a_template_starts_once_whichever_rule_asks_for_it_unless_that_says_again():
    other, again = replace(JOURNEY, name="other"), replace(JOURNEY, name="again", again_after=10 * DAY)
    assert fires(order(), None, JOURNEY, other) == ["journey"]
    earlier = Facts(fired={"journey": [NOON - 9 * DAY]})
    assert fires(order(), earlier, JOURNEY, other, again) == ["again"]
    assert fires(order(), Facts(fired={"again": [NOON - 9 * DAY]}), JOURNEY, other, again) == []
    assert fires(order(), earlier, other) == ["other"], "what a rule did that is no longer there is not known to it"
    elsewhere = Rule("elsewhere", ORDER, StartJourney("Mortgage"))
    assert fires(order(), Facts(fired={"journey": [NOON]}), JOURNEY, elsewhere) == ["elsewhere"]
    assert fires(order(), Facts(suppressed=True), JOURNEY, other) == []


def test_nothing_for_the_suppressed_and_no_journey_for_who_has_opted_out():
    assert fires(order(), None, FIRST, JOURNEY, FLAG) == ["first", "journey", "flag"]
    assert fires(order(), Facts(opted_out=True), FIRST, JOURNEY, FLAG) == ["first", "flag"]
    assert fires(order(), Facts(suppressed=True), FIRST, JOURNEY, FLAG) == []


def test_what_is_withheld_says_why():
    rules = (replace(FIRST, since=NOON + DAY), JOURNEY, replace(FLAG, enabled=False))
    told = asked_for(Ruleset(rules), order(), Facts(opted_out=True))
    assert [(each.rule.name, "since" in each.withheld, "opted out" in each.withheld) for each in told] == [
        ("first", True, False), ("journey", False, True),
    ]  # fmt: skip


def test_a_lasting_condition_asks_when_it_begins_to_hold():
    member = Rule("member", MemberOf(Group.TAG, "VIP"), FIRST.then)
    rich = Rule("rich", PropertyAt("total_spent", at_least=1000), FIRST.then)
    before = {"tags": [{"id": "t1", "name": "VIP"}], "properties": {"total_spent": 10}}
    now = Happening(Source.CONTACTS, before | {"properties": {"total_spent": 1000}}, NOON)
    both = Ruleset((member, rich, FIRST))
    assert holding(both, before) == {"member"}
    assert fires(now, Facts(held=holding(both, before)), *both.rules) == ["rich"]
    assert fires(now, Facts(), *both.rules) == ["member", "rich"]


@pytest.mark.parametrize(
    ("when", "record", "holds"),
    [
        (ORDER, {"type": "order_placed"}, True),
        (ORDER, {"type": "order"}, False),
        (ReviewWith(4, 5), {"rating": 4.0}, True),
        (ReviewWith(4, 5), {"rating": 3.9}, False),
        (ReviewWith(max_rating=2), {"rating": 2.1}, False),
        (ReviewWith(min_rating=1), {"rating": None}, False),
        (ReviewWith(), {"rating": None}, True),
        (ReviewWith(status="PUBLISHED"), {"status": "PENDING"}, False),
        (ReviewWith(entity="SITE"), {"entity": "SITE"}, True),
        (MemberOf(Group.LIST, "l1"), {"lists": [{"id": "l1", "name": "News"}]}, True),
        (MemberOf(Group.LIST, "News"), {"lists": [{"id": "l1", "name": "News"}]}, True),
        (MemberOf(Group.SEGMENT, "News"), {"segments": None}, False),
        (PropertyAt("n", at_least=10), {"properties": {"n": "10"}}, True),
        (PropertyAt("n", at_least=10), {"properties": {"n": "many"}}, False),
        (PropertyAt("n", at_least=1), {"properties": {"n": True}}, False),
        (PropertyAt("n", at_least=10, at_most=20), {"properties": {"n": 21}}, False),
        (PropertyAt("n", equals=True), {"properties": {"n": 1}}, False),
        (PropertyAt("n", equals="gold"), {"properties": {"n": "gold"}}, True),
        (PropertyAt("n", at_most=10), {"properties": None}, False),
        (PropertyAt("n", at_least=10), {"properties": {"custom_n": 10}}, True),  # OnVoard puts the prefix there
        (PropertyAt("n", at_least=10), {"properties": {"custom_n": 10, "n": 1}}, False),
    ],
)
def test_when_a_condition_holds(when, record, holds):
    empty = dict.fromkeys(("rating", "status", "entity", "tags", "lists", "segments", "properties"))
    assert when.holds(empty | record) is holds


ACTIVITIES = st.lists(st.sampled_from(["completed", "started", "loaded", "both", "order"]), min_size=1, max_size=2)
RULES = st.lists(
    st.builds(
        lambda types, then, enabled: (ActivityOf(frozenset(types)), then, enabled),
        ACTIVITIES,
        st.sampled_from([CompleteObjective("a"), CompleteObjective("b"), StartJourney("a"), SetMetaPublic("a", 1)]),
        st.sampled_from([True, True, False]),
    ),
    max_size=5,
).map(lambda parts: [Rule(f"r{n}", when, then, enabled=on) for n, (when, then, on) in enumerate(parts)])


@given(RULES)
def test_a_circle_is_found_where_one_is(rules):
    says = {CompleteObjective: {"completed", "loaded", "both"}, StartJourney: {"started", "both"}, SetMetaPublic: set()}
    names = [rule.name for rule in rules if rule.enabled]
    leads = {
        (one.name, other.name)
        for one in rules for other in rules
        if one.enabled and other.enabled and says[type(one.then)] & other.when.types
    }  # fmt: skip
    reached = set(leads)
    for middle in names:  # Warshall
        reached |= {(a, b) for a in names for b in names if (a, middle) in reached and (middle, b) in reached}
    circle = [rule.name for rule in loop(rules, EMITS)]
    assert bool(circle) == any((name, name) in reached for name in names)
    assert all(step in leads for step in zip(circle, [*circle[1:], *circle[:1]], strict=True))
    assert len(set(circle)) == len(circle)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (ActivityOf(frozenset({"b", "a"})), "an activity a or b"),
        (ReviewWith(5, status="PUBLISHED"), "a PUBLISHED review with 5 stars or more"),
        (ReviewWith(1, 2.5, entity="SITE"), "a review of a SITE with 1 to 2.5 stars"),
        (ReviewWith(3, 3), "a review with 3 stars"),
        (ReviewWith(max_rating=2), "a review with 2 stars or less"),
        (ReviewWith(), "a review"),
        (MemberOf(Group.TAG, "VIP"), "a contact gets the tag VIP"),
        (MemberOf(Group.SEGMENT, "New"), "a contact joins the segment New"),
        (PropertyAt("n", 1, 2.5), "property n becomes at least 1 and at most 2.5"),
        (PropertyAt("n", equals=False), "property n becomes false"),
        (CompleteObjective("online-banking"), "complete the objective online-banking"),
        (SetMetaPublic("k", {"b": 1, "a": "ü"}), 'set meta_public k to {"a": "ü", "b": 1}'),
    ],
)
def test_a_rule_in_words(part, words):
    assert in_words(part) == words


@pytest.mark.parametrize(
    ("value", "written"),
    [(30 * DAY, "30d"), (DAY / 2, "12h"), (timedelta(minutes=90), "1h30m"), (timedelta(seconds=61.5), "1m1.5s")],
)
def test_a_span_is_told_as_it_may_be_written(value, written):
    assert span(value) == written
