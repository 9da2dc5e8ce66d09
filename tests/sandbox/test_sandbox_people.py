"""The generated world, and exports of Digital Onboarding."""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from service.sandbox import Sandbox, World, build_world, export_csv

_NOBODY = "neither unique_id nor email"
NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(7, NOW)


def test_the_same_seed_makes_the_same_world(world: World) -> None:
    assert build_world(7, NOW) == world
    assert build_world(8, NOW).people != world.people


@pytest.mark.parametrize("seed", range(5))
def test_the_world_is_large_and_messy_for_any_seed(seed: int) -> None:
    world = build_world(seed, NOW)
    bank = [each["fields"] for each in world.digital_onboarding]
    emails = Counter(each["email"].lower() for each in bank if "email" in each)
    shop = {each["email"] for each in world.onvoard}
    assert len(world.people) >= 300 and len(world.reviews) == 200 and len(world.activities) == 1000
    assert len({each["unique_id"] for each in bank}) == len(bank)
    assert sum(count == 2 for count in emails.values()) == 5
    assert sum("email" not in each for each in bank) == 16
    assert sum("email" in each and each["email"] not in shop and each["email"].lower() in shop for each in bank) >= 15
    assert sum(each["unique_id"].startswith("CIF-") for each in bank) >= 60
    assert sum("+" in each for each in shop) >= 15
    assert sum(each["unsubscribe_email"] for each in bank) >= 12
    assert sum(each["suppressed"] for each in world.onvoard) == 7
    assert sum(not each["exported"] for each in world.digital_onboarding) == 8
    assert all(each["modified"] < NOW and each["created"] < each["modified"] for each in world.onvoard)
    assert any(not each["fields"]["name"].isascii() for each in world.onvoard)


def test_it_loads_into_both_platforms_as_generated(world: World) -> None:
    with Sandbox() as sandbox:
        sandbox.load_world(7, NOW)
        with httpx.Client(base_url=sandbox.onvoard_url, headers={"X-API-Key": sandbox.api_key}) as client:
            query = {"page_size": 100}
            pages = [client.get("/v2/contacts", params={**query, "page": n}).json()["results"] for n in (1, 2, 3)]
            contacts = [each for page in pages for each in page]
            assert len(contacts) == len(world.onvoard) == len({each["id"] for each in contacts})
            assert sum(each["suppressed"] for each in contacts) == 7
            times = [each["created_datetime"] for each in contacts]
            assert times == sorted(times, reverse=True)
            reviews = client.get("/v2/reviews", params=query).json()["results"]
            keys = {key for r in reviews for a in r["assets"] for key in a["image_media"] if key.startswith("created")}
            assert keys == {"created_datetime", "created_timestamp"}
            summaries = client.get("/v2/product-reviews-summaries", params=query).json()["results"]
            assert len(summaries) == 12 and all(each["num_reviews"] for each in summaries)
        assert len(sandbox.digital_onboarding.contacts) == len(world.digital_onboarding)
        assert len(sandbox.onvoard.activities) == 1000 and len(sandbox.onvoard.reviews) == 200
        assert len(sandbox.digital_onboarding.templates) == 4 and len(sandbox.digital_onboarding.objectives) == 14
        assert sandbox.digital_onboarding.completions and sandbox.digital_onboarding.journeys


def test_an_export_lacks_a_few_and_loads_again() -> None:
    with Sandbox() as sandbox:
        sandbox.load_world(7, NOW)
        text = export_csv(sandbox.digital_onboarding)
        rows = {row["unique_id"]: row for row in csv.DictReader(io.StringIO(text))}
        missing = sandbox.digital_onboarding.id_by_unique_id.keys() - rows.keys()
        assert len(missing) == 8
        before = {each["unique_id"]: each for each in sandbox.digital_onboarding.contact_list()}
        done = {each: sandbox.digital_onboarding.completions_of(each) for each in rows}
    other = Sandbox()
    report = other.load_export(text)
    assert (report.loaded, report.problems) == (len(rows), [])
    for unique_id in rows:
        assert other.digital_onboarding.contact(unique_id) == before[unique_id]
        assert other.digital_onboarding.completions_of(unique_id) == done[unique_id]


def test_a_bad_row_of_an_export_is_named_by_its_first_line() -> None:
    text = (
        "\ufeffunique_id,email,address,meta_public,inserted_at,branch-visit\r\n"
        '1,a@example.com,"two\nlines",,2026-01-01T00:00:00Z,true\r\n'
        "2,nobody,,,,\r\n"
        "3,c@example.com,,{oops,,\r\n"
        "4,d@example.com,,,never,\r\n"
        "5,e@example.com\r\n"
        '6,f@example.com,,"{""a"": 1}",,\r\n'
    )
    sandbox = Sandbox()
    report = sandbox.load_export(text)
    state = sandbox.digital_onboarding
    assert report.loaded == 2
    assert [each.split(":")[0] for each in report.problems] == ["line 4", "line 5", "line 6", "line 7"]
    assert set(state.id_by_unique_id) == {"1", "6"}
    assert state.contact("1")["address"] == "two\nlines" and state.contact("6")["meta_public"] == {"a": 1}
    assert state.completions_of("1").keys() == {"branch-visit"}
    assert state.contact("1")["inserted_at"].startswith("2026-01-01")


def test_what_an_export_does_not_say_clearly_is_no_guess() -> None:
    text = (
        "id,unique_id,email, unsubscribe_email ,estatements,branch-visit\n"
        "a,1,a@example.com,perhaps,,\n"
        "\n"
        "b,2,b@example.com, TRUE ,no,done\n"
        'c,3,"c@example.com,,,\n'
        "d,4,d\udcff@example.com,,,\n"
        "e,,,,,\n"
        "b,2,b@example.com,,2026-01-02,\n"
        "b,5,,,,\n"
        "f,2,,,,\n"
    )
    sandbox = Sandbox()
    report = sandbox.load_export(text)
    assert [each.split(": ")[0] for each in report.problems] == [f"line {n}" for n in (2, 5, 6, 7, 9, 10)]
    assert [each.split(": ")[1] for each in report.problems[:4]] == ["unsubscribe_email", "not CSV", "email", _NOBODY]
    shown = sandbox.digital_onboarding.contact_list()
    assert [(each["id"], each["unique_id"], each["unsubscribe_email"]) for each in shown] == [("b", "2", True)]
    assert sandbox.digital_onboarding.completions_of("2").keys() == {"branch-visit", "estatements"}


@pytest.mark.parametrize("header", ["", "name,city", "unique_id;email", "unique_id,unique_id", "email,caf\udce9"])
def test_another_table_is_no_export(header: str) -> None:
    sandbox = Sandbox()
    with pytest.raises(ValueError, match="line 1"):
        sandbox.load_export(f"{header}\n1,a@example.com\n")
    assert sandbox.digital_onboarding.contact_list() == []


def test_edits_can_be_dated() -> None:
    sandbox = Sandbox()
    sandbox.load_world(7, NOW)
    person = next(each for each in sandbox.onvoard.contact_list() if not each["suppressed"])
    yesterday = NOW - timedelta(days=1)
    shown = sandbox.onvoard.edit_contact(person["email"], name="New Name", city="Rome", at=yesterday)
    assert shown["modified_datetime"] == "2026-05-31T12:00:00.000000Z"
    assert (shown["name"], shown["properties"]["city"]) == ("New Name", "Rome")
    sandbox.clock.set(NOW)
    assert sandbox.onvoard.unsubscribe(person["id"])["modified_datetime"].startswith("2026-06-01T12:00:0")
