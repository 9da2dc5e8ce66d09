"""`contact-bridge sandbox` as a script uses it: it reads the variables from a pipe, and ends it with a signal."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli import main
from service.sandbox.faults import KINDS, Fault

VARIABLES = {
    "BRIDGE_ONVOARD__BASE_URL", "BRIDGE_ONVOARD__API_KEY", "BRIDGE_DIGITAL_ONBOARDING__BASE_URL",
    "BRIDGE_DIGITAL_ONBOARDING__CLIENT_ID", "BRIDGE_DIGITAL_ONBOARDING__CLIENT_SECRET",
}  # fmt: skip
Start = Callable[..., "Running"]


class Running:
    """A sandbox that has printed its variables."""

    def __init__(self, folder: Path, *args: str) -> None:
        source = str(Path(main.__file__).parents[2])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service", "sandbox", *args], cwd=folder, env={**os.environ, "PYTHONPATH": source},
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.variables: dict[str, str] = {}
        assert self.process.stdout is not None
        for line in self.process.stdout:
            exported = re.fullmatch(r"export ([A-Z_]+)=(.*)\n", line)
            assert exported, line
            self.variables[exported[1]] = shlex.split(exported[2])[0]
            if len(self.variables) == len(VARIABLES):
                break

    def get(self, path: str) -> dict[str, object]:
        """OnVoard's answer, with the key that was printed."""
        url = self.variables["BRIDGE_ONVOARD__BASE_URL"] + path
        request = urllib.request.Request(url, headers={"X-API-KEY": self.variables["BRIDGE_ONVOARD__API_KEY"]})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return dict(json.load(answer))

    def unique_ids(self) -> list[str]:
        """Digital Onboarding's, which only its console lists."""
        url = self.variables["BRIDGE_DIGITAL_ONBOARDING__BASE_URL"] + "/_sandbox/console"
        with urllib.request.urlopen(url, json.dumps({"method": "contact_list"}).encode(), timeout=5) as answer:
            return [contact["unique_id"] for contact in json.load(answer)["result"]]

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """-> (exit code, standard error)"""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=10)
        return self.process.returncode, err


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    all_of_them: list[Running] = []

    def start(*args: str) -> Running:
        all_of_them.append(Running(tmp_path, *args))
        return all_of_them[-1]

    yield start
    for each in all_of_them:
        each.process.kill()
        each.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_runs_until_it_is_told_to_stop(start: Start, number: int) -> None:
    running = start()
    assert set(running.variables) == VARIABLES
    contacts = running.get("/v2/contacts?page_size=5")["results"]
    assert isinstance(contacts, list)
    assert len(contacts) == 5
    assert len(running.unique_ids()) == 265
    code, err = running.stop(number)
    assert code == 0, err
    assert "280 contacts" in err


def test_empty(start: Start) -> None:
    running = start("--empty")
    assert running.get("/v2/contacts")["results"] == []
    assert running.unique_ids() == []


def test_ones_own_export_with_its_bad_rows(start: Start, tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text(
        "\ufeffid,unique_id,email,name_first,savings-goal\r\n"
        "c-1,CIF-1,ann@example.com,Zoé,2026-01-02T03:04:05Z\r\n"
        "c-2,CIF-2,bob@example.com,Bob,perhaps\r\n"
        'c-3,CIF-3,"cy@example.com\r\n",Cy,\r\n'
        "c-4,CIF-4\r\n"
        "c-5,,dee@example.com,Dee,\r\n",
        encoding="utf-8", newline="",
    )  # fmt: skip
    running = start("--load", "export.csv")
    assert {"CIF-1", "dee@example.com"} <= set(running.unique_ids()) <= {"CIF-1", "CIF-3", "dee@example.com"}
    assert running.get("/v2/contacts")["results"] == []
    code, err = running.stop()
    assert code == 0
    assert "export.csv: line 3: savings-goal" in err
    assert "export.csv: line 6: " in err
    assert "contact-bridge import export.csv\ncontact-bridge backfill\n" in err
    assert "contact-bridge sandbox --help" in err


def test_the_export_of_the_demos_people_can_be_loaded(start: Start, tmp_path: Path) -> None:
    start("--export", "e.csv").stop()
    assert len(start("--load", "e.csv").unique_ids()) == 257


def test_ports_may_be_chosen(start: Start) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = start("--empty", "--onvoard-port", str(port))
    assert running.variables["BRIDGE_ONVOARD__BASE_URL"] == f"http://127.0.0.1:{port}"


def test_a_taken_port_is_a_failure() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = CliRunner().invoke(main.cli, ["sandbox", "--empty", "--onvoard-port", str(taken.getsockname()[1])])
    assert result.exit_code == 1
    assert "cannot listen" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    "content",
    [None, b"", b"\xff\xfe\x00not text", b"just,some\ncolumns,here\n", b"unique_id;email\nCIF-1;a@example.com\n"],
    ids=["missing", "empty", "not text", "another table", "semicolons"],
)
def test_an_unreadable_export_is_wrong_usage(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    if content is not None:
        path.write_bytes(content)
    result = CliRunner().invoke(main.cli, ["sandbox", "--load", str(path)])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "export.csv" in result.stderr


def test_nobody_and_an_export_exclude_each_other(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("unique_id\na\n")
    assert CliRunner().invoke(main.cli, ["sandbox", "--empty", "--load", str(tmp_path / "e.csv")]).exit_code == 2


def test_the_help_names_every_fault_and_admin_call() -> None:
    help_text = CliRunner().invoke(main.cli, ["sandbox", "--help"]).stdout
    for kind in set(KINDS) - {"call"}:
        assert f"\n    {kind} " in help_text
    for name in ("faults", "console", "clock", "settings", "journal"):
        assert f"/_sandbox/{name} " in help_text
    asked = {each.name for each in dataclasses.fields(Fault)} - {"platform", "kind", "action", "id", "struck"}
    assert [each for each in sorted(asked) if f'"{each}"' not in help_text] == []


def test_the_help_s_examples_work_as_they_stand(start: Start) -> None:
    running = start()
    help_text = CliRunner().invoke(main.cli, ["sandbox", "--help"]).stdout
    examples = re.findall(r"curl \$(\w+)(/\S+)(?: -d \\\n\s+'(.*)'\n)?", help_text)
    assert len(examples) == 4
    known = running.get("/v2/contacts?email_sendable=true&page_size=1")["results"]
    assert isinstance(known, list)
    for variable, path, body in examples:
        body = body.replace("jane@example.com", known[0]["email"])
        with urllib.request.urlopen(running.variables[variable] + path, body.encode() or None, timeout=5) as answer:
            assert answer.status == 200
    with pytest.raises(urllib.error.HTTPError, match="429") as refused:
        running.get("/v2/contacts")
    assert refused.value.headers["Retry-After"] == "5"
    refused.value.close()
