"""`rules list` and `rules test`, as an operator types them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service import resources
from service.cli.main import cli
from service.store import tables as t
from service.store.database import Database
from tests.cli.filled import NOW

EXAMPLES = resources.config_dir() / "examples"
RULES = """\
[[rules]]
name = "first"
when.activity = "order_placed"
then.complete_objective = "online-banking"
since = 2026-01-01
again_after = "30d"

[[rules]]
name = "vip"
when.tag = "VIP"
then.set_meta_public = { key = "tier", value = 1 }

[[rules]]
name = "off"
when.activity = "order_placed"
then.start_journey = "Go Mobile"
enabled = false

[meta_public]
allowed = ["tier"]
"""
ORDER = 'happening.activity = { type = "order_placed", at = 2026-03-01 }\n'
VIP = 'happening.contact = { tags = ["VIP"] }\n'
Run = Callable[..., Result]


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """In a folder with these rules, and no database and no credentials."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "rules.toml").write_text(RULES)
    return lambda *args: CliRunner().invoke(cli, ["rules", *args])


@pytest.fixture
def tried(invoke: Run, tmp_path: Path) -> Run:
    """`tried(test, ...)`: each text is a test of the file."""

    def tried(*tests: str) -> Result:
        text = "".join(f'[[tests]]\nname = "t{number}"\n{test}' for number, test in enumerate(tests))
        (tmp_path / "config" / "rules.tests.toml").write_text(text)
        return invoke("test")

    return tried


def test_the_list_says_what_each_rule_does(invoke: Run) -> None:
    rows = json.loads(invoke("list", "--format", "json").stdout)
    assert rows[0] == {
        "name": "first", "when": "an activity order_placed", "then": "complete the objective online-banking",
        "since": "2026-01-01T00:00:00.000000Z", "again_after": "30d", "enabled": True,
    }  # fmt: skip
    assert [(row["name"], row["since"], row["again_after"], row["enabled"]) for row in rows[1:]] == [
        ("vip", None, None, True), ("off", None, None, False),
    ]  # fmt: skip
    shown = invoke()
    assert shown.exit_code == 0
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["name", "first", "vip", "off"]


def test_the_list_of_no_rules(invoke: Run) -> None:
    rules = Path("config/rules.toml")
    rules.write_text("")
    assert invoke().stdout.endswith("rules.toml holds none.\n")
    rules.unlink()
    assert "there is no" in invoke().stdout
    assert json.loads(invoke("list", "--format", "json").stdout) == []


def test_bad_rules_are_wrong_settings(invoke: Run) -> None:
    Path("config/rules.toml").write_text(RULES.replace("VIP", ""))
    for command in ("list", "test"):
        result = invoke(command)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "rules.toml line 10: rule 2 (vip): when.tag must be a text" in result.stderr


def test_the_worked_examples_pass_their_tests(invoke: Run) -> None:
    for name in ("rules.toml", "rules.tests.toml"):
        shutil.copy(EXAMPLES / name, f"config/{name}")
    result = invoke("test")
    assert result.exit_code == 0, result.output
    assert "8 of 8 tests passed." in result.stdout
    text = (EXAMPLES / "rules.toml").read_text("utf-8")
    Path("config/rules.toml").write_text(text.replace(', status = "PUBLISHED"', ""))
    assert invoke("test").exit_code == 1


