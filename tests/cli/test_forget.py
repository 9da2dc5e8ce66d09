"""`contact-bridge forget`, as an operator types it, against both emulated platforms."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.cli import main
from service.sandbox import Sandbox

ANN = "ann.able@example.com"
Run = Callable[..., Result]


@pytest.fixture
def run(sandbox: Sandbox, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """On a mirror in which Ann is linked, and Bob is on OnVoard alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRIDGE_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("BRIDGE_IDENTITY__CREATE_ON_DIGITAL_ONBOARDING", "false")
    sandbox.onvoard.add_contact(ANN, name="Ann Able", phone="+14155550123")
    sandbox.onvoard.add_contact("bob@example.com", name="Bob")
    sandbox.digital_onboarding.add_contact(unique_id="crm-ann", email=ANN, name_first="Ann", name_last="Able")
    Path("export.csv").write_text(f"unique_id,email\ncrm-ann,{ANN}\n")

    def run(*args: str) -> Result:
        return CliRunner().invoke(main.cli, args)

    for command in (("db", "upgrade"), ("import", "export.csv"), ("sync",)):
        assert run(*command).exit_code == 0
    return run


def suppressed(sandbox: Sandbox) -> list[str]:
    return [contact["email"] for contact in sandbox.onvoard.contact_list() if contact["suppressed"]]


def names_nobody(result: Result) -> bool:
    return not [word for word in ("Able", "5550123", ANN) if word in result.stdout + result.stderr]


def test_the_certificate_says_what_was_done_where_and_names_nobody(run: Run, sandbox: Sandbox) -> None:
    result = run("forget", ANN, "--yes", "--format", "json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    (person,) = told["people"]
    assert told["free_pages"] == "overwritten"
    assert person["outcome"] == "erased" and person["rows_left"] == {}
    assert person["rows_erased"]["onvoard_contacts"] == person["rows_erased"]["digital_onboarding_contacts"] == 1
    assert person["onvoard"][0]["verified"].startswith("read back: suppressed")
    assert person["digital_onboarding"][0]["unique_id"] == "crm-ann"
    assert person["remains"]["email_hash"] and person["remains"]["unique_id"] == "crm-ann"
    assert suppressed(sandbox) == [ANN] and sandbox.digital_onboarding.contact("crm-ann")["unsubscribe_sms"]
    assert names_nobody(result)
    sql = "SELECT status, email FROM people WHERE status = 'erased'"
    (row,) = json.loads(run("query", sql, "--format", "json").stdout)
    assert row == {"status": "erased", "email": None}


def test_a_second_time_says_so_and_is_no_failure(run: Run) -> None:
    first = run("forget", ANN, "--yes")
    assert first.exit_code == 0 and "erased" in first.stdout and "Read back" in first.stdout and names_nobody(first)
    again = run("forget", ANN, "--yes")
    assert again.exit_code == 0 and "already erased" in again.stdout


def test_without_a_terminal_and_without_yes_nothing_is_done(run: Run, sandbox: Sandbox) -> None:
    result = run("forget", ANN)
    assert result.exit_code == 2 and "--yes" in result.stderr and result.stdout == ""
    assert suppressed(sandbox) == []


@pytest.mark.parametrize("answer", ["y\n", "n\n"])
def test_on_a_terminal_it_asks_first(run: Run, sandbox: Sandbox, answer: str) -> None:
    terminal, stdin = pty.openpty()
    os.write(terminal, answer.encode())
    source = str(Path(main.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "service", "forget", ANN, "--format", "json"], stdin=stdin, capture_output=True,
        text=True, env={**os.environ, "PYTHONPATH": source}, timeout=60,
    )  # fmt: skip
    assert "a***@example.com" in done.stderr and "Erase for good" in done.stderr and ANN not in done.stderr
    if answer == "y\n":
        assert done.returncode == 0 and json.loads(done.stdout)["people"][0]["outcome"] == "erased", done.stderr
        assert suppressed(sandbox) == [ANN]
    else:
        assert done.returncode == 1 and done.stdout == "" and suppressed(sandbox) == []
    os.close(terminal)
    os.close(stdin)


def test_nobody_of_that_name_is_exit_1_and_leaves_no_trace(run: Run) -> None:
    result = run("forget", "nobody@example.com", "--yes")
    assert result.exit_code == 1 and result.stdout == "" and "nobody" in result.stderr
    told = run("query", "SELECT person_id FROM tombstones", "--format", "json")
    assert json.loads(told.stdout) == []


def test_several_who_share_no_address_are_listed_and_nothing_is_done(run: Run, sandbox: Sandbox) -> None:
    bob = sandbox.onvoard.contact("bob@example.com")["id"]
    sandbox.digital_onboarding.add_contact(unique_id=bob, email="other@example.com")
    Path("more.csv").write_text(f"unique_id,email\n{bob},other@example.com\n")
    assert run("import", "more.csv").exit_code == 0
    result = run("forget", bob, "--yes", "--format", "json")
    assert result.exit_code == 1 and len(json.loads(result.stdout)["matches"]) == 2
    assert suppressed(sandbox) == [] and not sandbox.digital_onboarding.contact(bob)["unsubscribe_sms"]
    number = json.loads(result.stdout)["matches"][0]["person_id"]
    assert run("forget", f"person:{number}", "--yes").exit_code == 0


def test_a_platform_that_is_down_is_exit_1_with_what_was_done_until_then(run: Run, sandbox: Sandbox) -> None:
    sandbox.fail("digital_onboarding", "status", method="POST", path="/v1/contacts", times=None, status=400)
    result = run("forget", ANN, "--yes", "--format", "json")
    assert result.exit_code == 1 and names_nobody(result)
    (person,) = json.loads(result.stdout)["people"]
    assert person["outcome"] == "failed" and person["onvoard"][0]["done"] == "suppressed"
    assert person["rows_erased"] == {} and "digital_onboarding" in result.stderr
    sandbox.clear_faults()
    assert run("forget", ANN, "--yes").exit_code == 0
