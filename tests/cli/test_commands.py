"""status, query, conflicts, outbox, explain and db, as an operator types them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from service.cli.main import cli
from service.store import ledger
from service.store.database import Database
from tests.cli.filled import NOW, SECRET_OF_THE_SUPPRESSED

Run = Callable[..., Result]
Json = Callable[..., Any]

EVERYTHING = (
    ("status",), ("conflicts",), ("conflicts", "list", "--all"), ("conflicts", "list", "--format", "csv"),
    ("conflicts", "show", "1"), ("outbox", "list", "--all"), ("explain", "ann@example.com"),
    ("explain", "bob@example.com"), ("explain", "ov-2"), ("query", "SELECT * FROM outbox"),
    ("query", "SELECT reason FROM conflicts", "--format", "csv"),
)  # fmt: skip


@pytest.mark.parametrize("args", EVERYTHING, ids=" ".join)
def test_nothing_a_platform_said_controls_the_terminal(run: Run, args: tuple[str, ...]) -> None:
    result = run(*args)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.strip()
    assert not set(result.stdout) & {chr(code) for code in range(0xA0) if code not in (10, *range(32, 127))}


def test_status_is_one_object(run_json: Json) -> None:
    report = run_json("status")
    assert report["in_sync"] is False
    assert report["reasons"]
    assert report["cursors"][0]["updated_at"] == "2026-03-01T12:00:00.000000Z"


def test_status_says_since_when_what_is_left_and_what_to_type(run: Run, run_json: Json) -> None:
    report = run_json("status")
    assert [each["reason"] for each in report["why"]] == report["reasons"]
    assert {each["kind"]: each["command"] for each in report["needs_person"]} == {
        "held": "contact-bridge plan, then contact-bridge sync --allow-mass-change",
        "conflicts": "contact-bridge conflicts list", "dead_letters": "contact-bridge outbox list",
    }  # fmt: skip
    assert all(each["since"] == "2026-03-01T12:00:00.000000Z" for each in report["needs_person"])
    assert (report["doing"], report["streams"], report["left"]["done_at"]) == ([], [], None)
    assert "counts" in report["runs"][0] and "progress" not in report["runs"][0]
    shown = run("status").stdout
    since = "since 2026-03-01T12:00:00Z): contact-bridge"
    for part in ("Needs a person", "Left to push", "The last run: backfill, run 4, ok", since):
        assert part in shown


def test_conflicts_alone_lists_the_open_ones(run_json: Json) -> None:
    assert [row["id"] for row in run_json("conflicts")] == [1]
    assert run_json("conflicts", "list") == run_json("conflicts")
    assert len(run_json("conflicts", "list", "--all")) == 2


def test_a_conflict_shows_both_sides_of_all_its_people(run_json: Json) -> None:
    shown = run_json("conflicts", "show", "1")
    assert shown["kind"] == "identity"
    names = [
        field[side] for each in shown["people"] for field in each["fields"] if field["field"] == "name"
        for side in ("onvoard", "digital_onboarding") if field[side]
    ]  # fmt: skip
    assert names == ["Bob One", "Bob Two", "Bob Three"]


def test_no_such_conflict(run: Run) -> None:
    result = run("conflicts", "show", "77")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert run("conflicts", "show", "first").exit_code == 2


def test_outbox_lists_what_is_not_settled(run_json: Json, run: Run) -> None:
    assert [row["status"] for row in run_json("outbox", "list")] == ["pending", "dead", "pending"]
    assert run_json("outbox")[0]["payload"] == {"unique_id": "a-1", "flag": True}
    rows = list(csv.DictReader(io.StringIO(run("outbox", "list", "--format", "csv").stdout)))
    assert rows[0]["payload"] == '{"unique_id": "a-1", "flag": true}'


def test_where_each_value_came_from(run_json: Json) -> None:
    told = run_json("explain", "ANN@example.com")
    fields = {field["field"]: field for field in told["fields"]}
    assert fields["phone"]["source"] == {
        "text": "as on OnVoard", "platform": "onvoard", "said_at": None, "rule": "newer record",
        "at": "2026-03-01T11:00:00.000000Z", "run_id": 1,
    }  # fmt: skip
    assert fields["phone"]["in_step"] is True
    assert fields["name"]["onvoard"] == "Ann Lee"
    assert fields["name"]["source"]["text"] == "edited on Digital Onboarding after the bridge wrote it"
    assert fields["city"]["source"]["text"] == "equal at first link"
    assert fields["city"]["base"] == {"onvoard": "Paris", "digital_onboarding": "Paris"}
    assert told["opted_out"] == {"onvoard": True, "digital_onboarding": False}
    assert [push["status"] for push in told["pushes"]] == ["pending", "dead"]
    assert [row["field"] for row in told["history"]] == ["phone_mobile", "name_last"]
    assert told["conflicts"][0]["kept"] == "digital_onboarding"


def test_a_contact_that_no_cycle_has_seen(run_json: Json) -> None:
    told = run_json("explain", "do-9")
    assert told["person"]["status"] == "not reconciled yet"
    assert told["fields"][0]["source"]["text"] == "as on Digital Onboarding"


def test_several_people_are_listed_and_can_be_told_apart(run_json: Json, run: Run) -> None:
    assert [match["person"]["person_id"] for match in run_json("explain", "bob@example.com")["matches"]] == [3, 4, 5]
    assert run_json("explain", "person:4")["person"]["onvoard_contact_id"] == "ov-4"
    assert "3 people" in run("explain", "bob@example.com").stdout


@pytest.mark.parametrize("who", ["ov-2", "do-2", "person:2"])
@pytest.mark.parametrize("output_format", ["table", "json"])
def test_of_a_suppressed_person_nothing_personal_is_told(run: Run, who: str, output_format: str) -> None:
    result = run("explain", who, "--format", output_format)
    assert result.exit_code == 0, result.stderr
    assert "suppressed" in result.stdout
    assert SECRET_OF_THE_SUPPRESSED not in result.stdout


@pytest.mark.parametrize("who", ["nobody@example.com", "person:999", "person:x", "person:99999999999999999999"])
def test_nobody_found(run: Run, who: str) -> None:
    result = run("explain", who)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "nobody" in result.stderr


def test_query_gives_objects(run_json: Json) -> None:
    sql = "SELECT person_id AS id, email_opted_out, linked_at FROM people WHERE status = 'linked'"
    assert run_json("query", sql) == [{"id": 1, "email_opted_out": True, "linked_at": "2026-03-01T12:00:00.000000Z"}]
    assert run_json("query", "SELECT payload FROM outbox LIMIT 1") == [{"payload": {"unique_id": "a-1", "flag": True}}]
    assert run_json("query", "SELECT id FROM runs WHERE id < 0") == []


@pytest.mark.parametrize("sql", ["DELETE FROM outbox", "WITH x AS (SELECT 1) UPDATE runs SET kind = 'x'", "SELEKT 1"])
def test_query_only_reads(run: Run, run_json: Json, sql: str) -> None:
    result = run("query", sql)
    assert result.exit_code in (1, 2)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert len(run_json("outbox", "list", "--all")) == 4


def test_query_in_a_table_and_csv(run: Run) -> None:
    sql = "SELECT id, kind FROM runs ORDER BY id LIMIT 1"
    assert run("query", sql).stdout.splitlines() == ["id  kind", "1   import"]
    assert run("query", sql, "--format", "csv").stdout.splitlines() == ["id,kind", "1,import"]


@pytest.mark.parametrize("args", [("status",), ("outbox",), ("conflicts",), ("query", "SELECT 1"), ("explain", "x")])
def test_an_unmigrated_database_names_the_command(
    args: tuple[str, ...], sqlite_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BRIDGE_DATABASE_URL", sqlite_url)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "contact-bridge db upgrade" in result.stderr
    assert list(tmp_path.iterdir()) == []  # looking at nothing creates nothing


def test_db_up_down_and_up_again(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_DATABASE_URL", sqlite_url)

    def db(*args: str) -> str:
        result = CliRunner().invoke(cli, ["db", *args])
        assert result.exit_code == 0, result.stderr
        return result.stdout

    assert "head" not in db("current")
    db("upgrade")
    newest = db("current")
    assert "head" in newest
    db("upgrade")
    db("downgrade")
    assert db("current") != newest
    db("upgrade")
    assert db("current") == newest


def test_outbox_shows_one_push(run_json: Json, run: Run) -> None:
    (dead,) = (row for row in run_json("outbox", "list") if row["status"] == "dead")
    shown = run_json("outbox", "show", str(dead["id"]))
    assert {name: shown[name] for name in dead} == dead and shown["reasons"] == []
    told = run("outbox", "show", str(dead["id"])).stdout
    assert "refused" in told and "\x1b" not in told and f"outbox retry {dead['id']}" in told
    assert run("outbox", "show", "4711").exit_code == 1


def test_outbox_retry_and_discard(run_json: Json, run: Run) -> None:
    (dead,) = (row["id"] for row in run_json("outbox", "list") if row["status"] == "dead")
    assert run("outbox", "retry", str(dead)).exit_code == 0
    assert run_json("query", f"SELECT status FROM outbox WHERE id = {dead}") == [{"status": "pending"}]
    assert run("outbox", "discard", str(dead)).exit_code == 2, "it is pending now"
    for command in ("retry", "discard"):
        assert run("outbox", command, "4711").exit_code == 1
        assert run("outbox", command).exit_code == 2


def test_a_conflict_is_resolved_and_says_so(run: Run, run_json: Json) -> None:
    """Number 1 is of a kind that no sync makes; 2 is resolved. Two more are about consent, of somebody linked."""
    for args in (["1", "--keep", "onvoard"], ["2", "--keep", "onvoard"], ["--keep", "onvoard"], ["1", "--all"]):
        result = run("conflicts", "resolve", *args)
        assert result.exit_code == 2 and result.stdout == "", args
    assert run("conflicts", "resolve", "4711", "--keep", "onvoard").exit_code == 1
    assert run("conflicts", "resolve", "1", "2", "--keep", "neither").exit_code == 2
    assert [row["id"] for row in run_json("conflicts")] == [1]


@pytest.fixture
def asked(run: Run, sqlite_url: str) -> Run:
    """Two questions of one person are open beside number 1, about consent (3) and about a field (4)."""
    database = Database(sqlite_url)
    with database.begin() as conn:
        for kind, field in (("resubscribed", "unsubscribe_email"), ("oscillation", "city")):
            ledger.open_conflict(
                conn, 1, kind, "?", NOW, run_id=1, field=field, onvoard="opted out", digital_onboarding="opted in"
            )
    database.close()
    return run


def test_one_is_resolved_by_its_number_with_a_reason(asked: Run, run_json: Json) -> None:
    result = asked("conflicts", "resolve", "3", "--keep", "digital-onboarding", "--reason", "she asked for it")
    assert result.exit_code == 0, result.stderr
    assert "by hand" in result.stdout and "contact-bridge sync" in result.stdout
    shown = run_json("conflicts", "show", "3")
    assert (shown["status"], shown["kept"], shown["resolved_by"]) == ("resolved", "digital_onboarding", "person")
    assert shown["note"] == "she asked for it"
    again = asked("conflicts", "resolve", "3", "--keep", "onvoard")
    assert again.exit_code == 2 and "resolved already" in again.stderr
    assert run_json("query", "SELECT count(*) AS n FROM leases WHERE name = 'cycle'") == [{"n": 0}]


@pytest.mark.parametrize(
    ("wanted", "code", "left"),
    [(["--kind", "resubscribed"], 0, [1, 4]), (["--field", "city"], 0, [1, 3]), (["--all"], 3, [1]),
     (["--kind", "resubscribed", "--field", "city"], 0, [1, 3, 4])],
)  # fmt: skip
def test_many_are_resolved_by_what_they_have_in_common(
    asked: Run, run_json: Json, wanted: list[str], code: int, left: list[int]
) -> None:
    """What cannot be is left open, and said."""
    result = asked("conflicts", "resolve", *wanted, "--keep", "onvoard")
    assert result.exit_code == code, result.stderr
    assert [row["id"] for row in run_json("conflicts")] == left
    for number in {1, 3, 4} - set(left):
        assert f"{number}: kept onvoard" in result.stdout
    assert ("1: left open" in result.stdout) is (code == 3)


def test_one_that_cannot_be_resolved_stops_those_named_with_it(asked: Run, run_json: Json) -> None:
    assert asked("conflicts", "resolve", "3", "1", "--keep", "onvoard").exit_code == 2
    assert [row["id"] for row in run_json("conflicts")] == [1, 3, 4]


def test_links_are_cut_and_joined(run: Run, run_json: Json) -> None:
    people = "SELECT onvoard_contact_id, unique_id, matched_by FROM people WHERE unique_id = 'a-1'"
    result = run("people", "unlink", "ann@example.com", "--reason", "two Anns")
    assert result.exit_code == 0, result.stderr
    assert "person:1" in result.stdout and "contact-bridge sync" in result.stdout
    assert run_json("query", people) == [{"onvoard_contact_id": None, "unique_id": "a-1", "matched_by": None}]
    assert run_json("query", "SELECT reason FROM separations") == [{"reason": "two Anns"}]
    result = run("people", "link", "ov-1", "do-1")
    assert result.exit_code == 0, result.stderr
    assert run_json("query", people) == [{"onvoard_contact_id": "ov-1", "unique_id": "a-1", "matched_by": "manual"}]
    assert run("people", "link", "ov-1", "a-1").exit_code == 2, "linked already"
    assert "which of ov-3, ov-4" in run("people", "link", "bob@example.com", "b-3").stderr
    assert run("people", "link", "ov-2", "b-3").exit_code == 2, "suppressed"
    assert run("people", "link", "nobody", "b-3").exit_code == 1
    assert run("people", "unlink", "ov-3").exit_code == 2 and run("people", "unlink", "nobody").exit_code == 1
