"""The demo as a newcomer starts it: one run, looked at from all sides; and how it fails."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from service.cli import demo_steps
from service.cli.demo_story import Story, _widths
from service.cli.main import cli
from service.errors import BridgeError
from service.store import readonly
from service.store.database import Database

COMMAND = (sys.executable, "-m", "service", "demo")
# What a demo must leave alone, whatever it is: nothing listens there, and the mirror is in nobody's folder.
NOT_THE_DEMOS = {
    "BRIDGE_ONVOARD__BASE_URL": "https://onvoard.invalid",
    "BRIDGE_ONVOARD__API_KEY": "a-real-key",
    "BRIDGE_DIGITAL_ONBOARDING__BASE_URL": "https://digital.invalid",
    "BRIDGE_DATABASE_URL": "sqlite:////nowhere/at/all.db",
    "BRIDGE_LIMITS__MAX_CHANGED_COUNT": "0",
    "BRIDGE_IDENTITY__CREATE_ON_ONVOARD": "false",
    "BRIDGE_CONFIG": "/nowhere/bridge.toml",
}


@dataclass(frozen=True)
class Shown:
    """One run with `--keep` and `--serve`. `alive`: the addresses it printed, and whether they answered."""

    code: int
    out: str
    err: str
    kept: Path
    started_in: Path
    alive: dict[str, bool]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Of the kept mirror."""
        database = Database(f"sqlite:///{self.kept / 'bridge.db'}")
        try:
            return readonly.query(database, sql).rows
        finally:
            database.close()


