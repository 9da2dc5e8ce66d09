"""Product reviews summaries, computed from the reviews at each call (API document: Product Reviews Summaries)."""

from __future__ import annotations

from typing import Any

from service.sandbox.app import Route
from service.sandbox.exchange import Call, Reply
from service.sandbox.onvoard import listing
from service.sandbox.onvoard.store import Product, Review, Store


def routes(store: Store) -> list[Route]:
    """The one call: most recently created product first."""

    def every(call: Call) -> Reply:
        query = call.query
        published = listing.boolean(query, "published_only") is not False
        grouped = listing.boolean(query, "use_group") is not False

        def fits(each: Product) -> bool:
            return listing.equal(
                query, product_id=each.id, product_external_id=each.external_id, product_group_id=each.group_id
            )

        found = sorted(filter(fits, store.products.values()), key=lambda each: each.seq, reverse=True)
        return listing.page(found, query, store.settings, lambda each: _summary(store, each, published, grouped))

    return [("GET", "/v2/product-reviews-summaries", every)]


def _summary(store: Store, product: Product, published: bool, grouped: bool) -> dict[str, Any]:
    """The Product Reviews Summary Object; by default of the product's group, if any, and of published reviews."""
    members = {product.id}
    if grouped and product.group_id is not None:
        members |= {each.id for each in store.products.values() if each.group_id == product.group_id}
    counted = [
        each
        for each in store.reviews.values()
        if each.product_id in members and (each.status == "PUBLISHED" or not published)
    ]
    last = max((each.created for each in counted), default=None)
    return {
        "product_id": product.id,
        "product_external_id": product.external_id,
        "product_name": product.name,
        "last_reviewed_datetime": last.isoformat(timespec="microseconds") if last else None,
        "num_reviews": len(counted),
        "avg_rating": round(sum(each.rating for each in counted) / len(counted), 2) if counted else 0.0,
        "num_5_stars": _stars(counted, 5),
        "num_4_stars": _stars(counted, 4),
        "num_3_stars": _stars(counted, 3),
        "num_2_stars": _stars(counted, 2),
        "num_1_star": _stars(counted, 1),
    }


def _stars(reviews: list[Review], stars: int) -> int:
    return sum(int(each.rating) == stars for each in reviews)
