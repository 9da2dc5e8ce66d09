"""Is the mirror right? What was done behind the bridge's back is found on each side, and told for what it is."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from service.errors import PlatformError, SuspiciouslyEmpty
from service.platforms.onvoard.enums import ResourceIconType, ResourceKind
from service.schedule import JOBS, PULLS, Schedule
from service.store import absorb, cursors
from service.store import tables as t
from service.store.lease import lease
from service.verifying import STREAMS
from service.verifying.comparing import verify
from service.verifying.tally import Finding, Tally
from tests.cycle.world import World, is_probe

CONTACTS, REVIEWS, ACTIVITIES, RECORDS, DIGITAL = STREAMS
TABLES = {
    CONTACTS: "onvoard_contacts", REVIEWS: "onvoard_reviews", ACTIVITIES: "onvoard_activities",
    RECORDS: "onvoard_resource_records", DIGITAL: "digital_onboarding_contacts",
}  # fmt: skip


async def verified(world: World, *streams: str, sample: int | None = 200, repair: bool = False) -> dict[str, Tally]:
    world.clock.advance(2)
    _, found = await verify(world.bridge, streams or STREAMS, sample=sample, repair=repair)
    return {tally.stream: tally for tally in found}


async def one(world: World, stream: str, **more: Any) -> Finding | None:
    """The one finding of a stream."""
    findings = (await verified(world, stream, **more))[stream].findings
    assert len(findings) <= 1
    return findings[0] if findings else None


async def filled(world: World, *names: str) -> None:
    """Linked people, each with a review, an activity and a record."""
    client = world.bridge.onvoard
    made = await client.resources.create(
        key="loan", name="Loan", kind=ResourceKind.OBJECT, icon_type=ResourceIconType.NATIVE, icon_class="bank"
    )
    await world.linked(*names)
    for name in names:
        world.ov.add_review(f"{name}@example.com", 5, "fine", entity="SITE")
        world.ov.add_activity(f"{name}@example.com", "email_opened", email_name="hello")
        await client.resource_records.create(resource=made.id, context_id=f"{name}@example.com", data={})
    world.clock.advance(120)  # beyond what the next pull reads once more
    await world.sync(full=False)


def spoil(world: World, sql: str, **values: Any) -> None:
    with world.db.begin() as conn:
        assert conn.execute(text(sql), values).rowcount == 1


def mirror_of(world: World) -> dict[str, list[Any]]:
    return {table: world.rows(f"SELECT * FROM {table} ORDER BY 1") for table in TABLES.values()}


@pytest.mark.parametrize("sample", [None, 200, 2])
async def test_a_mirror_that_is_right(both: World, sample: int | None) -> None:
    await filled(both, "ann", "bob", "cid")
    mark, before = both.mark(), mirror_of(both)
    found = await verified(both, sample=sample)
    assert [tally.findings for tally in found.values()] == [[]] * 5
    assert [tally.checked for tally in found.values()] == [min(sample or 3, 3)] * 5
    assert all(tally.complete is (sample != 2) for tally in found.values())
    assert found[CONTACTS].drift.high == (0 if sample != 2 else pytest.approx(0.41, abs=0.3))
    assert both.writes(mark) == []
    after = mirror_of(both)
    assert {name: after[name] for name in after if name != TABLES[DIGITAL]} == {
        name: before[name] for name in before if name != TABLES[DIGITAL]
    }
    await both.quiet()


async def test_it_is_on_record(both: World) -> None:
    await filled(both, "ann", "bob")
    both.ov.edit_contact("ann@example.com", city="Bern")
    await verified(both, CONTACTS, repair=True)
    (row,) = both.rows("SELECT * FROM verifications")
    assert (row["stream"], row["checked"], row["different"], row["gone"], row["missing"]) == (CONTACTS, 2, 1, 0, 0)
    assert (row["drift"], row["low"], row["high"]) == (0.5, 0.5, 0.5)
    assert row["complete"] and row["repaired"]
    with both.db.begin(write=False) as conn:
        (run,) = conn.execute(t.runs.select().where(t.runs.c.kind == "verify"))
    assert (run.id, run.outcome) == (row["run_id"], "ok")
    assert run.counts["pulled"] == {
        f"{CONTACTS}.checked": 2, f"{CONTACTS}.different": 1, f"{CONTACTS}.stale": 1, f"{CONTACTS}.repaired": 1
    }  # fmt: skip


async def test_an_edit_that_was_not_heard_is_stale(world: World) -> None:
    """A sweep would find it, and so it is nothing to warn of."""
    await filled(world, "ann", "bob")
    world.ov.edit_contact("ann@example.com", city="Bern")
    ann = world.ov.contact("ann@example.com")["id"]
    with capture_logs() as logs:
        found = await one(world, CONTACTS)
    assert found == Finding(ann, "different", ("modified_at", "properties"), stale=True)
    assert not [line for line in logs if line["log_level"] == "warning"]
    assert await one(world, CONTACTS) == found
    assert (await one(world, CONTACTS, repair=True)).repaired
    assert await one(world, CONTACTS) is None
    await world.sync(full=False)
    assert world.do.contact("crm-ann")["city"] == "Bern"
    await world.quiet()


async def test_an_edit_on_digital_onboarding_is_found_and_kept(world: World) -> None:
    """A probe is a write: what it answers is kept in any case."""
    await filled(world, "ann", "bob")
    world.clock.advance(60)
    world.do.edit_contact("crm-ann", city="Bern")
    found = await one(world, DIGITAL)
    assert found == Finding(world.do.contact("crm-ann")["id"], "different", ("city",), stale=True, repaired=True)
    assert await one(world, DIGITAL) is None
    await world.sync(full=False)
    assert world.ov.contact("ann@example.com")["properties"]["city"] == "Bern"
    await world.quiet()


SPOILED = {
    CONTACTS: ("name", "UPDATE onvoard_contacts SET name = 'X' WHERE email = 'ann@example.com'"),
    REVIEWS: ("rating", "UPDATE onvoard_reviews SET rating = 1 WHERE reviewer_email = 'ann@example.com'"),
    ACTIVITIES: ("type", "UPDATE onvoard_activities SET type = 'x' WHERE contact_email = 'ann@example.com'"),
    RECORDS: ("context_id", "UPDATE onvoard_resource_records SET context_id = 'x' WHERE context_id LIKE 'ann@%'"),
    DIGITAL: ("name_first", "UPDATE digital_onboarding_contacts SET name_first = 'X' WHERE unique_id = 'crm-ann'"),
}


@pytest.mark.parametrize("stream", STREAMS)
async def test_a_row_that_was_spoiled_is_not_stale_and_is_repaired(both: World, stream: str) -> None:
    await filled(both, "ann", "bob")
    column, sql = SPOILED[stream]
    spoil(both, sql)
    with capture_logs() as logs:
        found = await one(both, stream)
    assert (found.kind, found.columns, found.stale) == ("different", (column,), False)
    assert [line["stream"] for line in logs if line["log_level"] == "warning"] == [stream]
    assert "ann" not in str(logs)
    if stream != DIGITAL:  # which the probe's answer has put right
        assert not found.repaired
        assert (await one(both, stream, repair=True)) == Finding(found.id, "different", (column,), repaired=True)
    assert await one(both, stream) is None
    await both.quiet()


async def test_a_repair_is_nobodys_edit(world: World) -> None:
    """The time by which an edit wins or loses against the other side's stays what it was."""
    await filled(world, "ann", "bob")
    query = "SELECT edited_at FROM onvoard_contacts WHERE email = 'ann@example.com'"
    spoil(world, "UPDATE onvoard_contacts SET name = 'X', edited_at = '2020-01-01T00:00:00.000000Z' "
                 "WHERE email = 'ann@example.com'")  # fmt: skip
    before = world.value(query)
    assert (await one(world, CONTACTS, repair=True)).repaired
    assert world.value(query) == before


