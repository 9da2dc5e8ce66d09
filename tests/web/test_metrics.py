"""Metrics: scraped over real HTTP, from real databases, read by Prometheus' own parser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event, insert, text
from starlette.applications import Starlette
from starlette.requests import Request

from service import settings
from service.core.records import Platform
from service.metrics import Requests
from service.store import cursors, health, jobs, oddities, verifications
from service.store import tables as t
from service.store.database import Database
from service.store.verifications import Verification
from service.web.access import may_read
from service.web.metrics import Metrics
from service.web.metrics.mirror import everything
from service.web.server import address, listen, serving
from service.web.webhooks import Webhooks
from tests.cli.filled import NOW, fill
from tests.web.signing import SECRET, signed

TOKEN = "a-long-random-token"


@asynccontextmanager
async def served(
    url: str, patience: float = 8.0, requests: Mapping[str, Requests] | None = None, **overrides: Any
) -> AsyncIterator[httpx.AsyncClient]:
    loaded = settings.load({"web.port": 0, **overrides}, environ={})
    database = Database(url)
    listening = listen(settings.load({"web.port": 0}, environ={}))
    app = Starlette(routes=Metrics(loaded, database, lambda: NOW, patience, requests).routes)
    async with serving(app, listening), httpx.AsyncClient(base_url=address(listening), trust_env=False) as client:
        yield client
    database.close()


@pytest.fixture
def mirror(mirror_url: str) -> str:
    return filled(mirror_url)


@pytest.fixture
def lite(sqlite_mirror: str) -> str:
    """For what is the same on both."""
    return filled(sqlite_mirror)


def filled(url: str) -> str:
    database = Database(url)
    with database.begin() as conn:
        fill(conn)
        for age, wrong in ((2, 5), (1, 3)):
            at = NOW - timedelta(hours=age)
            row = Verification(1, "onvoard.contacts", 200, wrong, 0, 0, 0, wrong / 200, 0.001, 0.05, False, False, at)
            verifications.record(conn, row)
    database.close()
    return url


async def scraped(client: httpx.AsyncClient) -> dict[tuple[str, tuple[str, ...]], float]:
    answer = await client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_what_the_database_knows(mirror: str) -> None:
    async with served(mirror) as client:
        found = await scraped(client)
    contacts = ("onvoard.contacts",)
    assert found["contact_bridge_drift_ratio", contacts] == 0.015
    assert found["contact_bridge_drift_ratio_low", contacts] == 0.001
    assert found["contact_bridge_drift_ratio_high", contacts] == 0.05
    assert found["contact_bridge_verified_records", contacts] == 200
    hour_ago = (NOW - timedelta(hours=1)).timestamp()
    assert found["contact_bridge_last_verification_timestamp_seconds", contacts] == hour_ago
    assert found["contact_bridge_outbox_pushes", ("change", "digital_onboarding", "pending")] == 2
    assert found["contact_bridge_outbox_pushes", ("change", "onvoard", "unknown")] == 0
    assert found["contact_bridge_dead_letters", ("onvoard",)] == 1
    assert found["contact_bridge_open_conflicts", ()] == 1
    successes = {labels[0] for name, labels in found if name == "contact_bridge_last_success_timestamp_seconds"}
    assert successes == {"sync", "backfill"}
    assert found["contact_bridge_last_success_timestamp_seconds", ("sync",)] == (NOW - timedelta(hours=2)).timestamp()
    assert found["contact_bridge_cursor_lag_seconds", ("contacts",)] == 3600
    (build,) = [value for (name, _), value in found.items() if name == "contact_bridge_build_info"]
    assert build == 1
    assert not [status for name, labels in found for status in labels if status in ("done", "cancelled")]


async def test_nobody_is_named(mirror: str) -> None:
    async with served(mirror) as client:
        text = (await client.get("/metrics")).text.lower()
    assert not [word for word in ("@", "ann", "bob", "susan", "a-1", "ov-1", "do-1") if word in text]


async def test_an_empty_mirror(mirror_url: str) -> None:
    async with served(mirror_url) as client:
        found = await scraped(client)
    assert found["contact_bridge_outbox_pushes", ("opt_out", "onvoard", "pending")] == 0
    assert not [name for name, _ in found if "drift" in name]


async def test_beyond_loopback_the_token_is_needed(mirror: str) -> None:
    async with served(mirror, **{"web.host": "0.0.0.0", "web.token": TOKEN}) as client:
        refused = [
            await client.get("/metrics", headers=headers)
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"},
                            {"Authorization": "Bearer"}, {"Authorization": "Bearer \u00e9".encode()})
        ]  # fmt: skip
        let_in = await client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert {answer.status_code for answer in refused} == {401}
    assert "contact_bridge" not in "".join(answer.text for answer in refused)
    assert refused[0].headers["www-authenticate"] == "Bearer"
    assert let_in.status_code == 200


async def test_the_metrics_token_reads_metrics(lite: str) -> None:
    tokens = {"web.host": "0.0.0.0", "web.token": TOKEN, "web.metrics_token": "for-the-metrics-alone"}
    async with served(lite, **tokens) as client:
        answers = [
            await client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
            for token in ("for-the-metrics-alone", TOKEN, "another")
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 401]


def test_the_metrics_token_reads_nothing_else() -> None:
    tokens = {"web.host": "0.0.0.0", "web.token": TOKEN, "web.metrics_token": "for-the-metrics-alone"}
    request = Request({"type": "http", "headers": [(b"authorization", b"Bearer for-the-metrics-alone")]})
    assert not may_read(settings.load(tokens, environ={}), request)


async def test_what_waits_is_told_with_its_age(mirror: str) -> None:
    database = Database(mirror)
    with database.begin() as conn:
        for minutes in (5, 9, 7):
            _push(conn, "onvoard", "pending", minutes, lane=0)
        _push(conn, "onvoard", "held", 20, lane=0)
        for number, (minutes, put_off) in enumerate(((3, None), (30, 60), (90, -2))):
            row = {"id": f"e{number}", "platform": "onvoard", "type": "x", "status": "pending", "payload": {}}
            due = None if put_off is None else NOW + timedelta(minutes=put_off)
            conn.execute(insert(t.webhook_events).values(**row, received_at=_ago(minutes), processed_at=due))
    database.close()
    async with served(mirror) as client:
        found = await scraped(client)
    opt_outs = ("opt_out", "onvoard", "pending")
    assert found["contact_bridge_outbox_pushes", opt_outs] == 3
    assert found["contact_bridge_outbox_oldest_age_seconds", opt_outs] == 5 * 60  # the first to be written down
    assert found["contact_bridge_outbox_oldest_age_seconds", ("opt_out", "onvoard", "held")] == 20 * 60
    assert found["contact_bridge_outbox_oldest_age_seconds", ("change", "onvoard", "pending")] == 0
    assert found["contact_bridge_inbox_events", ("onvoard",)] == 2
    assert found["contact_bridge_inbox_oldest_age_seconds", ("onvoard",)] == 3 * 60
    assert found["contact_bridge_brake_holding", ("onvoard",)] == 1
    assert found["contact_bridge_brake_holding", ("digital_onboarding",)] == 0


async def test_what_was_done_adds_up_over_restarts_and_processes(mirror: str) -> None:
    for outcome in ("ok", "failed", "ok"):
        process = Database(mirror)
        with process.begin() as conn:
            counts = {"pulled": {"contacts": 7, "templates": 2, "webhook_events.ignored": 3}}
            cursors.finish_run(conn, cursors.start_run(conn, "sync", _ago(1)), outcome, counts, NOW)
        process.close()
    async with served(mirror) as client:
        found = await scraped(client)
    assert found["contact_bridge_runs_total", ("sync", "ok")] == 2
    assert found["contact_bridge_runs_total", ("sync", "failed")] == 1
    assert found["contact_bridge_run_duration_seconds_sum", ("sync",)] == 3 * 60
    assert found["contact_bridge_run_duration_seconds_count", ("sync",)] == 3
    assert found["contact_bridge_records_pulled_total", ("onvoard", "contacts")] == 21
    assert found["contact_bridge_records_pulled_total", ("digital_onboarding", "templates")] == 6
    assert found["contact_bridge_webhook_events_total", ("ignored",)] == 9


async def test_streams_are_told_with_their_last_success_and_whether_they_fail(lite: str) -> None:
    process = Database(lite)
    with process.begin() as conn:
        health.note_streams(conn, ["onvoard.contacts", "digital_onboarding.contacts"], {}, _ago(9))
        health.note_streams(conn, [], {"onvoard.contacts": "denied", "onvoard.reviews": "failed"}, NOW)
    process.close()
    async with served(lite) as client:
        found = await scraped(client)
    contacts, reviews = ("onvoard", "contacts"), ("onvoard", "reviews")
    assert found["contact_bridge_stream_last_success_timestamp_seconds", contacts] == _ago(9).timestamp()
    assert ("contact_bridge_stream_last_success_timestamp_seconds", reviews) not in found
    assert [found["contact_bridge_stream_failing", stream] for stream in (contacts, reviews)] == [1, 1]
    assert found["contact_bridge_stream_failing", ("digital_onboarding", "contacts")] == 0


async def test_a_record_that_could_not_be_kept_is_a_dead_letter_without_a_lane(lite: str) -> None:
    process = Database(lite)
    with process.begin() as conn:
        oddities.refuse(conn, Platform.DIGITAL_ONBOARDING, "contacts", "no id", {"a": 1}, 1, NOW)
    process.close()
    async with served(lite) as client:
        found = await scraped(client)
    assert found["contact_bridge_dead_letters", ("digital_onboarding",)] == 1


async def test_webhook_events_are_told_by_what_they_were_answered(lite: str) -> None:
    loaded = settings.load({"web.port": 0, "onvoard.webhook_secret": SECRET}, environ={})
    database, listening = Database(lite), listen(settings.load({"web.port": 0}, environ={}))
    receiver = Webhooks(loaded, database, lambda: None)
    figures = Metrics(loaded, database, lambda: NOW, answers=receiver.answers)
    app = Starlette(routes=[*receiver.routes, *figures.routes])
    event_ = b'{"id": "evt_1", "type": "contact.saved", "data": {"contact": {"id": "ct_1"}}}'
    async with serving(app, listening), httpx.AsyncClient(base_url=address(listening), trust_env=False) as client:
        for headers in ({}, signed(event_), signed(event_), {}):
            await client.post("/webhooks/onvoard", content=event_, headers=headers)
        found = await scraped(client)
    database.close()
    told = {labels: number for (name, labels), number in found.items() if "webhook_answers" in name}
    assert told == {("onvoard", "200"): 2, ("onvoard", "401"): 2, ("digital_onboarding", "200"): 0}


async def test_a_run_that_never_failed_is_told_as_zero_failures(lite: str) -> None:
    """From a counter that begins with one, Prometheus sees no increase."""
    async with served(lite) as client:
        found = await scraped(client)
    assert found["contact_bridge_runs_total", ("contacts", "failed")] == 0


async def test_jobs_are_told_with_their_turns(lite: str) -> None:
    database = Database(lite)
    with database.begin() as conn:
        jobs.pause(conn, ["reviews"], NOW)
        jobs.add_missed(conn, "contacts", 4)
    database.close()
    async with served(lite, **{"schedule.contacts": "15m", "schedule.reviews": "cron: 0 */2 * * *"}) as client:
        found = await scraped(client)
    assert found["contact_bridge_job_paused", ("reviews",)] == 1 and found["contact_bridge_job_paused", ("inbox",)] == 0
    assert found["contact_bridge_missed_turns_total", ("contacts",)] == 4
    assert found["contact_bridge_missed_turns_total", ("reviews",)] == 0
    assert found["contact_bridge_job_interval_seconds", ("contacts",)] == 900
    assert found["contact_bridge_job_interval_seconds", ("reviews",)] == 7200


async def test_what_this_process_has_asked_for(lite: str) -> None:
    counted = Requests(queued=1.5, paused=2.0)
    counted.attempted("GET /v2/contacts", 200, 0.04, again=False)
    counted.attempted("GET /v2/contacts", 429, 0.2, again=False)
    counted.attempted("GET /v2/contacts", 200, 70.0, again=True)
    async with served(lite, requests={"onvoard": counted}) as client:
        found = await scraped(client)
    assert found["contact_bridge_requests_total", ("GET /v2/contacts", "onvoard", "200")] == 2
    assert found["contact_bridge_requests_total", ("GET /v2/contacts", "onvoard", "429")] == 1
    assert found["contact_bridge_request_retries_total", ("onvoard",)] == 1
    assert found["contact_bridge_request_queue_seconds_total", ("onvoard",)] == 1.5
    assert found["contact_bridge_rate_limit_pause_seconds_total", ("onvoard",)] == 2
    lasted = {labels[0]: n for (name, labels), n in found.items() if name.endswith("request_duration_seconds_bucket")}
    assert (lasted["0.05"], lasted["60.0"], lasted["+Inf"]) == (1, 2, 3)


def test_a_look_reads_no_table_that_grows_from_end_to_end(mirror: str) -> None:
    """Outbox, events and conflicts by what is open of them; of all runs, the index alone."""
    database = Database(mirror)
    asked: list[tuple[str, Any]] = []
    with database.begin(write=False) as conn:
        event.listen(conn, "before_cursor_execute", lambda *seen: asked.append((seen[2], seen[3])))
        list(everything(conn, settings.load({}, environ={}), NOW))
    with database.begin(write=False) as conn:
        if database.dialect == "postgresql":
            conn.execute(text("SET LOCAL enable_seqscan = off"))  # which a table of three rows would be read by
        explain = "EXPLAIN QUERY PLAN " if database.dialect == "sqlite" else "EXPLAIN "
        plans = [row[-1] for query, values in asked for row in conn.exec_driver_sql(explain + query, values)]
    database.close()
    assert len(asked) > 10
    growing = ("outbox", "webhook_events", "conflicts", "runs", "persons", "rule_firings", "onvoard_contacts")
    whole = [plan for plan in plans if any(f"SCAN {name}" in plan or f"Seq Scan on {name}" in plan for name in growing)]
    assert [plan for plan in whole if "INDEX" not in plan] == []


async def test_a_database_that_is_away() -> None:
    async with served("postgresql://someone:hidden-word@127.0.0.1:1/nowhere") as client:
        answer = await client.get("/metrics")
    assert (answer.status_code, answer.text) == (503, "the database is away\n")


async def test_a_database_that_hangs_is_looked_at_once_and_holds_up_nobody(postgres_mirror: str) -> None:
    with psycopg.connect(postgres_mirror) as blocking:
        blocking.execute("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
        async with served(postgres_mirror, patience=2) as client:
            asking = [asyncio.create_task(client.get("/metrics")) for _ in range(5)]
            missing = await client.get("/nothing")
            assert missing.status_code == 404 and not any(task.done() for task in asking), "the loop is free meanwhile"
            answers = await asyncio.gather(*asking)
            waiting = blocking.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
            blocking.rollback()
            async with asyncio.timeout(20):
                while (await client.get("/metrics")).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
    assert {answer.status_code for answer in answers} == {503}
    assert waiting == (1,)


def _ago(minutes: int) -> datetime:
    return NOW - timedelta(minutes=minutes)


def _push(conn: Any, platform: str, status: str, minutes: int, *, lane: int) -> None:
    row = {"platform": platform, "operation": "patch_contact", "payload": {}, "status": status, "lane": lane}
    conn.execute(insert(t.outbox).values(**row, created_at=_ago(minutes), updated_at=NOW))


async def test_a_failed_run_is_no_success(mirror: str) -> None:
    database = Database(mirror)
    with database.begin() as conn:
        at = datetime(2027, 1, 1, tzinfo=UTC)
        row = {"kind": "sync", "outcome": "failed", "started_at": at, "finished_at": at, "counts": {}}
        conn.execute(insert(t.runs).values(row))
    database.close()
    async with served(mirror) as client:
        found = await scraped(client)
    assert found["contact_bridge_last_success_timestamp_seconds", ("sync",)] < at.timestamp()
