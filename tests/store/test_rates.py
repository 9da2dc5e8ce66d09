"""The shared rate: spans of time that never overlap, on both databases, with threads and with real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import DatabaseUnavailable, OutcomeUnknown, PlatformError, Rejected, ServerFailed, TooLarge
from service.store import cursors, rates
from service.store.database import Connection, Database
from service.store.rates import AHEAD, SharedBucket

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
SPAN = timedelta(seconds=0.5)
CALL = "POST /v1/contacts"


@pytest.fixture(scope="module")
def mirror(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with closing(Database(f"sqlite:///{shutil.copy(sqlite_template, tmp_path_factory.mktemp('mirror'))}")) as db:
        yield db


class _Undone(Exception):
    pass


def reserve(db: Database, platform: str, now: datetime) -> tuple[float, bool]:
    with db.begin() as conn:
        return rates.reserve(conn, platform, SPAN, now)


def test_spans_follow_each_other_without_a_gap_or_an_overlap(db: Database) -> None:
    assert [reserve(db, "onvoard", NOW) for _ in range(3)] == [(0.0, False), (0.5, False), (1.0, False)]
    assert reserve(db, "digital_onboarding", NOW) == (0.0, False), "each platform has its own"
    assert reserve(db, "onvoard", NOW + timedelta(seconds=60)) == (0.0, False), "what nobody used is not made up for"


SECONDS = st.floats(0, 20).map(lambda seconds: timedelta(seconds=seconds))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(SECONDS, st.sampled_from([0.5, 0.5, 10.0]), st.booleans()), max_size=25))
def test_no_two_reservations_overlap_and_none_lies_in_a_pause(
    mirror: Database, asked: list[tuple[timedelta, float, bool]]
) -> None:
    taken: list[tuple[datetime, datetime]] = []
    pauses: list[tuple[datetime, datetime]] = []
    with pytest.raises(_Undone), mirror.begin() as conn:
        for after, seconds, is_pause in sorted(asked):
            now, span = NOW + after, timedelta(seconds=seconds)
            if is_pause:
                rates.pause(conn, "onvoard", now + span, now)
                pauses.append((now, now + span))
                continue
            wait, paused = rates.reserve(conn, "onvoard", span, now)
            assert paused == any(begins <= now < ends for begins, ends in pauses)
            begins = now + timedelta(seconds=wait)
            if paused:
                assert begins == max(ends for _, ends in pauses)
            else:
                taken.append((begins, begins + span))
        raise _Undone
    for (_, ends), (begins, _) in pairwise(taken):
        assert begins >= ends


def test_a_pause_is_never_shortened(db: Database) -> None:
    with db.begin() as conn:
        rates.pause(conn, "onvoard", NOW + timedelta(seconds=60), NOW)
        rates.pause(conn, "onvoard", NOW + timedelta(seconds=5), NOW)
    assert reserve(db, "onvoard", NOW) == (60.0, True)
    assert reserve(db, "onvoard", NOW + timedelta(seconds=60)) == (0.0, False)


def test_a_clock_that_was_wrong_holds_nobody_up_for_long(db: Database) -> None:
    wrong = NOW + timedelta(days=365)
    with db.begin() as conn:
        rates.pause(conn, "onvoard", wrong + timedelta(seconds=60), wrong)
    assert [reserve(db, "onvoard", NOW) for _ in range(2)] == [(0.0, False), (0.5, False)]
    with db.begin() as conn:
        rates.pause(conn, "onvoard", NOW + AHEAD, NOW + AHEAD / 2)
    assert reserve(db, "onvoard", NOW) == (60.0, True), "clocks that differ a little are believed"


async def test_the_bucket_keeps_to_the_clock_it_was_given(db: Database) -> None:
    first, second = (SharedBucket(db, "onvoard", lambda: NOW) for _ in range(2))
    assert [await first.reserve(0.5), await second.reserve(2.0), await first.reserve(0.5)] == [
        (0.0, False), (0.5, False), (2.5, False),
    ]  # fmt: skip
    await second.pause(30)
    assert await first.reserve(0.5) == (30.0, True)


async def test_asking_makes_no_database_file(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'mirror.db'}")
    bucket = SharedBucket(db, "onvoard", lambda: NOW)
    for asking in (bucket.reserve(0.5), bucket.pause(1)):
        with pytest.raises(DatabaseUnavailable):
            await asking
    assert not os.listdir(tmp_path)
    db.close()


PROCESS = """
import asyncio, sys, time
from service.platforms.pace import Limits, Pace
from service.bridge import local_now
from service.store.database import Database
from service.store.rates import SharedBucket

