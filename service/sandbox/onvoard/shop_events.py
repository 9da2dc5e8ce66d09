"""Events that only visitors of the shop cause: back in stock and prompts (API document: Webhook Payloads)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from service.sandbox.clock import iso_micro
from service.sandbox.onvoard.events import fire
from service.sandbox.onvoard.store import Contact, Product, Store


def subscribe(store: Store, contact: Contact, product: Product, variant_ids: Iterable[str]) -> dict[str, Any]:
    """`back_in_stock_subscriber.saved`; the same product again adds to the first subscription."""
    subscriber = store.back_in_stock.setdefault(
        (contact.id, product.id),
        {
            **_happening(store, contact, product),
            "variant_ids": [],
            "inventory_item_keys": [],
            "notification_generated": False,
        },
    )
    variants = list(dict.fromkeys([*subscriber["variant_ids"], *variant_ids]))
    subscriber["variant_ids"] = variants
    subscriber["inventory_item_keys"] = [f"{product.external_id}:{each}" for each in variants]
    # The document's payload is not called what the event is (trap 39).
    fire(store, "back_in_stock_subscriber.saved", {"back_in_stock_subscribed": subscriber})
    return dict(subscriber)


def notify(store: Store, contact: Contact, product: Product, variant_id: str, variant_title: str) -> dict[str, Any]:
    """`back_in_stock_notification.created`. KeyError where the contact has not subscribed to the product."""
    subscriber = store.back_in_stock[contact.id, product.id]
    subscriber["notification_generated"] = True
    notification = {
        **_happening(store, contact, product),
        "variant_id": variant_id,
        "product_url": product.url,
        "variant_title": variant_title,
        "product_image_url": product.image_url,
        "email_recipient_id": store.new_id("erpt_"),
        "inventory_item_key": f"{product.external_id}:{variant_id}",
        "product_full_title": f"{product.name} [{variant_title}]",
        "subscribed_datetime": subscriber["activity_datetime"],
        "subscribed_activity_id": subscriber["activity_id"],
    }
    fire(store, "back_in_stock_notification.created", {"back_in_stock_notification": notification})
    return notification


def _happening(store: Store, contact: Contact, product: Product) -> dict[str, Any]:
    return {
        "contact_id": contact.id,
        "activity_id": store.new_id("ctact_", 20),
        "contact_email": contact.email,
        "product_title": product.name,
        "activity_datetime": int(store.clock.now().timestamp()),
        "product_external_id": product.external_id,
    }


def respond(store: Store, prompt_name: str, data: dict[str, Any], response_id: str | None) -> dict[str, Any]:
    """`prompt_response.created` and `.saved` for the first page of forms; `.saved` for a further one of `response_id`.

    KeyError for an unknown response.
    """
    now = iso_micro(store.clock.now())
    if response_id is None:
        response_id = store.new_id("pmtresp_")
        response = store.prompt_responses[response_id] = {
            "id": response_id,
            "prompt_id": store.prompts.setdefault(prompt_name, store.new_id("pmt_")),
            "prompt_name": prompt_name,
            "created_datetime": now,
            "modified_datetime": now,
            "data": data,
        }
        fire(store, "prompt_response.created", {"prompt_response": response})
    else:
        response = store.prompt_responses[response_id]
        response.update(modified_datetime=now, data={**response["data"], **data})
    fire(store, "prompt_response.saved", {"prompt_response": response})
    return dict(response)
