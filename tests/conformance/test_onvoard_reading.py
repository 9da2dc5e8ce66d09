"""What holds for every list ("Pagination"), of whatever is there: nothing is made here."""

from __future__ import annotations

from typing import Any

import pytest

from service.errors import PlatformError
from service.platforms.onvoard.client import OnVoard
from tests.conformance.asking import refused
from tests.conformance.target import Target

CHAPTERS = (
    "contacts", "contact_property_types", "contact_activities", "contact_activity_types", "resources",
    "resource_property_types", "resource_records", "reviews", "webhooks",
)  # fmt: skip


@pytest.mark.parametrize("chapter", CHAPTERS)
async def test_what_is_listed_is_retrieved(chapter: str, onvoard: OnVoard) -> None:
    calls: Any = getattr(onvoard, chapter)
    page = await calls.list(page_size=2)
    assert page.refused == [] and len(page.items) <= 2
    for item in page.items:
        assert (await calls.retrieve(item.id)).id == item.id


@pytest.mark.parametrize("chapter", CHAPTERS)
async def test_an_id_of_nothing_is_refused(chapter: str, onvoard: OnVoard) -> None:
    with refused():
        await getattr(onvoard, chapter).retrieve("conformance0nothing")


@pytest.mark.parametrize("chapter", [*CHAPTERS, "product_reviews_summaries"])
async def test_a_page_is_as_long_as_it_is_asked_to_be(chapter: str, onvoard: OnVoard) -> None:
    page = await getattr(onvoard, chapter).list(page_size=1)
    assert len(page.items) <= 1


@pytest.mark.parametrize("chapter", [*CHAPTERS, "product_reviews_summaries"])
async def test_far_past_the_end_is_an_empty_page(chapter: str, onvoard: OnVoard) -> None:
    """Or a 404, which the client takes for one: the document leaves both open."""
    assert (await getattr(onvoard, chapter).list(page=100_000)).items == []


async def test_a_wrong_key_is_refused(target: Target) -> None:
    async with OnVoard(target.settings.onvoard.base_url, "cb-conformance-no-key") as stranger:
        with pytest.raises(PlatformError) as caught:
            await stranger.contacts.list(page_size=1)
    assert caught.value.status is not None and 400 <= caught.value.status < 500
