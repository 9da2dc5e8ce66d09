"""`contact-bridge verify`, as an operator types it: the real command on both emulated platforms."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from service.cli.main import cli
from service.sandbox import Sandbox
from service.store.database import Database
from service.verifying import STREAMS

ANN = "ann@example.com"
Run = Callable[..., Result]


@pytest.fixture
def run(sandbox: Sandbox, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """On a mirror of two people who are on both sides."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRIDGE_DATABASE_URL", sqlite_url)
    for email in (ANN, "bob@example.com"):
        sandbox.onvoard.add_contact(email, name="Zelda Lee")

    def run(*args: str) -> Result:
        return CliRunner().invoke(cli, args)

    for command in (("db", "upgrade"), ("sync",), ("sync", "--full")):
        result = run(*command)
        assert result.exit_code == 0, result.stderr
    return run


def told(run: Run, *args: str) -> dict[str, Any]:
    result = run("verify", *args, "--format", "json")
    assert result.exit_code == 0, result.stderr
    return dict(json.loads(result.stdout))


def by_stream(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["stream"]: each for each in report["streams"]}


def test_in_order(run: Run) -> None:
    report = told(run)
    assert list(by_stream(report)) == list(STREAMS)
    assert report["findings"] == [] and report["left_out"] == 0
    assert by_stream(report)["onvoard.contacts"] == {
        "stream": "onvoard.contacts", "skipped": None, "complete": True, "population": 2, "checked": 2, "different": 0,
        "gone": 0, "missing": 0, "stale": 0, "repaired": 0, "drift": 0.0, "low": 0.0, "high": 0.0,
    }  # fmt: skip
    result = run("verify", "--all")
    assert result.exit_code == 0
    rows = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert rows[0] == "stream checked of different gone missing stale repaired drift interval"
    assert rows[1] == "onvoard.contacts 2 2 0 0 0 0 0 0.00% exact"
    assert len(rows) == 1 + len(STREAMS)


def test_drift_is_no_failure_and_nobody_is_named_by_a_value(run: Run, sandbox: Sandbox, sqlite_url: str) -> None:
    sandbox.onvoard.edit_contact(ANN, name="Yolanda Lee")
    report = told(run, "--stream", "onvoard.contacts", "--stream", "onvoard.contacts")
    ann = sandbox.onvoard.contact(ANN)["id"]
    (finding,) = report["findings"]
    assert finding == {
        "stream": "onvoard.contacts", "id": ann, "kind": "different", "stale": True, "repaired": False,
        "columns": ["name", "modified_at", "properties"],
    }  # fmt: skip
    (figures,) = report["streams"]
    assert (figures["drift"], figures["different"], figures["stale"]) == (0.5, 1, 1)
    result = run("verify", "--repair")
    assert result.exit_code == 0
    assert ann in result.stdout and "name, modified_at, properties" in result.stdout
    assert not [word for word in (ANN, "Zelda", "Yolanda") if word in result.output]
    status = json.loads(run("status", "--format", "json").stdout)
    verified = {each["stream"]: each for each in status["verifications"]}
    assert (verified["onvoard.contacts"]["stale"], verified["onvoard.contacts"]["drift"]) == (1, 0.5)
    assert "onvoard.reviews" in verified
    row = next(line for line in run("status").stdout.splitlines() if "50.00%" in line)
    assert row.split()[2:] == ["2", "1", "0", "0", "1", "50.00%", "50.00%", "50.00%"]
    assert told(run)["findings"] == []
    with Database(sqlite_url).begin(write=False) as conn:
        assert conn.exec_driver_sql("SELECT DISTINCT name FROM onvoard_contacts ORDER BY 1").scalars().all() == [
            "Yolanda Lee", "Zelda Lee",
        ]  # fmt: skip


def test_settings(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_VERIFY__SAMPLE", "1")
    monkeypatch.setenv("BRIDGE_VERIFY__REPAIR", "true")
    monkeypatch.setenv("BRIDGE_DIGITAL_ONBOARDING__REFRESH", "off")
    sandbox.onvoard.edit_contact(ANN, name="Yolanda Lee")
    figures = by_stream(told(run))
    assert figures["onvoard.contacts"]["checked"] == 1 and not figures["onvoard.contacts"]["complete"]
    assert figures["digital_onboarding.contacts"]["drift"] is None
    assert "digital_onboarding.refresh is off" in figures["digital_onboarding.contacts"]["skipped"]
    assert "not compared: digital_onboarding.refresh is off" in run("verify", "--no-repair").stdout
    assert by_stream(told(run, "--all", "--no-repair"))["onvoard.contacts"]["repaired"] == 0
    told(run, "--all")
    assert told(run, "--all")["findings"] == []


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--sample", "0"), "--sample"), (("--sample", "x"), "--sample"), (("--stream", "contacts"), "--stream"),
        (("--all", "--sample", "5"), "exclude each other"), (("more",), "unexpected"),
    ],
)  # fmt: skip
def test_wrong_usage(args: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(cli, ["verify", *args])
    assert result.exit_code == 2 and result.stdout == ""
    assert said in result.stderr


def test_a_setting_out_of_range(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_VERIFY__SAMPLE", "0")
    result = run("verify")
    assert result.exit_code == 2 and "BRIDGE_VERIFY__SAMPLE" in result.stderr


def test_a_platform_that_fails(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.fail("onvoard", "status", path="/v2/contacts*", times=None, status=403)
    result = run("verify")
    assert result.exit_code == 1 and result.stdout == ""
    assert "onvoard" in result.stderr


def test_a_mirror_that_is_not_migrated(sandbox: Sandbox, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_DATABASE_URL", sqlite_url)
    result = CliRunner().invoke(cli, ["verify"])
    assert result.exit_code == 2 and "contact-bridge db upgrade" in result.stderr
