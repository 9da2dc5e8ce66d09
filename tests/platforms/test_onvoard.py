"""OnVoard's calls, rules and tolerance."""

from __future__ import annotations

import hashlib
import hmac
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import errors
from service.platforms.onvoard import kinds, wire
from service.platforms.onvoard.client import OnVoard
from service.platforms.onvoard.enums import (
    PropertyFieldType,
    PropertyValueType,
    ResourceIconType,
    ResourceKind,
    ReviewEntity,
    ReviewStatus,
    WebhookEventType,
)
from service.platforms.onvoard.wire import Page, is_last, parse_page, verify_signature
from service.platforms.transport import Limits

from .servers import Fake, Seen, reply

KEY = "the-Api-Key"
AT = datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=timezone(timedelta(hours=2)))
KINDS: list[kinds.Kind[Any]] = [
    *(kinds.CONTACTS, kinds.CONTACT_PROPERTY_TYPES, kinds.ACTIVITIES, kinds.ACTIVITY_TYPES, kinds.RESOURCES),
    *(kinds.RESOURCE_PROPERTY_TYPES, kinds.RESOURCE_RECORDS, kinds.REVIEWS, kinds.SUMMARIES, kinds.WEBHOOKS),
]
JANE = {
    "id": "ct_1",
    "email": "jane@example.com",
    "suppressed": False,
    "created_datetime": "2021-08-12T23:09:54.588927Z",
    "modified_datetime": 1628809794,
    "tags": [{"id": "cttag_1", "name": "Premium"}, "stray"],
    "properties": {"custom_x": 1500.0},
}


@pytest.fixture
async def onvoard(fake: Fake, quick: Limits) -> AsyncIterator[OnVoard]:
    async with OnVoard(fake.url, KEY, limits=quick) as client:
        yield client


def page_of(*records: object, size: int = 100) -> dict[str, Any]:
    return {"current_page": 1, "page_size": size, "results": list(records)}


async def test_a_contact_is_read(fake: Fake, onvoard: OnVoard) -> None:
    fake.answers(reply(JANE))
    contact = await onvoard.contacts.retrieve("ct_1")
    assert contact.created_at == datetime(2021, 8, 12, 23, 9, 54, 588927, tzinfo=UTC)
    assert contact.modified_at == datetime(2021, 8, 12, 23, 9, 54, tzinfo=UTC)
    assert contact.tags == [{"id": "cttag_1", "name": "Premium"}] and contact.raw == JANE
    assert contact.phone is None and "phone" not in contact.raw
    assert "jane" not in repr(contact)
    assert fake.seen[0].headers["x-api-key"] == KEY and fake.seen[0].path == "/v2/contacts/ct_1"


async def test_lists_send_their_filters_as_documented(fake: Fake, onvoard: OnVoard) -> None:
    fake.answers(reply(page_of(JANE)))
    await onvoard.contacts.list(
        page=2, page_size=50, email_sendable=True, tag_ids=["a", "b"], created_before=AT, created_after=AT
    )
    whole = int(AT.timestamp())
    assert fake.seen[0].query == {
        "page": "2",
        "page_size": "50",
        "email_sendable": "true",
        "tag_ids": "a,b",
        "created_before": str(whole + 1),
        "created_after": str(whole),
    }


async def test_a_page_past_the_end_may_be_a_404(fake: Fake, onvoard: OnVoard) -> None:
    fake.answers(reply(status=404))
    page = await onvoard.reviews.list(page=3)
    assert page.items == [] and is_last(page, 100)
    with pytest.raises(errors.NotFound):
        await onvoard.reviews.list(page=1)


@pytest.mark.parametrize("answer", [{}, [], {"results": None}, {"results": {}}, "ok", None])
async def test_a_page_without_results_is_garbled(fake: Fake, onvoard: OnVoard, answer: object) -> None:
    fake.answers(reply(answer))
    with pytest.raises(errors.Garbled):
        await onvoard.contacts.list()
    assert len(fake.seen) == 3


