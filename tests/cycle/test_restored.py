"""A backup of the mirror is restored, and `sync` is typed: nothing is said twice, nothing older comes back, nothing is
lost. What the platforms were asked to write tells."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service import dead_letters, forgetting, jobs, planning, relinking, resolving, runs, state
from service.core.loaders import Key, Loader, Target
from service.core.records import Platform
from service.core.rules import (
    ActivityOf,
    CompleteObjective,
    Group,
    MemberOf,
    Rule,
    Ruleset,
    SetMetaPublic,
    StartJourney,
    Then,
)
from service.cycle import Cycle
from service.errors import PlanMoved, PlatformError
from service.store import tables as t
from service.store.view_tables import MADE_BY_TRIGGERS
from tests.cycle.world import World, show

ORDERED = ActivityOf(frozenset({"order_placed"}))
THANKS = Rule("thanks", ORDERED, StartJourney("Thank you"))


class Backup:
    """As an operator makes it, with SQLite's own tools; on Postgres all rows, as a dump holds them."""

    def __init__(self, world: World) -> None:
        self.world, self.file, self.rows = world, world.db.file, dict[Any, list[Any]]()
        if self.file is None:
            with world.db.begin(write=False) as conn:
                self.rows = {table: conn.execute(table.select()).all() for table in t.metadata.sorted_tables}
            return
        self.copy = self.file.with_suffix(".backup")
        self.copy.unlink(missing_ok=True)
        with closing(sqlite3.connect(self.file)) as mirror:
            mirror.execute("VACUUM INTO ?", (str(self.copy),))

    def restore(self) -> int:
        """-> where the journal is then"""
        if self.file is None:
            self._fill()
        else:
            self.world.db.engine.dispose()
            for name in ("", "-wal", "-shm"):
                Path(f"{self.file}{name}").unlink(missing_ok=True)
            shutil.copy(self.copy, self.file)
        self.world.clock.advance(3600)
        return self.world.mark()

    def _fill(self) -> None:
        with self.world.db.begin() as conn:
            for table in reversed(self.rows):
                conn.execute(table.delete())
            for table, rows in self.rows.items():
                if rows and table not in MADE_BY_TRIGGERS:  # pg_restore makes triggers when all rows are there
                    conn.execute(table.insert(), [dict(row._mapping) for row in rows])


async def again(world: World, backup: Backup, **how: Any) -> list[str]:
    """Restored, and synced with nothing else. -> what that has written"""
    mark = backup.restore()
    await world.sync(**{"full": False, **how})
    return [show(entry) for entry in world.writes(mark)]


def use(world: World, *rules: Rule, loaders: tuple[Loader, ...] = ()) -> None:
    allowed = frozenset({"ordered", "review_count"})
    world.bridge = replace(world.bridge, rules=Ruleset(rules, meta_public=allowed), loaders=loaders)


def order(world: World, who: str) -> None:
    world.clock.advance(60)
    world.ov.add_activity(f"{who}@example.com", "order_placed")


async def begun(world: World, *names: str, setup: bool = True) -> None:
    world.do.add_template("Thank you")
    if setup:
        await world.setup()
    await world.linked(*names or ("ann", "bob"))


async def backed_up(world: World, *names: str, rules: tuple[Rule, ...] = (), setup: bool = True) -> Backup:
    """After a sync by these rules."""
    await begun(world, *names, setup=setup)
    if rules:
        use(world, *rules)
        await world.sync()
    return Backup(world)


def reasons(world: World) -> list[str]:
    return [row["last_error"] for row in world.rows("SELECT last_error FROM outbox WHERE status = 'dead' ORDER BY id")]


