"""An export enters the mirror, and never overrides what the platform itself answered later."""

from __future__ import annotations

from typing import Any

import pytest

from service.errors import PlatformError
from service.sandbox.export import export_csv
from tests.cycle.world import World

ROW = {"unique_id": "crm-ann", "email": "ann@example.com"}


def _stored(world: World) -> dict[str, Any]:
    (row,) = world.rows("SELECT * FROM digital_onboarding_contacts WHERE unique_id = 'crm-ann'")
    return row


async def test_a_row_that_is_newer_overrides(both: World) -> None:
    await both.import_rows({**ROW, "city": "Rome", "updated_at": "2025-01-01T00:00:00Z"})
    await both.import_rows({**ROW, "city": "Oslo", "updated_at": "2025-02-01T00:00:00Z"})
    assert _stored(both)["city"] == "Oslo" and _stored(both)["origin"] == "import"


async def test_a_row_that_is_older_or_has_no_time_fills_only_what_is_unknown(world: World) -> None:
    await world.import_rows({**ROW, "city": "Rome", "updated_at": "2025-02-01T00:00:00Z"})
    await world.import_rows({**ROW, "city": "Oslo", "state": "OS", "updated_at": "2025-01-01T00:00:00Z"})
    await world.import_rows({**ROW, "city": "Bern", "county": "BE"})
    row = _stored(world)
    assert (row["city"], row["state"], row["county"]) == ("Rome", "OS", "BE")


async def test_a_row_never_overrides_what_the_platform_answered_later(world: World) -> None:
    await world.linked("ann")
    at = world.do.contact("crm-ann")["updated_at"]
    await world.import_rows({**ROW, "city": "Stale", "name_first": "Stale", "updated_at": "2020-01-01T00:00:00Z"})
    await world.import_rows({**ROW, "city": "Stale", "name_first": "Stale", "updated_at": at})
    await world.import_rows({**ROW, "city": "Stale", "name_first": "Stale"})
    assert _stored(world)["city"] == "Rome" and _stored(world)["origin"] == "refresh"
    mark = world.mark()
    await world.sync(full=False)
    assert world.writes(mark) == []


async def test_a_blank_of_the_platform_is_known_and_not_filled_by_an_old_row(world: World) -> None:
    """Cleared over there after the export was made."""
    await world.linked("ann")
    world.do.edit_contact("crm-ann", city="")
    await world.sync()
    await world.import_rows({**ROW, "city": "Rome"})
    await world.import_rows({**ROW, "city": "Rome", "updated_at": "2020-01-01T00:00:00Z"})
    await world.sync(full=False)
    assert world.ov.contact("ann@example.com")["properties"].get("city") is None
    assert not world.do.contact("crm-ann")["city"]
    await world.quiet()


async def test_an_old_row_is_no_edit_even_if_the_platform_is_not_asked(world: World) -> None:
    world.configure(digital_onboarding__refresh="off")
    await world.linked("ann")
    world.ov.edit_contact("ann@example.com", city="Oslo")
    await world.sync()
    await world.import_rows({**ROW, "city": "Rome", "updated_at": "2020-01-01T00:00:00Z"})
    mark = world.mark()
    await world.sync()
    assert world.writes(mark) == [] and world.ov.contact("ann@example.com")["properties"]["city"] == "Oslo"


async def test_completions_are_kept_and_never_pushed_back(world: World) -> None:
    await world.setup()
    world.ov.add_contact("ann@example.com", name="Ann Lee")
    world.do.add_contact(unique_id="crm-ann", email="ann@example.com")
    world.do.complete_objective("crm-ann", "online-banking")
    world.do.complete_objective("crm-ann", "estatements")
    await world.import_export()
    await world.import_export()
    kept = world.rows("SELECT objective_key, origin FROM digital_onboarding_objective_completions ORDER BY 1")
    assert kept == [
        {"objective_key": "estatements", "origin": "import"},
        {"objective_key": "online-banking", "origin": "import"},
    ]
    mark = world.mark()
    await world.sync()
    assert not any("online-banking" in str(entry.body) for entry in world.journal.writes(mark, "digital_onboarding"))
    await world.quiet()


