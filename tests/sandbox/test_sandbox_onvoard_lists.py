"""Paging, order and filters of the emulated OnVoard."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from service.sandbox import Sandbox

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def emails(client: httpx.Client, **query: Any) -> list[str]:
    response = client.get("/v2/contacts", params=query)
    assert response.status_code == 200, response.text
    return [each["email"] for each in response.json()["results"]]


@pytest.fixture
def dozen(sandbox: Sandbox) -> Sandbox:
    """Twelve contacts, one a second, each half a second past it."""
    for number in range(12):
        at = START + timedelta(seconds=number, microseconds=500_000)
        sandbox.onvoard.add_contact(f"p{number}@example.com", name=f"Person {number}", at=at)
    return sandbox


def test_pages_are_ten_long_newest_first(dozen: Sandbox, onvoard: httpx.Client) -> None:
    body = onvoard.get("/v2/contacts").json()
    assert (body["current_page"], body["page_size"], len(body["results"])) == (1, 10, 10)
    assert body["results"][0]["email"] == "p11@example.com"
    assert emails(onvoard, page=2) == ["p1@example.com", "p0@example.com"]
    assert emails(onvoard, page=2, page_size=5)[0] == "p6@example.com"


def test_a_page_past_the_end_is_empty_or_404(dozen: Sandbox, onvoard: httpx.Client) -> None:
    assert emails(onvoard, page=3) == []
    dozen.onvoard.settings.past_end = "404"
    assert onvoard.get("/v2/contacts", params={"page": 3}).status_code == 404
    assert onvoard.get("/v2/webhooks").json()["results"] == []


@pytest.mark.parametrize(
    "query",
    [{"page_size": 101}, {"page_size": 0}, {"page": 0}, {"page": "x"}, {"suppressed": "True"}, {"created_after": "y"}],
)
def test_bad_parameters_are_refused(onvoard: httpx.Client, query: dict[str, Any]) -> None:
    assert onvoard.get("/v2/contacts", params=query).status_code == 400


def test_time_filters_are_in_whole_seconds(dozen: Sandbox, onvoard: httpx.Client) -> None:
    second = int(START.timestamp()) + 5
    assert emails(onvoard, created_after=second, created_before=second + 2) == ["p6@example.com", "p5@example.com"]
    dozen.onvoard.settings.boundary = "truncated"
    assert emails(onvoard, created_after=second, created_before=second + 2) == ["p6@example.com"]


def test_the_boundary_may_be_inclusive(sandbox: Sandbox, onvoard: httpx.Client) -> None:
    sandbox.onvoard.add_contact("a@example.com", at=START)
    second = int(START.timestamp())
    assert emails(onvoard, created_after=second) == emails(onvoard, created_before=second) == []
    sandbox.onvoard.settings.boundary = "inclusive"
    assert emails(onvoard, created_after=second) == emails(onvoard, created_before=second) == ["a@example.com"]


def test_filters_of_contacts(dozen: Sandbox, onvoard: httpx.Client) -> None:
    state = dozen.onvoard
    news = state.add_list("Newsletter")
    state.edit_contact("p1@example.com", lists=[news], tags=["Gold"], country="DE")
    tag = state.contact("p1@example.com")["tags"][0]["id"]
    state.suppress("p2@example.com")
    state.unsubscribe("p3@example.com")
    state.mark_as_spam("p4@example.com")
    state.hard_bounce("p5@example.com")
    segment = state.contact("p6@example.com")["segments"][0]["id"]
    assert emails(onvoard, email="P1@EXAMPLE.COM") == ["p1@example.com"]
    assert emails(onvoard, email="p") == []
    assert len(emails(onvoard, keyword="p1")) == 3
    assert emails(onvoard, list_ids=f"ctlist_none,{news}") == emails(onvoard, tag_ids=tag) == ["p1@example.com"]
    assert "p1@example.com" not in emails(onvoard, segment_ids=segment, page_size=100)
    assert emails(onvoard, suppressed="true") == ["p2@example.com"]
    assert emails(onvoard, email_unsubscribed="true") == ["p3@example.com"]
    assert emails(onvoard, email_marked_as_spam="true") == ["p4@example.com"]
    assert emails(onvoard, email_hard_bounced="true") == ["p5@example.com"]
    assert len(emails(onvoard, email_sendable="true", page_size=100)) == 8
    assert emails(onvoard, accepts_marketing_emails="true") == []
    assert emails(onvoard, id=state.contact("p7@example.com")["id"]) == ["p7@example.com"]


def test_an_insertion_while_paging_repeats_a_record(dozen: Sandbox, onvoard: httpx.Client) -> None:
    dozen.when("onvoard", lambda: dozen.onvoard.add_contact("new@example.com"), path="/v2/contacts", skip=1)
    first = emails(onvoard, page=1, page_size=4)
    second = emails(onvoard, page=2, page_size=4)
    assert first[-1] == second[0]