def environment(**more: str) -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_") and name != "COLUMNS"}
    return {**mine, "PYTHONPATH": str(Path(demo_steps.__file__).parents[2]), **more}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    folder = tmp_path_factory.mktemp("demo")
    started_in, kept = folder / "here", folder / "kept"
    started_in.mkdir()
    process = subprocess.Popen(
        [*COMMAND, "--serve", "--keep", str(kept)], cwd=started_in, env=environment(**NOT_THE_DEMOS), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        out, alive = _until_it_serves(process)
        process.send_signal(signal.SIGTERM)
        rest, err = process.communicate(timeout=15)
    finally:
        process.kill()
    yield Shown(process.returncode, out + rest, err, kept, started_in, alive)


def _until_it_serves(process: subprocess.Popen[str]) -> tuple[str, dict[str, bool]]:
    assert process.stdout is not None
    lines, alive = [], {}
    for line in process.stdout:
        lines.append(line)
        if found := re.match(r"   (OnVoard|Digital Onboarding|the daemon) +(http://\S+)$", line):
            alive[found[1]] = found[2]
        if line.startswith("   $ ") and " sync --full" in line and alive:
            break
    paths = {"the daemon": ""}
    return "".join(lines), {name: _answers(url + paths.get(name, "/_sandbox/health")) for name, url in alive.items()}


SECOND = "SELECT id FROM runs WHERE kind = 'sync' ORDER BY id LIMIT 1 OFFSET 1"


def _answers(url: str) -> bool:
    """A socket may listen before its server serves; then the connection waits."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return bool(answer.status == 200)


def test_it_ends_well_and_says_nothing_else(shown: Shown) -> None:
    assert (shown.code, shown.err) == (0, "")
    assert "Stopped." in shown.out


def test_serve_leaves_everything_running(shown: Shown) -> None:
    assert shown.alive == {"OnVoard": True, "Digital Onboarding": True, "the daemon": True}


def test_it_touches_neither_the_users_accounts_nor_their_folder(shown: Shown) -> None:
    accounts = shown.rows("SELECT base_url FROM accounts ORDER BY platform")
    assert len(accounts) == 2
    assert all(url.startswith("http://127.0.0.1:") for (url,) in accounts)
    assert list(shown.started_in.iterdir()) == []


def test_it_tells_a_story_in_steps(shown: Shown) -> None:
    steps = re.findall(r"^── (\d+)\. ", shown.out, re.MULTILINE)
    assert steps == [str(number) for number in range(1, 12)]
    for said in ("matched_by", "old → new", "was created on OnVoard", "1 Old Mill Lane", "bridge conflicts show"):
        assert said in shown.out


def test_there_are_as_many_people_as_promised(shown: Shown) -> None:
    assert shown.rows("SELECT count(*) >= 300 FROM people") == [(1,)]
    assert re.search(r"contacts +280 +265\n", shown.out)
    # What the suppressed had is not kept.
    assert shown.rows("SELECT count(*) > 180 FROM onvoard_reviews") == [(1,)]
    assert shown.rows("SELECT count(*) > 950 FROM onvoard_activities") == [(1,)]


def test_it_is_readable_in_a_pipe(shown: Shown) -> None:
    assert "\x1b" not in shown.out
    assert all(len(line) <= 100 for line in shown.out.splitlines() if not line.startswith("   $ "))
    assert not [line for line in shown.out.splitlines() if line != line.rstrip()]


def test_the_third_sync_writes_nothing(shown: Shown) -> None:
    assert re.search(r"\d+ requests to read, 0 to write", shown.out)
    pushed = shown.rows("SELECT outcome, json_extract(counts, '$.pushed') FROM runs WHERE kind = 'sync' ORDER BY id")
    assert pushed[2][1] in ("{}", {})
    assert [outcome for outcome, _ in pushed] == ["ok", "ok", "ok", "held", "ok", "ok"]


def test_people_were_linked_in_every_way(shown: Shown) -> None:
    found = dict(shown.rows("SELECT matched_by, count(*) FROM people WHERE status = 'linked' GROUP BY matched_by"))
    assert set(found) >= {"email", "unique_id", "created"}
    # As the story told it, before somebody was suppressed.
    assert re.search(rf"^   email +{found['email'] + 1} ", shown.out, re.MULTILINE)
    assert re.search(rf"^   unique_id +{found['unique_id']} ", shown.out, re.MULTILINE)


def test_edits_travelled_by_the_rules(shown: Shown) -> None:
    rows = shown.rows(f"SELECT platform, field, rule FROM changes WHERE run_id = ({SECOND})")
    assert set(rows) >= {
        ("digital_onboarding", "phone_mobile", "changed on onvoard"),
        ("digital_onboarding", "email", "changed on onvoard"),
        ("onvoard", "name", "changed on digital_onboarding"),
        ("onvoard", "street_address", "changed on digital_onboarding"),
        ("onvoard", "street_address", "newer record"),
    }
    assert shown.rows("SELECT kept FROM conflicts WHERE onvoard_value = '1 Old Mill Lane'") == [("digital_onboarding",)]


def test_opt_outs_reached_the_other_side(shown: Shown) -> None:
    sides = """
    SELECT count(*) FROM changes c JOIN people p ON p.person_id = c.person_id
    JOIN onvoard_contacts o ON o.id = p.onvoard_contact_id
    JOIN digital_onboarding_contacts d ON d.unique_id = p.unique_id
    WHERE c.run_id = ({}) AND o.email_unsubscribed AND d.unsubscribe_email
      AND c.rule = '{}'
    """
    for rule in ("opted out on onvoard", "opted out on digital_onboarding"):
        assert shown.rows(sides.format(SECOND, rule)) == [(1,)]


def test_nobody_is_opted_out_on_one_side_alone_but_who_opted_in_again(shown: Shown) -> None:
    alone = """
    SELECT p.person_id FROM people p
    JOIN onvoard_contacts o ON o.id = p.onvoard_contact_id
    JOIN digital_onboarding_contacts d ON d.unique_id = p.unique_id
    WHERE p.status = 'linked' AND d.unsubscribe_email
      <> (o.email_unsubscribed OR o.email_marked_as_spam OR o.email_hard_bounced)
    """
    assert shown.rows(alone) == shown.rows("SELECT person_id FROM conflicts WHERE kind = 'resubscribed'") != []


def test_the_suppressed_are_gone(shown: Shown) -> None:
    rows = shown.rows("SELECT email, name_first, name_last, phone FROM people WHERE status = 'suppressed'")
    assert len(rows) == 8
    assert set(rows) == {(None, None, None, None)}
    ids = {contact_id for (contact_id,) in shown.rows("SELECT digital_onboarding_id FROM tombstones")}
    with (shown.kept / "export.csv").open(encoding="utf-8", newline="") as lines:
        emails = [row["email"] for row in csv.DictReader(lines) if row["id"] in ids]
    assert len(emails) == 8
    stored = b"".join(path.read_bytes() for path in shown.kept.glob("bridge.db*")).lower()
    assert [email for email in emails if email.lower().encode() in stored] == []


def test_conflicts_wait_for_a_person(shown: Shown) -> None:
    rows = shown.rows("SELECT kind, count(*) FROM conflicts WHERE status = 'open' GROUP BY kind ORDER BY kind")
    assert rows == [("ambiguous_identity", 5), ("resubscribed", 1)]


def test_happenings_became_activities_once(shown: Shown) -> None:
    rows = shown.rows(
        "SELECT type, count(*), count(DISTINCT sync_id) FROM onvoard_activities "
        "WHERE type LIKE 'custom.%' GROUP BY type ORDER BY type"
    )
    assert rows == [
        ("custom.digital_onboarding_contact_added", 1, 1),
        ("custom.digital_onboarding_journey_started", 1, 1),  # by a rule, as one of the two completions
        ("custom.digital_onboarding_objective_completed", 2, 2),
        ("custom.digital_onboarding_unsubscribed", 1, 1),
    ]


def test_rules_and_loaders_made_the_other_side_act(shown: Shown) -> None:
    fired = "SELECT rule, status, count(*) FROM rule_firings GROUP BY rule, status ORDER BY rule"
    assert shown.rows(fired) == [
        ("first-order", "done", 1), ("loyal-customer", "done", 1), ("thanks-for-five-stars", "done", 1),
    ]  # fmt: skip
    assert shown.rows("SELECT name, stopped FROM loader_states ORDER BY name") == [
        ("journey_state", None), ("onboarding_finished", None), ("review_figures", None),
    ]  # fmt: skip
    told = "SELECT count(*) > 200 FROM onvoard_contacts WHERE properties ->> 'custom_onboarding_state' IS NOT NULL"
    assert shown.rows(told) == [(1,)]
    assert "8 of 8 tests passed" in shown.out and "people would change" in shown.out


def test_the_kept_mirror_answers_commands(shown: Shown) -> None:
    config = str(shown.kept / "bridge.toml")
    for args in (("status",), ("conflicts",), ("conflicts", "show", "1"), ("explain", "amara.okafor@example.org")):
        result = CliRunner().invoke(cli, ["--config", config, *args])
        assert result.exit_code == 0, result.stderr
    for _, sql in demo_steps.QUERIES:
        result = CliRunner().invoke(cli, ["--config", config, "query", sql, "--format", "json"])
        assert result.exit_code == 0, result.stderr
        assert result.stdout.startswith("[")


def test_it_keeps_out_of_a_folder_with_files(tmp_path: Path) -> None:
    (tmp_path / "bridge.db").write_text("somebody's")
    result = CliRunner().invoke(cli, ["demo", "--keep", str(tmp_path)])
    assert result.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["bridge.db"]
    assert (tmp_path / "bridge.db").read_text() == "somebody's"


def test_a_failure_says_where_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(*_: object, **__: object) -> None:
        raise BridgeError("out of paper")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(demo_steps.runs, "import_file", fails)
    result = CliRunner().invoke(cli, ["demo"])
    assert result.exit_code == 1
    assert "step 2" in result.stderr
    assert "out of paper" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_signal_in_its_midst_leaves_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        COMMAND, env=environment(TMPDIR=str(tmp_path)), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "2. Read everything" in line:
                break
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=15)
    finally:
        process.kill()
    assert (process.returncode, err.strip()) == (130, "interrupted")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("width", [60, 80, 120])
def test_tables_fit(width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    words = " ".join(["word"] * 40)
    Story().table(("a", "b", "c"), [(words, "x" * 90, 1_234), ("渋谷" * 30, words, None)])
    assert all(len(line) <= width for line in capsys.readouterr().out.splitlines())


def test_columns_get_what_they_need_before_what_they_like() -> None:
    assert _widths([("ab", "abc"), ("word word word",)], 100) == [3, 14]
    narrow = _widths([("ab", "abc"), ("word word word",)], 14)
    assert narrow[0] == 3
    assert narrow[1] is not None
    assert narrow[1] >= 4