async def test_a_time_that_somebody_set_in_the_mirror(world: World) -> None:
    """It is told; but an answer never takes the place of a newer one."""
    await filled(world, "ann", "bob")
    spoil(world, "UPDATE onvoard_contacts SET modified_at = '2090-01-01T00:00:00.000000Z' "
                 "WHERE email = 'ann@example.com'")  # fmt: skip
    before = mirror_of(world)
    found = await one(world, CONTACTS, repair=True)
    assert (found.columns, found.stale, found.repaired) == (("modified_at",), False, False)
    assert mirror_of(world) == before


@pytest.mark.parametrize("sample", [None, 200, 3])
async def test_gone_from_onvoard(world: World, sample: int | None) -> None:
    await filled(world, "ann", "bob", "cid", "dan")
    world.ov.delete_contact("ann@example.com")
    random.seed(4)
    before = mirror_of(world)
    found = await verified(world, CONTACTS, REVIEWS, sample=sample)
    while sample == 3 and not found[CONTACTS].findings:  # a sample may miss her
        found = await verified(world, CONTACTS, sample=sample)
    (gone,) = found[CONTACTS].findings
    assert (gone.kind, gone.stale, gone.repaired) == ("gone", False, False)
    assert mirror_of(world) == before
    assert (await one(world, CONTACTS, repair=True)).repaired
    assert world.value("SELECT email FROM onvoard_contacts WHERE deleted_at IS NOT NULL") == "ann@example.com"
    assert await one(world, CONTACTS) is None
    mark = world.mark()
    await world.sync(full=False)
    assert world.people()["ann@example.com"]["status"] == "digital_onboarding_only" and world.writes(mark) == []


