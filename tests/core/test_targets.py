"""Which template or objective a name means."""

from __future__ import annotations

import pytest

from service.core.rules import ActivityOf, CompleteObjective, Rule, Ruleset, SetMetaPublic, StartJourney
from service.core.targets import NoSuchTarget, objective_key, template_id, unknown_targets

TEMPLATES = [
    {"id": "t-1", "name": "Go Mobile"}, {"id": "t-2", "name": "Twice"}, {"id": "t-3", "name": "Twice"},
    {"id": "t-4", "name": None}, {"id": "Go Mobile 2", "name": "t-1"},
]  # fmt: skip
OBJECTIVES = [
    {"id": "o-1", "key": "branch-visit", "name": "Branch Visit"}, {"id": "o-2", "key": "one", "name": "Same"},
    {"id": "o-3", "key": "two", "name": "Same"}, {"id": "o-4", "key": None, "name": "Keyless"},
    {"id": "o-5", "key": "shared", "name": "Shared"}, {"id": "o-6", "key": "shared", "name": "Shared"},
    {"id": "o-7", "key": "other", "name": "branch-visit"},
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "found"), [("t-1", "t-1"), ("Go Mobile", "t-1"), ("t-4", "t-4"), ("t-2", "t-2")])
def test_a_template_by_id_before_name(wanted, found):
    assert template_id(wanted, TEMPLATES) == found


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("branch-visit", "branch-visit"), ("Branch Visit", "branch-visit"), ("o-1", "branch-visit"),
        ("online-banking", "online-banking"), ("Shared", "shared"),
    ],
)  # fmt: skip
def test_an_objective_by_key_before_name_and_id_and_the_standard_ones_always(wanted, found):
    assert objective_key(wanted, OBJECTIVES) == found


@pytest.mark.parametrize(
    ("resolve", "rows", "wanted", "said"),
    [
        (template_id, TEMPLATES, "go mobil", "no template go mobil; did you mean Go Mobile?"),
        (template_id, TEMPLATES, "Xyz", "no template Xyz"),
        (template_id, TEMPLATES, "Twice", "2 templates are named Twice; write the id of one: t-2, t-3"),
        (template_id, [], "t-1", "no template t-1"),
        (objective_key, OBJECTIVES, "branch-vist", "no objective branch-vist; did you mean branch-visit?"),
        (objective_key, [], "online-bankin", "did you mean online-banking?"),
        (objective_key, OBJECTIVES, "Same", "2 objectives are named Same; write the key of one: one, two"),
        (objective_key, OBJECTIVES, "Keyless", "has no key"),
    ],
)
def test_what_is_not_there_or_twice_is_told_with_the_nearest(resolve, rows, wanted, said):
    with pytest.raises(NoSuchTarget) as caught:
        resolve(wanted, iter(rows))
    assert str(caught.value).endswith(said) or said in str(caught.value)


def test_unknown_targets_are_those_of_rules_that_are_switched_on():
    when = ActivityOf(frozenset({"order_placed"}))
    rules = Ruleset((
        Rule("good", when, StartJourney("Go Mobile")), Rule("bad", when, StartJourney("Go Mobil")),
        Rule("off", when, StartJourney("None"), enabled=False), Rule("aim", when, CompleteObjective("nothing")),
        Rule("meta", when, SetMetaPublic("k", 1)),
    ))  # fmt: skip
    assert unknown_targets(rules, iter(TEMPLATES), iter(OBJECTIVES)) == [
        "rule bad: Digital Onboarding has no template Go Mobil; did you mean Go Mobile?",
        "rule aim: Digital Onboarding has no objective nothing",
    ]
