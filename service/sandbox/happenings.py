"""What the generated people did: native activities and reviews on OnVoard."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from service.sandbox.clock import iso_micro
from service.sandbox.places import PRODUCTS, REVIEW_TEXTS

ACTIVITIES, REVIEWS = 1000, 200
KINDS = {
    "email_delivered": 25,
    "email_opened": 30,
    "email_link_clicked": 12,
    "order_placed": 15,
    "product_viewed": 15,
    "checkout_abandoned": 3,
}


def activities_of(dice: random.Random, contacts: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """1,000 activities `{"email", "type", "at", "data"}` of the last 400 days, oldest first; some in one second."""
    made: list[dict[str, Any]] = []
    for number in range(ACTIVITIES):
        contact, kind = dice.choice(contacts), dice.choices(list(KINDS), list(KINDS.values()))[0]
        at = now - timedelta(days=dice.uniform(0.1, 400))
        if made and number % 25 == 0:
            at = made[-1]["at"]
        made.append({"email": contact["email"], "type": kind, "at": at, "data": _data(dice, kind, number)})
    return sorted(made, key=lambda each: each["at"])


def _data(dice: random.Random, kind: str, number: int) -> dict[str, Any]:
    external_id, name, _ = dice.choice(PRODUCTS)
    if kind.startswith("email_"):
        letter = {"email_id": f"em_{number:015d}", "email_name": f"still-mouse-{number % 40}"}
        return {**letter, "url": "https://shop.example.com/"} if kind == "email_link_clicked" else letter
    if kind == "order_placed":
        order = {"order_id": str(100000 + number), "product_id": external_id, "product_name": name, "currency": "USD"}
        return {**order, "total_price": round(dice.uniform(5, 250), 2)}
    if kind == "product_viewed":
        return {"product_id": external_id, "product_name": name}
    return {"checkout_id": f"chk_{number}", "total_price": round(dice.uniform(5, 250), 2)}


def reviews_of(dice: random.Random, contacts: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """200 reviews `{"email", "rating", "content", "fields", "asset_time_key"}`, oldest first; some of the site."""
    made: list[dict[str, Any]] = []
    moments = sorted(now - timedelta(days=dice.uniform(0.2, 500)) for _ in range(REVIEWS))
    for number, at in enumerate(moments):
        title, content = dice.choice(REVIEW_TEXTS)
        contact = dice.choice(contacts)
        fields: dict[str, Any] = {
            "title": title,
            "status": dice.choices(("PUBLISHED", "PENDING", "UNPUBLISHED"), (85, 10, 5))[0],
            "entity": "SITE" if number % 20 == 0 else "PRODUCT",
            "reviewer_display_name": contact["fields"]["name"].split()[0],
            "created_datetime": iso_micro(at),
            "num_upvotes": dice.choice((0, 0, 0, 1, 4)),
        }
        if fields["entity"] == "PRODUCT":
            fields["product_external_id"] = dice.choice(PRODUCTS)[0]
        if number % 9 == 0:
            fields["image_urls"] = [f"https://photos.example.com/{number}.jpeg"]
        if number % 15 == 0:
            fields["reply_html"] = "<p>Thank you!</p>"
            fields["reply_datetime"] = iso_micro(at + timedelta(hours=5))
        rating = dice.choices((5.0, 4.0, 4.5, 3.0, 2.0, 1.0), (45, 25, 5, 12, 7, 6))[0]
        key = "created_timestamp" if number % 2 else "created_datetime"
        made.append(
            {"email": contact["email"], "rating": rating, "content": content, "fields": fields, "asset_time_key": key}
        )
    return made
