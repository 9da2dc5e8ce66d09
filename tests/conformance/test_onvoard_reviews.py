"""The chapters "Reviews" and "Product Reviews Summaries"."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from service.errors import NotFound
from service.platforms.onvoard.client import OnVoard
from service.platforms.onvoard.enums import ReviewEntity, ReviewStatus
from service.platforms.onvoard.models import Contact, ProductReviewsSummary, Review
from tests.conformance.asking import finds, loses
from tests.conformance.conftest import NewContact
from tests.conformance.removing import Keep
from tests.conformance.target import Target


@pytest.fixture
async def reviewer(new_contact: NewContact) -> Contact:
    return await new_contact()


async def _write(onvoard: OnVoard, keep: Keep, target: Target, reviewer: Contact, **more: Any) -> Review:
    fields = {
        "title": "Conformance",
        "content": f"Made by a conformance run, {target.run}",
        "rating": 4,
        "entity": ReviewEntity.SITE,
        "status": ReviewStatus.UNPUBLISHED,
        "reviewer_email": reviewer.email,
        "reviewer_display_name": f"Conformance {target.run}",
    } | more
    return await keep(onvoard.reviews.create(**fields), onvoard.reviews.delete)


@pytest.fixture
async def review(onvoard: OnVoard, keep: Keep, target: Target, reviewer: Contact) -> Review:
    return await _write(onvoard, keep, target, reviewer)


@pytest.fixture
async def summary(onvoard: OnVoard, target: Target) -> ProductReviewsSummary:
    """Of any product with both ids: no call makes one."""
    page = await onvoard.product_reviews_summaries.list()
    found = [each for each in page.items if each.product_external_id]
    if not found:
        target.lacks("no product here")
    return found[0]


async def test_a_review_is_retrieved_as_it_was_given(
    onvoard: OnVoard, keep: Keep, target: Target, reviewer: Contact
) -> None:
    then = (await onvoard.reviews.list(page_size=1)).server_time - timedelta(hours=1)
    made = await _write(
        onvoard, keep, target, reviewer, rating=3.5, num_upvotes=2, created_datetime=then,
        reply_datetime=then + timedelta(minutes=1), reply_html="<p>Thank you</p>",
    )  # fmt: skip
    for each in (made, await onvoard.reviews.retrieve(made.id)):
        assert (each.title, each.content) == ("Conformance", f"Made by a conformance run, {target.run}")
        assert (each.rating, each.entity, each.status, each.num_upvotes) == (3.5, "SITE", "UNPUBLISHED", 2)
        assert (each.reviewer_email, each.reviewer_contact_id) == (reviewer.email, reviewer.id)
        assert each.reviewer_display_name == f"Conformance {target.run}"
        assert abs(each.created_at - then) < timedelta(seconds=1)
        assert abs(each.reply_at - then - timedelta(minutes=1)) < timedelta(seconds=1)
        assert "Thank you" in each.reply_html


async def test_a_review_is_listed(onvoard: OnVoard, target: Target, reviewer: Contact, review: Review) -> None:
    before, after = review.created_at - timedelta(seconds=5), review.created_at + timedelta(seconds=5)
    mine = {"reviewer_email": reviewer.email}
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"id": review.id}, {"id": "rvw_0"}),
        ({"keyword": target.run}, {"keyword": f"{target.run}q"}),
        (mine, {"reviewer_email": target.email()}),
        (mine | {"entity": ReviewEntity.SITE}, mine | {"entity": ReviewEntity.PRODUCT}),
        (mine | {"status": ReviewStatus.UNPUBLISHED}, mine | {"status": ReviewStatus.PENDING}),
        (mine | {"created_after": before}, mine | {"created_after": after}),
        (mine | {"created_before": after}, mine | {"created_before": before}),
    ]
    for fitting, unfitting in pairs:
        assert await finds(onvoard.reviews.list, review.id, **fitting), fitting
        assert await loses(onvoard.reviews.list, review.id, **unfitting), unfitting


async def test_a_review_of_a_product_is_listed_by_either_id_of_it(
    onvoard: OnVoard, keep: Keep, target: Target, reviewer: Contact, summary: ProductReviewsSummary
) -> None:
    for product in ({"product_id": summary.product_id}, {"product_external_id": summary.product_external_id}):
        made = await _write(onvoard, keep, target, reviewer, entity=ReviewEntity.PRODUCT, **product)
        assert (made.product_id, made.product_external_id) == (summary.product_id, summary.product_external_id)
        mine = {"reviewer_email": reviewer.email}
        assert await finds(onvoard.reviews.list, made.id, **mine, **product)
        assert await loses(onvoard.reviews.list, made.id, **mine, **dict.fromkeys(product, "0"))
        assert await loses(onvoard.reviews.list, made.id, **mine, product_group_id="0")


@pytest.mark.parametrize("status", ReviewStatus)
async def test_the_status_of_a_review_is_patched_to(
    status: ReviewStatus, onvoard: OnVoard, target: Target, review: Review
) -> None:
    if status is ReviewStatus.PUBLISHED:
        target.needs("publishing")
    assert (await onvoard.reviews.patch(review.id, status=status)).status == status
    patched = await onvoard.reviews.retrieve(review.id)
    assert (patched.status, patched.content, patched.rating) == (status, review.content, review.rating)


async def test_a_deleted_review_is_not_found(onvoard: OnVoard, reviewer: Contact, review: Review) -> None:
    await onvoard.reviews.delete(review.id)
    with pytest.raises(NotFound):
        await onvoard.reviews.retrieve(review.id)
    assert await loses(onvoard.reviews.list, review.id, reviewer_email=reviewer.email)


async def test_summaries_are_listed_by_product(onvoard: OnVoard, summary: ProductReviewsSummary) -> None:
    listing = onvoard.product_reviews_summaries.list
    wanted = (summary.product_id, summary.product_external_id)
    for product in ({"product_id": wanted[0]}, {"product_external_id": wanted[1]}):
        page = await listing(**product, use_group=True, published_only=True)
        assert [(each.product_id, each.product_external_id) for each in page.items] == [wanted]
        page = await listing(**product, use_group=False, published_only=False)
        assert [(each.product_id, each.product_external_id) for each in page.items] == [wanted]
    page = await listing(product_group_id="0")
    assert wanted[0] not in [each.product_id for each in page.items]


async def test_a_summary_is_of_the_products_group_unless_asked_otherwise(onvoard: OnVoard, target: Target) -> None:
    async def counts(use_group: bool) -> dict[str, int]:
        page = await onvoard.product_reviews_summaries.list(use_group=use_group)
        return {each.product_id: each.num_reviews or 0 for each in page.items}

    whole, alone = await counts(True), await counts(False)
    larger = [product for product in whole if product in alone and whole[product] != alone[product]]
    if not larger:
        target.lacks("no product here is in a group whose others have reviews")
    assert all(whole[product] > alone[product] for product in larger)


async def test_summaries_of_all_reviews_count_those_that_are_not_published(
    onvoard: OnVoard, keep: Keep, target: Target, reviewer: Contact, summary: ProductReviewsSummary
) -> None:
    async def counts() -> list[int | None]:
        asked = {"product_id": summary.product_id, "use_group": False}
        pages = [await onvoard.product_reviews_summaries.list(**asked, published_only=each) for each in (True, False)]
        return [page.items[0].num_reviews for page in pages]

    published, whole = await counts()
    await _write(
        onvoard, keep, target, reviewer, entity=ReviewEntity.PRODUCT, product_id=summary.product_id, rating=5
    )  # fmt: skip
    assert await counts() == [published, whole + 1]
