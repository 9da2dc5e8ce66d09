"""Reviews: creation, change of status, rendering (API document: Reviews)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.sandbox.app import Route
from service.sandbox.clock import iso_micro
from service.sandbox.exchange import Call, Refusal, Reply
from service.sandbox.onvoard import arguments, contacts, events, listing
from service.sandbox.onvoard.store import Product, Review, Store

ENTITIES = ("PRODUCT", "SITE")
STATUSES = ("PENDING", "PUBLISHED", "UNPUBLISHED")
PATH = "/v2/reviews"


def render(store: Store, each: Review) -> dict[str, Any]:
    """The Review Object."""
    product = store.products.get(each.product_id or "")
    contact = store.contacts[each.contact_id]
    return {
        "id": each.id,
        "title": each.title,
        "content": each.content,
        "rating": each.rating,
        "entity": each.entity,
        "status": each.status,
        "is_verified": each.is_verified,
        "product": _product_shown(product) if product else None,
        "reviewer": {
            "id": each.reviewer_id,
            "contact": {"id": contact.id, "email": contact.email},
            "display_name": each.display_name,
        },
        "num_upvotes": each.num_upvotes,
        "created_datetime": iso_micro(each.created),
        "reply_datetime": iso_micro(each.reply_at),
        "reply_html": each.reply_html,
        "assets": each.assets,
    }


def _product_shown(product: Product) -> dict[str, Any]:
    keys = ("id", "external_id", "name", "url", "image_url")
    return {key: getattr(product, key) for key in keys}


def create(store: Store, fields: Mapping[str, Any]) -> Review:
    """A new review; an unknown `reviewer_email` adds a contact, a suppressed one is refused."""
    email = arguments.text(fields, "reviewer_email", required=True)
    checked: dict[str, Any] = {
        "display_name": arguments.text(fields, "reviewer_display_name", required=True),
        "content": arguments.text(fields, "content", required=True),
        "rating": arguments.number(fields, "rating", 1, 5),
        "entity": arguments.enum(fields, "entity", ENTITIES),
        "status": arguments.enum(fields, "status", STATUSES),
        "title": arguments.text(fields, "title"),
        "num_upvotes": arguments.integer(fields, "num_upvotes", 0),
        "created": arguments.moment(fields, "created_datetime") or store.clock.now(),
        "reply_at": arguments.moment(fields, "reply_datetime"),
        "reply_html": arguments.text(fields, "reply_html"),
        "assets": _assets(store, fields),
    }
    product_id = _product_id(store, fields) if checked["entity"] == "PRODUCT" else None
    contact = contacts.find_or_add(store, email)
    reviewer = store.reviewers.setdefault(contact.id, store.new_id("rvwer_"))
    bought = any(a.contact_id == contact.id and a.type == "order_placed" for a in store.activities.values())
    checked.update(product_id=product_id, is_verified=bought)
    new = Review(store.new_id("rvw_"), store.next_seq(), contact.id, reviewer, **checked)
    store.reviews[new.id] = new
    events.review(store, new)
    return new


def _product_id(store: Store, fields: Mapping[str, Any]) -> str:
    wanted_id = arguments.text(fields, "product_id")
    external = arguments.text(fields, "product_external_id")
    if not wanted_id and not external:
        raise arguments.invalid("product_id", "Either product_id or product_external_id must be provided.")
    for product in store.products.values():
        if product.id == wanted_id or (not wanted_id and product.external_id == external):
            return product.id
    raise arguments.invalid("product_id", "Unknown product.")


def _assets(store: Store, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Asset Objects: either an image or a video each."""
    media = [(url, True) for url in arguments.texts(fields, "image_urls")]
    media += [(url, False) for url in arguments.texts(fields, "video_urls")]
    for url, _ in media:
        if not url.startswith(("http://", "https://")):
            raise arguments.invalid("image_urls", f"Not a valid URL: {url}")
    return [_asset(store, order, url, is_image) for order, (url, is_image) in enumerate(media)]


def _asset(store: Store, order: int, url: str, is_image: bool) -> dict[str, Any]:
    """One Asset Object; for the key of its time see the setting `asset_time_key`."""
    now = store.clock.now()
    file_url = f"https://cdn.example.com/upload/review/{url.rsplit('/', 1)[-1]}"
    media: dict[str, Any] = {"id": store.new_id("file_"), "file_url": file_url}
    if store.settings.asset_time_key == "created_timestamp":
        media["created_timestamp"] = int(now.timestamp())
    else:
        media["created_datetime"] = iso_micro(now)
    if is_image:
        media.update(height=400, width=300)
    else:
        media.update(thumbnail_url=f"{file_url}.png", thumbnail_height=400, thumbnail_width=300)
    return {
        "id": store.new_id(""),
        "sort_order": order,
        "image_media": media if is_image else None,
        "video_media": None if is_image else media,
    }


def _get(store: Store, call: Call) -> Review:
    if call.parts["id"] not in store.reviews:
        raise Refusal(404, "Not found.")
    return store.reviews[call.parts["id"]]


def _patch(store: Store, call: Call) -> Reply:
    """Only `status` can be patched (Patch Review, Arguments)."""
    each, fields = _get(store, call), call.fields()
    for name in fields:
        if name != "status":
            raise arguments.invalid(name, "Can't be changed.")
    each.status = arguments.enum(fields, "status", STATUSES, each.status)
    return Reply(200, render(store, each))


def _delete(store: Store, call: Call) -> Reply:
    del store.reviews[_get(store, call).id]
    return Reply(200, {})


def _every(store: Store, call: Call) -> Reply:
    query = call.query
    listing.choice(query, "entity", ENTITIES)
    listing.choice(query, "status", STATUSES)
    inside = listing.within(query, store.settings, "created_before", "created_after")

    def fits(each: Review) -> bool:
        product = store.products.get(each.product_id or "")
        email = store.contacts[each.contact_id].email.lower()
        return (
            inside(each.created)
            and listing.equal(
                query,
                id=each.id,
                entity=each.entity,
                status=each.status,
                product_id=each.product_id,
                product_external_id=product.external_id if product else None,
                product_group_id=product.group_id if product else None,
            )
            and query.get("reviewer_email", email).strip().lower() == email
            and listing.contains(query, each.title, each.content, each.display_name, email)
        )

    found = sorted(filter(fits, store.reviews.values()), key=lambda each: (each.created, each.seq), reverse=True)
    return listing.page(found, query, store.settings, lambda each: render(store, each))


def routes(store: Store) -> list[Route]:
    """All calls under `/v2/reviews`."""
    return [
        ("GET", PATH, lambda call: _every(store, call)),
        ("POST", PATH, lambda call: Reply(store.settings.created_status, render(store, create(store, call.fields())))),
        ("GET", PATH + "/{id}", lambda call: Reply(200, render(store, _get(store, call)))),
        ("PATCH", PATH + "/{id}", lambda call: _patch(store, call)),
        ("DELETE", PATH + "/{id}", lambda call: _delete(store, call)),
    ]