async def test_edits_opt_outs_and_new_people_are_carried_over_once(world: World) -> None:
    backup = await backed_up(world, "ann", "bob", "cat", "dan")
    world.ov.edit_contact("ann@example.com", city="Oslo", phone="+14155550177")
    world.do.edit_contact("crm-bob", city="Bern", name_last="Leigh")
    world.ov.unsubscribe("cat@example.com")
    world.do.unsubscribe("crm-dan")
    world.ov.add_contact("eve@example.com", name="Eve Lee")
    world.do.add_contact(unique_id="crm-fay", email="fay@example.com", name_first="Fay")
    await world.import_export()
    await world.sync()
    before = world.ov.contacts.copy(), world.people()
    assert await again(world, backup) == []
    assert world.unequal() == [] and len(world.ov.contacts) == len(before[0])
    assert {who: row["status"] for who, row in world.people().items()} == {
        who: row["status"] for who, row in before[1].items()
    }
    assert world.conflicts() == []
    await world.quiet(plain=True)


async def test_a_newer_edit_is_not_overwritten_by_what_was_carried_over_before_it(world: World) -> None:
    backup = await backed_up(world)
    world.do.edit_contact("crm-ann", city="Bern")
    await world.sync()
    world.clock.advance(60)
    world.ov.edit_contact("ann@example.com", city="Oslo")
    await again(world, backup)
    assert world.ov.contact("ann@example.com")["properties"]["city"] == "Oslo"
    (asked,) = world.conflicts("restored")
    assert (asked["field"], asked["onvoard_value"], asked["digital_onboarding_value"]) == ("city", "Oslo", "Bern")
    await resolve(world, asked["id"], keep="onvoard")
    assert world.do.contact("crm-ann")["city"] == "Oslo"


async def test_what_both_sides_show_anew_is_put_before_a_person(world: World) -> None:
    """Which of the two was carried over, and which was edited since, only the lost mirror knew."""
    backup = await backed_up(world)
    world.ov.edit_contact("ann@example.com", phone="+14155550177", city="Oslo")
    await world.sync()
    world.clock.advance(60)
    world.do.edit_contact("crm-ann", phone_mobile="+14155550188")
    world.clock.advance(60)
    world.ov.edit_contact("ann@example.com", city="Bonn")  # its record is the newer one, not its phone
    world.ov.edit_contact("bob@example.com", city="Kiel")
    assert not [each for each in await again(world, backup) if "55501" in each]
    (asked,) = [row for row in world.conflicts() if row["field"] == "phone"]
    assert (asked["onvoard_value"], asked["digital_onboarding_value"]) == ("+14155550177", "+14155550188")
    assert world.do.contact("crm-bob")["city"] == "Kiel"
    mark = world.mark()
    await world.sync()
    assert [show(entry) for entry in world.writes(mark)] == []
    await resolve(world, asked["id"], keep="digital_onboarding")
    assert world.ov.contact("ann@example.com")["phone"] == "+14155550188"
    await world.quiet()


async def resolve(world: World, conflict_id: int, keep: str) -> None:
    with world.db.begin() as conn:
        resolving.resolve(conn, world.mapping, conflict_id, Platform(keep), None, world.clock.now())
    await world.sync()


async def test_a_happening_is_told_once(both: World) -> None:
    both.do.settings.echo_journey = True
    await begun(both, "ann", "bob", "cat")
    backup = Backup(both)
    both.do.add_contact(unique_id="crm-eve", email="eve@example.com", name_first="Eve")
    both.ov.add_contact("fay@example.com", name="Fay Lee")  # whom the bridge makes over there: that is not told
    both.do.start_journey("crm-ann", next(iter(both.do.templates)))
    both.do.complete_objective("crm-bob", "online-banking")
    both.do.unsubscribe("crm-cat")
    await both.import_export()
    await both.sync()
    told = sorted(each["type"].removeprefix("custom.digital_onboarding_") for each in both.activities())
    assert told == ["contact_added", "journey_started", "objective_completed", "unsubscribed"]
    backup.restore()
    await both.import_export()
    mark = both.mark()
    await both.sync(full=False)
    assert [show(entry) for entry in both.writes(mark)] == []
    await both.quiet()


