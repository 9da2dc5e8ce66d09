"""Health over real HTTP, on real databases."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from starlette.applications import Starlette

from service import settings
from service.errors import BridgeError
from service.store import migrate
from service.store.database import Database
from service.web.health import Health
from service.web.server import address, listen, serving


@asynccontextmanager
async def served(
    url: str, *, scheduled: Callable[[], bool] = lambda: True, patience: float = 3.0,
    turns: Callable[[], Any] = tuple,
) -> AsyncIterator[httpx.AsyncClient]:
    database = Database(url)
    listening = listen(settings.load({"web.port": 0}))
    app = Starlette(routes=Health(database, scheduled, patience, turns).routes)
    async with (
        serving(app, listening),
        httpx.AsyncClient(base_url=address(listening), trust_env=False) as client,
    ):
        yield client
    database.close()


async def test_ready_when_everything_is_fit(mirror_url: str) -> None:
    async with served(mirror_url) as client:
        alive, ready = await client.get("/healthz"), await client.get("/readyz")
    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "reasons": []})
    assert ready.headers["cache-control"] == "no-store"
    assert "server" not in ready.headers


async def test_a_database_that_is_not_migrated(database_url: str) -> None:
    async with served(database_url) as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == [
        f"the database is at no migration, and {migrate.head()} is needed: contact-bridge db upgrade"
    ]


async def test_all_reasons_at_once_and_none_names_a_host() -> None:
    url = "postgresql://someone:hidden-word@127.0.0.1:1/nowhere"
    async with served(url, scheduled=lambda: False) as client:
        answer, alive = await client.get("/readyz"), await client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["the scheduler is not running", "the database cannot be reached"]
    assert alive.status_code == 200


async def test_a_database_that_hangs_is_looked_at_once(postgres_mirror: str) -> None:
    with psycopg.connect(postgres_mirror) as blocking:
        blocking.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        async with served(postgres_mirror, patience=0.3) as client:

            async def asked() -> tuple[int, int]:
                """The answer's status, and how many looks wait after it."""
                answer = await client.get("/readyz")
                (waiting,) = blocking.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() or ()
                return answer.status_code, waiting

            async def until(expected: tuple[int, int]) -> None:
                while await asked() != expected:
                    pass

            await asyncio.wait_for(until((503, 1)), 30)  # the first look may still be connecting when it is given up
            answers = await asyncio.gather(*(client.get("/readyz") for _ in range(5)))
            assert await asked() == (503, 1)
            blocking.rollback()
            await asyncio.wait_for(until((200, 0)), 30)
    assert {answer.status_code for answer in answers} == {503}
    assert answers[0].json()["reasons"] == ["the database has not answered for 0.3 s"]


async def test_nothing_else_is_served(sqlite_url: str) -> None:
    async with served(sqlite_url) as client:
        assert (await client.get("/")).status_code == 404
        assert (await client.post("/healthz")).status_code == 405


def test_a_taken_port_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("BRIDGE_WEB__PORT", str(port))
        with pytest.raises(BridgeError, match=rf"web\.port: {port} on 127\.0\.0\.1 is taken") as caught:
            listen(settings.load())
    assert "BRIDGE_WEB__PORT" in caught.value.hint
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_this_machine(host: str) -> None:
    with pytest.raises(BridgeError, match=r"web\.host: "):
        listen(settings.load({"web.host": host, "web.token": "a-long-random-token", "web.port": 0}))


def test_localhost_is_reached_by_ipv4() -> None:
    with listen(settings.load({"web.host": "localhost", "web.port": 0})) as listening:
        assert address(listening).startswith("http://127.0.0.1:")


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("every", "overdue", "at_work", "ready"),
    [
        (HOUR, 2.9 * HOUR, False, True), (HOUR, 3.1 * HOUR, False, False), (HOUR, 9 * HOUR, True, True),
        (timedelta(seconds=5), timedelta(minutes=4), False, True), (timedelta(seconds=5), HOUR / 10, False, False),
        (HOUR, None, False, True), ("cron: 0 4 * * *", HOUR / 10, False, False), (HOUR, -HOUR, False, True),
    ],
)  # fmt: skip
async def test_a_job_to_which_the_scheduler_gives_no_turn(
    sqlite_mirror: str, every: Any, overdue: timedelta | None, at_work: bool, ready: bool
) -> None:
    due = None if overdue is None else datetime.now(UTC) - overdue
    turn = {"name": "contacts", "every": every, "next_run_at": due, "at_work": at_work}
    async with served(sqlite_mirror, turns=lambda: [turn]) as client:
        answer = await client.get("/readyz")
    assert answer.status_code == (200 if ready else 503)
    since = due.isoformat(timespec="seconds") if due else ""
    told = [f"the job contacts has been due since {since}, and was not begun"]
    assert answer.json()["reasons"] == ([] if ready else told)