@pytest.mark.parametrize(
    ("test", "difference"),
    [
        (ORDER + 'expected = [{ rule = "first" }]\n', ""),
        (
            ORDER + 'expected = [{ rule = "first", complete_objective = "online-banking", at = 2026-03-01 }]\n',
            "",
        ),
        (ORDER + "expected = []\n", "first was to do nothing, and would complete the objective online-banking"),
        (
            ORDER + 'expected = [{ rule = "first", complete_objective = "mobile" }]\n',
            "first was to complete the objective mobile, and would complete the objective online-banking",
        ),
        (
            ORDER + 'expected = [{ rule = "first", start_journey = "online-banking" }]\n',
            "first was to start the journey online-banking, and would complete the objective online-banking",
        ),
        (
            ORDER + 'expected = [{ rule = "first", at = 2026-03-02 }]\n',
            "first was to do so at 2026-03-02T00:00:00Z, and would at 2026-03-01T00:00:00Z",
        ),
        (
            ORDER + 'expected = [{ rule = "first" }, { rule = "off" }]\n',
            "off was to start the journey Go Mobile, and does nothing: it is switched off",
        ),
        (ORDER + 'expected = [{ rule = "first" }, { rule = "vip" }]\n', "its condition does not hold"),
        (
            ORDER.replace("2026-03", "2025-03") + 'expected = [{ rule = "first" }]\n',
            "it happened before the rule's since",
        ),
        (
            ORDER + 'person.fired = [{ rule = "first", at = 2026-02-28 }]\nexpected = [{ rule = "first" }]\n',
            "it was done for this person before",
        ),
        (ORDER + 'person.fired = [{ rule = "first", at = 2026-01-28 }]\nexpected = [{ rule = "first" }]\n', ""),
        (ORDER + 'person.suppressed = true\nexpected = [{ rule = "first" }]\n', "the person is suppressed"),
        (VIP + 'expected = [{ rule = "vip", set_meta_public = { key = "tier", value = 1 } }]\n', ""),
        (
            VIP + 'expected = [{ rule = "vip", set_meta_public = { key = "tier", value = true } }]\n',
            "vip was to set meta_public tier to true, and would set meta_public tier to 1",
        ),
        (
            'happening.contact = { tags = [{ id = "1", name = "VIP" }], at = 2026-03-01 }\n'
            'happening.before = { tags = ["VIP"] }\nexpected = [{ rule = "vip" }]\n',
            "vip was to set meta_public tier to 1, and does nothing: its condition held before",
        ),
        (VIP + 'happening.before = { lists = ["VIP"] }\nexpected = [{ rule = "vip" }]\n', ""),
    ],
)  # fmt: skip
def test_a_failing_test_says_where_it_differs(tried: Run, test: str, difference: str) -> None:
    result = tried(test)
    if not difference:
        assert (result.exit_code, result.stdout) == (0, "ok    t0\n\n1 of 1 tests passed.\n")
        return
    assert result.exit_code == 1
    mark, told, _, summary = result.stdout.splitlines()
    assert (mark, summary) == ("FAIL  t0", "1 of 1 tests failed.")
    assert difference in told


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("expected = []\n", "line 1: test 1 (t0): happening is missing; write one of happening.activity"),
        (ORDER, "line 1: test 1 (t0): expected is missing; write expected = []"),
        (ORDER + "expected = 1\n", "line 4: test 1 (t0): expected must be a list of tables"),
        (ORDER + 'expected = [{ rule = "frist" }]\n', "line 4: test 1 (t0): rule frist: there is no such rule; did"),
        (ORDER + "expected = [{}]\n", "rule is missing"),
        (ORDER + 'expected = [{ rule = "vip" }, { rule = "vip" }]\n', "vip is expected twice"),
        (
            ORDER + 'expected = [{ rule = "vip", start_journey = "a", complete_objective = "b" }]\n',
            "complete_objective and start_journey are given; a rule does one thing",
        ),
        (ORDER + 'expected = [{ rule = "vip", journey = "a" }]\n', "unknown key journey; did you mean start_journey?"),
        (ORDER + "expected = []\nperson.opted_in = true\n", "unknown key person.opted_in; did you mean opted_out?"),
        (ORDER + "expected = []\nperson.suppressed = 1\n", "person.suppressed must be true or false"),
        (ORDER + 'expected = []\nperson.fired = [{ rule = "first" }]\n', "at is missing"),
        (ORDER + "happening.review = {}\nexpected = []\n", "happening: activity and review are given"),
        (ORDER + "happening.before = {}\nexpected = []\n", "before is what a contact was"),
        ("happening.before = {}\nexpected = []\n", "happening: nothing is given"),
        ("happening.activity = {}\nexpected = []\n", "happening.activity.type is missing"),
        (
            "happening.review = { rating = 9, created_at = 2026-01-01 }\nexpected = []\n",
            "happening.review.rating must be from 1 to 5",
        ),
        ("happening.review = { stars = 5 }\nexpected = []\n", "unknown key happening.review.stars"),
        ("happening.review = { rating = 5 }\nexpected = []\n", "happening.review.created_at is missing"),
        ('happening.contact = { tags = "VIP" }\nexpected = []\n', "happening.contact.tags must be a list of names"),
    ],
)  # fmt: skip
def test_bad_fixtures_name_file_and_line(tried: Run, test: str, said: str) -> None:
    result = tried(test)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "rules.tests.toml line " in result.stderr
    assert said in result.stderr


def test_every_test_is_run_and_every_bad_one_named(tried: Run) -> None:
    good, bad = ORDER + 'expected = [{ rule = "first" }]\n', ORDER + "expected = []\n"
    result = tried(good, bad, good)
    assert result.exit_code == 1
    assert [line.split()[0] for line in result.stdout.splitlines() if " t" in line[:7]] == ["ok", "FAIL", "ok"]
    assert result.stdout.endswith("1 of 3 tests failed.\n")
    assert tried("expected = []\n", ORDER, "x = 1\n").stderr.count("rules.tests.toml line") == 5


def test_where_the_fixtures_are(invoke: Run) -> None:
    result = invoke("test")
    assert result.exit_code == 2
    assert "rules.tests.toml: cannot be read" in result.stderr
    Path("mine.toml").write_text(f'[[tests]]\nname = "mine"\n{ORDER}expected = [{{ rule = "first" }}]\n')
    assert invoke("test", "mine.toml").exit_code == 0
    Path("mine.toml").write_text("")
    assert "there are no [[tests]]" in invoke("test", "mine.toml").stderr
    Path("config/rules.toml").unlink()
    result = invoke("test", "mine.toml")
    assert result.exit_code == 2
    assert "there are no rules to test" in result.stderr


def test_a_backtest_tells_whom_the_rules_would_have_touched(run: Run, sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "rules.toml").write_text(RULES)
    with closing(Database(sqlite_url)) as database, database.begin() as conn:
        for number, at in enumerate((NOW - timedelta(days=2), NOW - timedelta(days=400))):
            order = {"id": f"order-{number}", "type": "order_placed", "contact_id": "ov-1", "occurred_at": at}
            conn.execute(t.onvoard_activities.insert().values(order))
    told = run("rules", "backtest", "first", "off", "--since", "2026-01-01", "--format", "json")
    assert told.exit_code == 0, told.stderr
    rows = [(row["rule"], row["unique_id"], row["at"], row["but"]) for row in json.loads(told.stdout)]
    assert rows == [
        ("first", "a-1", "2026-02-27T12:00:00.000000Z", ""),
        ("off", "a-1", "2026-02-27T12:00:00.000000Z", "opted out of e-mail: no journey"),
    ]
    assert len(json.loads(run("rules", "backtest", "--since", "9000d", "--format", "json").stdout)) == 3
    assert "1 times, 1 people" in run("rules", "backtest", "first", "--since", "2026-01-01").stdout
    assert run("rules", "backtest", "frist").exit_code == 2
    assert run("rules", "backtest", "--since", "yesterday").exit_code == 2