@pytest.mark.parametrize(
    "then", [StartJourney("Thank you"), CompleteObjective("online-banking"), SetMetaPublic("ordered", True)],
    ids=["journey", "objective", "meta"],
)  # fmt: skip
@pytest.mark.parametrize("when", [ORDERED, MemberOf(Group.TAG, "vip")], ids=["happening", "tag"])
async def test_what_a_rule_has_asked_for_is_not_asked_for_again(world: World, when: Any, then: Then) -> None:
    backup = await backed_up(world, rules=(Rule("it", when, then),))
    order(world, "ann")
    world.ov.edit_contact("ann@example.com", tags=["vip"])
    await world.sync()
    assert world.value("SELECT status FROM rule_firings") == "done"
    assert await again(world, backup) == []
    assert reasons(world) == []
    order(world, "bob")  # and goes on
    world.ov.edit_contact("bob@example.com", tags=["vip"])
    mark = world.mark()
    await world.sync()
    assert len(world.writes(mark, "digital_onboarding")) == 1


@pytest.mark.parametrize("when", [ORDERED, MemberOf(Group.TAG, "vip")], ids=["happening", "tag"])
async def test_a_journey_of_which_nothing_tells_is_put_before_a_person(world: World, when: Any) -> None:
    rule = Rule("thanks", when, StartJourney("Thank you"))
    # Without activity types OnVoard is told of nothing.
    backup = await backed_up(world, "ann", "bob", "cat", rules=(rule,), setup=False)
    for name in ("ann", "bob"):
        order(world, name)
        world.ov.edit_contact(f"{name}@example.com", tags=["vip"])
    await world.sync()
    assert len(world.do.journeys_of("crm-ann")) == 1
    assert await again(world, backup) == []
    assert len(reasons(world)) == 2 and all("restored" in why for why in reasons(world))
    await world.quiet(plain=True)
    letters = world.rows("SELECT id FROM outbox WHERE status = 'dead' ORDER BY id")
    with world.db.begin() as conn:
        dead_letters.retry(conn, [letters[0]["id"]], world.clock.now())
        dead_letters.discard(conn, [letters[1]["id"]], world.clock.now())
    await world.sync(full=False)
    assert sorted(len(world.do.journeys_of(f"crm-{name}")) for name in ("ann", "bob")) == [1, 2]
    order(world, "cat")
    world.ov.edit_contact("cat@example.com", tags=["vip"])
    await world.sync()
    assert len(world.do.journeys_of("crm-cat")) == 1 and reasons(world) == []
    await world.quiet(plain=True)


async def test_a_completion_of_which_nothing_tells_is_said_again_with_its_own_time_or_put_before_a_person(
    world: World,
) -> None:
    await begun(world, setup=False)
    use(
        world, Rule("first", ORDERED, CompleteObjective("online-banking")),
        Rule("vip", MemberOf(Group.TAG, "vip"), CompleteObjective("estatements")),  # since when, is lost
    )  # fmt: skip
    await world.sync()
    backup = Backup(world)
    order(world, "ann")
    world.ov.edit_contact("bob@example.com", tags=["vip"])
    await world.sync()
    completed = world.do.completions_of("crm-ann"), world.do.completions_of("crm-bob")
    (again_,) = await again(world, backup)
    assert "online-banking" in again_ and len(reasons(world)) == 1
    assert (world.do.completions_of("crm-ann"), world.do.completions_of("crm-bob")) == completed
    assert completed[0]["online-banking"] and completed[0]["online-banking"][:19] in again_
    await world.quiet(plain=True)


async def test_what_happened_while_no_mirror_was_at_work_is_not_in_doubt(world: World) -> None:
    backup = await backed_up(world, rules=(THANKS,), setup=False)
    order(world, "ann")
    await world.sync()
    world.clock.advance(3600)
    order(world, "bob")
    await again(world, backup)
    assert [len(world.do.journeys_of(f"crm-{name}")) for name in ("ann", "bob")] == [1, 1]
    assert len(reasons(world)) == 1


ROWS = {
    Target.ACTIVITIES: "'a1' AS id, 'visit' AS type, '2027-01-02T10:00:00Z' AS occurred_at, 'Oak St' AS branch",
    Target.CONTACT_PROPERTIES: "'Oak St' AS branch",
    Target.META_PUBLIC: "3 AS review_count",
    Target.OBJECTIVES: "'online-banking' AS objective, '2026-01-02T10:00:00Z' AS completed_at",
    Target.JOURNEYS: "'Thank you' AS template",
}