async def test_removed_on_digital_onboarding(world: World) -> None:
    """Asking has made her anew there: that is kept without a repair, and a person is asked."""
    await filled(world, "ann", "bob", "cid")
    world.do.remove_contact("crm-ann")
    found = await one(world, DIGITAL)
    assert (found.kind, found.stale, found.repaired) == ("gone", False, True)
    assert [row["kind"] for row in world.conflicts()] == ["removed_on_digital_onboarding"]
    mark = world.mark()
    assert await one(world, DIGITAL) is None
    await world.sync()
    assert len(world.conflicts()) == 1 and world.writes(mark) == []


@pytest.mark.parametrize("stream", STREAMS[:4])
@pytest.mark.parametrize("sample", [None, 3])
async def test_missing_in_the_mirror(world: World, stream: str, sample: int | None) -> None:
    await filled(world, "ann", "bob", "cid", "dan")
    spoil(world, f"DELETE FROM {TABLES[stream]} WHERE id = (SELECT min(id) FROM {TABLES[stream]})")
    tally = (await verified(world, stream, sample=sample))[stream]
    while sample and not tally.findings:
        tally = (await verified(world, stream, sample=sample))[stream]
    (found,) = tally.findings
    assert (found.kind, found.stale, found.repaired) == ("missing", False, False)
    assert tally.checked == 4 if sample is None else 2 <= tally.checked <= 4
    assert world.value(f"SELECT count(*) FROM {TABLES[stream]}") == 3
    assert (await one(world, stream, repair=True)).repaired
    assert world.value(f"SELECT count(*) FROM {TABLES[stream]}") == 4
    assert await one(world, stream) is None


async def test_what_the_next_pull_will_find_is_stale(world: World) -> None:
    await filled(world, "ann", "bob")
    world.ov.add_contact("new@example.com")
    found = await one(world, CONTACTS)
    assert (found.kind, found.stale) == ("missing", True)


