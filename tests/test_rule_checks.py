"""`contact-bridge check`, the operator's rules: against what both emulated platforms have, over HTTP."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from service import resources
from service.cli.main import cli
from service.rule_checks import personal
from service.sandbox import Sandbox

Line = dict[str, Any]
NAMES = ("rules file", "rules' targets", "rules' conditions")


@pytest.fixture
def sandbox(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sandbox:
    """After `setup`; an empty folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    assert CliRunner().invoke(cli, ["setup"]).exit_code == 0
    return sandbox


def check(expected: int) -> list[Line]:
    """The three lines of the rules."""
    result = CliRunner().invoke(cli, ["check", "--format", "json"])
    assert result.exit_code == expected, result.output
    lines = {line["check"]: line for line in json.loads(result.stdout)}
    return [lines[name] for name in NAMES]


def rules(*each: str, allowed: str = "") -> None:
    text = "".join(f'[[rules]]\nname = "r{number}"\n{lines}\n' for number, lines in enumerate(each))
    Path("config/rules.toml").write_text(f"{text}[meta_public]\nallowed = [{allowed}]\n")


def order(then: str) -> str:
    return f'when.activity = "order_placed"\nthen.{then}'


def test_without_rules_nothing_is_asked(sandbox: Sandbox) -> None:
    mark = sandbox.journal.mark()
    file, targets, conditions = check(0)
    assert file["ok"] and "no rules: there is no" in file["detail"] and not file["next"]
    assert targets["detail"] == conditions["detail"] == "no rule is switched on"
    assert sandbox.journal.counts(mark)["tokens"] == 1
    rules(order('complete_objective = "online-banking"'))
    check(0)
    assert sandbox.journal.counts(mark)["tokens"] == 3, "with rules, a second look at Digital Onboarding"


def test_a_file_that_is_named_and_not_there_is_a_note(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_PATHS__RULES", "mine.toml")
    file, *_ = check(0)
    assert file["ok"] and file["next"] == "check paths.rules"


def test_the_examples_are_well_in_the_sandbox(sandbox: Sandbox) -> None:
    sandbox.load_world()
    shutil.copy(resources.config_dir() / "examples" / "rules.toml", "config/rules.toml")
    mark = sandbox.journal.mark()
    file, targets, conditions = check(0)
    assert "3 rules, 3 of them switched on" in file["detail"]
    assert targets["ok"] and "has the templates and objectives" in targets["detail"]
    assert conditions["ok"] and not conditions["next"]
    assert sandbox.journal.writes(mark) == [], "it reads only"


def test_bad_rules_are_wrong_settings(sandbox: Sandbox) -> None:
    rules(order("start_journey = 1"), "once = true")
    file, targets, conditions = check(2)
    assert file["ok"] is False and "rules.toml line 4: rule 1 (r0)" in file["detail"]
    assert "rule 2 (r1): unknown key once" in file["detail"], "all of them"
    assert file["next"].startswith("mend ")
    assert targets["ok"] is conditions["ok"] is None


def test_a_circle_is_refused(sandbox: Sandbox) -> None:
    rules('when.activity = "custom.digital_onboarding_objective_completed"\nthen.complete_objective = "estatements"')
    file, *_ = check(2)
    assert file["ok"] is False and "a circle without an end" in file["detail"]


def test_targets_that_digital_onboarding_has_not(sandbox: Sandbox) -> None:
    template = sandbox.digital_onboarding.add_template("Go Mobile")
    rules(order('start_journey = "Go Mobil"'), order('complete_objective = "online-bankin"'))
    _, targets, _ = check(1)
    assert targets["ok"] is False and targets["next"].startswith("mend ")
    assert "rule r0: Digital Onboarding has no template Go Mobil; did you mean Go Mobile?" in targets["detail"]
    assert "rule r1: Digital Onboarding has no objective online-bankin; did you mean" in targets["detail"]
    rules(order('start_journey = "Go Mobile"'), order(f'start_journey = "{template}"'))
    assert check(0)[1]["ok"]
    sandbox.digital_onboarding.add_template("Go Mobile")
    assert "2 templates are named Go Mobile" in check(1)[1]["detail"]


def test_what_onvoard_does_not_list_is_a_note(sandbox: Sandbox) -> None:
    then = 'then.complete_objective = "online-banking"'
    rules(
        f'when.activity = ["custom.digital_onboarding_journey_startd", "order_placed"]\n{then}',
        f'when.property = {{ key = "timezon", equals = "UTC" }}\n{then}',
        f'when.property = {{ key = "digital_onboarding_unique_id", equals = "1" }}\n{then}',
        f'when.activity = "custom.unknown"\n{then}\nenabled = false',
    )
    _, _, conditions = check(0)
    assert conditions["ok"] is True
    assert conditions["next"] == (
        "rule r0: OnVoard lists no activity type custom.digital_onboarding_journey_startd; did you mean "
        "custom.digital_onboarding_journey_started?; rule r1: OnVoard lists no contact property timezon; "
        "did you mean timezone?"
    )


def test_a_platform_that_refuses_leaves_its_line_open(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    rules(order('complete_objective = "nothing"'))
    with monkeypatch.context() as patch:
        patch.setenv("BRIDGE_DIGITAL_ONBOARDING__CLIENT_SECRET", "another")
        patch.setenv("BRIDGE_ONVOARD__API_KEY", "two words")
        assert [line["ok"] for line in check(2)] == [True, None, None]
    monkeypatch.setenv("BRIDGE_ONVOARD__API_KEY", "another")
    monkeypatch.delenv("BRIDGE_DIGITAL_ONBOARDING__CLIENT_SECRET")
    assert [line["ok"] for line in check(2)] == [True, None, None]


def test_personal_data_in_meta_public_is_warned_of(sandbox: Sandbox) -> None:
    rules(allowed='"tier", "homePhone"')
    file, *_ = check(0)
    assert file["ok"] is True
    assert file["next"] == "whoever opens a journey can read meta_public: keep homePhone out of it"


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("email", True), ("user_email", True), ("name", True), ("first_name", True), ("fullName", True), ("IBAN", True),
        ("dob", True), ("date_of_birth", True), ("home-address", True), ("product_name", False), ("tier", False),
        ("review_count", False), ("renamed", False),
    ],
)  # fmt: skip
def test_which_keys_are_taken_for_personal_data(key: str, named: bool) -> None:
    assert personal({key}) == ([key] if named else [])