@pytest.mark.parametrize("target", ROWS, ids=lambda target: target.value.rpartition(".")[2])
async def test_what_a_loader_has_fed_is_not_fed_again(world: World, target: Target) -> None:
    await begun(world)
    world.configure(activities__since="2020-01-01")
    await world.sync()
    backup = Backup(world)
    use(world, loaders=(Loader("figures", target, Key.UNIQUE_ID, f"SELECT 'crm-ann' AS unique_id, {ROWS[target]}"),))
    await world.sync()
    assert world.value("SELECT status FROM outbox WHERE cause = 'loader figures'") == "done"
    assert await again(world, backup) == []
    assert reasons(world) == []
    await world.quiet(plain=True)


async def killed_before_the_push(world: World) -> None:
    """All is decided and on record, and nothing has left."""

    async def work(cycle: Cycle) -> None:
        await cycle.pull(full=True)
        await cycle.refresh(full=True)
        await cycle.read_loaders()
        await cycle.decide()

    world.clock.advance(2)
    await runs.run(world.bridge, "sync", work)


async def test_what_the_backup_has_on_record_as_not_sent_is_not_sent_twice(both: World) -> None:
    await begun(both, "ann", "bob", "cat", "dan")
    sets = Rule("m", ORDERED, SetMetaPublic("ordered", True))
    use(both, THANKS, Rule("done", ORDERED, CompleteObjective("online-banking")), sets)
    await both.sync()
    order(both, "ann")
    both.ov.edit_contact("bob@example.com", city="Oslo")
    both.do.unsubscribe("crm-cat")
    both.do.add_contact(unique_id="crm-eve", email="eve@example.com", name_first="Eve")
    both.ov.add_contact("fay@example.com", name="Fay Lee")
    await both.import_export()
    await killed_before_the_push(both)
    waiting = both.rows("SELECT operation, platform FROM outbox WHERE status = 'pending'")
    assert len({tuple(row.values()) for row in waiting}) == 8
    backup = Backup(both)
    await both.sync(full=False)
    assert len(both.do.journeys_of("crm-ann")) == 1
    both.clock.advance(60)
    both.do.edit_contact("fay@example.com", email="fay.new@example.com")  # newer than what made her
    mark = backup.restore()
    await both.sync(full=False)
    (only,) = [show(entry) for entry in both.writes(mark)]
    assert only.startswith("PATCH /v2/contacts") and "fay.new@example.com" in only
    assert reasons(both) == [] and len(both.do.contacts) == 6 and len(both.ov.contacts) == 6
    assert set(both.rows("SELECT status FROM rule_firings")[0].values()) == {"done"}
    await both.quiet(plain=True)


async def test_a_waiting_journey_of_which_nothing_tells_is_put_before_a_person(world: World) -> None:
    await begun(world, setup=False)
    use(world, THANKS)
    await world.sync()
    order(world, "ann")
    await killed_before_the_push(world)
    backup = Backup(world)
    await world.sync(full=False)
    assert await again(world, backup) == []
    (why,) = reasons(world)
    assert "restored" in why and len(world.do.journeys_of("crm-ann")) == 1
    await world.quiet(plain=True)


async def test_whoever_was_erased_since_the_backup_is_erased_again(both: World) -> None:
    await begun(both)
    both.ov.add_contact("eve@example.com", name="Eve Zyx")
    await both.sync()
    backup = Backup(both)
    both.ov.add_contact("fay@example.com", name="Fay Zyx")  # whom the backup does not know
    await both.sync()
    for name in ("eve", "fay"):
        found = await forgetting.find(both.bridge, f"{name}@example.com")
        await forgetting.forget(both.bridge, found, f"{name}@example.com", [])
    backup.restore()
    assert "Zyx" in both.mirror_text()
    await both.sync(full=False)
    assert "Zyx" not in both.mirror_text() and "eve@" not in both.mirror_text()
    for name in ("eve", "fay"):  # for good, whatever is lifted or imported
        both.ov.unsuppress(f"{name}@example.com")
    await both.import_export()
    await both.sync()
    assert "Zyx" not in both.mirror_text() and "fay@" not in both.mirror_text()
    kept = "".join(path.read_text() for path in both.bridge.settings.state_dir.glob("mirror-*"))
    assert kept and "@" not in kept and "Zyx" not in kept
    both.journal.clear()  # a suppression is what `check_journal` never wants to see