async def test_what_comes_in_while_it_is_looked_for_is_neither_missing_nor_counted_twice(world: World) -> None:
    await filled(world, "ann", "bob", "cid", "dan")
    spoil(world, "DELETE FROM onvoard_contacts WHERE email = 'ann@example.com'")
    ann, contacts, restored = world.ov.contact("ann@example.com")["id"], world.bridge.onvoard.contacts, list[str]()
    retrieve = contacts.retrieve

    async def retrieve_slowly(contact_id: str) -> Any:
        record = await retrieve(contact_id)
        if contact_id == ann:
            restored.append(ann)
            rows = absorb.contact_rows([record], world.clock.now())
            await world.db.run(lambda conn: absorb.onvoard_contacts(conn, rows, run_id=1, now=world.clock.now()))
        return record

    contacts.retrieve = retrieve_slowly  # type: ignore[method-assign]
    while not restored:  # a sample may miss her
        tally = (await verified(world, CONTACTS, sample=3))[CONTACTS]
        assert (tally.checked, tally.wrong) == (2, 0)


async def test_what_is_made_meanwhile_is_no_drift(world: World) -> None:
    await filled(world, *"abcde")
    numbers = iter(range(1000))

    def make() -> None:
        world.clock.advance(2)
        world.ov.add_contact(f"new{next(numbers)}@example.com")

    for sample in (None, 3, 3, 3):
        world.sandbox.when("onvoard", make, path="/v2/contacts", times=None, skip=1)
        assert (await verified(world, CONTACTS, sample=sample))[CONTACTS].findings == []
        world.sandbox.clear_faults()
        await world.sync(full=False)
    assert next(numbers) > 8


async def test_lists_that_shift_while_they_are_read(world: World) -> None:
    """Several pages, and somebody is deleted between two of them: she is not taken for wrong, nor is her neighbour."""
    for number in range(230):
        world.ov.add_contact(f"p{number:03}@example.com")
        world.clock.advance(1)
    await world.sync()
    spoil(world, "UPDATE onvoard_contacts SET name = 'X' WHERE email = 'p005@example.com'")
    taken = iter(range(229, 150, -1))
    world.sandbox.when(
        "onvoard", lambda: world.ov.delete_contact(f"p{next(taken):03}@example.com"), path="/v2/contacts", skip=2
    )
    tally = (await verified(world, CONTACTS, sample=None))[CONTACTS]
    assert [(found.kind, found.columns) for found in tally.findings] == [("different", ("name",))]
    assert (tally.checked, tally.wrong) == (230, 1)
    assert next(taken) == 228


async def test_a_row_that_moves_while_its_platform_is_asked(world: World) -> None:
    """What was answered before is not held against what the mirror has heard since."""
    await filled(world, "ann", "bob")
    world.ov.edit_contact("ann@example.com", city="Bern")
    contacts, asked = world.bridge.onvoard.contacts, list[str]()
    retrieve = contacts.retrieve

    async def retrieve_slowly(contact_id: str) -> Any:
        record = await retrieve(contact_id)
        asked.append(contact_id)
        if len(asked) == 1:
            world.ov.edit_contact("ann@example.com", city="Oslo")
            heard = await retrieve(contact_id)
            rows = absorb.contact_rows([heard], world.clock.now())
            await world.db.run(lambda conn: absorb.onvoard_contacts(conn, rows, run_id=1, now=world.clock.now()))
        return record

    contacts.retrieve = retrieve_slowly  # type: ignore[method-assign]
    assert await one(world, CONTACTS, repair=True) is None
    assert len(asked) == 2
    assert "Oslo" in str(world.value("SELECT properties FROM onvoard_contacts WHERE email = 'ann@example.com'"))


async def test_the_suppressed_and_the_erased_are_rightly_not_there(world: World) -> None:
    await filled(world, "ann", "bob", "cid")
    world.ov.suppress("ann@example.com")
    await world.sync()
    await world.sync()
    for sample in (None, 2):
        before = mirror_of(world)
        found = await verified(world, *STREAMS[:4], sample=sample, repair=True)
        assert [tally.findings for tally in found.values()] == [[]] * 4
        assert mirror_of(world) == before
    assert len(world.ov.resource_records) == 3  # where she is named, and which is therefore not kept
    assert (await verified(world, RECORDS, sample=None))[RECORDS].checked == 2


