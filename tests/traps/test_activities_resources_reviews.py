"""Traps 23 to 31 of traps.md: what happens to a contact, what it is made of, and what is said about a product.

Also covered elsewhere: 23 to 25 and 27 by tests/cycle/test_activities.py (none before setup, own times, lost answers),
26 and 29 by the rules in tests/platforms/test_onvoard.py, 28 and 29 by tests/test_setup.py.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service import errors, settings, setup
from service.decide.happenings import CONTACT_ADDED
from service.platforms.onvoard.client import OnVoard
from service.platforms.onvoard.enums import (
    PropertyValueType,
    ResourceIconType,
    ResourceKind,
    ReviewEntity,
    ReviewStatus,
)
from service.sandbox import Sandbox
from tests.cycle.world import World

PATH = "/v2/contact-activities"
THEN = datetime(2025, 3, 1, 12, 30, 15, 700_000, tzinfo=UTC)
RESERVED = {"activity_id", "activity_datetime", "contact_id", "contact_email"}


async def _custom_type(ov: OnVoard, key: str = "visit") -> str:
    resource = await ov.resources.create(
        key=key, name=key, kind=ResourceKind.ACTIVITY, icon_type=ResourceIconType.NATIVE, icon_class="walk"
    )
    await ov.resource_property_types.create(
        resource=resource, key="note", label="Note", value_type=PropertyValueType.STRING
    )
    made = await ov.contact_activity_types.create(resource=resource)
    assert made.accessor is not None
    return made.accessor


async def _happened(world: World, *names: str) -> None:
    """One objective each."""
    await world.setup()
    await world.linked(*names)
    for name in names:
        world.do.complete_objective(f"crm-{name}", "online-banking")
    await world.import_export()


async def test_trap_23_resource_then_properties_then_type_then_activity(sandbox: Sandbox, ov: OnVoard) -> None:
    await setup.complete(ov, settings.load({}, environ={}))
    seen: dict[str, list[str]] = {}
    by_id = {each.id: each.accessor for each in sandbox.onvoard.resources.values()}
    for entry in sandbox.journal.writes():
        body, kind = entry.body, entry.path.removeprefix("/v2/")
        if kind != "contact-property-types":
            accessor = f"custom.{body['key']}" if kind == "resources" else by_id[body["resource"]]
            seen.setdefault(accessor, []).append(kind)
    assert len(seen) == 4
    for order in seen.values():
        assert order[0] == "resources" and order[-1] == "contact-activity-types"
        assert set(order[1:-1]) == {"resource-property-types"}


async def test_trap_23_an_activity_names_the_accessor_of_its_type(sandbox: Sandbox, ov: OnVoard) -> None:
    accessor = await _custom_type(ov)
    contact = await ov.contacts.create(email="ann@example.com")
    (type_id,) = [each.id for each in (await ov.contact_activity_types.list(accessor=accessor)).items]
    made = await ov.contact_activities.create(type=accessor, contact_id=contact.id)
    assert made.type == accessor == "custom.visit"
    opened = sandbox.onvoard.add_activity(contact.id, "email_opened", email_name="hello")
    mark = sandbox.journal.mark()
    for wrong in (type_id, "visit", "email_opened"):
        with pytest.raises(errors.RuleBroken):
            await ov.contact_activities.create(type=wrong, contact_id=contact.id)
    assert sandbox.journal.entries(mark) == []
    with pytest.raises(errors.RuleBroken):
        await ov.contact_activities.delete(await ov.contact_activities.retrieve(opened["id"]))


async def test_trap_24_an_activity_goes_to_the_id_even_while_the_email_changes(world: World) -> None:
    await _happened(world, "ann")
    contact_id = world.ov.contact("ann@example.com")["id"]
    world.sandbox.when(
        "onvoard", lambda: world.ov.edit_contact(contact_id, email="new@example.com"), method="POST", path=PATH
    )
    await world.sync()
    assert [contact["id"] for contact in world.ov.contact_list()] == [contact_id]
    assert [each["contact"]["id"] for each in world.activities("objective_completed")] == [contact_id]


async def test_trap_25_a_retry_a_day_later_keeps_the_time_of_the_happening(world: World) -> None:
    await _happened(world, "ann")
    done = datetime.fromisoformat(world.do.completions_of("crm-ann")["online-banking"] or "")
    world.sandbox.fail("onvoard", "status", method="POST", path=PATH, times=None, status=503)
    with pytest.raises(errors.ServerFailed):
        await world.sync()
    world.sandbox.clear_faults()
    world.clock.advance(86_400)
    await world.sync()
    sent = [entry.body["timestamp"] for entry in world.writes(platform="onvoard") if entry.path == PATH]
    assert len(sent) >= 2 and {(type(at), at) for at in sent} == {(int, int(done.timestamp()))}
    (told,) = world.activities("objective_completed")
    assert datetime.fromisoformat(told["datetime"]) == done.replace(microsecond=0)
    await world.sync()
    at = world.value("SELECT occurred_at FROM onvoard_activities WHERE sync_id IS NOT NULL")
    assert datetime.fromisoformat(at) == done.replace(microsecond=0)


async def test_trap_26_no_reserved_key_is_sent_in_record_data_of_any_happening(world: World) -> None:
    await _happened(world, "ann", "bob")
    world.do.unsubscribe("crm-bob")
    world.do.add_contact(unique_id="crm-new", email="new@example.com")
    await world.import_export()
    await world.sync()
    bodies = [entry.body for entry in world.writes(platform="onvoard") if entry.path == PATH]
    assert len({body["type"] for body in bodies}) == 3
    assert not [body for body in bodies if RESERVED & set(body["record_data"])]
    for told in world.activities():  # the platform adds them itself
        assert set(told["record_data"]) >= RESERVED or told["contact"]["id"]


@pytest.mark.parametrize("key", sorted(RESERVED))
async def test_trap_26_the_client_takes_no_reserved_key(sandbox: Sandbox, ov: OnVoard, key: str) -> None:
    with pytest.raises(errors.RuleBroken, match=key):
        await ov.contact_activities.create(type="custom.visit", contact_id="ct_1", record_data={"note": "n", key: "x"})
    assert sandbox.journal.entries() == []


async def test_trap_27_an_unclear_outcome_is_not_answered_by_a_second_post(sandbox: Sandbox, ov: OnVoard) -> None:
    accessor = await _custom_type(ov)
    contact = await ov.contacts.create(email="ann@example.com")
    for fault in ("status", "reset_after", "truncate", "malformed"):
        details: dict[str, Any] = {"status": 502, "after_effect": True} if fault == "status" else {}
        mark = sandbox.journal.mark()
        sandbox.fail("onvoard", fault, method="POST", path=PATH, **details)
        with pytest.raises(errors.PlatformError) as caught:
            await ov.contact_activities.create(type=accessor, contact_id=contact.id, timestamp=THEN)
        assert caught.value.verdict is errors.Verdict.LOOK and len(sandbox.journal.writes(mark)) == 1
    assert len(sandbox.onvoard.activity_list(type=accessor)) == 4


async def test_trap_27_the_bridge_looks_by_contact_type_and_time_before_it_says_it_again(world: World) -> None:
    await _happened(world, "ann", "bob")
    world.sandbox.fail("onvoard", "reset_after", method="POST", path=PATH, times=2)
    with pytest.raises(errors.OutcomeUnknown):
        await world.sync()
    mark = world.mark()
    await world.sync()
    looks = [e.query for e in world.journal.entries(mark, "onvoard") if e.path == PATH and "contact_id" in e.query]
    assert len(looks) == 2 and all({"activity_types", "before", "after"} <= set(look) for look in looks)
    assert [e for e in world.writes(mark, "onvoard") if e.path == PATH] == []
    assert len(world.activities("objective_completed")) == 2


async def test_trap_28_what_setup_cannot_repair_it_leaves_and_never_deletes(sandbox: Sandbox, ov: OnVoard) -> None:
    wrong = await ov.resources.create(
        key="digital_onboarding_objective_completed", name="Mine", kind=ResourceKind.OBJECT,
        icon_type=ResourceIconType.NATIVE, icon_class="walk",
    )  # fmt: skip
    mark = sandbox.journal.mark()
    parts = await setup.complete(ov, settings.load({}, environ={}))
    assert [part.name for part in parts if part.state is setup.State.WRONG] == [wrong.accessor]
    assert not [entry for entry in sandbox.journal.writes(mark) if entry.method == "DELETE" or wrong.id in str(entry)]
    assert not hasattr(ov.resources, "delete")


async def test_trap_28_a_type_is_mended_in_place_and_keeps_its_activities(sandbox: Sandbox, ov: OnVoard) -> None:
    given = settings.load({}, environ={})
    await setup.complete(ov, given)
    contact = await ov.contacts.create(email="ann@example.com")
    await ov.contact_activities.create(type=CONTACT_ADDED, contact_id=contact.id, timestamp=THEN)
    for each in sandbox.onvoard.activity_types.values():
        each.descriptor_template = "as we like it"
    await setup.complete(ov, given, relabel=True)
    assert not [entry for entry in sandbox.journal.writes() if entry.method == "DELETE"]
    assert len(sandbox.onvoard.activity_list(type=CONTACT_ADDED)) == 1
    assert "{{ unique_id }}" in str(sandbox.onvoard.activity_types)


async def test_trap_28_records_are_made_only_of_custom_objects(sandbox: Sandbox, ov: OnVoard) -> None:
    await _custom_type(ov)
    listed = (await ov.resources.list()).items
    mark = sandbox.journal.mark()
    for resource in listed:
        assert (resource.type, resource.kind) != ("CUSTOM", "OBJECT")
        with pytest.raises(errors.RuleBroken):
            await ov.resource_records.create(resource=resource, context_id="1")
    assert len(listed) > 1 and sandbox.journal.entries(mark) == []
    branch = await ov.resources.create(
        key="branch", name="Branch", kind=ResourceKind.OBJECT, icon_type=ResourceIconType.NATIVE, icon_class="home"
    )
    assert (await ov.resource_records.create(resource=branch, context_id="1")).resource_id == branch.id


async def test_trap_29_names_differ_between_writing_and_reading(sandbox: Sandbox, ov: OnVoard) -> None:
    url = "https://example.com/icon.png"
    resource = await ov.resources.create(
        key="branch", name="Branch", kind=ResourceKind.ACTIVITY, icon_type=ResourceIconType.UPLOADED, icon_url=url
    )
    assert resource.icon_media and "icon_url" not in resource.raw
    kind = await ov.resource_property_types.create(
        resource=resource, key="note", label="Note", value_type=PropertyValueType.STRING
    )
    activity_type = await ov.contact_activity_types.create(resource=resource)
    sent = [entry.body for entry in sandbox.journal.writes()]
    assert sent[0]["icon_url"] == url and [body["resource"] for body in sent[1:]] == [resource.id] * 2
    assert kind.resource_id == activity_type.resource_id == resource.id
    assert (await ov.resource_property_types.list(resource_id=resource.id)).items[-1].resource_id == resource.id


async def test_trap_29_each_kind_of_icon_needs_its_own_argument(sandbox: Sandbox, ov: OnVoard) -> None:
    wanted: Any = {"key": "branch", "name": "Branch", "kind": ResourceKind.OBJECT}
    wrong: Any
    for icon_type, wrong in (
        (ResourceIconType.NATIVE, {}), (ResourceIconType.NATIVE, {"icon_url": "https://example.com/icon.png"}),
        (ResourceIconType.UPLOADED, {}), (ResourceIconType.UPLOADED, {"icon_class": "home"}),
    ):  # fmt: skip
        with pytest.raises(errors.RuleBroken):
            await ov.resources.create(**wanted, icon_type=icon_type, **wrong)
    assert sandbox.journal.entries() == []


@pytest.mark.parametrize("key", ["created_datetime", "created_timestamp"])
async def test_trap_30_reviews_are_mirrored_however_their_media_tell_the_time(world: World, key: Any) -> None:
    world.ov.settings.asset_time_key = key
    product = world.ov.add_product("sku-1", "Kettle")
    world.ov.add_review("ann@example.com", 5, "fine", product_id=product, image_urls=["https://example.com/1.jpg"])
    await world.sync()
    (row,) = world.rows("SELECT rating, product_id, status, assets, created_at FROM onvoard_reviews")
    assert (row["rating"], row["product_id"], row["status"]) == (5.0, product, "PUBLISHED") and row["created_at"]
    assert key in row["assets"]


async def test_trap_30_a_review_has_text_for_times_and_only_its_status_changes(sandbox: Sandbox, ov: OnVoard) -> None:
    review = await ov.reviews.create(
        content="fine", rating=4, entity=ReviewEntity.SITE, status=ReviewStatus.PENDING,
        reviewer_email="ann@example.com", reviewer_display_name="Ann", created_datetime=THEN,
    )  # fmt: skip
    assert sandbox.journal.writes()[0].body["created_datetime"] == "2025-03-01T12:30:15.700000Z"
    assert review.created_at == THEN
    assert (await ov.reviews.patch(review.id, status=ReviewStatus.PUBLISHED)).status == "PUBLISHED"
    with pytest.raises(errors.RuleBroken):
        await ov.reviews.patch(review.id, status=ReviewStatus.PENDING, rating=1)  # type: ignore[arg-type]
    assert sandbox.journal.writes()[-1].body == {"status": "PUBLISHED"}


async def test_trap_30_ratings_go_from_1_to_5_and_a_product_is_named(sandbox: Sandbox, ov: OnVoard) -> None:
    review: Any = {
        "content": "fine", "status": ReviewStatus.PENDING, "reviewer_email": "ann@example.com",
        "reviewer_display_name": "Ann",
    }  # fmt: skip
    for wrong in (0, 0.5, 5.5, 6, -1):
        with pytest.raises(errors.RuleBroken):
            await ov.reviews.create(**review, rating=wrong, entity=ReviewEntity.SITE)
    with pytest.raises(errors.RuleBroken):
        await ov.reviews.create(**review, rating=5, entity=ReviewEntity.PRODUCT)
    assert sandbox.journal.entries() == []
    for rating in (1, 5):
        assert (await ov.reviews.create(**review, rating=rating, entity=ReviewEntity.SITE)).rating == rating


async def test_trap_31_the_paths_of_the_operations_and_not_those_of_the_tutorial(sandbox: Sandbox, ov: OnVoard) -> None:
    accessor = await _custom_type(ov)
    contact = await ov.contacts.create_or_update(email="ann@example.com")
    again = await ov.contacts.create_or_update(email="ann@example.com", name="Ann")
    assert again.id == contact.id and len(sandbox.onvoard.contacts) == 1
    mark = sandbox.journal.mark()
    activity = await ov.contact_activities.create(
        type=accessor, contact_id=contact.id, timestamp=THEN + timedelta(days=1), record_data={"note": "n"}
    )
    await ov.contact_activities.delete(activity)
    told = [(entry.method, entry.path, entry.status < 300) for entry in sandbox.journal.writes(mark)]
    assert told == [("POST", PATH, True), ("DELETE", f"/v2/contact-activity/{activity.id}", True)]
    assert sandbox.onvoard.activity_list(type=accessor) == []