async def test_whoever_was_suppressed_since_the_backup_stays_so(world: World) -> None:
    backup = await backed_up(world)
    world.ov.suppress("ann@example.com")
    await world.sync()
    written = await again(world, backup)
    assert "ann@" not in world.mirror_text() and world.status("bob@example.com")[0] == "linked"
    assert all("unsubscribe" in each for each in written)
    await world.quiet()


async def test_a_link_that_was_cut_since_the_backup_is_asked_about(both: World) -> None:
    await begun(both)
    backup = Backup(both)
    with both.db.begin() as conn:
        relinking.unlink(conn, "ann@example.com", "crm-ann", "two people", both.clock.now())
    await both.sync()
    both.ov.edit_contact("ann@example.com", name="Another Ann")
    await both.sync()
    for _ in range(2):
        assert await again(both, backup) == []
        (asked,) = both.conflicts("link_edited")
        await both.quiet(plain=True)
    both.ov.edit_contact("ann@example.com", city="Oslo")
    await both.quiet()
    await resolve(both, asked["id"], keep="onvoard")
    assert both.status("ann@example.com")[0] != "linked"
    assert both.do.contact("crm-ann")["name_first"] == "Ann"
    await both.quiet()


async def test_without_a_mark_the_activities_tell_that_the_mirror_is_behind(world: World) -> None:
    """On another machine, say: nothing outside of the mirror tells."""
    backup = await backed_up(world)
    world.do.complete_objective("crm-bob", "online-banking")
    world.do.edit_contact("crm-ann", city="Bern")
    await world.import_export()
    await world.sync()
    world.clock.advance(60)
    world.ov.edit_contact("ann@example.com", city="Oslo")
    shutil.rmtree(world.bridge.settings.state_dir)
    assert await again(world, backup) == []
    assert [row["field"] for row in world.conflicts()] == ["city"]


async def test_a_further_opt_out_after_the_restoration_is_told(world: World) -> None:
    backup = await backed_up(world)
    world.do.unsubscribe("crm-ann")
    await world.sync()
    world.do.resubscribe("crm-ann")
    world.ov.resubscribe("ann@example.com")
    await world.sync()
    assert await again(world, backup) == []
    world.clock.advance(3600)
    world.do.unsubscribe("crm-ann")
    await world.sync()
    assert len(world.activities("unsubscribed")) == 2
    await world.quiet()


async def test_what_nobody_has_carried_over_yet_is_not_lost(world: World) -> None:
    backup = await backed_up(world, rules=(THANKS,))
    world.ov.edit_contact("ann@example.com", city="Oslo")
    await world.sync()
    world.clock.advance(3600)
    world.ov.edit_contact("bob@example.com", city="Kiel")
    world.do.unsubscribe("crm-ann")
    world.ov.add_contact("eve@example.com", name="Eve Lee")
    order(world, "bob")
    await again(world, backup)
    assert world.do.contact("crm-bob")["city"] == "Kiel"
    assert world.ov.contact("ann@example.com")["email_unsubscribed"] is True
    assert world.do.contact("eve@example.com")["name_first"] == "Eve"
    assert world.unequal() == [] and len(world.do.journeys_of("crm-bob")) == 1
    assert len(world.activities("unsubscribed")) == len(world.activities("journey_started")) == 1
    await world.quiet(plain=True)


