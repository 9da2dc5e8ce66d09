"""The SELECTs behind the commands say the same on SQLite and on Postgres."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, insert

from service.settings import Settings, load
from service.state import gather
from service.store import cursors, health, reports
from service.store import tables as t
from service.store.database import Database
from tests.cli.filled import NOW


def test_people_by_status(mirror: Database) -> None:
    with mirror.begin(write=False) as conn:
        assert reports.people(conn) == {
            "linked": 1, "onvoard_only": 0, "digital_onboarding_only": 0, "conflict": 3, "suppressed": 1, "erased": 0
        }  # fmt: skip


def test_lag_is_the_age_of_what_a_cursor_has_reached(mirror: Database) -> None:
    with mirror.begin(write=False) as conn:
        lags = {row["stream"]: row["lag_seconds"] for row in reports.cursors(conn, NOW)}
    assert lags == {"contacts": 3600, "page": 30}


def test_the_last_run_of_each_kind(mirror: Database) -> None:
    with mirror.begin(write=False) as conn:
        runs = reports.last_runs(conn)
    assert [(run["kind"], run["outcome"]) for run in runs] == [
        ("backfill", "ok"), ("import", "failed"), ("sync", "failed")
    ]  # fmt: skip
    assert runs[0]["counts"] == {"pushed": 1}
    assert runs[0]["started_at"] == NOW - timedelta(hours=4)


def test_outbox_counts_name_both_platforms(mirror: Database) -> None:
    with mirror.begin(write=False) as conn:
        counts = reports.outbox_counts(health.pushes(conn))
    assert counts == {"onvoard": {"dead": 1, "done": 1}, "digital_onboarding": {"pending": 2}}


def test_leases_that_ran_out_do_not_run(mirror: Database) -> None:
    with mirror.begin(write=False) as conn:
        running = {row["name"]: row["running"] for row in reports.leases(conn, NOW)}
    assert running == {"contacts": True, "reviews": False}


def test_who_is_meant(mirror: Database) -> None:
    expected = {
        "ann@example.com": [1], " ANN@example.com ": [1], "a-1": [1], "do-1": [1], "ov-1": [1],
        "ov-2": [2], "do-2": [2], "s-2": [2], "bob@example.com": [3, 4, 5], "do-9": [None], "new@EXAMPLE.com": [None],
        "nobody@example.com": [], "": [], "%": [],
    }  # fmt: skip
    with mirror.begin(write=False) as conn:
        found = {who: [match["person_id"] for match in reports.find(conn, who)] for who in expected}
    assert found == expected


def test_conflicts_and_outbox_have_the_columns_of_the_contract(mirror: Database) -> None:
    with mirror.begin(write=False) as conn:
        open_, all_ = reports.conflicts(conn), reports.conflicts(conn, everything=True)
        waiting, outbox = reports.outbox(conn), reports.outbox(conn, everything=True)
    assert [row["status"] for row in open_] == ["open"]
    assert len(all_) == 2
    assert tuple(all_[0]) == reports.CONFLICT_COLUMNS
    assert [row["status"] for row in waiting] == ["pending", "dead", "pending"]
    assert len(outbox) == 4
    assert tuple(outbox[0]) == reports.OUTBOX_COLUMNS
    assert outbox[0]["payload"] == {"unique_id": "a-1", "flag": True}
    assert outbox[0]["created_at"] == NOW


def test_why_it_is_not_in_sync(mirror: Database) -> None:
    with mirror.begin(write=False) as conn:
        report = gather(conn, NOW, Settings())
    assert list(report) == [
        "in_sync", "reasons", "people", "cursors", "runs", "outbox", "dead_letters", "conflicts", "holds", "jobs",
        "surprises", "freshness", "verifications", "rules", "loaders", "restored", "doing", "left", "streams",
        "last_run", "last_change", "needs_person", "why",
    ]  # fmt: skip
    assert report["in_sync"] is False
    assert (report["dead_letters"], report["conflicts"]) == (1, 1)
    told = "\n".join(report["reasons"])
    expected = (
        "the last sync ended as failed (run 3)", "OnVoard are held: 60 of 100", "2 pushes to Digital Onboarding wait",
        "1 dead letter", "1 open conflict", "1 contact of Digital Onboarding changed",
    )  # fmt: skip
    assert [what for what in expected if what not in told] == []


def test_an_old_failure_is_forgotten_after_a_good_sync(mirror: Database) -> None:
    with mirror.begin() as conn:
        begun = cursors.start_run(conn, "sync", NOW)
        told = gather(conn, NOW, Settings())["reasons"]
        assert any(f"the last sync has not finished (run {begun})" in reason for reason in told)
        cursors.finish_run(conn, begun, "ok", {}, NOW)
        assert not any("run" in reason for reason in gather(conn, NOW, Settings())["reasons"])


# How fresh the mirror is

HOUR = timedelta(hours=1)


def _slice(conn: Connection, stream: str, upper: int, *, age: int, due_in: int = 1, pages: int = 10) -> None:
    row = {"stream": stream, "lower": NOW - upper * HOUR, "upper": NOW - (upper - 1) * HOUR, "pages": pages}
    conn.execute(insert(t.sweep_slices).values(swept_at=NOW - age * HOUR, due_at=NOW + due_in * HOUR, **row))


def _asked(conn: Connection, unique_id: str, hours_ago: float) -> None:
    table = t.digital_onboarding_contacts
    conn.execute(table.update().where(table.c.unique_id == unique_id).values(refreshed_at=NOW - hours_ago * HOUR))


def test_status_tells_how_old_what_it_holds_may_be(mirror: Database) -> None:
    with mirror.begin() as conn:
        assert gather(conn, NOW, Settings())["freshness"]["streams"] == [], "nothing was read yet"
        for upper, age in enumerate((3, 17, 12), start=1):
            _slice(conn, "contacts", upper, age=age)
        _slice(conn, "reviews", 1, age=2, due_in=-1, pages=6)
        for unique_id, hours_ago in (("a-1", 2), ("b-3", 6.1)):
            _asked(conn, unique_id, hours_ago)
        report = gather(conn, NOW, Settings())
    contacts, reviews, asked = report["freshness"]["streams"]
    assert contacts == {
        "stream": "onvoard.contacts", "age_seconds": 17 * 3600, "limit_seconds": 24 * 3600, "late": False, "due": 0,
        "slices": 3, "requests": 30,
    }  # fmt: skip
    assert (reviews["age_seconds"], reviews["due"], reviews["requests"]) == (2 * 3600, 1, 6)
    assert asked["stream"] == "digital_onboarding.contacts"
    assert (asked["age_seconds"], asked["limit_seconds"], asked["due"]) == (21960, 6 * 3600, 2), "and one never asked"
    assert not any("were last read" in reason for reason in report["reasons"]), "the next turn asks about it"


def test_what_is_older_than_its_limit_is_not_in_sync(mirror: Database) -> None:
    with mirror.begin() as conn:
        _slice(conn, "contacts", 1, age=25)
        _slice(conn, "reviews", 1, age=24)
        _asked(conn, "a-1", 6.2)
        told = [reason for reason in gather(conn, NOW, Settings())["reasons"] if "were last read" in reason]
        assert told == [
            "some onvoard.contacts were last read 1 day, 1:00:00 ago, and the limit is 1 day, 0:00:00: "
            "contact-bridge sync --full",
            "some digital_onboarding.contacts were last read 6:12:00 ago, and the limit is 6:00:00: "
            "contact-bridge sync",
        ]
        asks_nobody = load({"digital_onboarding.refresh": "off"}, environ={})
        streams = gather(conn, NOW, asks_nobody)["freshness"]["streams"]
        assert [row["stream"] for row in streams] == ["onvoard.contacts", "onvoard.reviews"]


def test_status_tells_whether_the_budget_of_the_sweep_suffices(mirror: Database) -> None:
    with mirror.begin() as conn:
        _slice(conn, "contacts", 1, age=1, pages=18 * 1000)
        for share, suffices in ((0.25, False), (0.3, True)):
            told = load({"onvoard.requests_per_second": 1, "schedule.sweep_budget": share}, environ={})
            assert gather(conn, NOW, told)["freshness"]["sweep"] == {
                "requests": 18 * 1000, "needed_per_hour": 1000.0, "allowed_per_hour": share * 3600,
                "suffices": suffices,
            }  # fmt: skip
