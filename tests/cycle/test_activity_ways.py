"""Each happening on Digital Onboarding is told once, with its own time, by whichever way it becomes known, and however
many of them tell of it (law 5, contract section 4)."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from typing import Any

import pytest

from service import relinking
from service.errors import PlatformError
from service.store.outbox import Operation
from tests.cycle.world import World
from tests.web.delivery import delivering

ANN = "ann@example.com"
ANSWERS = ("refresh", "list", "webhook", "push")
WAYS = ("import", *ANSWERS)
PREDEFINED = {"activity_id", "activity_datetime", "contact_id", "contact_email"}
Row = dict[str, Any]


async def live(world: World, *names: str) -> None:
    """Linked people, whose platform has answered for itself."""
    await world.setup()
    await world.linked(*names or ("ann",))
    world.do.settings.echo_objectives = world.do.settings.echo_journey = True
    await world.sync()
    world.clock.advance(3600)
    assert world.activities() == []


async def hear(world: World, way: str, happens: Any) -> str:
    """Something happens over there, and by this way alone the bridge learns of it, a minute later. -> when"""
    modes: Row = {"refresh": "probe", "webhook": "probe", "list": "list", "webhook, list": "list"}
    world.configure(digital_onboarding__refresh=modes.get(way, "off"))
    world.do.settings.listing = modes.get(way) == "list"
    if way.startswith("webhook"):
        async with delivering(world) as delivery:
            await delivery.register()
            happens()
            at = world.do.contact("crm-ann")["updated_at"]
            await delivery.arrived()
            world.clock.advance(60)
            await delivery.look()
            await delivery.push()
        world.do.configure_webhook(None)
        return at[:19] + "Z"
    happens()
    at = world.do.contact("crm-ann")["updated_at"]
    world.clock.advance(60)
    if way == "import":
        await world.import_export()
    if way == "push":
        world.ov.edit_contact(ANN, street_address=f"{world.mark()} Main Street")
    await world.sync(full=way != "import")
    return at[:19] + "Z"


def told(world: World, kind: str) -> list[Row]:
    """(when, record data without what all have) by this type of activity; each goes to Ann, under a sync_id of its
    own, and says nothing that `setup` made no property type for."""
    found = world.activities(kind)
    ids = [each["record_data"]["sync_id"] for each in found]
    assert len(set(ids)) == len(ids)
    accessor = f"custom.digital_onboarding_{kind}"
    keys = {
        row["key"]
        for row in world.rows(
            "SELECT key FROM onvoard_resource_property_types WHERE resource_accessor = :accessor", accessor=accessor
        )
    }
    for each in found:
        assert each["contact"]["email"] == ANN and set(each["record_data"]) - PREDEFINED <= keys
        assert each["record_data"]["unique_id"] == "crm-ann"
    common = {"sync_id", "unique_id", *PREDEFINED}
    return [
        {"at": each["datetime"]} | {key: value for key, value in each["record_data"].items() if key not in common}
        for each in found
    ]


def later(at: str) -> str:
    """Almost a minute."""
    return iso(datetime.fromisoformat(at) + timedelta(seconds=59))


def iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


@pytest.mark.parametrize("way", WAYS)
async def test_a_completion_by_every_way(world: World, way: str) -> None:
    await live(world)
    done = world.clock.now() - timedelta(minutes=7)
    await hear(world, way, lambda: world.do.complete_objective("crm-ann", "online-banking", at=done))
    once = [{"at": iso(done), "objective_key": "online-banking", "objective_name": "Online Banking"}]
    assert told(world, "objective_completed") == once
    for other in ("refresh", "import", "list"):
        await hear(world, other, lambda: None)
    assert told(world, "objective_completed") == once


@pytest.mark.parametrize("way", ANSWERS)
async def test_a_journey_that_a_user_over_there_started_by_every_answer(world: World, way: str) -> None:
    template = world.do.add_template("Welcome")
    await live(world)
    began = await hear(world, way, lambda: world.do.start_journey("crm-ann", template))
    (journey,) = told(world, "journey_started")
    assert (journey["template_id"], journey["journey_name"]) == (template, "Welcome")
    # An answer to a push of ours has moved the time itself: then it is when we heard of it.
    assert journey["at"] > later(began) if way == "push" else journey["at"] == began
    for other in ("refresh", "list"):
        await hear(world, other, lambda: None)
    assert len(told(world, "journey_started")) == 1


@pytest.mark.parametrize("channel", ["email", "sms"])
@pytest.mark.parametrize("way", WAYS)
async def test_an_opt_out_by_every_way(world: World, way: str, channel: str) -> None:
    await live(world)
    flags = {each: each == channel for each in ("email", "sms")}
    at = await hear(world, way, lambda: world.do.unsubscribe("crm-ann", **flags))
    (opt_out,) = told(world, "unsubscribed")
    assert opt_out["channel"] == channel
    assert opt_out["at"] > later(at) if way == "push" else opt_out["at"] == at
    for other in ("refresh", "import", "list"):
        await hear(world, other, lambda: None)
    assert len(told(world, "unsubscribed")) == 1


@pytest.mark.parametrize("way", ["import", "list", "webhook, list"])
async def test_a_contact_that_was_added_over_there_by_every_way(world: World, way: str) -> None:
    """A webhook's event of an unknown contact leads to it only where contacts can be listed."""
    await live(world, "bob")
    at = await hear(world, way, lambda: world.do.add_contact(unique_id="crm-ann", email=ANN, name_first="Ann"))
    assert told(world, "contact_added") == [{"at": at}]
    for other in ("refresh", "import", "list"):
        await hear(world, other, lambda: None)
    assert told(world, "contact_added") == [{"at": at}]