async def test_bad_rows_are_named_by_line_and_the_others_go_on(both: World) -> None:
    text = (
        "unique_id,email,city,meta_public,updated_at\r\n"
        'crm-1,one@example.com,"Two\r\nlines",{},\r\n'
        "crm-2,not an address,Rome,{},\r\n"
        "crm-3,three@example.com,Rome,{broken,\r\n"
        "crm-4,four@example.com\r\n"
        ",,Nobody,,\r\n"
        "crm-6,six@example.com,Oslo,,yesterday\r\n"
        "crm-7,seven@example.com,Bern,,2025-01-01T00:00:00Z\r\n"
    )
    result = await both.import_text(text)
    assert [bad.line for bad in result.bad] == [4, 5, 6, 7, 8] and result.rows == 2
    found = both.rows("SELECT unique_id, city FROM digital_onboarding_contacts ORDER BY 1")
    assert [row["unique_id"] for row in found] == ["crm-1", "crm-7"] and "Two" in found[0]["city"]
    assert both.rows("SELECT outcome FROM runs") == [{"outcome": "partial"}]


async def test_the_same_contact_twice_in_a_file(world: World) -> None:
    await world.import_rows(
        {**ROW, "city": "Rome", "updated_at": "2025-02-01T00:00:00Z"},
        {**ROW, "city": "Oslo", "updated_at": "2025-01-01T00:00:00Z"},
    )
    assert _stored(world)["city"] == "Rome"


async def test_the_platform_is_asked_about_imported_people_before_anything_is_pushed(world: World) -> None:
    """The export is a year old; what changed since is not pushed over."""
    world.ov.add_contact("ann@example.com", city="Oslo", at=world.clock.now())
    world.do.add_contact(unique_id="crm-ann", email="ann@example.com", city="Now")
    await world.import_rows({**ROW, "city": "Then", "updated_at": "2020-01-01T00:00:00Z"})
    mark = world.mark()
    await world.sync()
    assert "Then" not in str([entry.body for entry in world.writes(mark)])
    assert world.unequal() == []
    await world.quiet()


async def test_a_row_of_another_record_under_a_known_unique_id_is_a_removal(world: World) -> None:
    """A probe made the removed contact anew and its answer was lost; the export shows it empty. Nobody cleared it."""
    await world.linked("ann", "bob")
    world.do.remove_contact("crm-ann")
    world.sandbox.fail("digital_onboarding", "reset_after", method="POST", path="/v1/contacts", times=None)
    with pytest.raises(PlatformError):
        await world.sync()
    world.sandbox.clear_faults()
    await world.import_export()
    await world.sync()
    here = world.ov.contact("ann@example.com")
    assert (here["name"], here["properties"].get("city")) == ("Ann Lee", "Rome")
    assert [c["kind"] for c in world.conflicts()] == ["removed_on_digital_onboarding"]
    await world.quiet()


async def test_an_old_export_of_the_record_before_this_one_takes_back_no_opt_out(both: World) -> None:
    """She was removed and made anew before the bridge knew her; the old export shows who was there first."""
    for name in ("ann", "bob"):
        both.do.add_contact(unique_id=f"crm-{name}", email=f"{name}@example.com")
    old = export_csv(both.do)
    both.do.remove_contact("crm-ann")
    both.clock.advance(60)
    await both.linked("ann")
    both.do.unsubscribe("crm-ann")
    await both.import_export()
    await both.import_text(old)
    await both.sync(full=False)
    assert both.ov.contact("ann@example.com")["email_unsubscribed"] is True
    assert both.conflicts() == [] and both.people()["ann@example.com"]["status"] == "linked"
    await both.quiet()


async def test_an_older_export_of_the_record_made_anew_takes_back_no_opt_out(both: World) -> None:
    await both.linked("ann", "bob")
    both.do.remove_contact("crm-ann")
    both.do.add_contact(unique_id="crm-ann", email="ann@example.com")
    old = export_csv(both.do)
    both.clock.advance(60)
    both.do.unsubscribe("crm-ann")
    await both.import_export()
    await both.import_text(old)
    await both.sync(full=False)
    assert both.ov.contact("ann@example.com")["email_unsubscribed"]
    assert [conflict["kind"] for conflict in both.conflicts()] == ["removed_on_digital_onboarding"]
