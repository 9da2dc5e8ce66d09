"""Reviews and summaries of the emulated OnVoard."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from service.sandbox import Sandbox

REVIEW = {
    "content": "Good",
    "rating": 5,
    "entity": "PRODUCT",
    "status": "PUBLISHED",
    "reviewer_email": "john@example.com",
    "reviewer_display_name": "John",
    "product_external_id": "63",
}


@pytest.fixture
def shop(sandbox: Sandbox) -> Sandbox:
    """Two products of one group, and one without."""
    for external_id, group in (("63", "g1"), ("64", "g1"), ("65", None)):
        sandbox.onvoard.add_product(external_id, f"Product {external_id}", group)
    return sandbox


def post(client: httpx.Client, **changes: Any) -> httpx.Response:
    return client.post("/v2/reviews", json={**REVIEW, **changes})


def test_a_review_finds_its_product_and_adds_its_reviewer(shop: Sandbox, onvoard: httpx.Client) -> None:
    images = ["https://example.com/1.jpeg"]
    made = post(onvoard, created_datetime="2021-02-23T11:53:04.440756Z", image_urls=images).json()
    assert made["product"]["external_id"] == "63" and made["product"]["id"].startswith("prd_")
    assert made["reviewer"]["contact"] == {
        "id": shop.onvoard.contact("john@example.com")["id"],
        "email": "john@example.com",
    }
    assert (made["rating"], made["created_datetime"]) == (5.0, "2021-02-23T11:53:04.440756Z")
    assert made["reply_datetime"] is None and made["reply_html"] == ""
    asset = made["assets"][0]
    assert asset["video_media"] is None and "created_datetime" in asset["image_media"]
    shop.onvoard.settings.asset_time_key = "created_timestamp"
    other = post(onvoard, video_urls=["https://example.com/1.mp4"]).json()["assets"][0]
    assert other["image_media"] is None and isinstance(other["video_media"]["created_timestamp"], int)
    again = post(onvoard, product_external_id="64").json()
    assert again["reviewer"]["id"] == made["reviewer"]["id"] and again["id"] != made["id"]
    site = post(onvoard, entity="SITE", product_external_id="").json()
    assert site["product"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"rating": 0.5},
        {"rating": 5.5},
        {"rating": "5"},
        {"product_external_id": ""},
        {"product_external_id": "99"},
        {"status": "OPEN"},
        {"entity": None},
        {"content": ""},
        {"created_datetime": "yesterday"},
        {"reviewer_display_name": None},
    ],
)
def test_bad_reviews_are_refused_and_add_no_contact(
    shop: Sandbox, onvoard: httpx.Client, change: dict[str, Any]
) -> None:
    assert post(onvoard, **change).status_code == 400
    assert shop.onvoard.contact_list() == []


def test_only_the_status_of_a_review_changes(shop: Sandbox, onvoard: httpx.Client) -> None:
    path = f"/v2/reviews/{post(onvoard).json()['id']}"
    assert onvoard.patch(path, json={"status": "PENDING"}).json()["status"] == "PENDING"
    assert onvoard.patch(path, json={"status": "X"}).status_code == 400
    assert onvoard.patch(path, json={"title": "x"}).status_code == 400
    assert onvoard.delete(path).json() == {} and onvoard.get(path).status_code == 404


def test_reviews_are_filtered_newest_first(shop: Sandbox, onvoard: httpx.Client) -> None:
    post(onvoard, created_datetime="2021-01-01T00:00:00Z", title="old")
    post(onvoard, created_datetime="2021-01-03T00:00:00Z", title="new", status="PENDING")
    post(onvoard, created_datetime="2021-01-02T00:00:00Z", title="site", entity="SITE", reviewer_email="b@example.com")

    def titles(**query: Any) -> list[str]:
        return [each["title"] for each in onvoard.get("/v2/reviews", params=query).json()["results"]]

    assert titles() == ["new", "site", "old"]
    assert titles(status="PUBLISHED") == ["site", "old"] and titles(entity="SITE") == ["site"]
    assert titles(product_external_id="63") == titles(product_group_id="g1") == ["new", "old"]
    assert titles(reviewer_email="B@example.com") == titles(keyword="SITE") == ["site"]
    assert titles(created_after=1609459200, created_before=1609632000) == ["site"]
    assert onvoard.get("/v2/reviews", params={"status": "x"}).status_code == 400


def test_a_suppressed_reviewer_is_refused_and_their_reviews_are_erased(shop: Sandbox, onvoard: httpx.Client) -> None:
    post(onvoard)
    shop.onvoard.suppress("john@example.com")
    assert onvoard.get("/v2/reviews").json()["results"] == []
    assert post(onvoard).status_code == 400


def test_summaries_are_computed(shop: Sandbox, onvoard: httpx.Client) -> None:
    post(onvoard, rating=5, created_datetime="2021-01-01T00:00:00Z")
    post(onvoard, rating=2, product_external_id="64", created_datetime="2021-01-02T00:00:00Z")
    post(onvoard, rating=1, status="PENDING")

    def summaries(**query: Any) -> dict[str, dict[str, Any]]:
        results = onvoard.get("/v2/product-reviews-summaries", params=query).json()["results"]
        return {each["product_external_id"]: each for each in results}

    grouped = summaries()
    assert list(grouped) == ["65", "64", "63"]
    assert (grouped["63"]["num_reviews"], grouped["63"]["avg_rating"]) == (2, 3.5)
    assert grouped["63"]["last_reviewed_datetime"] == "2021-01-02T00:00:00.000000+00:00"
    assert (grouped["65"]["num_reviews"], grouped["65"]["last_reviewed_datetime"]) == (0, None)
    alone = summaries(use_group="false", product_external_id="63")
    assert list(alone) == ["63"]
    assert (alone["63"]["num_reviews"], alone["63"]["num_5_stars"], alone["63"]["num_1_star"]) == (1, 1, 0)
    everything = summaries(use_group="false", published_only="false")
    assert (everything["63"]["num_reviews"], everything["63"]["num_1_star"]) == (2, 1)
    assert list(summaries(product_group_id="g1")) == ["64", "63"]
