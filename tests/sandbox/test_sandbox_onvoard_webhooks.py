"""Webhooks of the emulated OnVoard: calls, shapes, signature, retries, deactivation."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import httpx
import pytest

from service.sandbox import Sandbox
from tests.sandbox.receiver import Receiver, receiving

EVENTS = ["contact.created", "contact.saved", "review.created"]
CONTACT = """
    accepts_marketing_emails created_datetime email email_double_opted_in email_double_optin_status
    email_hard_bounced email_marked_as_spam email_sendable email_soft_bounced_count email_unsubscribed first_name id
    last_name name phone suppressed suppressed_datetime tags
"""
REVIEW = "assets content created_datetime entity id product_id rating reply_datetime reply_html reviewer status title"
SUBSCRIBED = """
    activity_datetime activity_id contact_email contact_id inventory_item_keys notification_generated
    product_external_id product_title variant_ids
"""
NOTIFICATION = """
    activity_datetime activity_id contact_email contact_id email_recipient_id inventory_item_key product_external_id
    product_full_title product_image_url product_title product_url subscribed_activity_id subscribed_datetime
    variant_id variant_title
"""
RESPONSE = "created_datetime data id modified_datetime prompt_id prompt_name"
# Event type -> the key under `data`, and its keys (API document: Webhook Payloads).
PAYLOADS = {
    "contact.created": ("contact", CONTACT),
    "contact.saved": ("contact", CONTACT),
    "review.created": ("review", REVIEW),
    "back_in_stock_subscriber.saved": ("back_in_stock_subscribed", SUBSCRIBED),
    "back_in_stock_notification.created": ("back_in_stock_notification", NOTIFICATION),
    "prompt_response.created": ("prompt_response", RESPONSE),
    "prompt_response.saved": ("prompt_response", RESPONSE),
}


def register(client: httpx.Client, url: str, **fields: Any) -> dict[str, Any]:
    response = client.post("/v2/webhooks", json={"url": url, "event_types": EVENTS, **fields})
    assert response.status_code == 201, response.text
    shown: dict[str, Any] = response.json()
    return shown


def test_webhooks_never_show_their_secret(onvoard: httpx.Client) -> None:
    made = register(onvoard, "https://example.com/hook", secret="s3cret")
    assert set(made) == {"id", "active", "url", "event_types"} and made["active"] is True
    path = f"/v2/webhooks/{made['id']}"
    assert onvoard.patch(path, json={"active": False, "secret": "other"}).json()["active"] is False
    assert "other" not in onvoard.get(path).text + onvoard.get("/v2/webhooks").text
    assert onvoard.get("/v2/webhooks", params={"active": "true"}).json()["results"] == []
    assert len(onvoard.get("/v2/webhooks", params={"event_types": "review.created,x"}).json()["results"]) == 1
    assert onvoard.delete(path).json() == {} and onvoard.get(path).status_code == 404


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "ftp://example.com", "event_types": EVENTS},
        {"url": "https://example.com", "event_types": []},
        {"url": "https://example.com", "event_types": ["contact.deleted"]},
        {"event_types": EVENTS},
    ],
)
def test_bad_webhooks_are_refused(onvoard: httpx.Client, fields: dict[str, Any]) -> None:
    assert onvoard.post("/v2/webhooks", json=fields).status_code == 400


def test_a_new_contact_fires_created_and_saved_signed(sandbox: Sandbox, onvoard: httpx.Client) -> None:
    with receiving(Receiver()) as receiver:
        register(onvoard, receiver.url, secret="s3cret")
        fields = {"email": "a@example.com", "name": "Ännchen van Lee", "tags": ["Gold"], "properties": {"city": "Bonn"}}
        onvoard.post("/v2/contacts", json=fields)
        assert sandbox.wait_for_webhooks()
    assert [each["type"] for each in receiver.events()] == ["contact.created", "contact.saved"]
    ids = {each["id"] for each in receiver.events()}
    assert len(ids) == 2 and all(each.startswith("evt_") for each in ids)
    for headers, body in receiver.got:
        assert headers["x-hub-signature"] == "sha1=" + hmac.new(b"s3cret", body, hashlib.sha1).hexdigest()
    event = receiver.events()[0]
    contact = event["data"]["contact"]
    assert (contact["first_name"], contact["last_name"], contact["tags"]) == ("Ännchen", "van Lee", ["Gold"])
    assert isinstance(contact["created_datetime"], int) and event["created_datetime"].endswith("Z")
    assert not contact.keys() & {"lists", "segments", "properties", "modified_datetime"}


def test_saved_fires_for_changes_only_and_never_for_suppression_or_deletion(
    sandbox: Sandbox, onvoard: httpx.Client
) -> None:
    with receiving(Receiver()) as receiver:
        made = onvoard.post("/v2/contacts", json={"email": "a@example.com"}).json()
        register(onvoard, receiver.url)
        path = f"/v2/contacts/{made['id']}"
        onvoard.patch(path, json={"name": "Ann"})
        onvoard.patch(path, json={"name": "Ann"})
        onvoard.post(f"{path}/suppress")
        sandbox.wait_for_webhooks()
        assert [each["data"]["contact"]["name"] for each in receiver.events()] == ["Ann"]
        assert "x-hub-signature" not in receiver.got[0][0]
        onvoard.post(f"{path}/unsuppress")
        sandbox.wait_for_webhooks()
        assert len(receiver.got) == 2
        sandbox.onvoard.settings.saved_event_on_suppress = True
        onvoard.post(f"{path}/suppress")
        sandbox.wait_for_webhooks()
        assert receiver.events()[-1]["data"]["contact"]["suppressed"] is True
        onvoard.post(f"{path}/unsuppress")
        onvoard.delete(path)
        sandbox.wait_for_webhooks()
        assert len(receiver.got) == 4


def test_a_review_event_is_flat(sandbox: Sandbox, onvoard: httpx.Client) -> None:
    product = sandbox.onvoard.add_product("63", "Wallet")
    sandbox.onvoard.add_contact("a@example.com")
    with receiving(Receiver()) as receiver:
        register(onvoard, receiver.url)
        fields = {"product_id": product, "image_urls": ["https://example.com/1.jpeg"]}
        sandbox.onvoard.add_review("a@example.com", 5, "Good", **fields)
        sandbox.wait_for_webhooks()
    review = receiver.events()[0]["data"]["review"]
    assert (review["product_id"], review["reply_html"], review["rating"]) == (product, None, 5)
    assert set(review["assets"][0]) == {"id", "image_url", "video_url", "video_thumbnail_url"}
    assert review["reviewer"] == {"email": "a@example.com", "display_name": "a"}
    assert isinstance(review["created_datetime"], int)


def test_a_failed_delivery_is_repeated_with_the_same_event(sandbox: Sandbox, onvoard: httpx.Client) -> None:
    sandbox.onvoard.settings.webhook_retry_delay = 0.01
    with receiving(Receiver([500, 503])) as receiver:
        hook = register(onvoard, receiver.url, event_types=["contact.saved"])
        sandbox.onvoard.add_contact("a@example.com")
        assert sandbox.wait_for_webhooks()
    assert len(receiver.got) == 3 and len({each["id"] for each in receiver.events()}) == 1
    assert onvoard.get(f"/v2/webhooks/{hook['id']}").json()["active"] is True


def test_each_event_has_the_documented_payload(sandbox: Sandbox, onvoard: httpx.Client) -> None:
    def console(method: str, *args: Any, **kwargs: Any) -> Any:
        answer = onvoard.post("/_sandbox/console", json={"method": method, "args": args, "kwargs": kwargs})
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    with receiving(Receiver()) as receiver:
        register(onvoard, receiver.url, event_types=list(PAYLOADS))
        console("add_product", "63", "Wallet")
        console("add_review", "a@example.com", 5, "Good", product_external_id="63")
        console("subscribe_back_in_stock", "a@example.com", "63", "v1")
        console("subscribe_back_in_stock", "A@example.com", "63", "v2", "v1")
        console("notify_back_in_stock", "a@example.com", "63", "v2", "Navy / XS")
        first = console("respond_to_prompt", {"name": "Ann"})
        console("respond_to_prompt", {"email": "a@example.com"}, response_id=first["id"])
        assert sandbox.wait_for_webhooks()
    events = receiver.events()
    assert {each["type"] for each in events} == PAYLOADS.keys()
    for event in events:
        name, keys = PAYLOADS[event["type"]]
        assert set(event) == {"id", "type", "created_datetime", "data"}
        assert set(event["data"]) == {name}
        assert set(event["data"][name]) == set(keys.split())
    _, again, notification, response, _, last = (next(iter(each["data"].values())) for each in events[-6:])
    assert [each["type"] for each in events[-3:]] == [
        "prompt_response.created",
        "prompt_response.saved",
        "prompt_response.saved",
    ]
    assert (again["variant_ids"], again["inventory_item_keys"]) == (["v1", "v2"], ["63:v1", "63:v2"])
    assert notification["subscribed_activity_id"] == again["activity_id"] != notification["activity_id"]
    assert notification["product_full_title"] == "Wallet [Navy / XS]"
    assert (response["data"], last["data"]) == ({"name": "Ann"}, {"name": "Ann", "email": "a@example.com"})
    assert response["created_datetime"].endswith("Z")
    sandbox.onvoard.suppress("a@example.com")
    refused = {"method": "subscribe_back_in_stock", "args": ["a@example.com", "63", "v3"]}
    assert onvoard.post("/_sandbox/console", json=refused).status_code == 400


def test_an_address_that_cannot_be_called_fails_alone(sandbox: Sandbox, onvoard: httpx.Client) -> None:
    sandbox.onvoard.settings.webhook_retry_delay = 0.001
    with receiving(Receiver()) as receiver:
        hopeless = register(onvoard, "http://a..b/", event_types=["contact.created"])
        register(onvoard, receiver.url, event_types=["contact.created"])
        sandbox.onvoard.add_contact("a@example.com")
        assert sandbox.wait_for_webhooks()
    assert len(receiver.got) == 1
    assert onvoard.get(f"/v2/webhooks/{hopeless['id']}").json()["active"] is False


def test_events_that_nothing_here_causes_can_be_fired(sandbox: Sandbox, onvoard: httpx.Client) -> None:
    data = {"back_in_stock_subscribed": {"contact_email": "a@example.com"}}
    with receiving(Receiver()) as receiver:
        register(onvoard, receiver.url, event_types=["back_in_stock_subscriber.saved"])
        sandbox.onvoard.fire_event("back_in_stock_subscriber.saved", data)
        sandbox.onvoard.fire_event("prompt_response.saved", {})
        assert sandbox.wait_for_webhooks()
    assert [each["data"] for each in receiver.events()] == [data]


def test_twenty_failures_in_a_row_switch_a_webhook_off(sandbox: Sandbox, onvoard: httpx.Client) -> None:
    sandbox.onvoard.settings.webhook_retry_delay = 0.001
    with receiving(Receiver(always=500)) as receiver:
        hook = register(onvoard, receiver.url, event_types=["contact.saved"])
        sandbox.onvoard.add_contact("a@example.com")
        assert sandbox.wait_for_webhooks()
        assert len(receiver.got) == 20
        assert onvoard.get(f"/v2/webhooks/{hook['id']}").json()["active"] is False
        sandbox.onvoard.add_contact("b@example.com")
        assert sandbox.wait_for_webhooks()
    assert len(receiver.got) == 20
