"""The entry point: help without heavy imports, and how failures end."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import click
import pytest
from click.testing import CliRunner

from service import errors
from service.cli import main as entry
from service.cli.groups import Lazy
from service.cli.main import Bridge, cli

HEAVY = ("sqlalchemy", "pydantic", "rich", "httpx", "alembic", "structlog", "asyncio")


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_help_imports_nothing_heavy() -> None:
    done = python(
        "import sys\nfrom service.cli.main import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert done.returncode == 0, done.stderr
    assert "status" in done.stdout
    assert done.stdout.strip().endswith("HEAVY []")


def test_every_listed_command_loads_and_explains_itself() -> None:
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None, name
        assert command.name == name
        assert CliRunner().invoke(cli, [name, "--help"]).exit_code == 0


@pytest.mark.parametrize("name", ["forget", "people", "worker", "no-such"])
def test_what_does_not_exist_yet_is_absent(name: str) -> None:
    assert CliRunner().invoke(cli, [name]).exit_code == 2


@pytest.mark.parametrize(("group", "name"), [("conflicts", "resolve"), ("outbox", "retry"), ("outbox", "discard")])
def test_what_groups_do_not_know_yet_is_absent(group: str, name: str) -> None:
    assert CliRunner().invoke(cli, [group, name, "1"]).exit_code == 2


def test_a_command_appears_when_its_module_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    table = (*entry.COMMANDS, Lazy("later", "no_such_module", "Comes later."))
    group = Bridge("contact-bridge", commands_table=table)
    assert "later" not in group.list_commands(click.Context(group))
    assert CliRunner().invoke(group, ["later"]).exit_code == 2


def test_a_misspelt_command_names_the_nearest() -> None:
    result = CliRunner().invoke(cli, ["statsu"])
    assert result.exit_code == 2
    assert "status" in result.stderr


def test_version() -> None:
    result = CliRunner().invoke(cli, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("contact-bridge ")


def ended(raises: BaseException | None = None, returns: Any = None) -> Any:
    """The result of a command that ends like this."""
    group = Bridge("contact-bridge")

    @group.command("do")
    def do() -> Any:
        if raises is not None:
            raise raises
        return returns

    return CliRunner().invoke(group, ["do"])


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (3, 3), (1, 1)])
def test_a_command_returns_its_exit_code(returned: int | None, code: int) -> None:
    assert ended(returns=returned).exit_code == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotMigrated("old", hint="contact-bridge db upgrade"), 2),
        (errors.UsageError("wrong"), 2),
        (errors.Busy("another sync runs"), 1),
        (errors.Denied("onvoard", "GET /v2/contacts", "no", status=401), 1),
        (ExceptionGroup("two", [errors.Busy("a"), errors.UsageError("b")]), 2),
    ],
)
def test_exit_codes_of_errors(error: Exception, code: int) -> None:
    result = ended(error)
    assert result.exit_code == code
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_an_error_is_one_line_and_what_to_do_next() -> None:
    result = ended(errors.NotMigrated("the database is old", hint="contact-bridge db upgrade"))
    assert result.stderr.splitlines() == ["Error: the database is old", "Next: contact-bridge db upgrade"]


def test_a_message_that_says_what_to_do_does_not_say_it_twice() -> None:
    result = ended(errors.NotMigrated("run `contact-bridge db upgrade`", hint="contact-bridge db upgrade"))
    assert len(result.stderr.splitlines()) == 1


def test_every_wrong_setting_has_its_own_line() -> None:
    result = ended(errors.SettingsError(["one is wrong", "two is wrong"]))
    assert result.exit_code == 2
    assert result.stderr.splitlines()[:2] == ["Error: one is wrong", "Error: two is wrong"]


def test_control_characters_of_an_error_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in ended(errors.Busy("held by \x1b[31mevil\x07")).stderr


def test_the_same_error_of_two_tasks_is_told_once() -> None:
    result = ended(ExceptionGroup("both", [errors.Busy("same"), ExceptionGroup("in", [errors.Busy("same")])]))
    assert result.stderr.count("same") == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), BaseExceptionGroup("x", [KeyboardInterrupt()])])
def test_ctrl_c(error: BaseException) -> None:
    result = ended(error)
    assert result.exit_code == 130
    assert result.stderr.strip() == "interrupted"


def test_an_unexpected_error_says_where_and_not_what() -> None:
    result = ended(ValueError("jane@example.com key-123456"))
    assert result.exit_code == 1
    assert "unexpected ValueError" in result.stderr
    assert "jane" not in result.stderr
    assert "Traceback" not in result.stderr


def test_a_traceback_at_level_debug_holds_no_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRIDGE_LOG__LEVEL", "debug")
    monkeypatch.setenv("BRIDGE_ONVOARD__API_KEY", "key-123456")
    group = Bridge("contact-bridge")

    @group.command("do")
    @click.pass_obj
    def do(shared: Any) -> None:
        assert shared.settings.log.level == "debug"
        raise ValueError("refused key-123456")

    result = CliRunner().invoke(group, ["do"])
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "key-123456" not in result.stderr


def test_a_reader_that_leaves_is_no_disaster() -> None:
    code = (
        "import os, sys, click\nfrom service.cli.main import Bridge\n"
        "group = Bridge('contact-bridge')\n"
        "@group.command('do')\n"
        "def do():\n    for _ in range(100000): click.echo('x' * 80)\n"
        "group.main(['do'])"
    )
    command = f'"{sys.executable}" -c "$CODE" | head -n 1'
    environment = {"CODE": code, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, env=environment)
    assert done.stdout == "x" * 80 + "\n"
    assert done.stderr == ""


def test_an_unknown_setting_ends_with_2(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRIDGE_LIMITS__MAX_WIAT", "1s")
    result = CliRunner().invoke(cli, ["status"])
    assert result.exit_code == 2
    assert "BRIDGE_LIMITS__MAX_WAIT" in result.stderr


def test_an_encoding_without_letters_is_no_reason_to_fail() -> None:
    code = (
        "import click\nfrom service.cli import output\nfrom service.cli.main import Bridge\n"
        "group = Bridge('contact-bridge')\n"
        "@group.command('do')\n"
        "def do():\n    output.write_json([{'name': 'Zo\\xeb'}]); output.write_table(['name'], [['Zo\\xeb']])\n"
        "group.main(['do'])"
    )
    environment = {"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout.split("name\n")[0]) == [{"name": "Zoë"}]
