"""What becomes of a run, and what is told of it: by outcome, by stream, and while it is at work."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from service import jobs, runs, state
from service.cycle import TIMED
from service.errors import Denied, ServerFailed, SuspiciouslyEmpty
from service.headway import Headway
from service.store import cursors, health
from tests.cycle.world import FAST, Row, World

_TABLES = {"records": "resource_records"}
UPSERT: dict[str, Any] = {"method": "POST", "path": "/v1/contacts*"}


def last(world: World) -> Row:
    return world.rows("SELECT * FROM runs ORDER BY id DESC LIMIT 1")[0]


def outcome(world: World) -> Any:
    return last(world)["outcome"]


def told(world: World) -> dict[str, Any]:
    with world.db.begin(write=False) as conn:
        return state.gather(conn, world.bridge.now(), world.bridge.settings)


def streams(world: World) -> dict[str, Row]:
    return {row["stream"]: row for row in world.rows("SELECT * FROM streams")}


def deny(world: World, path: str, status: int = 403, **more: Any) -> None:
    world.sandbox.fail("onvoard", "status", method="GET", path=path, status=status, times=None, **more)


async def test_nothing_came_and_nothing_was_to_come(both: World) -> None:
    await both.sync(full=False)
    assert outcome(both) == "empty as expected"
    await both.linked("ann")
    assert outcome(both) == "ok"
    for _ in range(2):  # the first one still looks at the minute in which she was made
        both.clock.advance(3600)
        await both.sync(full=False)
    assert outcome(both) == "empty as expected"
    both.ov.edit_contact("ann@example.com", city="Oslo")
    await both.sync()
    assert outcome(both) == "ok"


async def test_what_changed_is_on_record_by_platform_and_field(world: World) -> None:
    await world.linked("ann", "bob")
    for name in ("ann", "bob"):
        world.ov.edit_contact(f"{name}@example.com", city="Oslo")
    await world.sync()
    changed = told(world)["last_change"]
    assert changed["changed"] == {"digital_onboarding.city": 2}
    assert changed["pushed"] == {"digital_onboarding.upsert_contact.done": 2}
    world.clock.advance(3600)
    await world.sync(full=False)
    report = told(world)
    assert report["last_change"]["id"] == changed["id"] < report["last_run"]["id"]
    assert [title for title, _ in state.lasts(report)] == ["The last run", "The last run that changed something"]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_stream_that_is_denied_hinders_no_other(both: World, status: int) -> None:
    await both.linked("ann")
    before = streams(both)
    deny(both, "/v*/reviews", status)
    both.ov.edit_contact("ann@example.com", city="Oslo", email_unsubscribed=True)
    with pytest.raises(Denied):
        await both.sync()
    assert both.do.contact("crm-ann")["city"] == "Oslo" and both.do.contact("crm-ann")["unsubscribe_email"]
    run = last(both)
    assert run["outcome"] == "denied"
    reason = next(each for each in told(both)["why"] if "ended as denied" in each["reason"])
    assert "reviews denied: onvoard: GET" in reason["reason"]
    assert reason["since"] is not None
    [needed] = told(both)["needs_person"]
    assert needed["kind"] == "denied" and "OnVoard denied sync: wrong credentials" in needed["what"]
    reviews, contacts = (streams(both)[f"onvoard.{name}"] for name in ("reviews", "contacts"))
    assert reviews["failure"] == "denied"
    assert reviews["succeeded_at"] == before["onvoard.reviews"]["succeeded_at"] < contacts["succeeded_at"]


@pytest.mark.parametrize("denied", ["contacts", "reviews"])
async def test_in_a_first_pull_what_is_denied_hinders_no_other_stream(both: World, denied: str) -> None:
    world = both
    world.ov.add_contact("ann@example.com")
    world.ov.add_review("ann@example.com", 4, "fine", product_id=world.ov.add_product("sku-1", "Kettle"))
    world.ov.add_activity("ann@example.com", "email_opened", email_name="hello")
    deny(world, f"/v*/{denied}")
    for _ in range(2):
        with pytest.raises(Denied, match=denied):
            await world.sync()
        kept = {name for name in TIMED if world.value(f"SELECT count(*) FROM onvoard_{_TABLES.get(name, name)}")}
        assert kept == {"contacts", "reviews", "activities"} - {denied}
    assert not world.journal.writes()
    world.sandbox.clear_faults()
    await world.sync()
    assert world.do.contact("ann@example.com")


async def test_since_when_a_stream_fails_is_not_moved_by_the_next_failure_and_forgotten_with_a_success(
    world: World,
) -> None:
    await world.linked("ann")
    deny(world, "/v*/reviews")
    since = []
    for _ in range(2):
        world.clock.advance(600)
        with pytest.raises(Denied):
            await world.sync()
        since.append(streams(world)["onvoard.reviews"]["failing_since"])
    assert since[0] == since[1] is not None
    world.sandbox.clear_faults()
    await world.sync()
    reviews = streams(world)["onvoard.reviews"]
    assert (reviews["failing_since"], reviews["failure"]) == (None, None)
    assert not [each for each in told(world)["reasons"] if "sync" in each]


async def test_a_stream_that_fails_beside_others_makes_a_run_partial(world: World) -> None:
    await world.linked("ann")
    world.sandbox.fail("digital_onboarding", "status", method="GET", path="/v1/templates*", status=500, times=None)
    world.ov.edit_contact("ann@example.com", city="Oslo")
    with pytest.raises(ServerFailed):
        await world.sync()
    assert outcome(world) == "partial" and world.do.contact("crm-ann")["city"] == "Oslo"
    assert "the last sync ended as partial" in "\n".join(told(world)["reasons"])
    assert streams(world)["digital_onboarding.templates"]["failure"] == "failed"
    since = [each["since"] for each in told(world)["why"] if "partial" in each["reason"]]
    world.clock.advance(600)
    with pytest.raises(ServerFailed):
        await world.sync()
    assert [each["since"] for each in told(world)["why"] if "partial" in each["reason"]] == since != [None]


async def test_nothing_is_decided_before_every_stream_was_read_once(world: World) -> None:
    """A rule that names a template would be refused for good."""
    world.ov.add_contact("ann@example.com")
    world.sandbox.fail("digital_onboarding", "status", method="GET", path="/v1/templates*", status=403, times=None)
    mark = world.journal.mark()
    with pytest.raises(Denied):
        await world.sync()
    assert outcome(world) == "denied" and not world.journal.writes(mark)
    reasons = "\n".join(told(world)["reasons"])
    assert "digital_onboarding.templates was never read, and is denied: nothing is decided before" in reasons
    world.sandbox.clear_faults()
    await world.sync()
    assert world.do.contact("ann@example.com")


@pytest.mark.parametrize("path", ["/v*/contacts", "/v*/contact-activities"])
async def test_nothing_is_decided_where_people_could_not_be_read(world: World, path: str) -> None:
    await world.linked("ann")
    deny(world, path)
    world.do.edit_contact("crm-ann", city="Oslo")
    mark = world.journal.mark()
    with pytest.raises(Denied):
        await world.sync()
    assert outcome(world) == "denied" and not world.journal.writes(mark)


async def test_a_backfill_reads_what_it_can(world: World) -> None:
    world.ov.add_contact("ann@example.com")
    deny(world, "/v*/contacts")
    with pytest.raises(Denied):
        await world.backfill()
    assert outcome(world) == "denied" and last(world)["finished_at"] is not None
    assert streams(world)["onvoard.contacts"]["succeeded_at"] is None
    assert streams(world)["digital_onboarding.objectives"]["succeeded_at"] is not None


async def test_a_push_that_is_denied(world: World) -> None:
    await world.linked("ann")
    world.sandbox.fail("digital_onboarding", "status", **UPSERT, status=403, body_contains="Oslo", times=None)
    world.ov.edit_contact("ann@example.com", city="Oslo")
    with pytest.raises(Denied):
        await world.sync()
    assert outcome(world) == "denied"


async def test_a_push_that_is_refused_makes_its_run_partial_and_a_later_one_is_well_again(world: World) -> None:
    await world.linked("ann", "bob")
    world.sandbox.fail("digital_onboarding", "status", **UPSERT, status=422, body_contains="Oslo", times=None)
    world.ov.edit_contact("ann@example.com", city="Oslo")
    world.ov.edit_contact("bob@example.com", city="Bern")
    report = await world.sync()
    assert report.needs_person and outcome(world) == "partial"
    assert world.do.contact("crm-bob")["city"] == "Bern"
    assert "ended as" not in "\n".join(told(world)["reasons"]), "the dead letter is told by itself"
    await world.sync()
    assert outcome(world) == "ok"


async def test_a_side_that_suddenly_has_nobody(world: World) -> None:
    await world.linked("ann", "bob")
    world.ov.contacts.clear()
    with pytest.raises(SuspiciouslyEmpty):
        await world.sync()
    assert outcome(world) == "suspiciously empty"
    assert [each["kind"] for each in told(world)["needs_person"]] == ["empty"]


async def test_a_new_key_that_nobody_knows_is_on_record_as_denied(world: World) -> None:
    await world.linked("ann")
    world.configure(onvoard__api_key="another-key")
    world.sandbox.fail("onvoard", "status", path="/v*", status=401, times=FAST.attempts)
    with pytest.raises(Denied):
        await world.sync()
    assert outcome(world) == "denied" and last(world)["finished_at"] is not None


async def test_a_job_of_lists_goes_on_behind_one_that_fails(world: World) -> None:
    await world.linked("ann")
    deny(world, "/v*/webhooks")
    with pytest.raises(Denied):
        await jobs.work(world.bridge, jobs.named("resources"))
    assert outcome(world) == "denied"
    assert streams(world)["onvoard.records"]["succeeded_at"] == last(world)["finished_at"]


# While it is at work


async def test_a_run_says_how_far_it_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the mirror, for other processes; and nothing of it stays when it is over."""
    monkeypatch.setattr("service.headway.EVERY", 0.01)
    seen: list[Row] = []

    async def work(cycle: Any) -> None:
        cycle.headway.advance("contacts", 40)
        cycle.headway.advance("contacts", 2)
        for _ in range(200):
            await asyncio.sleep(0.01)
            if (doing := told(world)["doing"]) and doing[0]["done"]:
                seen.append(doing[0])
                return

    await runs.run(world.bridge, "backfill", work)
    assert seen[0]["kind"] == "backfill" and seen[0]["at"] == "contacts" and seen[0]["done"] == {"contacts": 42}
    assert told(world)["doing"] == []
    assert last(world)["progress"] is None