async def test_a_contact_that_the_bridge_was_about_to_make_and_that_was_there_was_added_over_there(
    world: World,
) -> None:
    await live(world, "bob")
    world.ov.add_contact(ANN, name="Ann Lee")
    at = world.do.add_contact(unique_id=ANN, email=ANN)["inserted_at"]
    world.clock.advance(60)
    await world.sync()
    (activity,) = world.activities("contact_added")
    assert activity["contact"]["email"] == ANN and activity["datetime"] == at[:19] + "Z"
    await world.quiet()


async def test_an_opt_out_of_both_channels_is_told_for_each_and_again_after_an_opt_in(world: World) -> None:
    await live(world)
    for _ in range(2):
        await hear(world, "refresh", lambda: world.do.unsubscribe("crm-ann", email=False, sms=True))
        await hear(world, "refresh", lambda: world.do.edit_contact("crm-ann", unsubscribe_sms=False))
    await hear(world, "refresh", lambda: world.do.unsubscribe("crm-ann", sms=True))
    assert sorted(each["channel"] for each in told(world, "unsubscribed")) == ["email", "sms", "sms", "sms"]


@pytest.mark.parametrize("there_already", [True, False])
@pytest.mark.parametrize("channel", ["email", "sms"])
async def test_an_opt_out_after_the_first_sight_of_somebody_who_is_linked_only_then(
    world: World, channel: str, there_already: bool
) -> None:
    """The contact over there was known, and opted in; OnVoard's is met, or made, in the cycle that hears of it."""
    await live(world, "bob")
    world.do.add_contact(unique_id="crm-ann", email=ANN)
    world.do.add_contact(unique_id="crm-cid", email="cid@example.com", unsubscribe_email=True, unsubscribe_sms=True)
    await world.import_export()
    if there_already:
        world.ov.add_contact(ANN)
        world.ov.add_contact("cid@example.com")
    flags = {each: each == channel for each in ("email", "sms")}
    at = await hear(world, "refresh", lambda: world.do.unsubscribe("crm-ann", **flags))
    assert told(world, "unsubscribed") == [{"at": at, "channel": channel}], "of Cid nobody knows when"
    await world.quiet()
    assert len(told(world, "unsubscribed")) == 1


@pytest.mark.parametrize("lost", [False, True])
async def test_an_opt_out_of_ours_is_no_happening_over_there(world: World, lost: bool) -> None:
    """Neither the person's own on OnVoard, nor the address's, which comes before the link; answered or not."""
    await live(world, "ann", "bob")
    world.configure(identity__create_on_onvoard="false")
    world.do.add_contact(unique_id="crm-cid", email="cid@example.com")
    await world.import_export()
    await world.sync()
    world.do.edit_contact("crm-cid", email=ANN)
    world.ov.unsubscribe(ANN)
    world.ov.unsubscribe("bob@example.com")
    if lost:
        world.sandbox.fail(
            "digital_onboarding", "reset_after", path="/v1/contacts", body_contains="unsubscribe_email", times=None
        )
    for _ in range(3):
        with contextlib.suppress(PlatformError):
            await world.sync()
        world.sandbox.clear_faults()
    assert lost or world.value("SELECT count(*) FROM opt_outs WHERE tell_at IS NOT NULL") == 0
    assert all(world.do.contact(f"crm-{name}")["unsubscribe_email"] for name in ("ann", "bob", "cid"))
    assert world.activities("unsubscribed") == []


async def test_an_opt_out_before_the_date_of_the_settings_is_not_told(world: World) -> None:
    await live(world)
    world.configure(activities__since=(world.clock.now() + timedelta(days=1)).isoformat())
    await hear(world, "refresh", lambda: world.do.unsubscribe("crm-ann", sms=True))
    assert world.ov.contact(ANN)["email_unsubscribed"] and told(world, "unsubscribed") == []