@pytest.mark.parametrize(
    ("returned", "echoed", "requested", "last"),
    [(100, 100, 100, False), (99, 100, 100, True), (0, 100, 100, True), (10, 10, 100, False), (9, 10, 100, True)],
)
def test_the_last_page(returned: int, echoed: int, requested: int, last: bool) -> None:
    page = Page([object()] * returned, 1, echoed, {}, [], AT)
    assert is_last(page, requested) is last


def test_bad_records_leave_their_page() -> None:
    records = [JANE, {"email": "x@example.com"}, 5, None, {"id": None}, {"id": 7, "rating": "5"}]
    page = parse_page(kinds.CONTACTS, page_of(*records), 1, 100, AT)
    assert [contact.id for contact in page.items] == ["ct_1", "7"]
    assert [refused.position for refused in page.refused] == [1, 2, 3, 4]
    assert page.refused[0].raw_keys == ("email",) and "x@example" not in repr(page)
    assert page.surprises["contact.rating: new field"] == 1
    assert page.surprises["contact.tags: expected a list of objects only"] == 1


def test_surprises_name_the_field_and_no_value() -> None:
    record = {"id": "r", "rating": "jane", "status": "ODD", "product": [], "entity": 5, "is_verified": "true"}
    surprises: Counter[str] = Counter()
    review = kinds.REVIEWS.parse(record, surprises)
    assert review.rating is None and review.status == "ODD" and review.entity == "5" and review.is_verified is True
    assert surprises["review.rating: expected number, got text"] == 1
    assert surprises["review.status: unknown value"] == 1
    assert surprises["review.product: expected object, got a list"] == 1
    assert surprises["review.title: missing"] == 1
    assert "jane" not in str(surprises)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NESTED = ["contact", "resource", "product", "reviewer"]


@st.composite
def records(draw: st.DrawFn) -> tuple[kinds.Kind[Any], dict[str, Any]]:
    kind = draw(st.sampled_from(KINDS))
    keys = st.sampled_from(sorted(kind.known)) | st.text(max_size=8)
    inner = st.dictionaries(st.sampled_from(["id", "email", "contact", "accessor", "name"]), anything)
    return kind, draw(st.dictionaries(keys, anything)) | draw(st.dictionaries(st.sampled_from(NESTED), inner))


@given(records())
def test_any_json_in_any_field_is_read(drawn: tuple[kinds.Kind[Any], dict[str, Any]]) -> None:
    kind, payload = drawn
    payload[kind.id_key] = "x1"
    page = parse_page(kind, page_of(payload), 1, 100, AT)
    assert page.items[0].raw is payload and not page.refused
    assert all(moment.tzinfo is UTC for moment in vars_of(page.items[0]) if isinstance(moment, datetime))
    del payload[kind.id_key]
    page = parse_page(kind, page_of(payload), 1, 100, AT)
    assert not page.items and page.refused[0].reason == f"no {kind.id_key}"


def vars_of(model: object) -> list[Any]:
    return [getattr(model, name) for name in type(model).__slots__]  # type: ignore[attr-defined]


@given(st.lists(anything), anything, anything)
def test_any_json_as_a_page_is_read_or_garbled(results: list[Any], page: Any, size: Any) -> None:
    data = {"results": results, "current_page": page, "page_size": size}
    read = parse_page(kinds.ACTIVITIES, data, 1, 100, AT)
    assert read.returned == len(results) and is_last(read, 100) in (True, False)
    assert wire.page_fault(page) is None or isinstance(wire.page_fault(page), str)


def test_webhook_signature() -> None:
    body = b'{"id": "evt_1"}'
    header = "sha1=" + hmac.new(b"s", body, hashlib.sha1).hexdigest()
    assert verify_signature("s", body, header)
    assert not verify_signature("s", body + b" ", header) and not verify_signature("t", body, header)
    assert not verify_signature("s", body, header[5:]) and not verify_signature("s", body, "ü")
    assert not verify_signature("", body, "sha1=" + hmac.new(b"", body, hashlib.sha1).hexdigest())


