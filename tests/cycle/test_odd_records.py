"""Answers that do not fit the documents: what can be kept is kept, and what is odd is counted, told once, and named."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from service.state import gather
from tests.cycle.world import World

CONTACT = {
    "id": "ct_odd", "created_datetime": "2025-01-01T00:00:00Z", "email": "odd@example.com", "name": 42,
    "email_double_optin_status": "PERHAPS", "novel": {"a": 1},
}  # fmt: skip
NOBODY = {"email": "nobody@example.com", "name": "No Body"}


def odd_contacts(world: World, *records: Any, times: int | None = None) -> None:
    body = {"results": list(records), "current_page": 1, "page_size": 100}
    world.sandbox.fail("onvoard", "status", method="GET", path="/v2/contacts", status=200, body=body, times=times)


async def test_a_record_that_is_odd_is_kept_with_its_payload_and_its_page_goes_on(both: World) -> None:
    odd_contacts(both, CONTACT, {"id": "ct_bare"}, NOBODY, {"id": "ct_good", "email": "good@example.com"})
    await both.backfill("contacts")
    found = both.rows("SELECT id, email, name, email_double_optin_status FROM onvoard_contacts")
    kept = {row["id"]: row for row in found}
    assert set(kept) == {"ct_odd", "ct_bare", "ct_good"}
    assert kept["ct_odd"]["name"] == "42" and kept["ct_odd"]["email_double_optin_status"] == "PERHAPS"
    assert both.value("SELECT CAST(raw AS TEXT) FROM onvoard_contacts WHERE id = 'ct_odd'").count("novel") == 1


async def test_surprises_are_told_once_per_kind_and_counted(both: World) -> None:
    odd_contacts(both, CONTACT, CONTACT | {"id": "ct_two"})
    with capture_logs() as first:
        await both.sync(full=False)
    told = [line["what"] for line in first if line["event"] == "surprise" and line["platform"] == "onvoard"]
    assert {"contact.novel: new field", "contact.name: expected text, got number"} <= set(told)
    assert "contact.email_double_optin_status: unknown value" in told
    assert len(told) == len(set(told))
    assert "nobody" not in str(first) and "odd@" not in str(told)
    before = both.value("SELECT times FROM surprises WHERE what = 'contact.novel: new field'")
    assert before >= 2
    with capture_logs() as second:
        await both.sync(full=False)
    assert [line for line in second if line["event"] == "surprise"] == []
    assert both.value("SELECT times FROM surprises WHERE what = 'contact.novel: new field'") > before
    assert both.rows("SELECT what FROM surprises WHERE first_seen_at > last_seen_at OR times < 1") == []


async def test_the_documented_answers_hold_no_surprise(world: World) -> None:
    await world.linked("ann")
    world.ov.add_review("ann@example.com", 5, "Good", product_id=world.ov.add_product("sku-1", "Chair"))
    await world.setup()
    await world.sync()
    assert world.rows("SELECT platform, what FROM surprises") == []


async def test_a_record_without_an_id_is_a_dead_letter_that_names_it_once(both: World) -> None:
    odd_contacts(both, CONTACT, NOBODY, {"id": None}, "text")
    report = await both.sync(full=False)
    assert report.refused["contacts"] >= 3 and report.new_dead == 3 and report.needs_person
    letters = both.rows(
        "SELECT platform, status, payload, last_error, person_id FROM outbox"
        " WHERE operation = 'read_record' ORDER BY id"
    )
    assert [row["platform"] for row in letters] == ["onvoard"] * 3
    assert all(row["status"] == "dead" and row["person_id"] is None for row in letters)
    assert letters[0]["last_error"] == "contacts: contact 2 of its page: no id (it has email, name)"
    assert "nobody@example.com" in str(letters[0]["payload"])
    again = await both.sync(full=True)
    assert again.new_dead == 0 and not again.needs_person
    assert both.value("SELECT count(*) FROM outbox WHERE status = 'dead'") == 3
    with both.db.begin(write=False) as conn:
        assert gather(conn, both.clock.now(), both.bridge.settings)["dead_letters"] == 3


async def test_digital_onboarding_too(both: World) -> None:
    body = {"templates": [{"id": "t1", "name": "Welcome"}, {"name": "Nameless"}]}
    both.sandbox.fail("digital_onboarding", "status", path="/v1/templates", status=200, body=body, times=1)
    report = await both.backfill("templates")
    assert report.refused == {"templates": 1} and report.new_dead == 1
    assert both.value("SELECT last_error FROM outbox") == "templates: template 2 of its page: no id (it has name)"
    assert both.value("SELECT count(*) FROM digital_onboarding_templates") == 1


async def test_what_names_an_erased_person_leaves_the_dead_letters_and_does_not_come_back(both: World) -> None:
    await both.linked("nobody")
    odd_contacts(both, {"id": "ct_x", "email": "x@example.com"}, NOBODY, times=1)
    await both.sync(full=False)
    assert both.value("SELECT count(*) FROM outbox WHERE status = 'dead'") == 1
    both.ov.suppress("nobody@example.com")
    await both.sync()
    assert both.value("SELECT count(*) FROM outbox WHERE status = 'dead'") == 0
    odd_contacts(both, {"id": "ct_y", "email": "y@example.com"}, NOBODY, times=1)
    await both.sync(full=False)
    assert "nobody@example.com" not in both.mirror_text().lower()


@pytest.mark.parametrize("record", [NOBODY, {"id": ""}])
async def test_a_page_of_nobody_at_all_is_no_page(world: World, record: Any) -> None:
    odd_contacts(world, record)
    with pytest.raises(Exception, match="not one contact with id"):
        await world.backfill("contacts")


async def test_an_id_that_no_path_can_hold_stops_nobody_else(world: World) -> None:
    odd_contacts(world, CONTACT | {"id": "../ct"}, CONTACT | {"id": "ct_fine", "email": "fine@example.com"})
    await world.backfill("contacts")
    world.sandbox.clear_faults()
    odd_contacts(world, CONTACT | {"id": "ct_other", "email": "other@example.com"})
    await world.sync(full=True)
    living = {row["id"] for row in world.rows("SELECT id FROM onvoard_contacts WHERE deleted_at IS NULL")}
    assert living == {"../ct", "ct_other"}, "ct_fine is gone, by its 404; of the first nobody can tell"