async def test_a_mirror_that_was_not_restored_is_not_taken_for_one(world: World) -> None:
    await begun(world, setup=False)
    world.do.complete_objective("crm-bob", "online-banking")  # of which nobody can tell OnVoard
    await world.import_export()
    for number in range(3):
        world.ov.edit_contact("ann@example.com", city=f"Oslo {number}")
        await world.sync()
    assert world.rows("SELECT * FROM facts WHERE key = 'restored'") == []
    backup = Backup(world)
    await world.quiet(plain=True)
    backup.restore()  # nothing was pushed since
    await world.quiet(plain=True)
    assert world.rows("SELECT * FROM facts WHERE key = 'restored'") == []
    (mark,) = world.bridge.settings.state_dir.glob("mirror-*")
    assert mark.stat().st_mode & 0o777 == 0o600
    turns = world.value("SELECT value FROM facts WHERE key = 'turn'"), mark.read_text()
    await world.sync(full=False)
    assert (world.value("SELECT value FROM facts WHERE key = 'turn'"), mark.read_text()) == turns


async def test_the_daemon_reads_everything_anew_before_it_decides(world: World) -> None:
    await begun(world)
    for job in jobs.JOBS:
        if job.pulls:
            await jobs.work(world.bridge, job)
    backup = Backup(world)
    world.do.edit_contact("crm-ann", city="Bern")
    await world.sync()
    world.clock.advance(60)
    world.ov.edit_contact("ann@example.com", city="Oslo")
    mark = backup.restore()
    for name in ("refresh", "reconcile", "reconcile"):
        world.clock.advance(2)
        await jobs.work(world.bridge, jobs.named(name))
    assert [show(entry) for entry in world.writes(mark)] == []
    assert len(world.conflicts("restored")) == 1


def restored_by_status(world: World) -> bool:
    with world.db.begin(write=False) as conn:
        reasons = state.gather(conn, world.clock.now(), world.bridge.settings)["reasons"]
    return any("restored" in reason for reason in reasons)


async def test_no_plan_from_before_is_applied_to_a_restored_mirror(world: World) -> None:
    backup = await backed_up(world)
    world.ov.edit_contact("ann@example.com", city="Oslo")
    plan = await planning.plan(world.bridge, full=True)
    await world.sync()
    assert not restored_by_status(world)
    mark = backup.restore()
    assert restored_by_status(world)
    with pytest.raises(PlanMoved, match="restored"):
        await planning.apply(world.bridge, plan)
    await planning.plan(world.bridge)
    assert [show(entry) for entry in world.writes(mark)] == []
    assert restored_by_status(world)
    await world.sync(full=False)
    assert not restored_by_status(world)


async def test_one_who_was_killed_while_reading_anew_begins_once_more(world: World) -> None:
    backup = await backed_up(world, rules=(THANKS,))
    order(world, "ann")
    world.ov.edit_contact("bob@example.com", city="Oslo")
    await world.sync()
    backup.restore()
    world.sandbox.fail("digital_onboarding", "status", path="/v1/contacts", status=503, times=None)
    with pytest.raises(PlatformError):
        await world.sync(full=False)
    world.sandbox.clear_faults()
    mark = world.mark()
    await world.sync(full=False)
    assert [show(entry) for entry in world.writes(mark)] == [] and len(world.do.journeys_of("crm-ann")) == 1
    await world.quiet(plain=True)


async def test_an_operator_may_say_that_the_mirror_was_restored(world: World) -> None:
    """Where nothing tells: the state directory came from the same backup."""
    backup = await backed_up(world, rules=(THANKS,), setup=False)
    order(world, "ann")
    await world.sync()
    shutil.rmtree(world.bridge.settings.state_dir)
    mark = backup.restore()
    await runs.sync(world.bridge, restored=True)
    assert [show(entry) for entry in world.writes(mark)] == [] and len(reasons(world)) == 1
    await world.quiet(plain=True)


async def test_a_backup_that_was_made_amid_pushes_is_known_for_one(world: World) -> None:
    await begun(world, setup=False)
    use(world, THANKS)
    await world.sync()
    order(world, "ann")
    order(world, "bob")
    made: list[Backup] = []
    world.sandbox.when("digital_onboarding", lambda: made.append(Backup(world)), path="/v1/templates/*/journeys")
    await world.sync()
    assert await again(world, made[0]) == []
    assert [len(world.do.journeys_of(f"crm-{name}")) for name in ("ann", "bob")] == [1, 1] and len(reasons(world)) == 2
    await world.quiet(plain=True)
