"""Loaders as an operator meets them: `check`, `setup`, `sync` and `status`, over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from service.cli.main import cli
from service.sandbox import Sandbox

HEAD = "-- target: {}\n-- key: email\n"
PROPERTIES, META = "onvoard.contact_properties", "digital_onboarding.meta_public"
LEVEL = "SELECT 'ann@example.com' AS email, 3 AS level"


@pytest.fixture
def sandbox(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sandbox:
    """With a person on OnVoard, and an empty folder of loaders."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loaders").mkdir()
    monkeypatch.setenv("BRIDGE_PATHS__LOADERS", str(tmp_path / "loaders"))
    sandbox.onvoard.add_contact("ann@example.com", name="Ann Lee")
    return sandbox


def invoke(*args: str, expected: int = 0) -> Result:
    result = CliRunner().invoke(cli, args)
    assert result.exit_code == expected, result.output
    return result


def written(name: str, sql: str, target: str = PROPERTIES, more: str = "") -> None:
    Path("loaders", f"{name}.sql").write_text(HEAD.format(target) + more + sql, "utf-8")


def line(expected: int, name: str = "loaders") -> dict[str, Any]:
    told = json.loads(invoke("check", "--format", "json", expected=expected).stdout)
    [found] = [each for each in told if each["check"] == name]
    return found


def overview() -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads(invoke("status", "--format", "json").stdout)["loaders"]}


def test_check_runs_every_select_and_names_all_that_is_wrong(sandbox: Sandbox) -> None:
    invoke("setup")
    assert line(0)["detail"].startswith("none: no .sql file in ")
    written("good", LEVEL)
    assert line(0)["ok"] is None, "there is no mirror yet"
    invoke("sync")
    assert line(0)["detail"] == "good: 1 rows"
    written("null", "SELECT CAST(NULL AS TEXT) AS email, 3 AS other_level")
    assert "null: 0 rows, and 1 without email, left out" in line(0)["detail"]
    written("twice", f"{LEVEL} UNION ALL {LEVEL}")
    written("writes", "UPDATE persons SET state = 'erased' RETURNING 'a' AS email, 1 AS x")
    written("secret", LEVEL, META)
    written("off", "SELECT nothing", more="-- enabled: false\n")
    found = line(1)
    for told in ("twice.sql: two rows for one email", "writes.sql: ",
                 "secret.sql: level is not among the allowed keys of meta_public"):  # fmt: skip
        assert told in found["detail"]
    assert "ann@" not in found["detail"] and "off" not in found["detail"] and "mend" in found["next"]
    written("twice", "-- tagret: x\n" + LEVEL)
    assert "did you mean target?" in line(2)["detail"]
    assert "did you mean target?" in invoke("sync", expected=2).output


def test_a_stopped_loader_ends_the_first_sync_with_3_and_stands_in_status(sandbox: Sandbox) -> None:
    written("levels", "SELECT nothing")
    assert "The loader levels is stopped: " in invoke("sync", expected=3).output
    invoke("sync")
    told = overview()["levels"]
    assert told["target"] == PROPERTIES and told["enabled"] and "nothing" in told["stopped"] and told["ran_at"]
    assert "the loader levels is stopped" in invoke("status").output
    written("levels", LEVEL)
    invoke("sync")
    told = overview()["levels"]
    assert (told["rows"], told["changed"], told["waiting"], told["dead"], told["stopped"]) == (1, 1, 0, 0, None)
    assert sandbox.onvoard.contact("ann@example.com")["properties"]["custom_level"] == 3.0
    assert "Loaders" in invoke("status").output


def test_setup_makes_what_the_loaders_need_before_the_first_sync(sandbox: Sandbox) -> None:
    invoke("db", "upgrade")
    written("levels", LEVEL)
    assert "custom_level" in invoke("setup", "--dry-run").output
    invoke("setup")
    assert {each.key: each.value_type for each in sandbox.onvoard.contact_property_types.values()}[
        "custom_level"
    ] == "NUMBER"
    mark = sandbox.journal.mark()
    invoke("setup")
    assert sandbox.journal.writes(mark, "onvoard") == []


def test_a_circle_by_way_of_a_loader_is_refused(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = (
        "SELECT p.email, 'd-' || p.person_id AS id, 'half_done' AS type, c.completed_at AS occurred_at "
        "FROM people p JOIN digital_onboarding_objective_completions c ON c.unique_id = p.unique_id"
    )
    written("half_done", sql, "onvoard.activities")
    rule = '[[rules]]\nname = "on"\nwhen.activity = "custom.half_done"\nthen.complete_objective = "estatements"\n'
    Path("rules.toml").write_text(rule, "utf-8")
    monkeypatch.setenv("BRIDGE_PATHS__RULES", str(Path("rules.toml").absolute()))
    assert "circle" in line(2, "rules file")["detail"]
    written("half_done", sql, "onvoard.activities", more="-- enabled: false\n")
    assert line(1, "rules file")["ok"]