Ask = Callable[[OnVoard], Awaitable[Any]]
SUPPRESSED = kinds.CONTACTS.parse({"id": "ct_1", "suppressed": True}, Counter())
OPENED = kinds.ACTIVITIES.parse({"id": "ctact_1", "type": "email_opened"}, Counter())
OPENED_TYPE = kinds.ACTIVITY_TYPES.parse({"id": "catype_1", "resource": {"accessor": "email_opened"}}, Counter())
SHOPIFY = kinds.RESOURCES.parse({"id": "resrc_1", "type": "EXTERNAL", "kind": "OBJECT"}, Counter())
CUSTOM_ACTIVITY = kinds.RESOURCES.parse({"id": "resrc_3", "type": "CUSTOM", "kind": "ACTIVITY"}, Counter())
CUSTOM_OBJECT = kinds.RESOURCES.parse({"id": "resrc_2", "type": "CUSTOM", "kind": "OBJECT"}, Counter())
OWN_RECORD = kinds.RESOURCE_RECORDS.parse({"id": "rsrcd_1", "resource_accessor": "email_opened"}, Counter())
SHOPIFY_KEY = kinds.RESOURCE_PROPERTY_TYPES.parse({"id": "p", "resource_accessor": "shopify.customer"}, Counter())
PREDEFINED = kinds.CONTACT_PROPERTY_TYPES.parse({"id": "p", "definition_type": "PREDEFINED"}, Counter())
REVIEW: dict[str, Any] = {
    "content": "fine",
    "rating": 5,
    "entity": ReviewEntity.SITE,
    "status": ReviewStatus.PENDING,
    "reviewer_email": "jane@example.com",
    "reviewer_display_name": "Jane",
}
ACTIVITY: dict[str, Any] = {"type": "custom.x", "contact_id": "ct_1"}
PROPERTY: dict[str, Any] = {"key": "x", "label": "X", "value_type": PropertyValueType.STRING}
RESOURCE: dict[str, Any] = {"key": "x", "name": "X", "kind": ResourceKind.ACTIVITY}