async def test_a_run_of_which_nothing_is_heard_is_nobodys(world: World) -> None:
    with world.db.begin() as conn:
        cursors.start_run(conn, "sync", world.bridge.now())
    assert told(world)["doing"][0]["kind"] == "sync"
    later = world.bridge.now() + timedelta(minutes=3)
    world.bridge = replace(world.bridge, now=lambda: later)
    report = told(world)
    assert report["doing"] == []
    assert "the last sync was broken off" in "\n".join(report["reasons"])


def test_the_pace_is_that_of_the_last_minutes() -> None:
    headway = Headway()
    for second in range(0, 301, 10):
        headway.advance("contacts", 1000 if second < 150 else 10)
        figures = headway.figures(float(second))
    assert figures["per_second"] == {"contacts": 1.0}
    assert figures["done"] == {"contacts": 15 * 1000 + 16 * 10}


async def test_what_is_left_and_when_it_will_be_over(world: World) -> None:
    await world.linked("ann", "bob")
    world.sandbox.fail("digital_onboarding", "status", **UPSERT, status=503, body_contains="Oslo", times=None)
    for name in ("ann", "bob"):
        world.ov.edit_contact(f"{name}@example.com", city="Oslo")
    with pytest.raises(ServerFailed):
        await world.sync()
    left = told(world)["left"]
    assert [(row["platform"], row["lane"], row["status"], row["pushes"]) for row in left["pushes"]] == [
        ("digital_onboarding", "change", "pending", 2)
    ]
    assert left["pushes"][0]["since"] is not None
    [estimate] = left["estimates"]
    assert (estimate["left"], estimate["by"]) == (2, "rate")
    assert left["done_at"] is None, "nobody is pushing"
    with world.db.begin() as conn:
        run_id = cursors.start_run(conn, "reconcile", world.bridge.now())
        pace = {"at": "pushing", "done": {}, "per_second": {"push to digital_onboarding": 0.1}}
        health.tell_progress(conn, run_id, pace, world.bridge.now())
    at = world.bridge.now()
    world.use_clock(lambda: at)
    left = told(world)["left"]
    assert left["estimates"][0]["by"] == "pace" and left["estimates"][0]["seconds"] == 20
    assert left["done_at"] == at + timedelta(seconds=20)
