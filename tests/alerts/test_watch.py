"""Alerts as whoever is on call gets them: by a real HTTP server, by a real program, from a real mirror."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import delete, insert, select

from service import app, settings
from service.alerts import channels, watch
from service.alerts.watch import Watch, after_command, look
from service.bridge import Bridge, local_now
from service.errors import DatabaseError
from service.platforms.onvoard.client import OnVoard
from service.store import cursors
from service.store import tables as t
from service.store.database import Database
from service.store.lease import lease
from tests.cycle.world import FAST
from tests.sandbox.receiver import Receiver, receiving
from tests.web.dashboard import NOWHERE, at_home

SECRET = "what-signs-alerts"
PROGRAM = """
import json, os, sys
with open(sys.argv[1], "a") as out:
    out.write(json.dumps({"message": json.load(sys.stdin), "environment": dict(os.environ)}) + "\\n")
"""


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "EVERY", 0.02)
    monkeypatch.setattr(watch, "FIRST_WAIT", 0.05)


@pytest.fixture
def receiver() -> Any:
    with receiving(Receiver()) as listening:
        yield listening


def ended(db: Database, outcome: str, kind: str = "contacts", **counts: Any) -> None:
    with db.begin() as conn:
        cursors.finish_run(conn, cursors.start_run(conn, kind, local_now()), outcome, counts, local_now())


def hold(db: Database, *, opt_outs: int) -> None:
    with db.begin() as conn:
        row = {"platform": "onvoard", "since": local_now(), "changed": 60, "linked": 100, "reason": "60 of 100"}
        conn.execute(insert(t.holds).values(**row, run_id=1))
        for number in range(60):
            lane = 0 if number < opt_outs else 2
            push = {"platform": "onvoard", "operation": "patch_contact", "payload": {"name": "Ann"}, "status": "held"}
            conn.execute(insert(t.outbox).values(person_id=number, lane=lane, created_at=local_now(), **push))


@asynccontextmanager
async def watching(db: Database, **alerts: Any) -> AsyncIterator[Bridge]:
    """A daemon's watch."""
    overrides = {f"alerts.{name}": value for name, value in ({"after": "0s"} | alerts).items()}
    loaded = settings.load(overrides, environ=at_home(NOWHERE))
    async with app.open_bridge(loaded, db) as bridge:
        watch = Watch(bridge)
        watch.start()
        yield bridge
        await watch.stop()


