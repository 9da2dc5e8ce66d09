"""The mass change brake."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from service import runs, state
from service.cli import status
from service.cli.main import cli
from service.errors import SuspiciouslyEmpty
from service.schedule import JOBS
from service.store import reports
from tests.cycle.world import World, is_opt_out

NAMES = [f"p{number}" for number in range(8)]


async def _edited(world: World, number: int, **fields: str) -> None:
    for name in NAMES[:number]:
        world.ov.edit_contact(f"{name}@example.com", **(fields or {"city": "Oslo"}))


async def test_exactly_the_limit_passes_and_one_more_is_held(both: World) -> None:
    both.configure(limits__max_changed_count=3, limits__max_changed_share=0.0)
    await both.linked(*NAMES)
    await _edited(both, 3)
    report = await both.sync()
    assert not report.held and both.do.contact("crm-p2")["city"] == "Oslo"
    both.clock.advance(60)
    await _edited(both, 4, city="Bern")
    both.do.edit_contact("crm-p7", city="Lima")
    mark = both.mark()
    report = await both.sync()
    assert list(report.held) == ["digital_onboarding"] and report.needs_person and report.outcome == "held"
    assert both.writes(mark, "digital_onboarding") == []
    known = both.rows("SELECT raw FROM onvoard_contacts")
    assert sum("Bern" in str(row["raw"]) for row in known) == 4, "the mirror is updated all the same"
    assert both.ov.contact("p7@example.com")["properties"]["city"] == "Lima", "the other direction goes on"
    held = both.rows("SELECT * FROM outbox WHERE status = 'held'")
    assert len(held) == 4 and all(row["platform"] == "digital_onboarding" for row in held)
    report = await both.sync(allow=True)
    assert not report.held and both.unequal() == []
    assert both.rows("SELECT * FROM outbox WHERE status = 'held'") == []
    await both.quiet()


async def test_the_share_has_to_be_exceeded_as_well(world: World) -> None:
    world.configure(limits__max_changed_count=0, limits__max_changed_share=0.5)
    await world.linked(*NAMES)
    await _edited(world, 4)
    assert not (await world.sync()).held
    world.clock.advance(60)
    await _edited(world, 5, city="Bern")
    assert (await world.sync()).held
    assert (await world.sync()).held, "it stays held until somebody says otherwise"
    world.clock.advance(60)
    await _edited(world, 1, city="Oslo")  # back to what it was: one less
    assert not (await world.sync()).held
    assert world.unequal() == []
    await world.quiet()


async def test_creations_and_first_links_are_not_counted(world: World) -> None:
    world.configure(limits__max_changed_count=0, limits__max_changed_share=0.0)
    for name in NAMES:
        world.ov.add_contact(f"{name}@example.com", city="Rome")
        world.do.add_contact(unique_id=f"crm-{name}", email=f"{name}@example.com", name_first=name)
        world.ov.add_contact(f"new-{name}@example.com", name=name)
    await world.import_export()
    report = await world.sync()
    assert not report.held and world.unequal() == [] and len(world.do.contacts) == 16
    await world.quiet()


async def test_held_opt_outs_go_out_by_themselves_after_a_day(world: World) -> None:
    world.configure(limits__max_changed_count=2, limits__max_changed_share=0.0)
    await world.linked(*NAMES)
    await _edited(world, 2)
    for name in NAMES[:4]:
        world.do.unsubscribe(f"crm-{name}")
    for name in NAMES[4:]:
        world.ov.unsubscribe(f"{name}@example.com")
    mark = world.mark()
    report = await world.sync()
    assert set(report.held) == {"onvoard", "digital_onboarding"} and world.writes(mark) == []
    world.clock.advance(23 * 3600)
    await world.sync()
    assert world.writes(mark) == []
    world.clock.advance(2 * 3600)
    report = await world.sync()
    assert all(contact["email_unsubscribed"] for contact in world.ov.contact_list())
    assert all(contact["unsubscribe_email"] for contact in world.do.contact_list())
    await world.sync(allow=True)
    assert world.unequal() == []
    await world.quiet()


async def test_suppressions_pass_the_brake(world: World) -> None:
    world.configure(limits__max_changed_count=0, limits__max_changed_share=0.0)
    await world.linked(*NAMES)
    for name in NAMES[:5]:
        world.ov.suppress(f"{name}@example.com")
    report = await world.sync()
    assert not report.held
    assert all(world.do.contact(f"crm-{name}")["unsubscribe_sms"] for name in NAMES[:5])
    await world.quiet()


def _holds(world: World) -> list[dict[str, Any]]:
    with world.db.begin(write=False) as conn:
        report = state.gather(conn, world.clock.now(), world.bridge.settings)
    return report["holds"]


async def test_changes_and_opt_outs_towards_one_platform_are_held_together(both: World) -> None:
    """Two fields and three opt-outs alone would each pass."""
    both.configure(limits__max_changed_count=3, limits__max_changed_share=0.0)
    await both.linked(*NAMES)
    await _edited(both, 2)
    for name in NAMES[2:5]:
        both.ov.unsubscribe(f"{name}@example.com")
    mark = both.mark()
    report = await both.sync()
    (why,) = report.held.values()
    assert why == "5 of 8 linked people would change, 3 of them by an opt-out (limits: 3 people and 0%)"
    assert both.writes(mark) == []


async def test_somebody_who_would_change_twice_counts_once(world: World) -> None:
    world.configure(limits__max_changed_count=2, limits__max_changed_share=0.0)
    await world.linked(*NAMES)
    for name in NAMES[:2]:
        world.ov.edit_contact(f"{name}@example.com", city="Oslo", phone="+14155550199")
        world.ov.unsubscribe(f"{name}@example.com")
    assert not (await world.sync()).held
    assert world.unequal() == []


async def test_activities_are_not_counted(world: World) -> None:
    world.configure(limits__max_changed_count=0, limits__max_changed_share=0.0)
    await world.setup()
    await world.linked(*NAMES)
    for name in NAMES:
        world.do.complete_objective(f"crm-{name}", "online-banking")
    await world.import_export()
    assert not (await world.sync()).held
    assert len(world.activities("objective_completed")) == len(NAMES)


async def test_what_is_held_is_listed_and_released_by_a_person(both: World) -> None:
    both.configure(limits__max_changed_count=2, limits__max_changed_share=0.0)
    await both.linked(*NAMES)
    await _edited(both, 3)
    both.ov.unsubscribe("p7@example.com")
    began = both.clock.now()
    await both.sync()
    (hold,) = _holds(both)
    assert (hold["platform"], hold["people"], hold["opt_outs"]) == ("digital_onboarding", 4, 1)
    assert began <= hold["since"] <= both.clock.now()
    assert hold["opt_outs_leave_at"] == hold["since"] + timedelta(hours=24)
    assert "4 of 8" in hold["reason"] and hold["left_out"] == 0
    listed = [(each["email"], each["field"], each["old"], each["new"]) for each in hold["changes"]]
    assert listed == [
        ("p7@example.com", "unsubscribe_email", False, True),
        *((f"p{number}@example.com", "city", "Rome", "Oslo") for number in range(3)),
    ]
    assert all(each["why"] and each["person_id"] for each in hold["changes"])
    assert hold["release_with"] == "contact-bridge sync --allow-mass-change"
    since = hold["since"]
    both.clock.advance(3600)
    await both.sync()
    (hold,) = _holds(both)
    assert hold["since"] == since, "it is the same hold"
    await both.sync(allow=True)
    assert _holds(both) == [] and both.unequal() == []
    assert both.do.contact("crm-p7")["unsubscribe_email"] is True


async def test_when_held_opt_outs_have_left_the_status_tells_of_none(world: World) -> None:
    world.configure(limits__max_changed_count=2, limits__max_changed_share=0.0)
    await world.linked(*NAMES)
    await _edited(world, 4)
    world.ov.unsubscribe("p7@example.com")
    await world.sync()
    world.clock.advance(25 * 3600)
    mark = world.mark()
    await world.sync()
    (write,) = world.writes(mark)
    assert is_opt_out(write)
    (hold,) = _holds(world)
    assert (hold["people"], hold["opt_outs"], hold["opt_outs_leave_at"]) == (4, 0, None)


async def test_the_list_is_bounded_and_the_table_is_shorter(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.configure(limits__max_changed_count=2, limits__max_changed_share=0.0)
    await world.linked(*NAMES)
    await _edited(world, 6)
    await world.sync()
    monkeypatch.setattr(reports, "HELD_SHOWN", 5)
    monkeypatch.setattr(status, "HELD_LINES", 4)
    (hold,) = _holds(world)
    assert (len(hold["changes"]), hold["left_out"], hold["people"]) == (5, 1, 6)
    url = world.db.engine.url.render_as_string(hide_password=False)
    shown = CliRunner(env={"BRIDGE_DATABASE_URL": url}).invoke(cli, ("status",))
    assert shown.exit_code == 0, shown.output
    assert [line.count("Oslo") for line in shown.stdout.splitlines()].count(1) == 4
    assert "--allow-mass-change" in shown.stdout and "and more" in shown.stdout


async def test_the_alert_is_at_once_in_a_sync_and_in_the_daemon(world: World) -> None:
    world.configure(limits__max_changed_count=2, limits__max_changed_share=0.0)
    await world.linked(*NAMES)
    for name in NAMES[:4]:
        world.ov.unsubscribe(f"{name}@example.com")
    (reconcile,) = (job.work for job in JOBS if job.name == "reconcile")
    for work in (world.sync(), runs.run(world.bridge, "reconcile", reconcile)):
        with capture_logs() as logs:
            await work
        (alert,) = (each for each in logs if each["event"] == "held by the brake")
        assert alert["log_level"] == "warning" and alert["platform"] == "digital_onboarding"
        assert "4 of 8 linked people would change, 4 of them by an opt-out" in alert["why"]
        assert "example.com" not in str(alert) and alert["hint"] == "contact-bridge status"


async def test_a_suspicion_is_told_by_status(world: World) -> None:
    await world.linked(*NAMES)
    world.ov.contacts.clear()
    with pytest.raises(SuspiciouslyEmpty):
        await world.sync()
    with world.db.begin(write=False) as conn:
        reasons = state.gather(conn, world.clock.now(), world.bridge.settings)["reasons"]
    (told,) = (reason for reason in reasons if "suspiciously empty" in reason)
    assert "contact-bridge sync --full --allow-mass-change" in told
