"""`contact-bridge jobs`, without a daemon."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from service import jobs as table
from service.cli.main import cli
from service.sandbox import Sandbox
from service.store import cursors, jobs
from service.store.database import Database
from service.store.lease import lease

JANE = "jane@example.com"


@pytest.fixture
def db(sandbox: Sandbox, mirror_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setenv("BRIDGE_DATABASE_URL", mirror_url)
    with closing(Database(mirror_url)) as opened:
        yield opened


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, ["jobs", *args])


def listed() -> dict[str, Any]:
    result = run("list", "--format", "json")
    assert result.exit_code == 0, result.output
    return {row["name"]: row for row in json.loads(result.stdout)}


def in_utc(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_every_job_is_run_by_its_name_and_listed(sandbox: Sandbox, db: Database) -> None:
    sandbox.onvoard.add_contact(JANE, name="Jane Doe")
    assert list(listed()) == [job.name for job in table.JOBS]
    assert {row["outcome"] for row in listed().values()} == {None}
    first = run("run", "reconcile")
    assert first.exit_code == 1
    assert "before everything was read once; missing: resources, contacts" in first.stderr
    for name in table.PULLS:
        result = run("run", name)
        assert result.exit_code == 0, result.output
    assert sandbox.digital_onboarding.contact_list() == []
    for name in ("reconcile", "refresh", "inbox", "sweep", "verify", "retention"):
        assert run("run", name).exit_code == 0, name
    assert sandbox.digital_onboarding.contact(JANE)["name_last"] == "Doe"
    assert {row["outcome"] for row in listed().values()} == {"ok", "empty as expected"}


def test_retention_says_what_has_left(db: Database) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=200)
    with db.begin() as conn:
        for _ in range(4):
            cursors.finish_run(conn, cursors.start_run(conn, "contacts", long_ago), "ok", {}, long_ago)
    assert "runs that have left the mirror: 2\n" in run("run", "retention").output  # all but the first and the last


def test_list_says_when_it_is_whose_turn(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_SCHEDULE__REVIEWS", "cron: 30 4 * * *")
    monkeypatch.setenv("BRIDGE_SCHEDULE__TIMEZONE", "Europe/Berlin")
    monkeypatch.setenv("BRIDGE_SCHEDULE__QUIET_HOURS", "00:00-23:59")
    before = datetime.now(UTC) - timedelta(seconds=30)
    with db.begin() as conn:
        for name, outcome in (("contacts", "failed"), ("verify", "ok")):
            cursors.finish_run(conn, cursors.start_run(conn, name, before), outcome, {}, before)
        jobs.add_missed(conn, "contacts", 3)
        jobs.add_missed(conn, "contacts", 4)
        jobs.pause(conn, ["summaries"], before)
    rows = listed()
    contacts, reviews, verify = rows["contacts"], rows["reviews"], rows["verify"]
    assert (contacts["turn"], contacts["outcome"], contacts["missed"]) == ("5m", "failed", 7)
    assert in_utc(contacts["last_run_at"]) == before
    assert in_utc(contacts["next_run_at"]) == before + timedelta(minutes=5)
    assert reviews["turn"] == "cron: 30 4 * * *"
    turn = in_utc(reviews["next_run_at"])
    assert timedelta() < turn - before <= timedelta(days=1, hours=1) and turn.minute == 30 and turn.hour in (2, 3)
    assert verify["turn"] == "1d"
    end = in_utc(verify["next_run_at"])
    assert end.minute == 59 and end > before + timedelta(days=1), "it waits for the quiet hours to end"
    assert (rows["summaries"]["next_run_at"], in_utc(rows["summaries"]["paused_since"])) == (None, before)
    assert rows["inbox"]["next_run_at"] is None and not any(row["running"] for row in rows.values())


def test_pause_is_on_record_and_runs_by_hand_all_the_same(sandbox: Sandbox, db: Database) -> None:
    assert run("pause", "contacts", "reviews").exit_code == 0
    since = listed()["contacts"]["paused_since"]
    assert run("pause", "contacts").exit_code == 0
    assert listed()["contacts"]["paused_since"] == since, "since the first time"
    status = CliRunner().invoke(cli, ["status", "--format", "json"])
    reasons = json.loads(status.stdout)["reasons"]
    assert "the job contacts is paused: contact-bridge jobs resume contacts" in reasons
    assert run("run", "contacts").exit_code == 0
    assert listed()["contacts"]["outcome"] == "empty as expected"
    assert run("resume", "contacts", "summaries").output == "Resumed: contacts.\n"
    assert run("resume", "contacts").output == "None of them was paused.\n"
    assert {name for name, row in listed().items() if row["paused_since"]} == {"reviews"}


def test_a_job_that_is_at_work_elsewhere_is_not_run_twice(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.cli.jobs.LEASE_WAIT", 0.1)

    async def held(name: str) -> Result:
        async with lease(db, name):
            if name.startswith("job:"):
                assert (await asyncio.to_thread(listed))["contacts"]["running"]
            return await asyncio.to_thread(run, "run", "contacts" if name.startswith("job:") else "refresh")

    for name in ("job:contacts", "cycle"):
        result = asyncio.run(held(name))
        assert result.exit_code == 1
        assert f"another process is at work on this mirror ({name})" in result.stderr
    assert {row["outcome"] for row in listed().values()} == {None}


@pytest.mark.parametrize("what", ["run", "pause", "resume"])
def test_a_misspelt_job_names_the_nearest(db: Database, what: str) -> None:
    result = run(what, "contcts")
    assert result.exit_code == 2
    assert "there is no job contcts; did you mean contacts?" in result.stderr
