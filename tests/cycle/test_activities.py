"""What happens on Digital Onboarding becomes an activity on OnVoard: once, with its own time, by contact id (law 5)."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.errors import PlatformError
from tests.cycle.world import World

LONG_AGO = datetime(2025, 3, 1, 12, 30, 15, tzinfo=UTC)
Row = dict[str, Any]


def _told(activities: list[Row]) -> list[tuple[str, str, str]]:
    """(what, who, when), each with a sync_id of its own."""
    ids = [each["record_data"]["sync_id"] for each in activities]
    assert len(set(ids)) == len(ids)
    return sorted(
        (each["type"].removeprefix("custom.digital_onboarding_"), each["contact"]["email"], each["datetime"])
        for each in activities
    )


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


async def test_happenings_since_the_first_sync_are_told_once_with_their_own_time(both: World) -> None:
    await both.setup()
    await both.linked("ann", "bob")
    assert both.activities() == [], "history makes none"
    both.clock.advance(3600)
    done = both.clock.now() - timedelta(minutes=7)
    both.do.complete_objective("crm-ann", "online-banking", at=done)
    new = both.do.add_contact(unique_id="crm-new", email="new@example.com", name_first="New")
    both.do.unsubscribe("crm-bob")
    opted_out = both.do.contact("crm-bob")["updated_at"]
    await both.import_export()
    mark = both.mark()
    await both.sync()
    assert _told(both.activities()) == [
        ("contact_added", "new@example.com", new["inserted_at"][:19] + "Z"),
        ("objective_completed", "ann@example.com", _iso(done)),
        ("unsubscribed", "bob@example.com", opted_out[:19] + "Z"),
    ]
    sent = [e.body for e in both.writes(mark, "onvoard") if e.path == "/v2/contact-activities"]
    assert len(sent) == 3 and all(body["contact_id"].startswith("ct_") for body in sent)
    (objective,) = both.activities("objective_completed")
    assert objective["record_data"]["objective_key"] == "online-banking"
    assert objective["record_data"]["objective_name"] == "Online Banking"
    await both.import_export()
    await both.quiet()
    assert len(both.activities()) == 3


async def test_history_is_told_where_the_settings_say_since_when(world: World) -> None:
    world.configure(activities__since="2025-01-01")
    await world.setup()
    world.ov.add_contact("ann@example.com")
    world.do.add_contact(unique_id="crm-ann", email="ann@example.com", at=LONG_AGO)
    world.do.add_contact(unique_id="crm-old", email="old@example.com", at=datetime(2024, 5, 1, tzinfo=UTC))
    world.do.complete_objective("crm-ann", "estatements", at=LONG_AGO + timedelta(days=1))
    world.do.complete_objective("crm-old", "estatements", at=datetime(2024, 12, 31, tzinfo=UTC))
    world.do.unsubscribe("crm-ann")
    await world.import_export()
    await world.sync()
    assert _told(world.activities()) == [
        ("contact_added", "ann@example.com", _iso(LONG_AGO)),
        ("objective_completed", "ann@example.com", _iso(LONG_AGO + timedelta(days=1))),
    ]
    await world.quiet()


async def test_none_for_contacts_that_the_bridge_itself_created(world: World) -> None:
    await world.setup()
    world.ov.add_contact("ann@example.com", name="Ann Lee")
    await world.sync()
    assert len(world.do.contacts) == 1 and world.activities() == []
    await world.import_export()
    await world.quiet()
    assert world.activities() == []


async def test_unsubscribed_is_told_only_of_opt_outs_that_began_over_there(world: World) -> None:
    await world.setup()
    world.ov.add_contact("first@example.com")
    world.do.add_contact(unique_id="crm-first", email="first@example.com", unsubscribe_email=True)
    await world.linked("ann", "bob")
    world.ov.unsubscribe("ann@example.com")
    world.do.unsubscribe("crm-bob")
    await world.sync()
    assert [who for _, who, _ in _told(world.activities("unsubscribed"))] == ["bob@example.com"]
    await world.quiet()


@pytest.mark.parametrize("why", ["failed", "held", "lost"])
async def test_unsubscribed_is_told_once_however_often_the_opt_out_is_tried(world: World, why: str) -> None:
    await world.setup()
    await world.linked("ann", "bob")
    world.do.unsubscribe("crm-ann")
    if why == "held":
        world.configure(limits__max_changed_count=0, limits__max_changed_share=0.0)
    else:
        kind: Any = "reset_after" if why == "lost" else "reset_before"
        world.sandbox.fail("onvoard", kind, method="PATCH", times=None)
    for _ in range(2):
        with contextlib.suppress(PlatformError):
            await world.sync()
        world.clock.advance(60)
        world.do.edit_contact("crm-ann", city="Bern")
    world.sandbox.clear_faults()
    world.configure(limits__max_changed_count=50)
    await world.sync()
    assert [who for _, who, _ in _told(world.activities("unsubscribed"))] == ["ann@example.com"]
    await world.quiet()


async def test_a_lost_answer_makes_no_duplicate(both: World) -> None:
    await both.setup()
    await both.linked("ann", "bob")
    for name in ("ann", "bob"):
        both.do.complete_objective(f"crm-{name}", "online-banking")
    await both.import_export()
    both.sandbox.fail("onvoard", "reset_after", method="POST", path="/v2/contact-activities")
    with contextlib.suppress(PlatformError):
        await both.sync(full=False)
    await both.sync(full=False)
    assert [who for _, who, _ in _told(both.activities())] == ["ann@example.com", "bob@example.com"]
    assert both.rows("SELECT id FROM outbox WHERE status IN ('pending', 'unknown', 'sending')") == []
    await both.quiet()


@pytest.mark.parametrize("kind", ["reset_before", "status", "malformed"])
async def test_an_unclear_answer_is_looked_into_before_it_is_said_again(world: World, kind: str) -> None:
    await world.setup()
    await world.linked("ann")
    world.do.complete_objective("crm-ann", "online-banking")
    await world.import_export()
    details = {"status": 502, "after_effect": True} if kind == "status" else {}
    world.sandbox.fail("onvoard", kind, method="POST", path="/v2/contact-activities", **details)  # type: ignore[arg-type]
    for _ in range(2):
        with contextlib.suppress(PlatformError):
            await world.sync(full=False)
    assert len(world.activities()) == 1
    await world.quiet()


async def test_not_before_setup_has_run_and_then_they_are_told(world: World) -> None:
    world.configure(activities__since="2025-01-01")
    world.do.add_contact(unique_id="crm-ann", email="ann@example.com", at=LONG_AGO)
    world.do.complete_objective("crm-ann", "estatements", at=LONG_AGO)
    await world.import_export()
    await world.sync()
    assert world.activities() == [] and world.status("ann@example.com") == ("linked", "created")
    await world.quiet()
    await world.setup()
    await world.sync()
    assert [what for what, _, _ in _told(world.activities())] == ["contact_added", "objective_completed"]
    await world.quiet()


async def test_none_for_the_suppressed(world: World) -> None:
    await world.setup()
    await world.linked("ann", "bob")
    for name in ("ann", "bob"):
        world.do.complete_objective(f"crm-{name}", "online-banking")
    world.ov.suppress("ann@example.com")
    await world.import_export()
    report = await world.sync()
    assert [who for _, who, _ in _told(world.activities())] == ["bob@example.com"] and not report.new_dead


async def test_a_mirror_made_anew_tells_nothing_twice(world: World) -> None:
    """The earlier activities are found by their sync_id."""
    world.configure(activities__since="2025-01-01")
    await world.setup()
    world.do.add_contact(unique_id="crm-ann", email="ann@example.com", at=LONG_AGO)
    world.do.complete_objective("crm-ann", "estatements", at=LONG_AGO)
    await world.import_export()
    await world.sync()
    assert len(world.activities()) == 2
    with world.db.begin() as conn:
        for table in ("outbox", "digital_onboarding_objective_completions", "bases", "changes", "persons"):
            conn.exec_driver_sql(f"DELETE FROM {table}")
        conn.exec_driver_sql("DELETE FROM digital_onboarding_contacts")
        conn.exec_driver_sql("UPDATE onvoard_contacts SET dirty = 1")
    await world.import_export()
    await world.sync()
    assert len(world.activities()) == 2
    await world.quiet()


async def test_an_activity_that_is_refused_is_alone(world: World) -> None:
    await world.setup()
    await world.linked("ann", "bob", "cat")
    for name in ("ann", "bob", "cat"):
        world.do.complete_objective(f"crm-{name}", "online-banking")
    await world.import_export()
    world.sandbox.fail(
        "onvoard", "status", method="POST", path="/v2/contact-activities", body_contains="crm-bob", status=400
    )
    report = await world.sync()
    assert report.new_dead == 1 and len(world.activities()) == 2
    assert (await world.sync()).new_dead == 0
    await world.quiet()


@pytest.mark.parametrize("what", ["delete_contact", "suppress"])
async def test_an_activity_for_a_contact_that_has_just_left_is_no_dead_letter(both: World, what: str) -> None:
    await both.linked("ann", "bob")
    await both.setup()
    await both.sync()
    both.clock.advance(60)
    both.do.complete_objective("crm-ann", "online-banking", at=both.clock.now())
    await both.import_export()
    leave = getattr(both.ov, what)
    both.sandbox.when("onvoard", lambda: leave("ann@example.com"), method="POST", path="/v2/contact-activities")
    report = await both.sync()
    assert report.new_dead == 0 and both.rows("SELECT * FROM outbox WHERE status IN ('dead', 'unknown')") == []
    await both.sync()
    assert both.people().get("ann@example.com", {"status": "suppressed"})["status"] != "linked"
    await both.quiet()
