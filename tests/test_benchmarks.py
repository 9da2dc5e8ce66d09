"""The benchmark itself: that its server is what it says, and that the bridge and the server agree. No timing is
asserted, here or anywhere."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks import environments, place, report, running, scenarios, world
from benchmarks.__main__ import arguments, in_turn
from benchmarks.contestants import BRIDGE, LOAD_LIMIT, PLAIN, SINGER, burst
from benchmarks.measure import Failed
from benchmarks.place import Served
from benchmarks.scenarios import SCENARIOS, Bar
from benchmarks.world import List, Size

SMALL = Size(620, 20, 130)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def files(cache: Path) -> Path:
    return world.made(SMALL, cache)


@pytest.fixture
def server(cache: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(place, "CACHE", cache)
    with place.served(SMALL) as served:
        yield served


def ask(
    served: Served, path: str, method: str = "GET", body: bytes | None = None, key: str = "benchmark"
) -> tuple[int, Any]:
    asked = urllib.request.Request(served.url + path, body, {"X-API-Key": key}, method=method)
    try:
        with urllib.request.urlopen(asked) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers


def ids(page: bytes) -> list[str]:
    return [record["id"] for record in json.loads(b"[" + page + b"]")]


def test_the_world_is_the_same_every_time_newest_first_and_crowded_in_places(files: Path, tmp_path: Path) -> None:
    again = world.made(SMALL, tmp_path)
    assert all((again / each.name).read_bytes() == each.read_bytes() for each in files.iterdir())
    contacts = [json.loads(List(files / "contacts")[number]) for number in range(SMALL.contacts)]
    moments = [contact["created_datetime"] for contact in contacts]
    assert moments == sorted(moments, reverse=True) and len(set(moments)) == SMALL.contacts
    seconds = [moment[:19] for moment in moments]
    assert max(map(seconds.count, set(seconds))) > 200  # more than two pages


def test_a_page_holds_what_lies_strictly_between_two_seconds_whatever_was_changed_or_added(files: Path) -> None:
    contacts = List(files / "contacts")
    contacts[400] = contacts[400].replace(b"Person", b"Edited")
    keys = [-key for key in contacts._keys]
    before, after = keys[300] // 1_000_000, keys[500] // 1_000_000
    wanted = [f"ct_{n:015d}" for n, key in enumerate(keys) if after < key / 1_000_000 < before]
    pages = [contacts.page(number, 100, before, after) for number in (1, 2, 3)]
    assert [each for _, page in pages for each in ids(page)] == wanted
    assert [number for number, _ in pages] == [100, len(wanted) - 100, 0]
    assert b"Edited" in pages[0][1] + pages[1][1]
    contacts.put_on_top(datetime(2026, 2, 1, tzinfo=UTC), b'{"id":"ct_new"}')
    everything = [each for number in range(1, 9) for each in ids(contacts.page(number, 100, None, None)[1])]
    assert everything == ["ct_new", *(f"ct_{n:015d}" for n in range(SMALL.contacts))]


def test_the_server_notices_a_wrong_client(server: Served) -> None:
    assert ask(server, "/v2/contacts?page=7&page_size=100")[1]["current_page"] == 7
    assert len(ask(server, "/v2/contacts")[1]["results"]) == 10  # the platform's default
    assert ask(server, "/v2/contacts", key="another")[0] == 401
    assert ask(server, "/v2/nothing")[0] == ask(server, "/v2/contacts/ct_1")[0] == 404
    assert ask(server, "/v2/contacts?page_size=101")[0] == ask(server, "/v2/contacts?order=name")[0] == 400
    assert ask(server, "/v1/templates")[0] == 401
    assert ask(server, "/v2/contacts/ct_000000000000001", "PATCH", b'{"id": "ct_2"}')[0] == 400
    assert server.count()["refused"] == 7


def test_the_server_limits_the_rate_it_is_told_to(server: Served) -> None:
    server.pace(0.0, requests_per_second=5)
    answers = [ask(server, "/v2/contacts?page_size=1") for _ in range(20)]
    refused = [headers for status, headers in answers if status == 429]
    assert refused and all(headers["Retry-After"] == "1" for headers in refused)
    assert server.count()["limited"] == len(refused)


def test_everybody_pulls_every_record(server: Served, postgres_url: str, tmp_path: Path) -> None:
    present = (BRIDGE, PLAIN, LOAD_LIMIT)
    backfill = BY_NAME["backfill"]
    results = [running.measured(backfill, each, "postgres", server, postgres_url, 0, 0.0) for each in present]
    assert all(result.memory > 10 and result.cpu > 0 and result.wall > 0 for result in results)
    assert [result.requests for result in results[1:]] == [7 + 1 + 2, 0]
    assert results[0].read >= SMALL.records and results[0].refused == 0
    report.write(tmp_path, BY_NAME["resync"], {}, results[:1])
    report.write(tmp_path, BY_NAME["backfill"], {"machine": "a test"}, results)
    said = (tmp_path / "results.md").read_text()
    assert "plain script: bar at least 3, measured" in said and "contact-bridge | 1.00 |" in said
    assert "machine: a test" in said and "## resync" in said  # what was found before stays


def test_what_was_edited_is_all_that_a_full_read_writes(server: Served, postgres_url: str) -> None:
    result = running.measured(BY_NAME["resync"], BRIDGE, "sqlite", server, postgres_url, 0, 0.0)
    assert (result.rows, result.written) == (7, 0)


def test_the_server_takes_and_counts_pushes(server: Served) -> None:
    contact = "/v2/contacts/ct_000000000000001"
    assert ask(server, contact, "PATCH", b'{"properties": {"city": "Bern"}}')[1]["properties"]["city"] == "Bern"
    assert ask(server, contact)[1]["modified_datetime"] > "2026-02"
    made = ask(server, "/v2/contacts/create-or-update", "POST", b'{"email": "new@example.com"}')[1]
    assert ask(server, "/v2/contacts")[1]["results"][0] == made
    assert ask(server, "/v2/contacts?email=NEW@example.com")[1]["results"] == [made]
    counted = server.count()
    assert (counted["written"], counted["calls"]["PATCH /v2/contacts/:id"]) == (2, 1)
    server.reset()
    assert ask(server, "/v2/contacts?email=new@example.com")[1]["results"] == []


def test_upserts_arrive(server: Served, postgres_url: str) -> None:
    result = running.measured(BY_NAME["wire-digital-onboarding"], BRIDGE, "sqlite", server, postgres_url, 0, 0.0)
    assert result.calls == {"POST /oauth2/token": 1, "POST /v1/contacts": 1} and result.written == SMALL.contacts


def test_a_burst_is_answered_kept_and_looked_into_while_a_backfill_runs(server: Served, postgres_url: str) -> None:
    small = replace(BY_NAME["burst"], commands={BRIDGE: burst("--events", "300")}, latency_ms=50.0)
    result = running.measured(small, BRIDGE, "sqlite", server, postgres_url, 0, 0.0)
    assert (result.told["lost"], result.told["refused"]) == (0, 0)
    assert 0 < result.told["pages before"] < result.calls["GET /v2/contacts"]


def test_work_that_was_not_done_is_no_result(server: Served, postgres_url: str) -> None:
    larger = replace(BY_NAME["wire-digital-onboarding"], expected=lambda size: size.contacts + 1)
    with pytest.raises(Failed, match="620 were pushed, and should have been 621"):
        running.measured(larger, BRIDGE, "sqlite", server, postgres_url, 0, 0.0)


def test_ratios_are_taken_within_each_round() -> None:
    def took(who: str, turn: int, wall: float) -> running.Result:
        return running.Result("s", "sqlite", who, turn, 10, wall, 1.0, 0.0, 90.0, 1.0, 0, 0.0, 1, 0, 0, 10, 0, 0, 0, {})

    own = [took(BRIDGE.name, 0, 1.0), took(BRIDGE.name, 1, 10.0), took(PLAIN.name, 0, 3.0), took(PLAIN.name, 1, 20.0)]
    scenario = replace(SCENARIOS[0], bars=(Bar(2.4, PLAIN),))
    assert report.bars(scenario, "sqlite", own)[0] == (
        "times as fast as plain script: bar at least 2.4, measured 2.50 (2.00 to 3.00): met"
    )


def test_quick_is_a_twentieth_and_leaves_the_documented_figures_alone() -> None:
    asked = arguments(["--quick"])
    assert (asked.scale, asked.rounds, asked.out) == (0.05, 1, environments.CACHE / "results")
    assert arguments([]).out == environments.ROOT / "docs" / "benchmarks"


def test_every_other_round_goes_the_other_way_about() -> None:
    first, second = (in_turn(SCENARIOS[0], (BRIDGE, PLAIN, SINGER), "sqlite", turn) for turn in (0, 1))
    assert first == [BRIDGE, PLAIN] and second == first[::-1]


def test_every_bar_names_who_takes_part_and_what_is_measured() -> None:
    for scenario in SCENARIOS:
        for bar in scenario.bars:
            assert bar.figure in report.FIGURES and (bar.versus or BRIDGE) in scenario.commands
            assert bar.versus is None or set(bar.kinds) <= set(bar.versus.kinds)
    assert scenarios.MEMORY.figure in report.FIGURES
