"""The rules file that an operator writes (contract section 7): what it may say, and every mistake at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service import resources
from service.core.rules import (
    ActivityOf,
    CompleteObjective,
    Group,
    MemberOf,
    PropertyAt,
    ReviewWith,
    Rule,
    Ruleset,
    SetMetaPublic,
    StartJourney,
)
from service.errors import SettingsError
from service.rules_file import read_rules, ruleset
from service.settings import load
from service.toml_lines import Lines

CONTRACT = """\
# rules.toml
[[rules]]
name = "first-order"                        # unique and stable: "once per person" hangs on it
when.activity = "order_placed"
then.complete_objective = "online-banking"
since = 2026-01-01                          # default: the rule's first run
again_after = "30d"                         # default: once per person
enabled = true

[meta_public]
allowed = ["has_ordered", "review_count"]
"""
NAME, WHEN, THEN = 'name = "a"\n', 'when.activity = "order_placed"\n', 'then.complete_objective = "b"\n'


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "rules.toml"
    file.write_text(text, "utf-8")
    return file


def rule(tmp_path: Path, *lines: str) -> Rule:
    file = written(tmp_path, "[[rules]]\n" + "".join(lines) + '[meta_public]\nallowed = ["k"]\n')
    [found] = read_rules(file).rules
    return found


def problems(file: Path, loaded=None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read_rules(file, loaded)
    assert caught.value.exit_code == 2
    assert all(problem.startswith(f"{file} line ") for problem in caught.value.problems)
    return [problem.removeprefix(f"{file} ") for problem in caught.value.problems]


def test_the_contracts_example(tmp_path):
    assert read_rules(written(tmp_path, CONTRACT)) == Ruleset(
        (
            Rule(
                "first-order", ActivityOf(frozenset({"order_placed"})), CompleteObjective("online-banking"),
                datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=30),
            ),
        ),
        frozenset({"has_ordered", "review_count"}),
    )  # fmt: skip


def test_no_file_no_rules(tmp_path):
    settings = load({"paths.rules": str(tmp_path / "none.toml")}, environ={})
    assert ruleset(settings) == Ruleset()
    assert ruleset(load({"paths.rules": str(written(tmp_path, CONTRACT))}, environ={})).named("first-order")
    assert read_rules(written(tmp_path, "")) == Ruleset()


def test_the_examples_are_never_the_rules():
    examples = resources.config_dir() / "examples" / "rules.toml"
    assert len(read_rules(examples).enabled) == 3
    assert ruleset(load(config=resources.config_dir() / "bridge.toml", environ={})) == Ruleset()


@pytest.mark.parametrize(
    ("when", "meant"),
    [
        ('when.activity = ["a", "custom.b"]', ActivityOf(frozenset({"a", "custom.b"}))),
        ("when.review = {}", ReviewWith()),
        (
            'when.review = { min_rating = 4, max_rating = 4.5, status = "PUBLISHED", entity = "SITE" }',
            ReviewWith(4, 4.5, "PUBLISHED", "SITE"),
        ),
        ("[rules.when.review]\nmin_rating = 1", ReviewWith(1)),
        ('when.tag = "VIP"', MemberOf(Group.TAG, "VIP")),
        ('when.list = "News"', MemberOf(Group.LIST, "News")),
        ('when = { segment = "New" }', MemberOf(Group.SEGMENT, "New")),
        ('when.property = { key = "total_spent", at_least = 1000 }', PropertyAt("total_spent", 1000)),
        ('when.property = { key = "n", at_least = -1, at_most = 2.5 }', PropertyAt("n", -1, 2.5)),
        ('when.property = { key = "n", equals = false }', PropertyAt("n", equals=False)),
        ('when.property = { key = "n", equals = "gold" }', PropertyAt("n", equals="gold")),
    ],
)
def test_each_condition(tmp_path, when, meant):
    assert rule(tmp_path, NAME, THEN, when + "\n").when == meant


@pytest.mark.parametrize(
    ("then", "meant"),
    [
        ('then.start_journey = "Go Mobile"', StartJourney("Go Mobile")),
        ('then.set_meta_public = { key = "k", value = true }', SetMetaPublic("k", True)),
        ('then.set_meta_public = { key = "k", value = [1, { a = "b" }] }', SetMetaPublic("k", [1, {"a": "b"}])),
    ],
)
def test_each_action(tmp_path, then, meant):
    assert rule(tmp_path, NAME, WHEN, then + "\n").then == meant


@pytest.mark.parametrize(
    ("since", "hour"),
    [
        ("2026-01-01", 0), ("2026-01-01T06:00:00", 6), ("2026-01-01T06:00:00Z", 6), ("2026-01-01T06:00:00+02:00", 4),
        ('"2026-01-01"', 0), ('"2026-01-01T06:00:00+02:00"', 4),
    ],
)  # fmt: skip
def test_since_is_utc_unless_it_says_otherwise(tmp_path, since, hour):
    assert rule(tmp_path, NAME, WHEN, THEN, f"since = {since}\n").since == datetime(2026, 1, 1, hour, tzinfo=UTC)


def test_what_need_not_be_said(tmp_path):
    found = rule(tmp_path, NAME, WHEN, THEN)
    assert (found.since, found.again_after, found.enabled) == (None, None, True)
    found = rule(tmp_path, NAME, WHEN, THEN, 'again_after = "12h"\nenabled = false\n')
    assert (found.again_after, found.enabled) == (timedelta(hours=12), False)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((WHEN, THEN), "line 1: rule 1 (?): name is missing"),
        (('name = ""\n', WHEN, THEN), "line 2: rule 1 (): name must be 1 to 64 letters"),
        ((f'name = "{"a" * 65}"\n', WHEN, THEN), "name must be 1 to 64 letters (a to z), digits, - or _"),
        (('name = "é"\n', WHEN, THEN), "name must be"),
        ((NAME, THEN), "line 1: rule 1 (a): when is missing; write one of when.activity, when.review, when.tag,"),
        ((NAME, WHEN), "then is missing; write one of then.complete_objective, then.start_journey,"),
        ((NAME, THEN, "when = 1\n"), "line 4: rule 1 (a): when must be a table"),
        ((NAME, THEN, "when = {}\n"), "when: nothing is given; write exactly one of when.activity"),
        ((NAME, THEN, WHEN, 'when.tag = "b"\n'), "when: activity and tag are given; write exactly one"),
        ((NAME, WHEN, THEN, 'then.start_journey = "c"\n'), "then: complete_objective and start_journey are given"),
        ((NAME, THEN, "when.activity = []\n"), "when.activity must be a type, or a list of at least one"),
        ((NAME, THEN, 'when.activity = ["a", 1]\n'), "when.activity must be a text"),
        ((NAME, THEN, 'when.tag = " "\n'), "line 4: rule 1 (a): when.tag must be a text"),
        ((NAME, THEN, 'when.list = "a\\u0000"\n'), "when.list must be a text"),
        ((NAME, THEN, 'when.revew = "a"\n'), "line 4: rule 1 (a): unknown key when.revew; did you mean review?"),
        ((NAME, THEN, 'when.review = { min_rating = 0, status = "published" }\n'), "min_rating must be from 1 to 5"),
        ((NAME, THEN, "when.review = { max_rating = true }\n"), "when.review.max_rating must be a number"),
        ((NAME, THEN, "when.review = { max_rating = 5.1 }\n"), "when.review.max_rating must be from 1 to 5"),
        ((NAME, THEN, "when.review = { min_rating = 5, max_rating = 4 }\n"), "min_rating 5 is above max_rating 4"),
        (
            (NAME, THEN, 'when.review = { status = "published" }\n'),
            "status must be one of PENDING, PUBLISHED, UNPUBLISHED; did you mean PUBLISHED?",
        ),
        ((NAME, THEN, 'when.review = { entity = "SHOP" }\n'), "when.review.entity must be one of PRODUCT, SITE"),
        ((NAME, THEN, "when.review = { rating = 5 }\n"), "unknown key when.review.rating; did you mean"),
        ((NAME, THEN, "when.property = { at_least = 5 }\n"), "when.property.key is missing"),
        ((NAME, THEN, 'when.property = { key = "n" }\n'), "when.property: no value is given"),
        (
            (NAME, THEN, 'when.property = { key = "n", at_least = 5, equals = 6 }\n'),
            "when.property: at_least and equals are given; write at_least, at_most or both of them, or equals alone",
        ),
        ((NAME, THEN, 'when.property = { key = "n", at_least = 5, at_most = 4 }\n'), "at_least 5 is above at_most 4"),
        ((NAME, THEN, 'when.property = { key = "n", at_least = "5" }\n'), "when.property.at_least must be a number"),
        ((NAME, THEN, 'when.property = { key = "n", at_least = nan }\n'), "when.property.at_least must be a number"),
        ((NAME, THEN, f'when.property = {{ key = "n", at_most = {"9" * 400} }}\n'), "at_most must be a number"),
        ((NAME, THEN, 'when.property = { key = "n", equals = [1] }\n'), "when.property.equals must be"),
        ((NAME, WHEN, 'then.start_journey = ""\n'), "then.start_journey must be a text"),
        ((NAME, WHEN, 'then.set_meta_public = "k"\n'), "then.set_meta_public must be a table"),
        ((NAME, WHEN, 'then.set_meta_public = { key = "k" }\n'), "then.set_meta_public.value is missing"),
        (
            (NAME, WHEN, 'then.set_meta_public = { key = "ke", value = 1 }\n'),
            "meta_public ke is not allowed; put it into allowed of [meta_public]; did you mean k?",
        ),
        (
            (NAME, WHEN, 'then.set_meta_public = { key = "k", value = [2026-01-01] }\n'),
            "then.set_meta_public.value must be what JSON has",
        ),
        ((NAME, WHEN, 'then.set_meta_public = { key = "k", value = inf }\n'), "set_meta_public.value must be a number"),
        ((NAME, WHEN, THEN, 'since = "yesterday"\n'), "line 5: rule 1 (a): since must be a date"),
        ((NAME, WHEN, THEN, "since = 06:00:00\n"), "since must be a date"),
        ((NAME, WHEN, THEN, 'again_after = "soon"\n'), "again_after must be a duration"),
        ((NAME, WHEN, THEN, 'again_after = "0d"\n'), "again_after must be at least 1s"),
        ((NAME, WHEN, THEN, 'enabled = "no"\n'), "enabled must be true or false"),
        ((NAME, WHEN, THEN, 'once = "no"\n'), "unknown key once; "),
        ((NAME, WHEN, THEN, "enable = true\n"), "unknown key enable; did you mean enabled?"),
    ],
)
def test_a_mistake_names_line_rule_and_what_may_stand_there(tmp_path, lines, said):
    file = written(tmp_path, "[[rules]]\n" + "".join(lines) + '[meta_public]\nallowed = ["k"]\n')
    found = problems(file)
    assert any(said in problem for problem in found), found
    assert all("rule 1 (" in problem for problem in found)
    assert len(found) == (2 if '"published" }\n' in lines[-1] and "min" in lines[-1] else 1), found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[rule]]\nname = 1\n", "line 1: unknown key rule; did you mean rules?"),
        ("x = 1\nrules = 1\n", "line 2: rules must be a list of tables"),
        ("meta_public = []\n", "line 1: meta_public must be a table"),
        ("[meta_public]\n", "line 1: meta_public.allowed is missing"),
        ("[meta_public]\nallow = []\n", "line 2: unknown key meta_public.allow; did you mean allowed?"),
        ('[meta_public]\nallowed = [\n"a",\n1]\n', "line 2: meta_public.allowed must be a text"),
        ("[[rules]]\nname = \n", "line 2: is not valid TOML"),
    ],
)
def test_a_mistake_outside_of_the_rules(tmp_path, text, said):
    assert any(problem.startswith(said) for problem in problems(written(tmp_path, text)))


def test_what_is_no_text_file(tmp_path):
    file = written(tmp_path, "")
    file.write_bytes(b"\n[[rules]]\nname = '\xff'\n")
    assert problems(file) == ["line 3: is not UTF-8 text; save it as UTF-8"]
    with pytest.raises(SettingsError, match="cannot be read"):
        read_rules(tmp_path)


def test_every_mistake_at_once_in_the_order_of_the_file(tmp_path):
    one = f"[[rules]]\n{NAME}{WHEN}{THEN}"
    broken = '\n[[rules]]\nname = "b"\nthen.start_journey = 1\nwhen.review.min_rating = 6\nenabled = 1\n'
    found = problems(written(tmp_path, one + broken + one + "[meta]\n"))
    assert [problem.partition(": ")[0] for problem in found] == [f"line {n}" for n in (8, 9, 10, 12, 15)]
    assert "line 12: rule 3 (a): two rules are named a: the other one is in line 2" in found[3]


def circle(*rules: tuple[str, str, str]) -> str:
    return "".join(f'[[rules]]\nname = "{name}"\nwhen.activity = "{when}"\n{then}\n' for name, when, then in rules)


JOURNEY, AIM = 'then.start_journey = "J"', 'then.complete_objective = "O"'
STARTED, COMPLETED = "custom.digital_onboarding_journey_started", "custom.digital_onboarding_objective_completed"


def test_rules_that_would_run_in_a_circle_are_refused(tmp_path):
    file = written(tmp_path, circle(("free", "order_placed", AIM), ("one", STARTED, AIM), ("two", COMPLETED, JOURNEY)))
    [problem] = problems(file)
    assert problem.startswith("line 9: rule 3 (two): a circle without an end: two would start the journey J, which ")
    assert f"becomes {STARTED}, which one waits for; one would complete the objective O, which " in problem
    assert f"becomes {COMPLETED}, which two waits for; take one of them out" in problem
    assert "enabled = false" in problem
    read_rules(written(tmp_path, file.read_text().replace(JOURNEY, JOURNEY + "\nenabled = false")))
    [problem] = problems(written(tmp_path, circle(("self", COMPLETED, AIM))))
    assert "which self waits for" in problem


def test_rules_that_only_follow_one_another_are_not(tmp_path):
    assert len(read_rules(written(tmp_path, circle(("a", "order_placed", AIM), ("b", COMPLETED, JOURNEY)))).rules) == 2


def test_a_circle_by_way_of_a_loader(tmp_path):
    file = written(tmp_path, circle(("a", "custom.loaded", AIM)))
    read_rules(file)
    [problem] = problems(file, {"custom.loaded": frozenset({COMPLETED})})
    assert "becomes custom.loaded, which a waits for" in problem


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("rules", 0), 2), (("rules", 0, "name"), 3), (("rules", 0, "when", "review", "status"), 6),
        (("rules", 0, "when", "review", "entity"), 5), (("rules", 1, "name"), 10), (("rules", 1), 8), (("rules", 9), 2),
        (("other",), 1), (("rules", 1, "text"), 14), (("last",), 1), (("rules", 1, "meta", "allowed"), 15),
    ],
)  # fmt: skip
def test_in_which_line_something_stands(path, line):
    text = (
        '\n[[rules]]\nname = "a"\n\nwhen.review.rating = 1\nwhen.review.status = "b"\n\n'
        '[[rules]]\n\nname = "c"\ntext = """\n[[rules]]\nlast = 1\n"""\nmeta.allowed = [\n"a",\n]\n'
    )
    assert Lines(text).of(*path) == line
