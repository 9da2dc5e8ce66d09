"""Metrics: scraped over real HTTP, from real databases, read by Prometheus' own parser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert
from starlette.applications import Starlette

from service import settings
from service.store import migrate, verifications
from service.store import tables as t
from service.store.database import Database
from service.store.verifications import Verification
from service.web.metrics import Metrics
from service.web.server import address, listen, serving
from tests.cli.filled import NOW, fill

TOKEN = "a-long-random-token"


@asynccontextmanager
async def served(url: str, patience: float = 8.0, **overrides: Any) -> AsyncIterator[httpx.AsyncClient]:
    loaded = settings.load({"web.port": 0, **overrides}, environ={})
    database = Database(url)
    listening = listen(settings.load({"web.port": 0}, environ={}))
    app = Starlette(routes=Metrics(loaded, database, lambda: NOW, patience).routes)
    async with serving(app, listening), httpx.AsyncClient(base_url=address(listening), trust_env=False) as client:
        yield client
    database.close()


@pytest.fixture
def mirror(database_url: str) -> str:
    database = Database(database_url)
    migrate.upgrade(database)
    with database.begin() as conn:
        fill(conn)
        for age, wrong in ((2, 5), (1, 3)):
            at = NOW - timedelta(hours=age)
            row = Verification(1, "onvoard.contacts", 200, wrong, 0, 0, 0, wrong / 200, 0.001, 0.05, False, False, at)
            verifications.record(conn, row)
    database.close()
    return database_url


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
    assert found["contact_bridge_outbox_pushes", ("digital_onboarding", "pending")] == 2
    assert found["contact_bridge_outbox_pushes", ("onvoard", "unknown")] == 0
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


async def test_an_empty_mirror(database_url: str) -> None:
    database = Database(database_url)
    migrate.upgrade(database)
    database.close()
    async with served(database_url) as client:
        found = await scraped(client)
    assert found["contact_bridge_outbox_pushes", ("onvoard", "pending")] == 0
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


async def test_a_database_that_is_away() -> None:
    async with served("postgresql://someone:hidden-word@127.0.0.1:1/nowhere") as client:
        answer = await client.get("/metrics")
    assert (answer.status_code, answer.text) == (503, "the database is away\n")


async def test_a_database_that_hangs_is_looked_at_once_and_holds_up_nobody(postgres_database: str) -> None:
    database = Database(postgres_database)
    migrate.upgrade(database)
    database.close()
    with psycopg.connect(postgres_database) as blocking:
        blocking.execute("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
        async with served(postgres_database, patience=0.5) as client:
            began = asyncio.get_running_loop().time()
            asking = [asyncio.create_task(client.get("/metrics")) for _ in range(5)]
            missing = await client.get("/nothing")  # the loop is free meanwhile
            assert missing.status_code == 404 and asyncio.get_running_loop().time() - began < 0.4
            answers = await asyncio.gather(*asking)
            waiting = blocking.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
            blocking.rollback()
            await asyncio.sleep(0.2)
            assert (await client.get("/metrics")).status_code == 200
    assert {answer.status_code for answer in answers} == {503}
    assert waiting == (1,)


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