async def until(what: Callable[[], Any], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def told(receiver: Receiver) -> list[tuple[str, list[str]]]:
    return [(body["event"], [each["key"] for each in body["problems"]]) for body in receiver.events()]


async def test_a_failure_and_its_end_are_told_once_each(mirror_url: str, receiver: Receiver) -> None:
    db = Database(mirror_url)
    async with watching(db, url=receiver.url, secret=SECRET):
        await asyncio.sleep(0.1)
        assert receiver.got == []
        ended(db, "failed")
        await until(lambda: receiver.got)
        ended(db, "failed")
        await asyncio.sleep(0.2)
        ended(db, "ok")
        await until(lambda: len(receiver.got) == 2)
        await asyncio.sleep(0.1)
    db.close()
    assert told(receiver) == [("degraded", ["run:contacts"]), ("recovered", ["run:contacts"])]
    headers, body = receiver.got[0]
    assert headers["x-contact-bridge-signature"] == "sha256=" + hmac.new(
        SECRET.encode(), body, hashlib.sha256
    ).hexdigest()
    first, last = receiver.events()
    assert (first["open"], last["open"]) == (1, 0)
    assert first["id"] != last["id"]
    [problem] = first["problems"]
    assert problem["details"] == {"run_id": 1, "kind": "contacts", "outcome": "failed", "streams": {}}
    assert problem["next"] == "contact-bridge status" and problem["since"].endswith("Z")
    assert last["problems"][0]["until"] >= problem["since"]


async def test_after_a_restart_nothing_is_told_again(sqlite_mirror: str, receiver: Receiver) -> None:
    db = Database(sqlite_mirror)
    ended(db, "failed")
    async with watching(db, url=receiver.url):
        await until(lambda: receiver.got)
    async with watching(db, url=receiver.url):
        await asyncio.sleep(0.2)
        assert len(receiver.got) == 1
        ended(db, "ok")
        await until(lambda: len(receiver.got) == 2)
    db.close()
    assert [event for event, _ in told(receiver)] == ["degraded", "recovered"]


async def test_what_is_being_delivered_at_the_end_is_not_delivered_again(sqlite_mirror: str) -> None:
    db, got = Database(sqlite_mirror), list[bytes]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\r\n\r\n"))
        await asyncio.sleep(0.3)
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1") as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        ended(db, "failed")
        async with watching(db, url=url):
            await until(lambda: got)
        assert left(db) == []
    db.close()


async def test_two_processes_on_one_mirror_tell_it_once(mirror_url: str, receiver: Receiver) -> None:
    db, other = Database(mirror_url), Database(mirror_url)
    async with watching(db, url=receiver.url), watching(other, url=receiver.url):
        ended(db, "failed")
        await until(lambda: receiver.got)
        await asyncio.sleep(0.3)
        assert len(receiver.got) == 1
        await after_command(settings.load({"alerts.url": receiver.url}, environ={}), other)
    db.close()
    other.close()
    assert len(receiver.got) == 1


async def test_held_opt_outs_and_denied_credentials_wait_for_nothing(sqlite_mirror: str, receiver: Receiver) -> None:
    db = Database(sqlite_mirror)
    async with watching(db, url=receiver.url, after="1h"):
        ended(db, "failed")
        ended(db, "denied", "reviews", denied_by="onvoard")
        await until(lambda: receiver.got)
        hold(db, opt_outs=3)
        await until(lambda: len(receiver.got) == 2)
        await asyncio.sleep(0.1)
    db.close()
    assert told(receiver) == [
        ("degraded", ["denied:onvoard"]), ("degraded", ["held:onvoard", "held_opt_outs:onvoard"])
    ]  # fmt: skip
    assert receiver.events()[1]["problems"][1]["details"]["opt_outs"] == 3
    assert b"Ann" not in receiver.got[1][1]


async def test_opt_outs_that_join_what_is_held_are_told(sqlite_mirror: str, receiver: Receiver) -> None:
    db = Database(sqlite_mirror)
    async with watching(db, url=receiver.url):
        hold(db, opt_outs=0)
        await until(lambda: receiver.got)
        with db.begin() as conn:
            conn.execute(t.outbox.update().where(t.outbox.c.person_id == 7).values(lane=0))
        await until(lambda: len(receiver.got) == 2)
    db.close()
    assert told(receiver) == [("degraded", ["held:onvoard"]), ("degraded", ["held_opt_outs:onvoard"])]


async def test_what_was_not_delivered_is_tried_again_in_its_order(sqlite_mirror: str) -> None:
    db = Database(sqlite_mirror)
    with receiving(Receiver(statuses=[500, 302, 503])) as receiver:
        async with watching(db, url=receiver.url):
            ended(db, "failed")
            await until(lambda: receiver.got)
            ended(db, "ok")
            await until(lambda: len(receiver.got) == 5)
            await until(lambda: not left(db))
    db.close()
    assert [event for event, _ in told(receiver)] == ["degraded"] * 4 + ["recovered"]
    assert len({body["id"] for body in receiver.events()}) == 2


async def test_what_was_not_delivered_waits_before_it_is_tried_again(
    sqlite_mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "FIRST_WAIT", 60.0)
    db = Database(sqlite_mirror)
    ended(db, "failed")
    with receiving(Receiver(always=500)) as receiver:
        async with watching(db, url=receiver.url):
            await until(lambda: receiver.got)
            await asyncio.sleep(0.2)
    [row] = left(db)
    assert len(receiver.got) == row.attempts == 1
    assert timedelta(seconds=59) < row.due_at - row.created_at < timedelta(seconds=70)
    db.close()


def left(db: Database) -> list[Any]:
    with db.begin(write=False) as conn:
        return list(conn.execute(select(t.alert_messages)))


async def test_a_program_gets_it_on_standard_input_and_none_of_our_secrets(
    sqlite_mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db, out, script = Database(sqlite_mirror), tmp_path / "out", tmp_path / "page.py"
    script.write_text(PROGRAM)
    monkeypatch.setenv("BRIDGE_ONVOARD__API_KEY", "a-secret")
    monkeypatch.setenv("PGPASSWORD", "another")
    async with watching(db, command=[sys.executable, str(script), str(out)]):
        ended(db, "suspiciously empty")
        await until(lambda: out.exists() and out.read_text().endswith("\n"))
    db.close()
    [line] = [json.loads(line) for line in out.read_text().splitlines()]
    assert line["message"]["problems"][0]["next"] == "contact-bridge sync --full --allow-mass-change"
    assert not [name for name in line["environment"] if name.startswith(("BRIDGE_", "PG"))]
    assert line["environment"]["PATH"] == os.environ["PATH"]


async def test_a_program_that_hangs_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "PATIENCE", 0.3)
    child = tmp_path / "child"
    why = await channels.run(["/bin/sh", "-c", f"sleep 60 & echo $! > {child}; wait"], b"{}")
    assert why == "took longer than 0.3 s"
    number = int(child.read_text())
    await until(lambda: not Path(f"/proc/{number}").exists() or " Z " in Path(f"/proc/{number}/stat").read_text())


@pytest.mark.parametrize(
    ("argv", "why"),
    [(["/no/such/program"], "cannot be run: No such file or directory"), (["/bin/sh", "-c", "exit 3"], "ended with 3")],
)
async def test_why_a_program_did_not_take_it(argv: list[str], why: str) -> None:
    assert await channels.run(argv, b"{}") == why


async def test_why_an_address_did_not_take_it_and_never_which() -> None:
    with receiving(Receiver(always=404)) as receiver:
        assert await channels.post(receiver.url, None, b"{}") == "answered 404"
    assert await channels.post("http://127.0.0.1:1/token", None, b"{}") == "no answer (ConnectError)"


async def test_a_command_that_ends_tells_at_once_and_a_good_one_the_recovery(
    sqlite_mirror: str, receiver: Receiver
) -> None:
    db, loaded = Database(sqlite_mirror), settings.load({"alerts.url": receiver.url}, environ={})
    for outcome in ("failed", "failed", "ok", "ok"):
        ended(db, outcome, "sync")
        await after_command(loaded, db)
    db.close()
    assert told(receiver) == [("degraded", ["run:sync"]), ("recovered", ["run:sync"])]


async def test_a_command_that_ends_tries_more_than_once(sqlite_mirror: str) -> None:
    db = Database(sqlite_mirror)
    ended(db, "failed", "sync")
    with receiving(Receiver(statuses=[500])) as receiver:
        await after_command(settings.load({"alerts.url": receiver.url}, environ={}), db)
    assert len(receiver.got) == 2 and left(db) == []
    db.close()


async def test_a_run_that_somebody_sat_in_front_of_is_nothing_to_tell(sqlite_mirror: str, receiver: Receiver) -> None:
    db, loaded = Database(sqlite_mirror), settings.load({"alerts.url": receiver.url}, environ={})
    for kind in ("plan", "backfill", "import"):
        ended(db, "failed", kind)
    ended(db, "interrupted", "contacts")
    with db.begin() as conn:
        conn.execute(insert(t.conflicts).values(kind="identity", status="open", created_at=local_now()))
    await after_command(loaded, db)
    db.close()
    assert receiver.got == [], "and conflicts are a to-do"


async def test_a_database_that_is_away_is_told_from_memory(
    sqlite_mirror: str, receiver: Receiver, tmp_path: Path
) -> None:
    """And by one process of two."""
    db, other = Database(sqlite_mirror), Database(sqlite_mirror)
    async with watching(db, url=receiver.url), watching(other, url=receiver.url):
        await until(lambda: leases(db))
        file = db.file
        assert file is not None
        away = file.with_suffix(".away")
        _move(file, away)
        file.mkdir()
        await until(lambda: [each.engine.dispose() for each in (db, other)] and receiver.got)
        await asyncio.sleep(0.1)
        file.rmdir()
        _move(away, file)
        await until(lambda: len(receiver.got) == 2)
        ended(db, "failed")
        await until(lambda: len(receiver.got) == 3)
    db.close()
    other.close()
    assert [keys for _, keys in told(receiver)] == [["database"], ["database"], ["run:contacts"]]
    assert [event for event, _ in told(receiver)] == ["degraded", "recovered", "degraded"]


async def test_it_goes_on_when_its_connections_were_lost(postgres_mirror: str, receiver: Receiver) -> None:
    db = Database(postgres_mirror)
    async with watching(db, url=receiver.url, after="0s"):
        ended(db, "failed")
        await until(lambda: receiver.got)
        with psycopg.connect(postgres_mirror, autocommit=True) as server:
            others = "datname = current_database() AND pid <> pg_backend_pid()"
            server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
        await until(lambda: _ended_again(db), 20)
        await until(lambda: ("recovered", ["run:contacts"]) in told(receiver), 20)
    db.close()


def _ended_again(db: Database) -> bool:
    try:
        ended(db, "ok")
    except DatabaseError:
        return False
    return True


def _move(mirror: Path, to: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        if (part := Path(f"{mirror}{suffix}")).exists():
            part.rename(f"{to}{suffix}")


def leases(db: Database) -> list[Any]:
    with db.begin(write=False) as conn:
        return list(conn.execute(select(t.leases).where(t.leases.c.name == watch.LEASE)))


async def test_a_platform_that_does_not_answer_is_told(sqlite_mirror: str, receiver: Receiver) -> None:
    db = Database(sqlite_mirror)
    loaded = settings.load({"alerts.url": receiver.url, "alerts.after": "0s"}, environ=at_home(NOWHERE))
    async with app.open_bridge(loaded, db) as bridge, OnVoard(loaded.onvoard.base_url, "key", limits=FAST) as silent:
        watched = Watch(replace(bridge, onvoard=silent))
        watched.start()
        await asyncio.sleep(0.1)
        assert receiver.got == []
        await asyncio.gather(*(silent.contacts.list() for _ in range(8)), return_exceptions=True)
        await asyncio.gather(*(silent.contacts.list() for _ in range(8)), return_exceptions=True)
        await until(lambda: receiver.got)
        await watched.stop()
    db.close()
    assert told(receiver) == [("degraded", ["away:onvoard"])]
    assert receiver.events()[0]["problems"][0]["what"] == "OnVoard does not answer"


async def test_nothing_is_kept_where_nobody_is_to_be_told(sqlite_mirror: str) -> None:
    db = Database(sqlite_mirror)
    ended(db, "failed")
    async with watching(db):
        await asyncio.sleep(0.1)
        assert leases(db) == []
    await after_command(settings.load(environ={}), db)
    with db.begin(write=False) as conn:
        assert list(conn.execute(select(t.alerts))) == []
    db.close()


async def test_everything_that_is_wrong_is_found_and_written_once(mirror_url: str, receiver: Receiver) -> None:
    """And a second look writes nothing."""
    db, loaded = Database(mirror_url), settings.load({"alerts.url": receiver.url}, environ={})
    now = local_now()
    with db.begin() as conn:
        push = {"platform": "onvoard", "operation": "patch_contact", "payload": {}, "lane": 2, "status": "dead"}
        conn.execute(insert(t.outbox).values(person_id=1, created_at=now, **push))
        old = {"lower": now - timedelta(days=9), "upper": now - timedelta(days=3), "pages": 1}
        piece = {"stream": "contacts", "swept_at": now - timedelta(days=2), "due_at": now, **old}
        conn.execute(insert(t.sweep_slices).values(**piece))
    silent = {"onvoard": now, "digital_onboarding": None}
    await look(db, loaded, now, silent, timedelta())
    with db.begin(write=False) as conn:
        keys = [row.key for row in conn.execute(select(t.alerts).order_by(t.alerts.c.key))]
    assert keys == ["away:onvoard", "dead_letters", "late:onvoard.contacts"]
    await look(db, loaded, now + timedelta(seconds=5), silent, timedelta())
    assert len(left(db)) == 1
    with db.begin() as conn:
        conn.execute(delete(t.alerts))
    async with lease(db, watch.LEASE):
        await after_command(loaded, db)
    assert len(left(db)) == 1, "somebody else is at it"
    db.close()