BROKEN: list[tuple[str, Ask]] = [
    ("page_size", lambda o: o.contacts.list(page_size=0)),
    ("page_size", lambda o: o.contacts.list(page_size=101)),
    ("start at 1", lambda o: o.webhooks.list(page=0)),
    ("time zone", lambda o: o.contacts.list(created_after=datetime(2026, 1, 1))),  # noqa: DTZ001
    ("comma", lambda o: o.contacts.list(list_ids=["a,b"])),
    ("together", lambda o: o.resource_records.list(prop_key="a")),
    ("email", lambda o: o.contacts.create(name="Jane")),
    ("email", lambda o: o.contacts.create_or_update(email=" ")),
    ("email", lambda o: o.contacts.patch("ct_1", email="")),
    ("suppressed cannot be written", lambda o: o.contacts.patch("ct_1", suppressed=False)),  # type: ignore[call-arg]
    ("segments cannot be written", lambda o: o.contacts.patch("ct_1", segments=[])),  # type: ignore[call-arg]
    ("null", lambda o: o.contacts.patch("ct_1", name=None)),  # type: ignore[arg-type]
    ("nothing", lambda o: o.contacts.patch("ct_1")),
    ("list", lambda o: o.contacts.patch("ct_1", tags="Premium")),
    ("true or false", lambda o: o.contacts.patch("ct_1", email_unsubscribed="no")),  # type: ignore[arg-type]
    ("lowercase", lambda o: o.contacts.patch("ct_1", properties={"Custom X": 1})),
    ("suppressed contact", lambda o: o.contacts.patch(SUPPRESSED, name="x")),
    ("suppressed contact", lambda o: o.contacts.delete(SUPPRESSED)),
    ("custom type", lambda o: o.contact_activities.create(**ACTIVITY | {"type": "email_opened"})),
    ("custom type", lambda o: o.contact_activities.create(**ACTIVITY | {"type": "catype_1"})),
    ("either contact_id or", lambda o: o.contact_activities.create(type="custom.x")),
    ("not both", lambda o: o.contact_activities.create(**ACTIVITY, contact_email="a@example.com")),
    ("activity_id", lambda o: o.contact_activities.create(**ACTIVITY, record_data={"activity_id": 1})),
    ("contact_email", lambda o: o.contact_activities.create(**ACTIVITY, record_data={"contact_email": 1})),
    ("time zone", lambda o: o.contact_activities.create(**ACTIVITY, timestamp=datetime(2026, 1, 1))),  # noqa: DTZ001
    ("custom activities", lambda o: o.contact_activities.delete(OPENED)),
    ("custom activity types", lambda o: o.contact_activity_types.delete(OPENED_TYPE)),
    ("custom activity types", lambda o: o.contact_activity_types.patch(OPENED_TYPE, descriptor_template="x")),
    ("CUSTOM", lambda o: o.contact_activity_types.create(resource=SHOPIFY)),
    ("ACTIVITY", lambda o: o.contact_activity_types.create(resource=CUSTOM_OBJECT)),
    ("CUSTOM", lambda o: o.resource_property_types.create(resource=SHOPIFY, **PROPERTY)),
    ("CUSTOM", lambda o: o.resource_records.create(resource=SHOPIFY, context_id="1")),
    ("CUSTOM", lambda o: o.resources.patch(SHOPIFY, name="x")),
    ("icon_class", lambda o: o.resources.create(**RESOURCE, icon_type=ResourceIconType.NATIVE)),
    ("icon_url", lambda o: o.resources.create(**RESOURCE, icon_type=ResourceIconType.UPLOADED)),
    ("icon_class", lambda o: o.resources.patch("resrc_1", icon_type=ResourceIconType.NATIVE)),
    ("icon_url", lambda o: o.resources.patch("resrc_1", icon_type=ResourceIconType.UPLOADED, icon_class="x")),
    ("lowercase", lambda o: o.resources.create(**RESOURCE | {"key": "A-b"}, icon_type=ResourceIconType.NATIVE)),
    ("lowercase", lambda o: o.contact_property_types.create(**PROPERTY | {"key": "custom-x"})),
    ("created", lambda o: o.contact_property_types.create(**PROPERTY | {"value_type": PropertyValueType.OBJECT})),
    ("goes with", lambda o: o.contact_property_types.create(**PROPERTY, field_type=PropertyFieldType.NUMBER)),
    ("custom property", lambda o: o.contact_property_types.delete(PREDEFINED)),
    ("custom property", lambda o: o.contact_property_types.patch(PREDEFINED, label="x")),
    ("custom property", lambda o: o.resource_property_types.delete(SHOPIFY_KEY)),
    ("custom property", lambda o: o.resource_property_types.patch(SHOPIFY_KEY, label="x")),
    ("EXTERNAL or CUSTOM", lambda o: o.resource_records.delete(OWN_RECORD)),
    ("OBJECT can be used", lambda o: o.resource_records.create(resource=CUSTOM_ACTIVITY, context_id="1")),
    ("rating", lambda o: o.reviews.create(**REVIEW | {"rating": 5.5})),
    ("rating", lambda o: o.reviews.create(**REVIEW | {"rating": float("nan")})),
    ("product_id", lambda o: o.reviews.create(**REVIEW | {"entity": ReviewEntity.PRODUCT})),
    ("status must be one of", lambda o: o.reviews.patch("rvw_1", status="GONE")),  # type: ignore[arg-type]
    ("address", lambda o: o.webhooks.patch("wh_1", url="ftp://example.com")),
    ("event", lambda o: o.webhooks.patch("wh_1", event_types=[])),
    ("address", lambda o: o.webhooks.create(url="example.com", event_types=[WebhookEventType.CONTACT_SAVED])),
    ("event", lambda o: o.webhooks.create(url="https://example.com", event_types=[])),
    ("id", lambda o: o.contacts.retrieve("")),
]


@pytest.mark.parametrize(("rule", "ask"), BROKEN)
async def test_rules_are_enforced_before_anything_is_sent(fake: Fake, onvoard: OnVoard, rule: str, ask: Ask) -> None:
    fake.answers(reply({"id": "x"}))
    with pytest.raises(errors.RuleBroken, match=rule) as caught:
        await ask(onvoard)
    assert fake.seen == [] and "jane" not in str(caught.value)


