"""The chapters "Reviews" and "Product Reviews Summaries"."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Never

from service.platforms.judging import Call
from service.platforms.onvoard import rules, wire
from service.platforms.onvoard.calling import Caller
from service.platforms.onvoard.enums import ReviewEntity, ReviewStatus
from service.platforms.onvoard.kinds import REVIEWS, SUMMARIES
from service.platforms.onvoard.models import ProductReviewsSummary, Review
from service.platforms.onvoard.wire import DEFAULT_PAGE_SIZE, Page
from service.platforms.payload import UNSET, Unset


class Reviews:
    """Reviews of products and of the site."""

    _ALL = "/v2/reviews"
    _ONE = "/v2/reviews/:review_id"

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def list(
        self,
        *,
        page: int = 1,
        page_size: int = DEFAULT_PAGE_SIZE,
        id: str | None = None,
        keyword: str | None = None,
        entity: ReviewEntity | None = None,
        status: ReviewStatus | None = None,
        product_id: str | None = None,
        product_external_id: str | None = None,
        product_group_id: str | None = None,
        reviewer_email: str | None = None,
        created_before: datetime | None = None,
        created_after: datetime | None = None,
    ) -> Page[Review]:
        """List all Reviews, newest first. None: no filter."""
        filters = wire.filters(
            id=id,
            keyword=keyword,
            entity=entity,
            status=status,
            product_id=product_id,
            product_external_id=product_external_id,
            product_group_id=product_group_id,
            reviewer_email=reviewer_email,
            created_before=created_before,
            created_after=created_after,
        )
        return await self._caller.page(REVIEWS, self._ALL, page, page_size, filters)

    async def retrieve(self, review_id: str) -> Review:
        """Retrieve Review."""
        return await self._caller.retrieve(REVIEWS, self._ONE, review_id)

    async def create(
        self,
        *,
        content: str,
        rating: float,
        entity: ReviewEntity,
        status: ReviewStatus,
        reviewer_email: str,
        reviewer_display_name: str,
        title: str | Unset = UNSET,
        product_id: str | Unset = UNSET,
        product_external_id: str | Unset = UNSET,
        num_upvotes: int | Unset = UNSET,
        created_datetime: datetime | Unset = UNSET,
        reply_datetime: datetime | Unset = UNSET,
        reply_html: str | Unset = UNSET,
        image_urls: Sequence[str] | Unset = UNSET,
        video_urls: Sequence[str] | Unset = UNSET,
    ) -> Review:
        """Create Review. `rating` from 1 to 5; a PRODUCT's needs one of its ids; datetimes are aware and sent as ISO
        8601."""
        body = rules.review_body(
            content=content,
            rating=rating,
            entity=entity,
            status=status,
            reviewer_email=reviewer_email,
            reviewer_display_name=reviewer_display_name,
            title=title,
            product_id=product_id,
            product_external_id=product_external_id,
            num_upvotes=num_upvotes,
            created_datetime=created_datetime,
            reply_datetime=reply_datetime,
            reply_html=reply_html,
            image_urls=image_urls,
            video_urls=video_urls,
        )
        return await self._caller.record(REVIEWS, Call.of("POST", self._ALL, safe=False), body)

    async def patch(self, review_id: str, *, status: ReviewStatus | Unset = UNSET, **fixed: Never) -> Review:
        """Patch Review: nothing but its status can be changed."""
        body = rules.patch_body("Patch Review", fixed, status=status)
        return await self._caller.record(REVIEWS, Call.of("PATCH", self._ONE, review_id, safe=True), body)

    async def delete(self, review_id: str) -> None:
        """Delete Review."""
        await self._caller.delete(self._ONE, review_id)


class ProductReviewsSummaries:
    """Ratings per product, or per product group where a product is assigned to one."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def list(
        self,
        *,
        page: int = 1,
        page_size: int = DEFAULT_PAGE_SIZE,
        product_id: str | None = None,
        product_external_id: str | None = None,
        product_group_id: str | None = None,
        use_group: bool | None = None,
        published_only: bool | None = None,
    ) -> Page[ProductReviewsSummary]:
        """List all Product Reviews Summaries, newest product first. None: the platform's default (both flags: true)."""
        filters = wire.filters(
            product_id=product_id,
            product_external_id=product_external_id,
            product_group_id=product_group_id,
            use_group=use_group,
            published_only=published_only,
        )
        return await self._caller.page(SUMMARIES, "/v2/product-reviews-summaries", page, page_size, filters)
