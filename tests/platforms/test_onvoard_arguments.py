"""Every argument of OnVoard's document ("Arguments" of each operation) travels under its own name, and in no other
type than the document's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, tzinfo
from typing import Any, Never

import pytest

from service import errors
from service.platforms.onvoard.client import OnVoard
from service.platforms.transport import Limits

from .servers import Fake, reply

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EPOCH = 1767323045
# A value, what goes out for it, and values that are none.
Argument = tuple[Any, Any, list[Any]]
TYPES: dict[str, Argument] = {
    "text": ("x", "x", [5, True, ["x"], None]),
    "flag": (False, False, ["false", 0, 1, None]),
    "moment": (AT, EPOCH, [EPOCH, AT.isoformat(), AT.replace(tzinfo=None), AT.date(), None]),
    "iso": (AT, "2026-01-02T03:04:05Z", [EPOCH, AT.isoformat(), AT.replace(tzinfo=None), None]),
    "texts": (["x", "y"], ["x", "y"], ["x,y", [5], {"x": "y"}, None]),
    "object": ({"x": 1, "y": None}, {"x": 1, "y": None}, [[1], "x", {"X Y": 1}, {1: 1}, None]),
    "whole": (3, 3, [3.5, "3", True, None]),
    "number": (3.5, 3.5, ["3", True, float("nan"), 0.9, 5.1, None]),
}


def enum(*values: str) -> Argument:
    return values[0], values[0], ["GONE", values[0].lower() + "?", "", 5, None]


FIELD, VALUE = enum("TEXT"), enum("STRING")
RESOURCE_TYPE, KIND, ICON = enum("CUSTOM"), enum("ACTIVITY"), enum("NATIVE")
ENTITY, STATUS = enum("PRODUCT"), enum("PUBLISHED")
EVENTS = (["contact.saved"], ["contact.saved"], [["contact.gone"], "contact.saved", [], None])
CONTACT = (
    "email:text name:text phone:text accepts_marketing_emails:flag email_unsubscribed:flag "
    "send_email_optin_confirmation:flag lists:texts tags:texts properties:object"
)
OPTIN = {"email_double_optin_status": enum("NOT_CONFIRMED")}


def arguments(texts: str, **others: Argument) -> dict[str, Argument]:
    named = [each.split(":") for each in texts.split()]
    return {name: TYPES[kind] for name, kind in named} | others


WRITES: dict[str, dict[str, Argument]] = {
    "contacts.create": arguments(CONTACT, **OPTIN),
    "contacts.patch": arguments(CONTACT, **OPTIN),
    "contacts.create_or_update": arguments(CONTACT, **OPTIN),
    "contact_property_types.create": arguments(
        "key:text label:text helper_text:text", value_type=VALUE, field_type=FIELD
    ),
    "contact_property_types.patch": arguments("label:text helper_text:text"),
    "contact_activities.create": arguments(
        "contact_id:text timestamp:moment record_data:object", type=("custom.x", "custom.x", ["x", "custom.", 5, None])
    ),
    "contact_activity_types.create": arguments("resource:text descriptor_template:text"),
    "contact_activity_types.patch": arguments("descriptor_template:text"),
    "resources.create": arguments(
        "name:text key:text icon_class:text icon_url:text helper_text:text", kind=KIND, icon_type=ICON
    ),
    "resources.patch": arguments("name:text icon_class:text icon_url:text helper_text:text", icon_type=ICON),
    "resource_property_types.create": arguments(
        "resource:text key:text label:text helper_text:text", value_type=VALUE, field_type=FIELD
    ),
    "resource_property_types.patch": arguments("label:text helper_text:text"),
    "resource_records.create": arguments("resource:text context_id:text data:object"),
    "resource_records.patch": arguments("data:object"),
    "reviews.create": arguments(
        "title:text content:text rating:number reviewer_email:text reviewer_display_name:text product_id:text "
        "product_external_id:text num_upvotes:whole created_datetime:iso reply_datetime:iso reply_html:text "
        "image_urls:texts video_urls:texts",
        entity=ENTITY,
        status=STATUS,
    ),
    "reviews.patch": arguments("", status=STATUS),
    "webhooks.create": arguments(
        "active:flag secret:text", url=("https://x.y/", "https://x.y/", ["x.y", "", 5, None]), event_types=EVENTS
    ),
    "webhooks.patch": arguments(
        "active:flag secret:text", url=("https://x.y/", "https://x.y/", ["x.y", "", 5, None]), event_types=EVENTS
    ),
}  # fmt: skip
REQUIRED: dict[str, str] = {
    "contacts.create": "email",
    "contacts.create_or_update": "email",
    "contact_property_types.create": "key label value_type",
    "contact_activities.create": "contact_id type",
    "contact_activity_types.create": "resource",
    "resources.create": "name key kind icon_type icon_class",
    "resource_property_types.create": "resource key label value_type",
    "resource_records.create": "resource context_id",
    "reviews.create": "content rating entity status reviewer_email reviewer_display_name product_id",
    "webhooks.create": "url event_types",
}

FLAG, TEXT, MOMENT = TYPES["flag"], ("x", "x", [5, True, "", " "]), TYPES["moment"]
IDS = (["x", "y"], "x,y", ["x,y", ["x,y"], [5], [], [""]])
EVENT_FILTER = (["contact.saved", "contact.created"], "contact.saved,contact.created", [["gone"], "contact.saved", []])


def filters(texts: str = "", flags: str = "", moments: str = "", **others: Any) -> dict[str, Argument]:
    named = ((texts, TEXT), (flags, FLAG), (moments, MOMENT))
    return {name: kind for names, kind in named for name in names.split()} | others


LISTS: dict[str, dict[str, Argument]] = {
    "contacts": filters(
        "id email keyword",
        "accepts_marketing_emails suppressed email_sendable email_unsubscribed email_marked_as_spam email_hard_bounced",
        "created_before created_after",
        **dict.fromkeys(("list_ids", "tag_ids", "segment_ids"), IDS),
    ),
    "contact_property_types": filters(
        "id keyword", field_type=FIELD, value_type=VALUE, definition_type=enum("PREDEFINED")
    ),
    "contact_activities": filters(
        "id contact_id contact_email keyword", moments="before after", activity_types=IDS
    ),
    "contact_activity_types": filters("id keyword accessor", resource_type=RESOURCE_TYPE),
    "resources": filters("id keyword accessor", type=RESOURCE_TYPE, kind=KIND),
    "resource_property_types": filters(
        "id resource_id resource_accessor keyword", field_type=FIELD, value_type=VALUE
    ),
    "resource_records": filters(
        "id resource_id resource_accessor keyword context_id prop_key prop_value",
        moments="created_before created_after",
    ),
    "reviews": filters(
        "id keyword product_id product_external_id product_group_id reviewer_email",
        moments="created_before created_after",
        entity=ENTITY,
        status=STATUS,
    ),
    "product_reviews_summaries": filters(
        "product_id product_external_id product_group_id", "use_group published_only"
    ),
    "webhooks": filters("id keyword", "active", event_types=EVENT_FILTER),
}  # fmt: skip


@pytest.fixture
async def onvoard(fake: Fake, quick: Limits) -> AsyncIterator[OnVoard]:
    async with OnVoard(fake.url, "key", limits=quick) as client:
        yield client


def method(onvoard: OnVoard, name: str) -> Callable[..., Any]:
    chapter, _, verb = name.rpartition(".")
    call = getattr(getattr(onvoard, chapter), verb)
    return (lambda **fields: call("id_1", **fields)) if verb == "patch" else call


def required(name: str) -> dict[str, Any]:
    return {key: WRITES[name][key][0] for key in REQUIRED.get(name, "").split()}


@pytest.mark.parametrize("name", WRITES)
async def test_what_is_given_is_sent_and_nothing_else(fake: Fake, onvoard: OnVoard, name: str) -> None:
    for argument, (value, sent, _) in WRITES[name].items():
        beside = required(name) | ({"icon_class": "x"} if argument == "icon_type" else {})
        fake.answers(reply({"id": "x1"}))
        await method(onvoard, name)(**beside | {argument: value})
        expected = {key: WRITES[name][key][1] for key in beside} | {argument: sent}
        assert fake.seen[0].json == expected, argument


@pytest.mark.parametrize("name", WRITES)
async def test_a_wrong_type_an_unknown_value_and_null_are_refused(fake: Fake, onvoard: OnVoard, name: str) -> None:
    if name in REQUIRED:
        fake.answers(reply({"id": "x1"}))
        await method(onvoard, name)(**required(name))  # nothing but the argument is what is refused below
        fake.seen.clear()
    for argument, (_, _, wrong) in WRITES[name].items():
        blank = [" "] if argument in (*REQUIRED.get(name, "").split(), "email") else []
        for value in [*wrong, object(), *blank]:
            with pytest.raises(errors.RuleBroken):
                await method(onvoard, name)(**required(name) | {argument: value})
    assert fake.seen == []


@pytest.mark.parametrize("chapter", LISTS)
async def test_every_filter_of_the_document_is_sent_as_it_says(fake: Fake, onvoard: OnVoard, chapter: str) -> None:
    for argument, (value, sent, _) in LISTS[chapter].items():
        together = {"prop_key": "x", "prop_value": "x"} if argument.startswith("prop_") else {}
        fake.answers(reply({"results": []}))
        await getattr(onvoard, chapter).list(page_size=50, **together | {argument: value})
        text = str(sent).lower() if isinstance(sent, bool) else str(sent)
        assert fake.seen[0].query == together | {argument: text, "page": "1", "page_size": "50"}


@pytest.mark.parametrize("chapter", LISTS)
async def test_a_filter_that_would_filter_something_else_is_refused(fake: Fake, onvoard: OnVoard, chapter: str) -> None:
    for argument, (_, _, wrong) in LISTS[chapter].items():
        for value in [each for each in [*wrong, object()] if each is not None]:
            together = {"prop_key": "x", "prop_value": "x"} if argument.startswith("prop_") else {}
            with pytest.raises(errors.RuleBroken):
                await getattr(onvoard, chapter).list(**together | {argument: value})
    assert fake.seen == []


FIXED = {
    "contact_property_types": "key value_type field_type definition_type",
    "contact_activity_types": "resource",
    "resources": "key kind type namespace accessor",
    "resource_property_types": "key resource value_type field_type",
    "resource_records": "context_id resource",
    "reviews": "rating title content",
    "webhooks": "id",
}


@pytest.mark.parametrize("chapter", FIXED)
async def test_what_can_never_be_changed_is_named(fake: Fake, onvoard: OnVoard, chapter: str) -> None:
    for argument in FIXED[chapter].split():
        with pytest.raises(errors.RuleBroken, match=rf"{argument} can't be changed \(Patch "):
            await getattr(onvoard, chapter).patch("id_1", **{argument: "x"})
    assert fake.seen == []


async def test_a_patch_of_nothing_is_refused(fake: Fake, onvoard: OnVoard) -> None:
    for chapter in ("contacts", *FIXED):
        with pytest.raises(errors.RuleBroken, match="nothing to patch"):
            await getattr(onvoard, chapter).patch("id_1")
    assert fake.seen == []


class Nowhere(tzinfo):
    """A time zone that knows no offset: its datetimes are naive."""

    def utcoffset(self, _: datetime | None) -> None:
        return None

    def dst(self, _: datetime | None) -> Never:
        raise NotImplementedError

    def tzname(self, _: datetime | None) -> str:
        return "nowhere"


async def test_a_naive_datetime_is_refused_everywhere(fake: Fake, onvoard: OnVoard) -> None:
    for naive in (AT.replace(tzinfo=None), AT.replace(tzinfo=Nowhere())):
        for name, argument in (("contacts", "created_before"), ("contact_activities", "after")):
            with pytest.raises(errors.RuleBroken, match="time zone"):
                await getattr(onvoard, name).list(**{argument: naive})
        for inner in (naive, [naive], {"deeper": naive}):
            with pytest.raises(errors.RuleBroken, match="time zone"):
                await onvoard.contacts.patch("ct_1", properties={"custom_at": inner})
            with pytest.raises(errors.RuleBroken, match="time zone"):
                await onvoard.resource_records.patch("rsrcd_1", data={"at": inner})
    assert fake.seen == []


async def test_the_page_and_its_size_are_whole_numbers(fake: Fake, onvoard: OnVoard) -> None:
    for page in (0, -1, 1.0, True, "1"):
        with pytest.raises(errors.RuleBroken, match="pages start at 1"):
            await onvoard.reviews.list(page=page)  # type: ignore[arg-type]
    for size in (0, 101, 50.0, True, "50"):
        with pytest.raises(errors.RuleBroken, match="page_size must be from 1 to 100"):
            await onvoard.reviews.list(page_size=size)  # type: ignore[arg-type]
    assert fake.seen == []


@pytest.mark.parametrize("identifier", ["", " ", ".", "..", " .. ", "a/b", "../ct_2", "a\\b", "a\nb", 5, None])
async def test_no_id_leads_to_another_route(fake: Fake, onvoard: OnVoard, identifier: Any) -> None:
    for chapter in LISTS:
        for verb, fields in (("retrieve", {}), ("delete", {}), ("suppress", {}), ("unsuppress", {})):
            call = getattr(getattr(onvoard, chapter), verb, None)
            if call is not None:
                with pytest.raises(errors.RuleBroken, match="this is no id"):
                    await call(identifier, **fields)
    with pytest.raises(errors.RuleBroken, match="this is no id"):
        await onvoard.contacts.patch(identifier, name="x")
    assert fake.seen == []


async def test_what_is_refused_of_a_contact_may_be_because_it_is_suppressed(fake: Fake, onvoard: OnVoard) -> None:
    fake.answers(reply(status=400))
    for refused in (onvoard.contacts.patch("ct_1", name="x"), onvoard.contacts.delete("ct_1")):
        with pytest.raises(errors.Rejected) as caught:
            await refused
        assert "suppressed contact can only be unsuppressed" in caught.value.hint