async def main():
    db = Database(sys.argv[1])
    pace = Pace("onvoard", Limits(requests_per_second=40, bucket=SharedBucket(db, "onvoard", local_now)), local_now)
    async def ask():
        async with pace.turn("GET /v2/things", 1):
            print(time.time(), flush=True)
    await asyncio.gather(*(ask() for _ in range(60)))
    await pace.aclose()
    db.close()

asyncio.run(main())
"""


def test_three_processes_share_one_rate(mirror_url: str) -> None:
    command = [sys.executable, "-c", PROCESS, mirror_url]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    sent = sorted(float(line) for process in started for line in process.communicate(timeout=60)[0].split())
    assert [process.returncode for process in started] == [0, 0, 0] and len(sent) == 180
    # 180 requests at 40 a second, two blocks of 20 at most at once; each by its own rate would take 1.5 s. A process
    # that waited in vain for a busy database has used a block of its own.
    assert sent[-1] - sent[0] >= (180 - 2 * 20 - 3 * 20) / 40


# How many records a request may hold


def failed(conn: Connection, records: int, error: PlatformError) -> int:
    rates.batch_failed(conn, "digital_onboarding", records, error)
    return size(conn)


def size(conn: Connection, most: int = 500) -> int:
    return rates.batch_size(conn, "digital_onboarding", most)


TOO_LARGE = TooLarge("digital_onboarding", CALL, "", status=413)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TOO_LARGE, 250),
        (OutcomeUnknown("digital_onboarding", CALL, ""), 250),
        (ServerFailed("digital_onboarding", CALL, "", status=504), 250),
        (ServerFailed("digital_onboarding", CALL, "", status=503), 500),
        (Rejected("digital_onboarding", CALL, "", status=422), 500),
    ],
)
def test_what_may_be_too_much_halves_the_batches(db: Database, error: PlatformError, expected: int) -> None:
    with db.begin() as conn:
        assert failed(conn, 500, error) == expected
        assert failed(conn, 1, error) == expected, "one record alone says nothing about how many"


def test_the_size_is_halved_from_what_was_sent_and_never_below_one(db: Database) -> None:
    with db.begin() as conn:
        assert failed(conn, 40, TOO_LARGE) == 20
        assert failed(conn, 500, TOO_LARGE) == 10, "a batch from before the last halving"
        assert [failed(conn, 10, TOO_LARGE) for _ in range(5)] == [5, 2, 1, 1, 1]


def test_full_batches_that_pass_give_a_tenth_back_until_nothing_is_on_record(db: Database) -> None:
    with db.begin() as conn:
        failed(conn, 500, TOO_LARGE)
        rates.batch_passed(conn, "digital_onboarding", 249, 500)
        assert size(conn) == 250, "a smaller one proves nothing"
        steps = 0
        while (before := size(conn)) < 500:
            rates.batch_passed(conn, "digital_onboarding", before, 500)
            assert before < size(conn) <= max(before * 1.1, before + 1)
            steps += 1
        assert 7 <= steps <= 8
        assert cursors.fact(conn, "digital_onboarding.batch_size") is None
        assert size(conn, most=100) == 100, "the setting is the most"