async def test_a_suppression_that_was_not_heard(world: World) -> None:
    """A repair does what a sweep does: she leaves the mirror."""
    await filled(world, "ann", "bob")
    world.ov.suppress("ann@example.com")
    found = await one(world, CONTACTS)
    assert found.stale and "suppressed" in found.columns
    assert world.rows("SELECT * FROM tombstones") == []
    assert (await one(world, CONTACTS, repair=True)).repaired
    assert len(world.rows("SELECT * FROM tombstones")) == 1
    await world.sync(full=False)
    assert world.do.contact("crm-ann")["unsubscribe_sms"]


async def test_a_platform_that_fails_midway(world: World) -> None:
    """What was found is on record, what was not is not, and nothing is half-done."""
    await filled(world, "ann", "bob")
    world.ov.edit_contact("ann@example.com", city="Bern")
    world.sandbox.fail("onvoard", "status", path="/v2/reviews*", times=None, status=500)
    with pytest.raises(PlatformError):
        await verified(world, repair=True)
    assert [row["stream"] for row in world.rows("SELECT stream FROM verifications")] == [CONTACTS]
    assert world.value("SELECT outcome FROM runs WHERE kind = 'verify'") == "failed"
    world.sandbox.clear_faults()
    assert sum(tally.wrong for tally in (await verified(world)).values()) == 0


async def test_a_platform_that_suddenly_has_nobody(world: World) -> None:
    """An outage (law 12): nobody is taken for gone, let alone marked."""
    await filled(world, "ann", "bob")
    contacts, world.ov.contacts = world.ov.contacts, {}
    with pytest.raises(SuspiciouslyEmpty):
        await verified(world, CONTACTS, repair=True)
    world.ov.contacts = contacts
    assert world.rows("SELECT id FROM onvoard_contacts WHERE deleted_at IS NOT NULL") == []
    assert world.rows("SELECT * FROM verifications") == []


async def test_a_platform_that_denies_everybody_by_id(world: World) -> None:
    """The same, although it lists them."""
    await filled(world, "ann", "bob", "cid", "dan", "eve")
    world.sandbox.fail("onvoard", "status", path="/v2/contacts/*", times=None, status=404)
    with pytest.raises(SuspiciouslyEmpty):
        await verified(world, CONTACTS, sample=4, repair=True)
    assert world.rows("SELECT id FROM onvoard_contacts WHERE deleted_at IS NOT NULL") == []


async def test_without_a_way_to_ask(world: World) -> None:
    await filled(world, "ann", "bob")
    world.configure(digital_onboarding__refresh="off")
    mark = world.mark()
    found = await verified(world, DIGITAL, CONTACTS)
    assert "refresh is off" in found[DIGITAL].skipped and found[CONTACTS].checked == 2
    assert not [entry for entry in world.journal.entries(mark) if entry.platform == "digital_onboarding"]
    assert world.value("SELECT stream FROM verifications") == CONTACTS


async def test_by_the_list(both: World) -> None:
    """No write is made; spoiled, missing and gone are found, and nothing is kept without a repair."""
    await filled(both, "ann", "bob", "cid", "dan")
    both.do.settings.listing = True
    both.configure(digital_onboarding__refresh="list")
    spoil(both, SPOILED[DIGITAL][1])
    spoil(both, "DELETE FROM digital_onboarding_contacts WHERE unique_id = 'crm-bob'")
    both.do.remove_contact("crm-cid")
    both.do.edit_contact("crm-dan", city="Bern")
    mark, before = both.mark(), mirror_of(both)
    tally = (await verified(both, DIGITAL, sample=1))[DIGITAL]
    found = {(each.kind, each.columns, each.stale, each.repaired) for each in tally.findings}
    assert found == {
        ("different", ("name_first",), False, False),
        ("missing", (), False, False),
        ("gone", (), False, False),
        ("different", ("city", "updated_at"), True, False),
    }
    assert (tally.checked, tally.complete) == (4, True)
    assert both.journal.writes(mark) == [] and mirror_of(both) == before
    await verified(both, DIGITAL, repair=True)
    left = (await verified(both, DIGITAL))[DIGITAL].findings
    assert [each.kind for each in left] == ["gone"]  # no list tells the bridge of a removal


