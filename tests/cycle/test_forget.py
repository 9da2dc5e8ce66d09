"""The right to erasure: every table, both databases, whatever fails in between; and nobody comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service import forgetting, planning, runs, undoing
from service.errors import PlatformError
from service.forgetting import Certificate
from service.store import tables as t
from service.store import traces
from tests.cycle.test_killed import Killed, MortalDatabase
from tests.cycle.world import World, check_journal, is_opt_out
from tests.web.delivery import delivering


def _forgets(world: World) -> Iterator[World]:
    """Nothing else may suppress anybody, and nothing at all may take that back."""
    yield world
    entries = world.journal.entries()
    assert not [entry for entry in entries if "unsuppress" in entry.path]
    check_journal(entry for entry in entries if not entry.path.endswith("/suppress"))
    world.journal.clear()


@pytest.fixture
def world(world: World) -> Iterator[World]:
    yield from _forgets(world)


@pytest.fixture
def both(both: World) -> Iterator[World]:
    yield from _forgets(both)


WHO = "zelda.quux@example.com"
VALUES = (
    "zelda", "quux", "4155550187", "415) 555-0187", "Zyxgasse", "Xanadu", "Qwertz", "Zweitname", "ZQ-Reviewer",
    "zq.old", "Vwxyz",
)  # fmt: skip
"""Of one person alone. `zq.old` is the address before, `Vwxyz` a value that could not be carried over."""


async def fill_every_table(world: World) -> None:
    """By what the platforms and their users do: everything that a mirror can hold of Zelda."""
    await world.setup()
    for name in ("ann", "bob"):
        world.ov.add_contact(f"{name}@example.com", name=f"{name.title()} Lee")
        world.do.add_contact(unique_id=f"crm-{name}", email=f"{name}@example.com", name_first=name.title())
    fields = {"name_first": "Zelda", "name_last": "Quux", "phone_mobile": "+14155550187", "address": "Zyxgasse 1"}
    world.ov.add_contact("zq.old@example.com", name="Zelda Quux", phone="+14155550187", city="Xanadu")
    world.do.add_contact(unique_id="zq.old@example.com", email="zq.old@example.com", **fields)
    world.do.add_objective("account-opened", "Opened")
    template = world.do.add_template("Welcome")
    await world.import_export()
    await world.sync()
    async with delivering(world) as delivery:
        await delivery.register()
        _happens(world)
        await delivery.arrived()
        data = {"back_in_stock_subscribed": {"contact_email": WHO, "name": "Zelda"}}
        event = {"id": "ev_1", "type": "back_in_stock_subscriber.saved", "datetime": "2026-01-01T00:00:00Z"}
        await delivery.send(event | {"data": data})
        await delivery.look()
    world.clock.advance(60)
    await world.sync()
    await world.import_export()
    world.do.edit_contact("zq.old@example.com", country="Vwxyzland", name_last="Quux-Zweitname")
    world.ov.edit_contact(WHO, name="Zelda Qwertz")
    world.clock.advance(60)
    report = await world.sync()
    plan = await undoing.undo(world.bridge, report.run_id)
    if plan.pushes:
        await planning.apply(world.bridge, plan)
    await _odd_rows(world, template)


def _happens(world: World) -> None:
    world.ov.edit_contact("zq.old@example.com", email=WHO)
    world.do.complete_objective("zq.old@example.com", "account-opened")
    product = world.ov.add_product("sku-1", "Kettle")
    world.ov.add_review(WHO, 5, "Zelda says: good", product_id=product, reviewer_display_name="ZQ-Reviewer")
    world.ov.add_activity(WHO, "email_opened", email_name="hello zelda")


async def _odd_rows(world: World, template: str) -> None:
    """What no sync of today's makes of a platform's usual answers: rows about her under no id of hers."""
    body = {"results": [{"email": WHO, "name": "Zelda Quux"}], "current_page": 1, "page_size": 100}
    world.sandbox.fail("onvoard", "status", method="GET", path="/v2/reviews", status=200, body=body)
    await world.backfill("reviews")
    now = world.clock.now()
    bob = world.value("SELECT person_id FROM people WHERE email = 'bob@example.com'")
    her = world.value("SELECT person_id FROM people WHERE email = :who", who=WHO)
    rows: list[tuple[t.Table, dict[str, Any]]] = [
        (t.onvoard_reviews, {"id": "rv_x", "reviewer_email": WHO.upper(), "reviewer_display_name": "ZQ-Reviewer"}),
        (t.onvoard_activities, {"id": "ac_x", "contact_email": WHO, "record_data": {"name": "Zelda"}}),
        (t.onvoard_resource_records, {"id": "rc_x", "context_id": "7", "data": {"mail": WHO, "name": "Zelda"}}),
        (t.digital_onboarding_journeys, {"id": "j_x", "unique_id": "zq.old@example.com", "template_id": template,
                                         "web_client_url": "https://example.com/zelda", "started_at": now}),
        (t.webhook_events, {"id": "ev_x", "platform": "onvoard", "status": "ignored", "reason": f"no contact {WHO}",
                            "payload": {"email": WHO, "first_name": "Zelda"}}),
        (t.conflicts, {"person_id": bob, "kind": "ambiguous", "status": "resolved", "onvoard_value": WHO,
                       "reason": f"belongs to another contact: {WHO}, crm-x", "note": f"called {WHO}."}),
        (t.conflicts, {"person_id": her, "kind": "both_changed", "status": "resolved", "note": "Zelda told us so"}),
        (t.changes, {"person_id": bob, "platform": "onvoard", "field": "email", "old_value": WHO, "losing_value": WHO}),
        (t.outbox, {"person_id": bob, "platform": "onvoard", "operation": "patch_contact", "status": "done", "lane": 2,
                    "payload": {"email": WHO}, "last_error": f"taken by {WHO}",
                    "details": [{"field": "email", "old": WHO, "new": "bob@example.com", "before": WHO, "of": "email"},
                                {"field": "city", "old": "Rome", "new": "Bern", "before": "Rome", "of": "city"}]}),
        (t.opt_outs, {"platform": "digital_onboarding", "contact": "zq.old@example.com", "channel": "email",
                      "email_key": WHO, "source": "unsubscribed", "seen_at": now}),
        (t.separations, {"onvoard_contact_id": "ct_9", "unique_id": "zq.old@example.com", "since": now,
                         "reason": f"{WHO} is somebody else"}),
    ]  # fmt: skip
    with world.db.begin() as conn:
        for table, row in rows:
            conn.execute(table.insert().values(row))


def found_in(world: World) -> list[str]:
    """Lines of any table, and files of SQLite, that still know her."""
    lines = [line for line in world.mirror_text().splitlines() for value in VALUES if value.lower() in line.lower()]
    if world.db.file is not None:
        for path in (world.db.file, *(Path(f"{world.db.file}{suffix}") for suffix in ("-wal", "-shm"))):
            data = path.read_bytes().lower() if path.exists() else b""
            lines += [f"{path.name}: {value}" for value in VALUES if value.lower().encode() in data]
    return lines


def tables_with_her(world: World) -> set[str]:
    return {line.split(":")[0] for line in found_in(world)}


EVERYWHERE = {
    "bases", "changes", "conflicts", "digital_onboarding_contacts", "digital_onboarding_journeys",
    "digital_onboarding_objective_completions", "onvoard_activities", "onvoard_contacts", "onvoard_resource_records",
    "onvoard_reviews", "opt_outs", "outbox", "persons", "separations", "webhook_events",
}  # fmt: skip


async def test_nothing_of_a_suppressed_person_is_left_in_any_table_or_file(both: World) -> None:
    await fill_every_table(both)
    assert tables_with_her(both) >= EVERYWHERE
    both.ov.suppress(WHO)
    await both.sync()
    assert found_in(both) == []
    there = both.do.contact("zq.old@example.com")
    assert there["unsubscribe_email"] is there["unsubscribe_sms"] is True
    assert there["name_first"] == "Zelda"
    # What others have stays theirs.
    (bobs,) = both.rows("SELECT details FROM outbox WHERE last_error LIKE 'taken by%'")
    assert "Bern" in str(bobs["details"]) and both.rows("SELECT id FROM webhook_events") != []
    assert both.value("SELECT count(*) FROM separations WHERE onvoard_contact_id = 'ct_9'") == 1
    await both.quiet()
    assert found_in(both) == []


async def forget(world: World, who: str) -> list[Certificate]:
    world.clock.advance(2)
    certificates: list[Certificate] = []
    await forgetting.forget(world.bridge, await forgetting.find(world.bridge, who), who, certificates)
    return certificates


async def test_a_forgotten_person_leaves_every_table_and_never_comes_back(both: World) -> None:
    await fill_every_table(both)
    export = both.do.contact("zq.old@example.com")
    mark = both.mark()
    (told,) = await forget(both, WHO.upper())
    said = [f"{entry.method} {entry.path.rsplit('/', 1)[-1]}" for entry in both.writes(mark)]
    assert said == ["POST suppress", "POST contacts"]
    assert told.outcome == "erased" and told.rows_left == {}
    assert [each["done"] for each in (*told.onvoard, *told.digital_onboarding)] == ["suppressed", "opted out"]
    assert not [value for value in VALUES if value.lower() in str(told).lower()]
    assert both.ov.contact(WHO)["suppressed"] and both.do.contact("zq.old@example.com")["unsubscribe_sms"]
    assert found_in(both) == []
    assert both.rows("SELECT kind, outcome FROM runs ORDER BY id DESC LIMIT 1") == [{"kind": "forget", "outcome": "ok"}]
    assert both.value("SELECT count(*) FROM people WHERE status = 'erased'") >= 1
    await both.quiet()
    # An unsuppression, an older export, a new contact with the address on either side.
    mark = both.mark()
    both.ov.unsuppress(WHO)
    both.ov.edit_contact(WHO, name="Zelda Quux")
    await both.import_rows({k: v for k, v in export.items() if isinstance(v, str)})
    both.do.add_contact(unique_id="crm-new", email=WHO, name_first="Zelda")
    await both.import_export()
    await both.sync()
    await both.backfill()
    await both.sync()
    assert all(is_opt_out(entry) for entry in both.writes(mark))
    assert both.do.contact("crm-new")["unsubscribe_email"] and both.do.contact("crm-new")["unsubscribe_sms"]
    assert (len(both.ov.contacts), len(both.do.contacts)) == (3, 4)
    assert found_in(both) == []
    await both.quiet()
    assert found_in(both) == []


async def test_whose_link_property_names_the_address_by_a_former_unique_id_is_somebody_else(world: World) -> None:
    await world.setup()
    world.ov.add_contact("ann@example.com", name="Ann First")
    await world.sync()
    world.ov.edit_contact("ann@example.com", email="ann.first@example.com")
    await world.sync()
    second = world.ov.add_contact("ann@example.com", name="Ann Second")["id"]
    await world.sync()
    await forget(world, second)
    world.ov.edit_contact("ann.first@example.com", city="Bern")
    await world.sync()
    assert world.status("ann.first@example.com")[0] == "linked"
    assert world.do.contact("ann@example.com")["city"] == "Bern"
    await world.quiet()


@pytest.mark.parametrize("kept", ["erase", "keep"])
async def test_whoever_is_forgotten_twice_is_erased_already(world: World, kept: str) -> None:
    world.ov.settings.suppressed_data = kept  # type: ignore[assignment]
    await world.linked("ann", "bob")
    contact_id = world.ov.contact("ann@example.com")["id"]
    await forget(world, "ann@example.com")
    mark = world.mark()
    for who in ("ann@example.com", contact_id, "crm-ann"):
        (told,) = await forget(world, who)
        assert told.outcome == "already erased" and told.rows_left == {}
    assert world.writes(mark) == []


async def test_somebody_on_one_side_alone(world: World) -> None:
    world.configure(identity__create_on_onvoard=False, identity__create_on_digital_onboarding=False)
    world.ov.add_contact("ann@example.com", name="Ann")
    world.do.add_contact(unique_id="crm-bob", email="bob@example.com", name_first="Bob")
    await world.import_export()
    await world.sync()
    (ann,) = await forget(world, "ann@example.com")
    (bob,) = await forget(world, "crm-bob")
    assert ann.digital_onboarding == [] and [each["done"] for each in ann.onvoard] == ["suppressed"]
    assert bob.onvoard == [] and [each["done"] for each in bob.digital_onboarding] == ["opted out"]
    assert world.do.contact("crm-bob")["unsubscribe_sms"] and not ann.rows_left and not bob.rows_left
    world.configure(identity__create_on_onvoard=True, identity__create_on_digital_onboarding=True)
    await world.import_export()
    await world.sync()
    assert (len(world.ov.contacts), len(world.do.contacts)) == (1, 1)
    assert "bob@" not in world.mirror_text() and "ann@" not in world.mirror_text()


async def test_somebody_whom_onvoard_alone_knows(world: World) -> None:
    await world.linked("bob")
    world.ov.add_contact("ann@example.com", name="Ann")
    (told,) = await forget(world, "ann@example.com")
    assert told.outcome == "erased" and world.ov.contact("ann@example.com")["suppressed"]
    await world.sync()
    assert "ann@" not in world.mirror_text() and len(world.do.contacts) == 1
    assert await forgetting.find(world.bridge, "nobody@example.com") == []


async def test_everybody_in_a_conflict_about_an_address(world: World) -> None:
    world.ov.add_contact("ann@example.com", name="Ann Lee")
    for number in (1, 2):
        world.do.add_contact(unique_id=f"crm-{number}", email="ann@example.com", name_first="Ann")
    await world.linked("bob")
    assert world.status("ann@example.com")[0] == "conflict"
    told = await forget(world, "ann@example.com")
    assert {each.outcome for each in told} <= {"erased", "already erased"} and not any(each.rows_left for each in told)
    assert all(world.do.contact(f"crm-{number}")["unsubscribe_sms"] for number in (1, 2))
    assert "ann@" not in world.mirror_text() and world.conflicts() == []
    world.do.edit_contact("crm-2", email="ann.two@example.com")
    await world.import_export()
    await world.sync()
    assert "ann.two" not in world.mirror_text() and len(world.ov.contacts) == 2
    await world.quiet()


@pytest.mark.parametrize("unique_id", ["crm-ann", "ann@example.com"])
async def test_somebody_suppressed_before(world: World, unique_id: str) -> None:
    world.ov.add_contact("ann@example.com", name="Ann Lee")
    world.do.add_contact(unique_id=unique_id, email="ann@example.com")
    await world.linked("bob")
    world.ov.suppress("ann@example.com")
    await world.sync()
    (told,) = await forget(world, "ann@example.com")
    assert told.outcome == "erased"
    assert [each["done"] for each in (*told.onvoard, *told.digital_onboarding)] == ["suppressed before", "opted out"]
    world.ov.unsuppress("ann@example.com")
    await world.sync()
    assert "ann@" not in world.mirror_text() and world.conflicts() == []


async def test_somebody_deleted_on_onvoard(world: World) -> None:
    await world.linked("ann", "bob")
    world.ov.delete_contact("ann@example.com")
    await world.sync()
    (told,) = await forget(world, "crm-ann")
    assert [each["done"] for each in (*told.onvoard, *told.digital_onboarding)] == ["deleted before", "opted out"]
    assert "ann@" not in world.mirror_text()
    # A new contact there under the address: nothing of it is kept, and it is created nowhere.
    world.ov.add_contact("ann@example.com", name="Ann Again")
    await world.import_export()
    await world.sync()
    assert "ann@" not in world.mirror_text() and "Again" not in world.mirror_text()
    assert len(world.do.contacts) == 2
    await world.quiet()


FAILURES = [
    ("onvoard", "status", "POST", 503), ("onvoard", "reset_before", "*", 500),
    ("digital_onboarding", "status", "POST", 500), ("digital_onboarding", "reset_after", "POST", 500),
]  # fmt: skip


@pytest.mark.parametrize(("platform", "kind", "method", "status"), FAILURES)
async def test_whom_a_platform_does_not_confirm_stays_until_it_does(
    world: World, platform: str, kind: str, method: str, status: int
) -> None:
    await world.linked("ann", "bob")
    path = "/v1/contacts" if platform == "digital_onboarding" else "/v2/contacts/*"
    world.sandbox.fail(platform, kind, method=method, path=path, times=None, status=status)  # type: ignore[arg-type]
    certificates: list[Certificate] = []
    found = await forgetting.find(world.bridge, "ann@example.com")
    with pytest.raises(PlatformError):
        await forgetting.forget(world.bridge, found, "ann@example.com", certificates)
    assert [each.outcome for each in certificates] == ["failed"]
    assert bool(certificates[0].onvoard) == (platform == "digital_onboarding")
    assert world.people()["ann@example.com"]["status"] == "linked"
    assert world.value("SELECT outcome FROM runs ORDER BY id DESC LIMIT 1") == "failed"
    world.sandbox.clear_faults()
    (told,) = await forget(world, "ann@example.com")
    assert told.outcome == "erased" and "ann@" not in world.mirror_text()
    assert world.do.contact("crm-ann")["unsubscribe_sms"] and world.ov.contact("ann@example.com")["suppressed"]


async def test_an_opt_out_that_the_answer_does_not_show_is_not_believed(world: World) -> None:
    await world.linked("ann", "bob")
    shown = world.do.contact("crm-ann") | {"unsubscribe_email": True, "unsubscribe_sms": False}
    body = {"new_contacts": [], "existing_contacts": [shown]}
    world.sandbox.fail("digital_onboarding", "status", path="/v1/contacts", status=200, body=body, times=None)
    found = await forgetting.find(world.bridge, "ann@example.com")
    with pytest.raises(PlatformError, match="opt-out"):
        await forgetting.forget(world.bridge, found, "ann@example.com", [])
    assert world.people()["ann@example.com"]["status"] == "linked"


async def test_a_list_that_names_the_erased_stores_nothing_of_them(world: World) -> None:
    world.do.settings.listing = True
    await world.linked("ann", "bob")
    await forget(world, "ann@example.com")
    listed = [each | {"online-banking": "2026-01-01T00:00:00Z"} for each in world.do.contact_list()]
    world.sandbox.fail("digital_onboarding", "status", path="/v1/contacts", method="GET", status=200, body=listed)
    world.configure(digital_onboarding__refresh="list")
    await world.sync()
    told = world.rows("SELECT unique_id FROM digital_onboarding_objective_completions")
    assert told == [{"unique_id": "crm-bob"}]
    assert len(world.rows("SELECT * FROM digital_onboarding_contacts")) == 1


@pytest.mark.parametrize("dies_at", range(1, 10))
@pytest.mark.parametrize("after_commit", [False, True])
async def test_killed_at_any_transaction_it_goes_on(world: World, dies_at: int, after_commit: bool) -> None:
    await world.linked("ann", "bob")
    living = world.bridge
    found = await forgetting.find(living, "ann@example.com")
    world.bridge = replace(living, db=MortalDatabase(living.db, dies_at, after_commit=after_commit))  # type: ignore[arg-type]
    with suppress(Killed):
        await forgetting.forget(world.bridge, found, "ann@example.com", [])
    world.bridge = living
    told = await forget(world, "ann@example.com")
    assert [each.outcome for each in told] in (["erased"], ["already erased"])
    assert told[0].rows_left == {} and world.ov.contact("ann@example.com")["suppressed"]
    assert "ann@" not in world.mirror_text() and world.value("SELECT count(*) FROM facts WHERE key = 'scrub_due'") == 0


async def test_free_pages_are_due_again_while_another_process_reads(world: World) -> None:
    await world.linked("ann", "bob")
    assert world.db.file is not None
    reader = world.db.engine.raw_connection()
    reader.driver_connection.execute("PRAGMA busy_timeout=0")  # type: ignore[union-attr]
    cursor = reader.driver_connection.execute("SELECT id FROM onvoard_contacts")  # type: ignore[union-attr]
    cursor.fetchone()
    with world.db.engine.connect() as other:
        other.connection.driver_connection.execute("PRAGMA busy_timeout=100")  # type: ignore[union-attr]
    await forget(world, "ann@example.com")
    with world.db.begin(write=False) as conn:
        assert traces.is_due(conn)
    cursor.close()
    reader.close()
    await runs.sync(world.bridge)
    with world.db.begin(write=False) as conn:
        assert not traces.is_due(conn)
    assert b"ann@example.com" not in world.db.file.read_bytes()