SENT: list[tuple[str, Ask, dict[str, Any] | None, bool]] = [
    (
        "POST /v2/contacts/create-or-update",
        lambda o: o.contacts.create_or_update(email="a@b.c", properties={"custom_at": AT, "custom_x": None}),
        {"email": "a@b.c", "properties": {"custom_at": int(AT.timestamp()), "custom_x": None}},
        True,
    ),
    ("POST /v2/contacts", lambda o: o.contacts.create(email="a@b.c"), {"email": "a@b.c"}, False),
    ("PATCH /v2/contacts/ct_1", lambda o: o.contacts.patch("ct_1", name=""), {"name": ""}, True),
    (
        "PATCH /v2/contacts/ct_1",
        lambda o: o.contacts.patch("ct_1", send_email_optin_confirmation=True),
        {"send_email_optin_confirmation": True},
        False,
    ),
    ("POST /v2/contacts/ct_1/suppress", lambda o: o.contacts.suppress("ct_1"), None, True),
    (
        "POST /v2/contact-activities",
        lambda o: o.contact_activities.create(**ACTIVITY, timestamp=AT, record_data={"sync_id": "s"}),
        ACTIVITY | {"timestamp": int(AT.timestamp()), "record_data": {"sync_id": "s"}},
        False,
    ),
    ("DELETE /v2/contact-activity/a1", lambda o: o.contact_activities.delete("a1"), None, True),
    (
        "POST /v2/reviews",
        lambda o: o.reviews.create(**REVIEW, created_datetime=AT),
        REVIEW | {"created_datetime": "2026-01-02T01:04:05.600000Z"},
        False,
    ),
    (
        "POST /v2/resources",
        lambda o: o.resources.create(**RESOURCE, icon_type=ResourceIconType.NATIVE, icon_class="add"),
        RESOURCE | {"icon_type": "NATIVE", "icon_class": "add"},
        False,
    ),
    (
        "POST /v2/webhooks",
        lambda o: o.webhooks.create(url="https://x.y/", event_types=[WebhookEventType.CONTACT_SAVED], secret="s"),
        {"url": "https://x.y/", "event_types": ["contact.saved"], "secret": "s"},
        False,
    ),
]


@pytest.mark.parametrize(("request_line", "ask", "body", "safe"), SENT)
async def test_what_is_sent_and_whether_it_is_repeated(
    fake: Fake, onvoard: OnVoard, request_line: str, ask: Ask, body: dict[str, Any] | None, safe: bool
) -> None:
    fake.answers(reply(status=500), reply({"id": "x1"}))
    if safe:
        await ask(onvoard)
    else:
        with pytest.raises(errors.ServerFailed):
            await ask(onvoard)
    assert len(fake.seen) == (2 if safe else 1)
    assert f"{fake.seen[0].method} {fake.seen[0].path}" == request_line
    assert (fake.seen[0].json if fake.seen[0].body else None) == body


async def test_suppressing_twice_is_success(fake: Fake, onvoard: OnVoard) -> None:
    def answer(seen: Seen) -> Any:
        return reply(JANE | {"suppressed": True}) if seen.method == "GET" else reply(status=400)

    fake.answers(answer)
    assert (await onvoard.contacts.suppress("ct_1")).suppressed is True
    with pytest.raises(errors.Rejected):
        await onvoard.contacts.unsuppress("ct_1")


async def test_an_email_filter_stays_out_of_errors(fake: Fake, onvoard: OnVoard) -> None:
    fake.answers(reply(status=400))
    with pytest.raises(errors.Rejected) as caught:
        await onvoard.contacts.list(email="jane@example.com")
    assert fake.seen[0].query["email"] == "jane@example.com"
    assert "jane" not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize("key", ["", "a b", "a\r\nX: 1", "ключ"])
def test_a_key_that_no_header_holds(key: str) -> None:
    with pytest.raises(errors.RuleBroken) as caught:
        OnVoard("https://api.example.com", key)
    assert not key or key not in str(caught.value)


def test_all_47_operations_are_there() -> None:
    client = OnVoard("https://api.example.com", KEY)
    chapters = [chapter for name, chapter in vars(client).items() if not name.startswith("_")]
    methods = [
        (type(chapter).__name__, name)
        for chapter in chapters
        for name, _ in inspect.getmembers(chapter, inspect.iscoroutinefunction)
        if not name.startswith("_")
    ]
    assert len(methods) == 47
    assert KEY not in repr(client) + repr(vars(client))
