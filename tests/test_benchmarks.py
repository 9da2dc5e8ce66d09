"""The benchmark itself: that it runs and counts what it says. No timing is asserted, here or anywhere."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from benchmarks import databases, peers, report, world
from benchmarks.__main__ import arguments
from benchmarks.peers import BRIDGE, PLAIN


def test_the_world_is_the_same_every_time_and_newest_first() -> None:
    first, again = world.contacts(600), world.contacts(600)
    assert first.rendered == again.rendered
    assert first.keys == sorted(first.keys)
    assert len(set(first.keys)) == 600


def test_a_page_holds_what_lies_strictly_between_two_seconds() -> None:
    records = world.contacts(600)
    moments = [-key / 1_000_000 for key in records.keys]
    before, after = int(moments[300]), int(moments[500])
    wanted = [i for i, moment in enumerate(moments) if after < moment < before]
    found = [json.loads(records.page(number, 100, before, after))["results"] for number in (1, 2, 3, 4)]
    assert [record["id"] for page in found for record in page] == [f"ct_{i:015d}" for i in wanted]


def test_several_pages_share_one_second() -> None:
    seconds = [-key // 1_000_000 for key in world.contacts(600).keys]
    assert max(seconds.count(second) for second in set(seconds)) > 200


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_everybody_pulls_every_record(kind: str, postgres_url: str, tmp_path: Path) -> None:
    with peers.world(520, 20, 130, latency_ms=1) as served:
        with urllib.request.urlopen(f"{served.url}/v2/contacts?page=2") as answer:
            assert len(json.load(answer)["results"]) == 10  # the platform's default page size
        costs = [peers.run(peer, kind, served, postgres_url) for peer in (BRIDGE, PLAIN)]
    assert all(cost.records == 670 and cost.memory > 0 and cost.cpu > 0 for cost in costs)
    assert costs[1].served == 6 + 1 + 2
    shown = report.table(costs)
    assert BRIDGE in shown and PLAIN in shown and "1.00" in shown


def test_quick_is_a_hundredth_of_what_was_asked_for() -> None:
    asked = arguments(["--quick", "--contacts", "5000"])
    assert (asked.contacts, asked.reviews, asked.activities, asked.rounds) == (50, 500, 2_000, 1)


def test_a_missing_record_ends_the_benchmark(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "counts", lambda url: {"contacts": 0, "reviews": 0, "activities": 0})
    with peers.world(10, 10, 10, latency_ms=0) as served, pytest.raises(SystemExit, match="should have been"):
        peers.run(PLAIN, "sqlite", served, postgres_url)