async def test_what_waits_for_a_contact_that_was_the_wrong_one_goes_to_the_right_one(both: World) -> None:
    """Linked to Bob by mistake, before `setup` had run; an activity that is there already is not told again."""
    template = both.do.add_template("Welcome")
    await both.linked("bob")
    both.do.settings.echo_journey = True
    both.configure(identity__create_on_digital_onboarding="false")
    await both.sync()
    both.clock.advance(60)
    both.do.edit_contact("crm-bob", email=None)
    both.do.complete_objective("crm-bob", "online-banking")
    both.do.start_journey("crm-bob", template)
    both.do.unsubscribe("crm-bob", sms=True)
    both.do.add_contact(unique_id="crm-new", email="new@example.com")
    await both.import_export()
    await both.sync()
    waiting = "SELECT count(*) FROM outbox WHERE lane = 3 AND status = 'pending'"
    assert both.value(waiting) == 5
    both.ov.add_contact("bobby@example.com")
    await both.sync()
    now = both.clock.now()
    with both.db.begin() as conn:
        relinking.unlink(conn, "crm-bob", None, "another Bob", now)
    await both.setup()
    await both.sync()
    assert [each["contact"]["email"] for each in both.activities()] == ["new@example.com"]
    with both.db.begin() as conn:
        relinking.link(conn, "bobby@example.com", "crm-bob", "this Bob", now)
    await both.sync()
    assert sorted((each["type"][26:], each["contact"]["email"]) for each in both.activities()) == [
        ("contact_added", "new@example.com"),
        *((kind, "bobby@example.com") for kind in ("journey_started", "objective_completed")),
        *[("unsubscribed", "bobby@example.com")] * 2,
    ]
    with both.db.begin() as conn:
        relinking.unlink(conn, "crm-bob", None, None, now)
        relinking.link(conn, "bob@example.com", "crm-bob", None, now)
    await both.sync()
    assert len(both.activities()) == 5
    await both.quiet()


async def test_a_completion_of_unknown_time_is_told_when_its_time_is_known_and_only_then(both: World) -> None:
    await live(both)
    await both.import_rows({"unique_id": "crm-ann", "online-banking": "true"})
    await both.sync()
    assert told(both, "objective_completed") == []
    done = both.clock.now().isoformat()
    for at in (done, "2026-01-01T00:00:00Z", "true"):
        await both.import_rows({"unique_id": "crm-ann", "online-banking": at})
        await both.sync()
    assert [each["at"] for each in told(both, "objective_completed")] == [done[:19] + "Z"]
    await both.quiet()


async def test_who_was_there_first_is_history(world: World) -> None:
    """A journey that the first answer, or an export, shows: nobody knows when it began."""
    await live(world, "bob")
    template, other = world.do.add_template("Welcome"), world.do.add_template("Another")
    for name in ("ann", "cid"):
        world.do.add_contact(unique_id=f"crm-{name}", email=f"{name}@example.com", journey={"template_id": template})
    await world.import_rows(
        {"unique_id": "crm-ann", "email": ANN, "journey.template_id": ""},
        {"unique_id": "crm-cid", "email": "cid@example.com", "journey.template_id": template},
        {"unique_id": "crm-bob", "email": "bob@example.com", "journey.template_id": other},
    )
    await world.sync()
    await world.sync()
    assert world.activities("journey_started") == []
    known = world.rows("SELECT unique_id, template_id, started_at FROM digital_onboarding_journeys ORDER BY unique_id")
    assert [tuple(row.values()) for row in known] == [
        ("crm-ann", template, None), ("crm-bob", other, None), ("crm-cid", template, None),
    ]  # fmt: skip


@pytest.mark.parametrize("killed", [False, True])
async def test_a_journey_of_ours_that_is_heard_of_before_its_own_answer_is_one(world: World, killed: bool) -> None:
    """The answer is lost, or the process killed; its webhook tells of it first."""
    template = world.do.add_template("Welcome")
    await live(world)
    world.stage("crm-ann", Operation.START_JOURNEY, {"template_id": template}, "start it")
    world.sandbox.fail("digital_onboarding", "reset_after", method="POST", path="/v1/templates/*/journeys")
    world.configure(digital_onboarding__refresh="off")
    async with delivering(world) as delivery:
        await delivery.register()
        with contextlib.suppress(PlatformError):
            await world.sync(full=False)
        if killed:
            with world.db.begin() as conn:
                conn.exec_driver_sql("UPDATE outbox SET status = 'sending' WHERE status = 'unknown'")
        began = world.clock.now()
        await delivery.arrived()
        world.configure(digital_onboarding__refresh="probe")
        world.clock.advance(3600)
        await delivery.look()
        await delivery.push()
        world.clock.advance(3600)
        await world.sync()
        await world.sync()
    world.do.configure_webhook(None)
    (journey,) = told(world, "journey_started")
    assert (journey["template_id"], journey["journey_name"]) == (template, "Welcome")
    assert began - timedelta(seconds=10) < datetime.fromisoformat(journey["at"]) <= began
    assert len(world.do.journeys_of("crm-ann")) == world.value("SELECT count(*) FROM digital_onboarding_journeys") == 1
    assert world.rows("SELECT id FROM outbox WHERE status = 'dead'") == []
