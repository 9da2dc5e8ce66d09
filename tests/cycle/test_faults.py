"""Poison records, platforms that are down, answers that are none: what is hit is hit alone (law 6)."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from service.errors import ForeignAccount, PlatformError
from service.platforms.pace import Pace
from service.store import tables as t
from tests.cycle.world import FAST, World, is_probe, members

NAMES = [f"p{number}" for number in range(9)]
UPSERT: dict[str, Any] = {"method": "POST", "path": "/v1/contacts"}


async def _edit_all(world: World) -> None:
    for name in NAMES:
        world.ov.edit_contact(f"{name}@example.com", city="Poison" if name == "p4" else "Oslo")


def _cities(world: World) -> list[str]:
    return sorted({contact["city"] for contact in world.do.contact_list()})


async def test_a_refused_batch_is_bisected_until_the_culprit_stands_alone(both: World) -> None:
    await both.linked(*NAMES)
    await _edit_all(both)
    both.sandbox.fail("digital_onboarding", "status", **UPSERT, body_contains="Poison", status=422, times=None)
    report = await both.sync()
    (dead,) = both.rows("SELECT * FROM outbox WHERE status = 'dead'")
    assert report.new_dead == 1 and "422" in dead["last_error"] and "Poison" not in dead["last_error"]
    assert _cities(both) == ["Oslo", "Rome"]
    assert (await both.sync()).new_dead == 0
    await both.quiet()
    both.clock.advance(60)
    both.ov.edit_contact("p4@example.com", city="Bern")  # another value is another try
    await both.sync()
    assert both.do.contact("crm-p4")["city"] == "Bern" and both.unequal() == []


async def test_why_an_attempt_failed_stays_on_record_when_a_later_one_gets_through(both: World) -> None:
    await both.linked("ann")
    both.do.edit_contact("crm-ann", city="Oslo")
    for status in (500, 503):
        both.sandbox.fail("onvoard", "status", method="PATCH", status=status, times=FAST.attempts)
        with contextlib.suppress(PlatformError):
            await both.sync()
    await both.sync()
    reasons = both.rows(
        "SELECT o.status AS now, a.status, a.reason FROM outbox_attempts a JOIN outbox o ON o.id = a.push_id"
        " WHERE a.reason LIKE '%answered 50%' ORDER BY a.id"
    )
    assert [("500" in row["reason"], "503" in row["reason"]) for row in reasons] == [(True, False), (False, True)]
    assert both.unequal() == []


async def test_a_batch_that_is_too_large_is_split(world: World) -> None:
    await world.linked(*NAMES)
    await _edit_all(world)
    world.do.settings.max_batch = 2
    mark = world.mark()
    await world.sync(full=False)
    await world.backfill("contacts")
    await world.sync(full=False)
    assert all(len(members(entry)) <= 2 for entry in world.writes(mark) if entry.took_effect)
    world.do.settings.max_batch = 1000
    await world.sync()
    assert world.unequal() == []


async def test_probes_are_split_too_where_a_batch_is_too_large(world: World) -> None:
    await world.linked(*NAMES)
    world.do.edit_contact("crm-p3", city="Bern")
    world.do.settings.max_batch = 4
    await world.sync()
    assert world.ov.contact("p3@example.com")["properties"]["city"] == "Bern"
    await world.quiet()


def _sizes(world: World, since: int, *, probes: bool) -> list[int]:
    """Of the requests for several contacts, in order."""
    entries = world.journal.writes(since, "digital_onboarding")
    return [len(members(entry)) for entry in entries if "contacts" in entry.body and is_probe(entry) == probes]


def _remembered(world: World) -> list[str]:
    return [row["value"] for row in world.rows("SELECT value FROM facts WHERE key = 'digital_onboarding.batch_size'")]


async def test_batches_after_one_that_was_too_large_are_smaller_in_the_next_run_too_and_grow_again(both: World) -> None:
    both.configure(digital_onboarding__batch_size=8)
    await both.linked(*NAMES)
    both.do.settings.max_batch = 4
    sizes: list[int] = []
    for city in ("Oslo", "Bern"):
        for name in NAMES:
            both.ov.edit_contact(f"{name}@example.com", city=city)
        mark = both.mark()
        await both.sync()
        sizes += _sizes(both, mark, probes=True) + _sizes(both, mark, probes=False)
        both.clock.advance(60)
    assert sizes[0] == 8 and max(sizes[1:]) <= 5, "probes and pushes go by the same size"
    assert _remembered(both) and both.unequal() == []
    both.do.settings.max_batch = 1000
    for _ in range(9):
        await both.sync()  # each asks about everybody
    assert _remembered(both) == []
    mark = both.mark()
    await both.sync()
    assert _sizes(both, mark, probes=True)[0] == 8


@pytest.mark.parametrize("probes", [True, False])
async def test_a_batch_that_is_not_answered_is_tried_in_halves_and_the_next_ones_are_smaller(
    world: World, probes: bool
) -> None:
    world.configure(digital_onboarding__batch_size=8, **({} if probes else {"digital_onboarding__refresh": "off"}))
    await world.linked(*NAMES)
    await _edit_all(world)
    world.sandbox.fail("digital_onboarding", "reset_before", **UPSERT, times=3)  # as often as a call is tried
    mark = world.mark()
    await world.sync()
    sizes = _sizes(world, mark, probes=probes)
    assert sizes[:3] == [8, 8, 8] and max(sizes[3:]) <= 5
    assert _remembered(world) and _cities(world) == ["Oslo", "Poison"]
    await world.quiet()


async def test_a_refused_batch_says_nothing_about_how_large_batches_may_be(world: World) -> None:
    await world.linked(*NAMES)
    await _edit_all(world)
    world.sandbox.fail("digital_onboarding", "status", **UPSERT, body_contains="Poison", status=422, times=None)
    await world.sync()
    assert _remembered(world) == []


async def test_a_platform_that_is_down_ends_a_sync_soon_and_nothing_is_lost(world: World) -> None:
    await world.linked(*NAMES)
    names = [f"n{number}" for number in range(60)]
    for name in names:
        world.do.add_contact(unique_id=f"crm-{name}", email=f"{name}@example.com", city="Quito")
    await world.import_export()
    limits = replace(FAST, max_in_flight=4, wait_max=0.5)
    pace = world.bridge.onvoard._transport.pace = Pace("onvoard", limits, world.clock.now)
    world.sandbox.fail("onvoard", "status", method="GET", path="/v2/contacts", skip=2, status=503, times=None)
    mark = world.mark()
    with pytest.raises(PlatformError, match="onvoard"):
        await world.sync(full=False)
    assert len(world.journal.entries(mark)) < 100
    assert {row["status"] for row in world.rows("SELECT status FROM outbox WHERE lane > 0")} <= {"pending", "done"}
    world.sandbox.clear_faults()
    async with asyncio.timeout(10):
        while pace.state.breaker == "open":  # noqa: ASYNC110 (for longer, where a probe has failed meanwhile)
            await asyncio.sleep(0.05)
    await world.sync()
    assert world.unequal() == [] and len(world.ov.contacts) == len(NAMES) + len(names)
    await world.quiet()


async def test_a_refused_probe_costs_its_person_alone(world: World) -> None:
    await world.linked(*NAMES[:5])
    for name in NAMES[:5]:
        world.do.edit_contact(f"crm-{name}", city="Bern")
    world.sandbox.fail("digital_onboarding", "status", **UPSERT, body_contains="crm-p2", status=422, times=None)
    await world.sync()
    cities = [contact["properties"]["city"] for contact in world.ov.contact_list()]
    assert cities == ["Bern", "Bern", "Rome", "Bern", "Bern"]


async def test_a_refused_patch_costs_its_person_alone(world: World) -> None:
    await world.linked(*NAMES[:3])
    for name in NAMES[:3]:
        world.do.edit_contact(f"crm-{name}", city=f"New {name}")
    world.sandbox.fail("onvoard", "status", method="PATCH", body_contains="New p1", status=400, times=None)
    report = await world.sync()
    assert report.new_dead == 1 and report.needs_person
    assert [c["properties"]["city"] for c in world.ov.contact_list()] == ["New p0", "Rome", "New p2"]
    assert (await world.sync()).new_dead == 0
    await world.quiet()


async def test_a_refused_creation_costs_its_person_alone(world: World) -> None:
    for name in NAMES[:4]:
        world.ov.add_contact(f"{name}@example.com", name=name)
        world.do.add_contact(unique_id=f"crm-q{name}", email=f"q{name}@example.com")
    await world.import_export()
    world.sandbox.fail("digital_onboarding", "status", **UPSERT, body_contains='"p1@', status=422, times=None)
    world.sandbox.fail("onvoard", "status", method="POST", body_contains="qp2@", status=400, times=None)
    report = await world.sync()
    assert report.new_dead == 2 and (len(world.do.contacts), len(world.ov.contacts)) == (7, 7)
    await world.quiet()


@pytest.mark.parametrize("side", ["onvoard", "digital_onboarding"])
async def test_a_platform_that_fails_in_the_middle_of_a_push_is_gone_on_with(world: World, side: str) -> None:
    world.configure(digital_onboarding__batch_size=3)
    await world.linked(*NAMES)
    for name in NAMES:
        world.ov.edit_contact(f"{name}@example.com", city="Oslo")
        world.do.edit_contact(f"crm-{name}", name_last="Long")
    where = {"method": "PATCH", "skip": 3} if side == "onvoard" else {**UPSERT, "skip": 4}
    world.sandbox.fail(side, "status", status=503, times=None, **where)  # type: ignore[arg-type]
    with pytest.raises(PlatformError, match=side):
        await world.sync()
    assert world.rows("SELECT outcome FROM runs ORDER BY id DESC LIMIT 1") == [{"outcome": "failed"}]
    world.sandbox.clear_faults()
    await world.sync()
    assert world.unequal() == [] and _cities(world) == ["Oslo"]
    assert world.rows("SELECT id FROM outbox WHERE status NOT IN ('done', 'cancelled')") == []
    await world.quiet()


@pytest.mark.parametrize(("kind", "full"), [("malformed", False), ("truncate", True), ("status", True)])
async def test_a_garbage_page_moves_no_cursor_and_changes_nothing(world: World, kind: str, full: bool) -> None:
    await world.linked("ann", "bob")
    cursor = world.value("SELECT value FROM cursors WHERE stream = 'onvoard.contacts'")
    world.ov.edit_contact("ann@example.com", city="Oslo")
    world.ov.add_contact("new@example.com")
    before = world.rows("SELECT id, email, properties FROM onvoard_contacts ORDER BY id")
    page = {"status": 200, "body": {"current_page": 1, "page_size": 100, "results": "surprise"}}
    details: dict[str, Any] = page if kind == "status" else {}
    world.sandbox.fail("onvoard", kind, method="GET", path="/v2/contacts", times=None, **details)  # type: ignore[arg-type]
    mark = world.mark()
    with pytest.raises(PlatformError, match="GET /v2/contacts"):
        await world.sync(full=full)
    assert world.value("SELECT value FROM cursors WHERE stream = 'onvoard.contacts'") == cursor
    assert world.rows("SELECT id, email, properties FROM onvoard_contacts ORDER BY id") == before
    assert world.writes(mark) == []
    world.sandbox.clear_faults()
    await world.sync()
    assert world.do.contact("crm-ann")["city"] == "Oslo" and len(world.do.contacts) == 3
    await world.quiet()


@pytest.mark.parametrize("kind", ["malformed", "reset_after"])
async def test_an_answer_to_our_writes_that_is_lost_changes_nothing_for_good(world: World, kind: str) -> None:
    await world.linked(*NAMES[:4])
    for name in NAMES[:4]:
        world.ov.edit_contact(f"{name}@example.com", city=f"City {name}")
        world.do.edit_contact(f"crm-{name}", name_last="Long")
    world.ov.add_contact("new@example.com", name="Nora New", city="Lima")
    world.do.add_contact(unique_id="crm-late", email="late@example.com", city="Quito")
    await world.import_export()
    for platform, method, path in (
        ("digital_onboarding", "POST", "/v1/contacts"), ("onvoard", "PATCH", "*"), ("onvoard", "POST", "*"),
    ):  # fmt: skip
        world.sandbox.fail(platform, kind, method=method, path=path, times=2)  # type: ignore[arg-type]
    for _ in range(4):
        with contextlib.suppress(PlatformError):
            await world.sync()
    assert world.unequal() == [] and (len(world.ov.contacts), len(world.do.contacts)) == (6, 6)
    assert world.conflicts() == [] and world.conflicts(status="resolved") == []
    await world.quiet()


async def test_short_hiccups_are_sat_out(world: World) -> None:
    await world.linked("ann")
    world.ov.edit_contact("ann@example.com", city="Oslo")
    world.sandbox.fail("onvoard", "rate_limit", method="GET", retry_after=0.01, times=2)
    world.sandbox.fail("onvoard", "status", method="GET", path="/v2/contacts", status=502)
    world.sandbox.fail("digital_onboarding", "reset_before", **UPSERT)
    await world.sync()
    assert world.do.contact("crm-ann")["city"] == "Oslo"
    await world.quiet()


async def test_another_account_is_refused(world: World) -> None:
    """Law 11: before anything is read or written."""
    await world.linked("ann")
    mark = world.mark()
    for setting, value in (
        ("digital_onboarding__client_id", "another-client"),
        ("onvoard__base_url", "http://127.0.0.1:9"),
    ):
        kept = dict(world._overrides)
        world.configure(**{setting: value})
        with pytest.raises(ForeignAccount):
            await world.sync()
        with pytest.raises(ForeignAccount):
            await world.backfill("contacts")
        world.configure(**{key.replace(".", "__"): kept[key] for key in kept})
    assert world.journal.entries(mark) == []
    await world.quiet()


async def test_a_new_api_key_is_taken_for_the_old_account_if_that_knows_our_contacts(world: World) -> None:
    """Law 11, and a key that was rotated: OnVoard itself says whether the account is the same."""
    await world.linked("ann")
    with world.db.begin() as conn:
        conn.execute(update(t.accounts).where(t.accounts.c.platform == "onvoard").values(fingerprint="of an older key"))
    await world.sync()
    with world.db.begin() as conn:
        conn.execute(update(t.accounts).where(t.accounts.c.platform == "onvoard").values(fingerprint="of an older key"))
    world.sandbox.onvoard.delete_contact("ann@example.com")
    with pytest.raises(ForeignAccount):
        await world.sync()


async def test_an_expired_token_is_renewed_once_in_the_middle(world: World) -> None:
    world.configure(digital_onboarding__batch_size=2)
    await world.linked(*NAMES[:4])
    world.do.expire_tokens()
    mark = world.mark()
    world.ov.edit_contact("p0@example.com", city="Oslo")
    await world.sync()
    assert len(world.journal.tokens(mark)) == 1 and world.unequal() == []