async def test_a_probe_waits_for_a_sync(world: World) -> None:
    """No answer is older than that of a push meanwhile."""
    await filled(world, "ann", "bob")
    mark = world.mark()
    async with lease(world.db, "cycle"):
        task = asyncio.create_task(verified(world, DIGITAL))
        await asyncio.sleep(0.3)
        assert not [entry for entry in world.journal.writes(mark) if is_probe(entry)]
    assert (await task)[DIGITAL].checked == 2


async def test_who_is_refused_is_asked_apart(world: World) -> None:
    """Nothing is learned of them, and so they do not count."""
    await filled(world, "ann", "bob", "cid")
    world.sandbox.fail(
        "digital_onboarding", "status", path="/v1/contacts", body_contains="crm-bob", times=None, status=422
    )
    tally = (await verified(world, DIGITAL))[DIGITAL]
    assert (tally.checked, tally.findings) == (2, [])


async def test_the_daemons_job_is_due_once_everything_was_read_and_then_once_a_day(world: World) -> None:
    await filled(world, "ann", "bob")
    world.configure(verify__sample=1, verify__repair=True)
    schedule, (job,) = Schedule(world.bridge), [job for job in JOBS if job.name == "verify"]

    async def ran() -> int:
        await schedule._run(job)
        return int(world.value("SELECT count(*) FROM runs WHERE kind = 'verify' AND outcome = 'ok'"))

    assert await ran() == 0
    with world.db.begin() as conn:
        for name in PULLS:
            cursors.fact_once(conn, f"pulled:{name}", "read")
    assert await ran() == 1
    rows = world.rows("SELECT stream, checked, repaired FROM verifications ORDER BY id")
    assert [(row["stream"], row["checked"], bool(row["repaired"])) for row in rows] == [(s, 1, True) for s in STREAMS]
    world.clock.advance(20 * 3600)
    assert await ran() == 1
    await verified(world, REVIEWS)  # one stream alone is not everything
    world.clock.advance(2 * 3600)
    assert await ran() == 3


async def test_a_sample_is_drawn_from_either_side(world: World) -> None:
    """The share that it tells is that of all records, also where the mirror lacks many of them."""
    for number in range(60):
        world.ov.add_contact(f"p{number:02}@example.com")
    await world.sync()
    with world.db.begin() as conn:
        conn.execute(text("DELETE FROM onvoard_contacts WHERE email LIKE 'p0%' OR email LIKE 'p1%'"))
        conn.execute(text("UPDATE onvoard_contacts SET name = 'X' WHERE email LIKE 'p2%'"))
    random.seed(1)
    checked = wrong = 0
    for _ in range(12):
        tally = (await verified(world, CONTACTS, sample=30))[CONTACTS]
        assert tally.population == 60 and tally.drift.low <= 0.5 <= tally.drift.high
        checked, wrong = checked + tally.checked, wrong + tally.wrong
    assert wrong / checked == pytest.approx(0.5, abs=0.08)


async def test_a_look_takes_few_requests(world: World) -> None:
    """The mirror that is right, and larger than the sample: one for each record drawn, and those to find the end."""
    for number in range(60):
        world.ov.add_contact(f"p{number:02}@example.com")
    await world.sync()
    mark = world.mark()
    await verified(world, CONTACTS, sample=10)
    asked = [entry for entry in world.journal.entries(mark) if entry.platform == "onvoard"]
    assert len(asked) == 10 + 10 + 3
