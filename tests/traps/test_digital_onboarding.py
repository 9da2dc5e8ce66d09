"""Traps 44 to 55 of traps.md: Digital Onboarding.

Also covered elsewhere: 45 by tests/platforms/test_token.py (files, expiry, parallel workers, other refusals), 48, 51
and 53 by tests/platforms/test_digital_onboarding.py, 49 by tests/cycle/test_quiet.py and test_merging.py, 54 by the
same and by `check_journal` after every test that uses `world`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

import pytest

from service import errors
from service.platforms.digital_onboarding.client import DigitalOnboarding
from service.platforms.digital_onboarding.wire import FLAG_FIELDS, TEXT_FIELDS
from service.sandbox import Sandbox
from service.store.outbox import Operation
from tests.cycle.world import FAST, World, is_probe, members

SIDE: Literal["digital_onboarding"] = "digital_onboarding"


def _sent(world: World, since: int = 0) -> list[dict[str, Any]]:
    return [member for entry in world.journal.writes(since, SIDE) for member in members(entry)]


async def _edited(world: World, *names: str) -> int:
    """Linked, then changed on OnVoard. -> a mark before the sync that carries it over"""
    await world.linked(*names)
    for name in names:
        world.ov.edit_contact(f"{name}@example.com", name=f"{name} Other", city="Bern", postal_code="3000")
    mark = world.mark()
    await world.sync()
    return mark


async def test_trap_44_id_and_secret_are_in_no_url(world: World) -> None:
    await world.linked("ann")
    entries = world.journal.entries(platform=SIDE)
    assert [entry for entry in entries if entry.is_token]
    for entry in entries:
        assert world.sandbox.client_secret not in entry.path + str(entry.query)
        assert world.sandbox.client_id not in entry.path + str(entry.query)
    assert not world.do.credentials_revoked
    with pytest.raises(errors.RuleBroken):
        DigitalOnboarding("http://api.example.com", "id", "secret")


async def test_trap_45_one_token_serves_all_workers_and_the_next_invocation(sandbox: Sandbox, tmp_path: Path) -> None:
    def client() -> DigitalOnboarding:
        return DigitalOnboarding(
            sandbox.digital_onboarding_url, sandbox.client_id, sandbox.client_secret,
            state_dir=tmp_path, limits=FAST, now=sandbox.clock.now,
        )  # fmt: skip

    async with client() as first:
        await asyncio.gather(*(first.list_templates() for _ in range(8)))
    async with client() as second:
        await second.list_templates()
        assert len(sandbox.journal.tokens()) == 1
        sandbox.digital_onboarding.expire_tokens()
        await asyncio.gather(*(second.list_templates() for _ in range(8)))
        assert len(sandbox.journal.tokens()) == 2
        sandbox.fail(SIDE, "status", path="/v1/templates", status=401, body={"error": "no_right"})
        with pytest.raises(errors.Denied):
            await second.list_templates()
    assert len(sandbox.journal.tokens()) == 2


async def test_trap_45_a_token_lives_as_long_as_it_was_told_and_is_replaced_once(
    sandbox: Sandbox, do: DigitalOnboarding
) -> None:
    sandbox.digital_onboarding.settings.expires_in = 90_000
    await do.list_templates()
    sandbox.clock.advance(80_000)
    await do.list_templates()
    assert len(sandbox.journal.tokens()) == 1
    sandbox.clock.advance(20_000)
    mark = sandbox.journal.mark()
    await do.list_templates()
    assert len(sandbox.journal.tokens()) == 2
    assert [entry.status for entry in sandbox.journal.entries(mark)] == [200, 200], "before it is refused"
    sandbox.fail(SIDE, "status", path="/v1/templates", status=401, body={"error": "invalid_token"}, times=None)
    mark = sandbox.journal.mark()
    with pytest.raises(errors.Denied):
        await do.list_templates()
    assert [entry.is_token for entry in sandbox.journal.entries(mark)] == [False, True, False]


async def test_trap_46_an_unknown_id_is_never_asked_about(world: World) -> None:
    await world.linked("ann", "bob")
    world.do.remove_contact("crm-ann")
    await world.sync()  # asking makes it anew: this much nobody can know beforehand
    world.do.remove_contact("crm-ann")
    mark = world.mark()
    await world.sync()
    await world.backfill()
    assert [member["unique_id"] for member in _sent(world, mark)] == ["crm-bob"]
    assert [contact["unique_id"] for contact in world.do.contact_list()] == ["crm-bob"]
    known = {row["unique_id"] for row in world.rows("SELECT unique_id FROM digital_onboarding_contacts")}
    asked = {m["unique_id"] for e in world.journal.writes(platform=SIDE) if is_probe(e) for m in members(e)}
    assert asked <= known


async def test_trap_47_an_address_in_other_letters_or_a_new_one_makes_no_second_contact(world: World) -> None:
    world.ov.add_contact("Ann.Lee@Example.com", name="Ann Lee")
    world.do.add_contact(unique_id="crm-ann", email="ann.lee@example.COM ".strip(), name_first="Ann", name_last="Lee")
    world.ov.add_contact("Solo@Example.com", name="Solo")
    await world.import_export()
    await world.sync()
    assert sorted(contact["unique_id"] for contact in world.do.contact_list()) == ["crm-ann", "solo@example.com"]
    world.ov.edit_contact("Solo@Example.com", email="Other@Example.com")
    world.ov.edit_contact("Ann.Lee@Example.com", email="ann@new.example")
    await world.sync()
    await world.quiet()
    assert sorted(c["email"].lower() for c in world.do.contact_list()) == ["ann@new.example", "other@example.com"]


async def test_trap_48_nothing_is_sent_without_a_unique_id(sandbox: Sandbox, do: DigitalOnboarding) -> None:
    for contact in ({}, {"email": "ann@example.com"}, {"unique_id": "", "email": "ann@example.com"}, {"city": "Bern"}):
        for asked in (
            do.upsert_contact(contact), do.upsert_contacts([{"unique_id": "crm-1"}, contact]),
            do.create_journey("tm", contact=contact),
        ):  # fmt: skip
            with pytest.raises(errors.RuleBroken):
                await asked
    assert sandbox.journal.entries() == [] and not sandbox.digital_onboarding.contacts


async def test_trap_49_null_is_never_sent_and_a_blank_field_is_cleared_as_the_settings_say(world: World) -> None:
    await world.linked("ann")
    world.ov.edit_contact("ann@example.com", city=None, phone="")
    mark = world.mark()
    await world.sync()
    (sent,) = [member for member in _sent(world, mark) if set(member) != {"unique_id"}]
    assert sent == {"unique_id": "crm-ann", "city": "", "phone_mobile": ""}
    assert not world.do.contact("crm-ann")["city"]


async def test_trap_50_a_wrong_field_name_is_no_objective(sandbox: Sandbox, do: DigitalOnboarding) -> None:
    known = {each.key for each in (await do.list_objectives()).items if each.key}
    await do.upsert_contact({"unique_id": "crm-1", "online-banking": "true"}, objectives=known)
    assert list(sandbox.digital_onboarding.completions_of("crm-1")) == ["online-banking"]
    mark = sandbox.journal.mark()
    for wrong in ("phone", "zip", "first_name", "street_address", "postal_code", "region"):
        assert wrong not in known
        with pytest.raises(errors.RuleBroken, match=wrong):
            await do.upsert_contact({"unique_id": "crm-1", wrong: "x"}, objectives=known)
    assert sandbox.journal.entries(mark) == []


async def test_trap_50_a_sync_sends_documented_fields_alone(world: World) -> None:
    await _edited(world, "ann", "bob")
    world.ov.add_contact("new@example.com", name="New", phone="+14155550188", timezone="Europe/Rome", country="IT")
    world.ov.unsubscribe("bob@example.com")
    await world.sync()
    keys = set().union(*_sent(world))
    assert {"post_code", "phone_mobile", "unsubscribe_email"} <= keys <= {*TEXT_FIELDS, *FLAG_FIELDS}


async def test_trap_51_a_journey_is_never_echoed_and_so_never_started_again(world: World) -> None:
    world.do.settings.echo_journey = True
    template = world.do.add_template("Welcome")
    world.do.add_contact(unique_id="crm-j", email="j@example.com", name_first="J", journey={"template_id": template})
    world.ov.add_contact("j@example.com", name="J")
    await world.import_export()
    await world.sync()
    before = world.do.journeys_of("crm-j")
    world.clock.advance(60)
    world.ov.edit_contact("j@example.com", city="Bern", name="Jay")
    await world.sync()
    assert world.do.contact("crm-j")["city"] == "Bern"
    assert world.do.journeys_of("crm-j") == before and len(before) == 1
    assert not [member for member in _sent(world) if any(key.startswith("journey") for key in member)]


async def test_trap_51_an_upsert_names_the_template_nested_and_is_not_repeated(
    sandbox: Sandbox, do: DigitalOnboarding
) -> None:
    template = sandbox.digital_onboarding.add_template("Welcome")
    spellings: list[dict[str, Any]] = [{"journey": {"template_id": template}}, {"journey.template_id": template}]
    for number, journey in enumerate(spellings):
        contact = {"unique_id": f"crm-{number}", **journey}
        for asked in (do.upsert_contact(contact), do.upsert_contacts([contact])):
            mark = sandbox.journal.mark()
            sandbox.fail(SIDE, "reset_after", method="POST", path="/v1/contacts")
            with pytest.raises(errors.PlatformError) as caught:
                await asked
            assert caught.value.verdict is errors.Verdict.LOOK
            (write,) = sandbox.journal.writes(mark)
            assert members(write) == [{"unique_id": f"crm-{number}", "journey": {"template_id": template}}]


@pytest.mark.parametrize("fault", ["status", "reset_after", "truncate"])
async def test_trap_51_starting_a_journey_is_not_repeated(sandbox: Sandbox, do: DigitalOnboarding, fault: Any) -> None:
    template = sandbox.digital_onboarding.add_template("Welcome")
    path = f"/v1/templates/{template}/journeys"
    details = {"status": 502, "after_effect": True} if fault == "status" else {}
    sandbox.fail(SIDE, fault, method="POST", path=path, **details)
    with pytest.raises(errors.PlatformError) as caught:
        await do.create_journey(template, contact={"unique_id": "crm-1"})
    assert caught.value.verdict is errors.Verdict.LOOK
    (write,) = sandbox.journal.writes()
    assert write.path == path and "template_id" not in write.body
    assert len(sandbox.digital_onboarding.journeys_of("crm-1")) == 1


@pytest.mark.parametrize("way", ["replace", "merge"])
async def test_trap_52_nothing_is_put_where_everybody_can_read_it(world: World, way: Any) -> None:
    world.do.settings.meta_public = way
    await world.linked("ann")
    world.do.edit_contact("crm-ann", meta_public={"branch": "Rome"})
    world.ov.edit_contact("ann@example.com", name="Ann Other", city="Bern", phone="+14155550177")
    world.ov.add_contact("new@example.com", name="New")
    await world.sync()
    assert not [member for member in _sent(world) if "meta_public" in member]
    assert world.do.contact("crm-ann")["meta_public"] == {"branch": "Rome"}
    assert not world.do.contact("new@example.com")["meta_public"]


async def test_trap_53_answers_are_matched_by_unique_id_in_whatever_order(world: World) -> None:
    world.do.settings.answer_order = "reversed"
    mark = await _edited(world, "ann", "bob", "cat")
    for name in ("ann", "bob", "cat"):
        assert world.do.contact(f"crm-{name}")["name_first"] == name
        held = world.value("SELECT name_first FROM digital_onboarding_contacts WHERE unique_id = :u", u=f"crm-{name}")
        assert held == name
    told = world.rows(
        "SELECT p.unique_id AS who, h.new_value AS value FROM field_history h"
        " JOIN people p ON p.person_id = h.person_id WHERE h.platform = 'digital_onboarding' AND h.field = 'name_first'"
    )
    assert sorted((row["who"], str(row["value"]).strip('"')) for row in told) == [
        ("crm-ann", "ann"), ("crm-bob", "bob"), ("crm-cat", "cat"),
    ]  # fmt: skip
    bodies = [entry.body for entry in world.journal.writes(mark, SIDE)]
    assert bodies and all(set(body) == {"contacts"} for body in bodies)
    world.clock.advance(60)
    for name in ("ann", "bob", "cat"):  # agreed was each one's own name, so these are edits of one side alone
        world.ov.edit_contact(f"{name}@example.com", name=f"{name} Third")
    await world.sync()
    assert world.rows("SELECT id FROM conflicts") == [] == world.unequal()


async def test_trap_53_the_same_contact_is_never_twice_in_a_batch(
    world: World, do: DigitalOnboarding, sandbox: Sandbox
) -> None:
    with pytest.raises(errors.RuleBroken):
        await do.upsert_contacts([{"unique_id": "crm-1"}, {"unique_id": "crm-2"}, {"unique_id": "crm-1"}])
    assert sandbox.journal.entries() == []


async def test_trap_53_what_is_said_twice_about_a_contact_goes_into_two_batches_in_order(world: World) -> None:
    await world.linked("ann", "bob")
    for name, key in (("ann", "estatements"), ("bob", "estatements"), ("ann", "online-banking")):
        said = {key: "2026-01-05T09:30:00Z"}
        world.stage(f"crm-{name}", Operation.COMPLETE_OBJECTIVE, said, f"{name} {key}")
    mark = world.mark()
    await world.sync(full=False)
    writes = world.writes(mark, SIDE)
    sent = [[(each["unique_id"], "estatements" in each) for each in members(entry)] for entry in writes]
    assert sent == [[("crm-ann", True), ("crm-bob", True)], [("crm-ann", False)]]


async def test_trap_53_what_an_answer_does_not_mention_is_not_taken_for_done(world: World) -> None:
    await world.linked("ann", "bob")
    there = world.do.contact("crm-ann")
    for name in ("ann", "bob"):
        world.ov.edit_contact(f"{name}@example.com", city="Bern")
    answer = {"new_contacts": [], "existing_contacts": [there | {"city": "Bern"}]}
    world.sandbox.fail(SIDE, "status", path="/v1/contacts", body_contains='"city"', status=200, body=answer)
    report = await world.sync()
    assert report.needs_person
    (dead,) = world.rows("SELECT target, last_error FROM outbox WHERE status = 'dead'")
    assert dead["target"] == "crm-bob" and "does not mention" in dead["last_error"]


async def test_trap_54_what_the_platform_stamps_is_not_sent_back(world: World) -> None:
    await _edited(world, "ann")
    row = world.do.contact("crm-ann")
    assert {"id", "inserted_at", "updated_at"} <= set(row)
    await world.import_rows({key: str(row[key] or "") for key in row if not isinstance(row[key], dict)})
    world.ov.edit_contact("ann@example.com", city="Oslo")
    await world.sync()
    assert world.do.contact("crm-ann")["city"] == "Oslo" and world.do.contact("crm-ann")["id"] == row["id"]
    assert not [member for member in _sent(world) if {"id", "inserted_at", "updated_at"} & set(member)]


@pytest.mark.parametrize("field", ["id", "inserted_at", "updated_at"])
async def test_trap_54_the_client_takes_no_stamp(sandbox: Sandbox, do: DigitalOnboarding, field: str) -> None:
    contact = {"unique_id": "crm-1", field: "x"}
    for asked in (
        do.upsert_contact(contact), do.upsert_contacts([contact]), do.create_journey("tm", contact=contact),
    ):  # fmt: skip
        with pytest.raises(errors.RuleBroken, match=field):
            await asked
    assert sandbox.journal.entries() == []


async def test_trap_55_templates_and_objectives_come_whole_in_one_answer(world: World) -> None:
    for number in range(130):
        world.do.add_template(f"Template {number}")
        world.do.add_objective(f"objective-{number}", f"Objective {number}")
    mark = world.mark()
    await world.backfill("templates", "objectives")
    asked = [(entry.path, dict(entry.query)) for entry in world.journal.entries(mark, SIDE) if not entry.is_token]
    assert sorted(asked) == [("/v1/objectives", {}), ("/v1/templates", {})]
    assert world.value("SELECT count(*) FROM digital_onboarding_templates") == len(world.do.templates) >= 130
    assert world.value("SELECT count(*) FROM digital_onboarding_objectives WHERE team_id IS NULL") > 0
    assert world.value("SELECT count(*) FROM digital_onboarding_objectives WHERE team_id IS NOT NULL") == 130
