"""Traps 32 to 38 of traps.md: lists that tell neither their length nor what changed; and 42, signatures.

Also covered elsewhere: 32, 33 and 35 by tests/core/test_windows.py (walks over lists that move) and
tests/cycle/test_backfill.py, 34 by tests/cycle/test_deletion.py, 37 by tests/cycle/test_suppression.py. Traps 39 to 41
and 43 are in test_webhooks.py.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service import errors
from service.platforms.digital_onboarding import wire as digital_wire
from service.platforms.onvoard.client import OnVoard
from service.platforms.onvoard.enums import PropertyValueType, ResourceType, WebhookEventType
from service.platforms.onvoard.wire import verify_signature
from service.sandbox import Sandbox
from tests.cycle.world import World
from tests.sandbox.receiver import Receiver, receiving

START = datetime(2025, 6, 1, tzinfo=UTC)


def _crowd(world: World, number: int) -> set[str]:
    made = [world.ov.add_contact(f"p{i}@example.com", at=START + timedelta(hours=i)) for i in range(number)]
    return {contact["id"] for contact in made}


def _mirrored(world: World) -> list[str]:
    return [row["id"] for row in world.rows("SELECT id FROM onvoard_contacts WHERE deleted_at IS NULL")]


@pytest.mark.parametrize("past_end", ["empty", "404"])
@pytest.mark.parametrize("number", [100, 101])
async def test_trap_32_a_full_last_page_ends_the_list_whatever_follows_it(
    world: World, past_end: Any, number: int
) -> None:
    world.ov.settings.past_end = past_end
    world.configure(identity__create_on_digital_onboarding=False)
    everybody = _crowd(world, number)
    await world.backfill("contacts")
    assert set(_mirrored(world)) == everybody
    queries = [e.query for e in world.journal.entries(platform="onvoard") if e.path == "/v2/contacts"]
    assert {query["page_size"] for query in queries} == {"100"} and min(query["page"] for query in queries) == "1"


@pytest.mark.parametrize("skip", [1, 2, 3])
async def test_trap_33_a_first_walk_skips_nobody_while_others_are_deleted(world: World, skip: int) -> None:
    """There is no second look: the next sync reads only what is newer."""
    world.configure(identity__create_on_digital_onboarding=False)
    everybody = _crowd(world, 250)

    def deletions() -> None:
        for contact in world.ov.contact_list()[-150:-70]:
            world.ov.delete_contact(contact["id"])

    world.sandbox.when("onvoard", deletions, method="GET", path="/v2/contacts", skip=skip)
    await world.sync(full=False)
    await world.sync(full=False)
    there = {contact["id"] for contact in world.ov.contact_list()}
    assert len(there) == 170 and there < everybody and there <= set(_mirrored(world))


@pytest.mark.parametrize("skip", [1, 4])
async def test_trap_33_what_is_inserted_or_deleted_during_a_walk_repeats_and_skips_nobody(
    world: World, skip: int
) -> None:
    world.configure(identity__create_on_digital_onboarding=False)
    everybody = _crowd(world, 250)
    await world.sync()

    def upheaval() -> None:
        for contact in world.ov.contact_list()[-150:-70]:
            world.ov.delete_contact(contact["id"])
        for i in range(20):
            world.ov.add_contact(f"new{i}@example.com")

    world.sandbox.when("onvoard", upheaval, method="GET", path="/v2/contacts", skip=skip)
    await world.sync()
    await world.sync(full=False)
    there = {contact["id"] for contact in world.ov.contact_list()}
    found = _mirrored(world)
    assert len(there & everybody) == 170 and set(found) >= there & everybody and len(found) == len(set(found))
    assert there - set(found) == set(), "new ones are caught by the next sync at the latest"
    gone = {row["id"] for row in world.rows("SELECT id FROM onvoard_contacts WHERE deleted_at IS NOT NULL")}
    assert gone <= everybody - there, "nobody who was only moved is taken for deleted"


async def test_trap_34_edits_and_deletions_of_old_contacts_are_found_by_a_full_read(world: World) -> None:
    await world.linked("ann", "bob")
    world.clock.advance(86_400)
    await world.sync(full=False)  # the cursor has moved on
    world.ov.edit_contact("ann@example.com", city="Bern")
    world.ov.delete_contact("bob@example.com")
    await world.sync()
    assert world.do.contact("crm-ann")["city"] == "Bern"
    assert world.value("SELECT count(*) FROM onvoard_contacts WHERE deleted_at IS NOT NULL") == 1
    asked = {key for entry in world.journal.entries(platform="onvoard") for key in entry.query}
    assert not [key for key in asked if "modified" in key or "order" in key or "sort" in key]


@pytest.mark.parametrize("boundary", ["exclusive", "inclusive", "truncated"])
async def test_trap_35_the_second_of_the_last_read_is_read_again_and_counted_once(world: World, boundary: Any) -> None:
    world.ov.settings.boundary = boundary
    world.configure(identity__create_on_digital_onboarding=False)
    await world.sync()
    second = world.clock.now().replace(microsecond=0)
    world.ov.add_contact("first@example.com", at=second + timedelta(microseconds=100))
    await world.sync(full=False)
    for micro in (0, 50, 999_999):
        world.ov.add_contact(f"late{micro}@example.com", at=second + timedelta(microseconds=micro))
    await world.sync(full=False)
    assert len(_mirrored(world)) == 4 == len(world.people())


@pytest.mark.parametrize("boundary", ["exclusive", "inclusive", "truncated"])
async def test_trap_35_a_second_that_spans_two_pages_is_read_whole(world: World, boundary: Any) -> None:
    world.ov.settings.boundary = boundary
    world.configure(identity__create_on_digital_onboarding=False)
    for i in range(150):
        world.ov.add_contact(f"p{i}@example.com", at=START + timedelta(seconds=i // 30, milliseconds=i % 30))
    await world.backfill("contacts")
    assert len(_mirrored(world)) == 150


async def test_trap_36_each_list_is_filtered_by_its_own_words(world: World) -> None:
    await world.setup()
    await world.linked("ann")
    await world.sync(full=False)
    of_path: dict[str, set[str]] = {}
    for entry in world.journal.entries(platform="onvoard"):
        if entry.method == "GET":
            of_path.setdefault(entry.path, set()).update(entry.query)
    times = {"before", "after", "created_before", "created_after"}
    assert of_path["/v2/contact-activities"] & times == {"before", "after"}
    for path in ("/v2/contacts", "/v2/reviews"):
        assert of_path[path] & times == {"created_before", "created_after"}


async def test_trap_36_filters_are_understood_and_not_passed_over(sandbox: Sandbox, ov: OnVoard) -> None:
    tags = [{"a": ["x"], "b": ["y"], "c": []}[name] for name in "abc"]
    people = [await ov.contacts.create(email=f"{n}@example.com", tags=t) for n, t in zip("abc", tags, strict=True)]
    await ov.contacts.patch(people[0].id, email_unsubscribed=True)
    ids = [tag["id"] for person in people for tag in person.tags or []]
    assert {c.email for c in (await ov.contacts.list(tag_ids=ids)).items} == {"a@example.com", "b@example.com"}
    assert [c.email for c in (await ov.contacts.list(email_unsubscribed=True)).items] == ["a@example.com"]
    assert len((await ov.contacts.list(email_unsubscribed=False)).items) == 2
    for type_ in ResourceType:
        assert {r.type for r in (await ov.resources.list(type=type_)).items} <= {type_.value}
        listed = (await ov.contact_activity_types.list(resource_type=type_)).items
        assert {(each.resource or {})["type"] for each in listed} <= {type_.value}
    sandbox.onvoard.add_activity("a@example.com", "email_opened", at=START, email_name="hello")
    sandbox.onvoard.add_activity("a@example.com", "email_opened", at=START + timedelta(days=2), email_name="hello")
    for span, found in (({"before": START + timedelta(days=1)}, 1), ({"after": START + timedelta(days=3)}, 0)):
        assert len((await ov.contact_activities.list(**span)).items) == found  # type: ignore[arg-type]
    with pytest.raises(errors.RuleBroken):
        await ov.resource_records.list(prop_value="x")


async def test_trap_37_a_namesake_is_not_taken_for_the_address_and_the_suppressed_are_listed(world: World) -> None:
    world.ov.add_contact("joann@example.com", name="Joann")
    world.ov.add_contact("ann@example.com.au", name="ann@example.com")
    world.ov.add_contact("gone@example.com", name="Gus Gone")
    world.ov.suppress("gone@example.com")
    for name in ("ann", "gone"):
        world.do.add_contact(unique_id=f"crm-{name}", email=f"{name}@example.com", name_first=name.title())
    await world.import_export()
    await world.sync()
    assert len(world.ov.contacts) == 4 and world.ov.contact("ann@example.com")["name"] == "Ann"
    assert not [e for e in world.journal.entries(platform="onvoard") if "keyword" in e.query]
    assert world.do.contact("crm-gone")["unsubscribe_email"] is True
    assert world.ov.contact("gone@example.com")["suppressed"] is True


async def test_trap_37_the_list_alone_tells_of_the_suppressed(world: World) -> None:
    world.configure(identity__create_on_onvoard=False)  # so that nobody asks for the address
    world.ov.add_contact("gone@example.com", name="Gus Gone")
    world.ov.suppress("gone@example.com")
    world.do.add_contact(unique_id="crm-gone", email="gone@example.com", name_first="Gus")
    await world.import_export()
    await world.sync()
    assert world.do.contact("crm-gone")["unsubscribe_email"] is True


@pytest.mark.parametrize("status", [200, 201])
async def test_trap_38_success_is_any_2xx_and_errors_need_no_body(sandbox: Sandbox, ov: OnVoard, status: int) -> None:
    sandbox.onvoard.settings.created_status = status
    made = await ov.contact_property_types.create(key="x", label="X", value_type=PropertyValueType.STRING)
    assert made.field_type == "" and sandbox.journal.writes()[0].status == status
    bodies: list[Any] = ["", "<html>", "nonsense", [], {"errors": [1]}]
    for code, error in ((400, errors.Rejected), (422, errors.Rejected), (409, errors.Rejected), (403, errors.Denied)):
        for body in bodies:
            sandbox.fail("onvoard", "status", status=code, body=body)
            with pytest.raises(error):
                await ov.contact_property_types.retrieve(made.id)
    sandbox.fail("onvoard", "rate_limit", times=2)
    assert (await ov.contact_property_types.retrieve(made.id)).key == "custom_x"
    await ov.contact_property_types.delete(made)
    assert [entry.status for entry in sandbox.journal.writes() if entry.method == "DELETE"] == [200], "{} is enough"
    with pytest.raises(errors.NotFound):
        await ov.contact_property_types.delete(made.id)


async def test_trap_42_the_raw_bytes_are_verified_and_only_with_the_right_secret(sandbox: Sandbox, ov: OnVoard) -> None:
    with receiving(Receiver()) as signed, receiving(Receiver()) as plain:
        hook = await ov.webhooks.create(url=signed.url, event_types=[WebhookEventType.CONTACT_SAVED], secret="s3cret")
        await ov.webhooks.create(url=plain.url, event_types=[WebhookEventType.CONTACT_SAVED])
        sandbox.onvoard.add_contact("jürgen@example.com", name="Jürgen")
        assert sandbox.wait_for_webhooks()
    assert "s3cret" not in str((await ov.webhooks.retrieve(hook.id)).raw)
    ((headers, body),) = signed.got
    header = headers["x-hub-signature"]
    assert verify_signature("s3cret", body, header) and not verify_signature("secret", body, header)
    for spelling in ({"separators": (", ", ":  ")}, {"indent": 1}):
        assert not verify_signature("s3cret", json.dumps(json.loads(body), **spelling).encode(), header)
    ((bare, unsigned),) = plain.got
    assert "x-hub-signature" not in bare and not verify_signature("s3cret", unsigned, "")
    assert not verify_signature("", unsigned, "")


async def test_trap_42_an_old_event_of_digital_onboarding_is_no_news(sandbox: Sandbox) -> None:
    with receiving(Receiver()) as receiver:
        sandbox.digital_onboarding.configure_webhook(receiver.url, "now", "before")
        sandbox.digital_onboarding.add_contact(unique_id="crm-ann", email="ann@example.com")
        assert sandbox.wait_for_webhooks()
    headers, body = receiver.got[0]
    now, late = sandbox.clock.now(), sandbox.clock.now() + timedelta(hours=1)
    for secret, moment, good in (
        ("now", now, True), ("before", now, True), ("other", now, False), ("now", late, False),
    ):  # fmt: skip
        assert digital_wire.verify_signature([secret], body, headers["x-signature"], now=moment) is good
