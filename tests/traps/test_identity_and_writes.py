"""Traps 1 to 13 of traps.md: who a contact is on OnVoard, and how it is written.

Also covered elsewhere: 1 and 2 by tests/cycle/test_emails.py (swaps and chains of addresses), 9, 11 and 12 by the
rules in tests/platforms/test_onvoard.py, 13 by tests/cycle/test_merging.py (what a platform makes of a value).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service import errors, settings, setup
from service.core.mapping import FieldMap, FieldRule
from service.platforms.onvoard.client import OnVoard
from service.platforms.onvoard.enums import PropertyFieldType, PropertyValueType, value_type_of
from service.sandbox import Sandbox
from service.sandbox.journal import Entry
from tests.cycle.world import World

LINK = "digital_onboarding_unique_id"
WRITABLE = {"email", "name", "phone", "email_unsubscribed", "properties"}


def _patches(world: World, since: int) -> list[Entry]:
    return [entry for entry in world.writes(since, "onvoard") if entry.method == "PATCH"]


async def test_trap_01_a_taken_email_is_refused_and_contacts_are_known_by_id(world: World) -> None:
    await world.linked("ann")
    with pytest.raises(errors.Rejected):
        await world.bridge.onvoard.contacts.create(email="ann@example.com")
    contact_id = world.ov.contact("ann@example.com")["id"]
    world.ov.edit_contact(contact_id, email="new@example.com")
    newcomer = world.ov.add_contact("ann@example.com", name="Another Ann")
    world.do.edit_contact("crm-ann", state="Lazio")
    await world.sync()
    found = {row["id"]: row["email"] for row in world.rows("SELECT id, email FROM onvoard_contacts")}
    assert found == {contact_id: "new@example.com", newcomer["id"]: "ann@example.com"}
    assert world.value("SELECT onvoard_contact_id FROM people WHERE unique_id = 'crm-ann'") == contact_id
    assert {c["id"]: c["properties"].get("region") for c in world.ov.contact_list()}[contact_id] == "Lazio"
    assert {entry.path for entry in _patches(world, 0)} == {f"/v2/contacts/{contact_id}"}
    assert world.ov.contact(newcomer["id"])["name"] == "Another Ann"


async def test_trap_01_a_creation_overwrites_nobody_who_took_the_address_meanwhile(world: World) -> None:
    await world.linked("bob")
    world.do.add_contact(unique_id="crm-ann", email="ann@example.com", name_first="Ann", name_last="Lee")
    await world.import_export()
    world.sandbox.when(
        "digital_onboarding", lambda: world.ov.add_contact("ANN@example.com", name="Ann Newer"), path="/v1/contacts"
    )
    await world.sync()
    assert [c["name"] for c in world.ov.contact_list() if c["email"].lower() == "ann@example.com"] == ["Ann Newer"]
    assert not [entry for entry in world.writes(platform="onvoard") if entry.path == "/v2/contacts/create-or-update"]


async def test_trap_02_a_changed_email_is_patched_by_id_and_makes_no_second_contact(world: World) -> None:
    await world.linked("ann")
    contact_id = world.ov.contact("ann@example.com")["id"]
    world.do.edit_contact("crm-ann", email="new@example.com")
    mark = world.mark()
    await world.sync()
    (write,) = world.writes(mark, "onvoard")
    assert (write.method, write.path, write.body) == (
        "PATCH", f"/v2/contacts/{contact_id}", {"email": "new@example.com"},
    )  # fmt: skip
    assert [contact["id"] for contact in world.ov.contact_list()] == [contact_id]


async def test_trap_03_top_level_fields_are_blanked_and_properties_unset(world: World) -> None:
    await world.linked("ann")
    world.do.edit_contact("crm-ann", name_first="", name_last="", phone_mobile="", city="")
    mark = world.mark()
    await world.sync()
    (write,) = _patches(world, mark)
    assert write.status == 200 and write.body == {"name": "", "phone": "", "properties": {"city": None}}
    contact = world.ov.contact("ann@example.com")
    assert not contact["name"] and not contact["phone"] and not contact["properties"].get("city")


@pytest.mark.parametrize("defaults", [False, True])
async def test_trap_04_only_what_changed_is_sent_and_no_flag_by_accident(world: World, defaults: bool) -> None:
    world.ov.settings.defaults_on_update = defaults
    await world.linked("ann")
    world.ov.edit_contact("ann@example.com", street_address="1 High Street")
    await world.sync()
    world.clock.advance(60)
    world.do.edit_contact("crm-ann", city="Bern")
    mark = world.mark()
    await world.sync()
    assert [write.body for write in _patches(world, mark)] == [{"properties": {"city": "Bern"}}]
    assert world.ov.contact("ann@example.com")["properties"]["street_address"] == "1 High Street"


async def test_trap_04_an_opt_out_survives_an_update_that_leaves_it_out(world: World) -> None:
    world.ov.settings.defaults_on_update = True
    await world.linked("ann")
    world.ov.unsubscribe("ann@example.com")
    await world.sync()
    world.clock.advance(60)
    world.do.edit_contact("crm-ann", city="Bern")
    await world.sync()
    contact = world.ov.contact("ann@example.com")
    assert contact["properties"]["city"] == "Bern" and contact["email_unsubscribed"] is True
    assert world.conflicts() == []


async def test_trap_05_lists_are_written_as_ids_and_tags_as_names_and_both_are_filtered_by_id(
    sandbox: Sandbox, ov: OnVoard
) -> None:
    list_id = sandbox.onvoard.add_list("Customers")
    made = await ov.contacts.create(email="ann@example.com", lists=[list_id], tags=["VIP"])
    await ov.contacts.create(email="bob@example.com")
    assert made.lists == [{"id": list_id, "name": "Customers"}] and made.tags is not None
    (tag,) = made.tags
    assert tag["name"] == "VIP" and tag["id"] != "VIP"
    for filters in ({"tag_ids": [tag["id"]]}, {"list_ids": [list_id]}):
        assert [found.id for found in (await ov.contacts.list(**filters)).items] == [made.id]


async def test_trap_06_lists_tags_and_segments_are_mirrored_from_contacts_alone(world: World) -> None:
    list_id = world.ov.add_list("Customers")
    world.ov.add_contact("ann@example.com", lists=[list_id], tags=["VIP"], accepts_marketing_emails=True)
    await world.sync()
    (row,) = world.rows("SELECT lists, tags, segments FROM onvoard_contacts")
    assert "Customers" in row["lists"] and "VIP" in row["tags"] and "Sendable subscribers" in row["segments"]
    paths = {entry.path for entry in world.journal.entries(platform="onvoard")}
    assert not [path for path in paths if any(word in path for word in ("list", "tag", "segment"))]
    assert not [entry for entry in world.journal.entries(platform="onvoard") if entry.status >= 400]
    with pytest.raises(errors.RuleBroken):
        await world.bridge.onvoard.contacts.patch(world.ov.contact("ann@example.com")["id"], segments=["sg_1"])  # type: ignore[call-arg]


@pytest.mark.parametrize("way", ["replace", "append"])
async def test_trap_07_lists_and_tags_survive_whatever_writing_them_means(world: World, way: Any) -> None:
    world.ov.settings.lists_write = world.ov.settings.tags_write = way
    list_id = world.ov.add_list("Customers")
    await world.linked("ann", lists=[list_id], tags=["VIP", "Berlin"])
    world.do.edit_contact("crm-ann", city="Bern", name_first="Anna")
    mark = world.mark()
    await world.sync()
    (write,) = _patches(world, mark)
    assert not {"lists", "tags"} & set(write.body)
    contact = world.ov.contact("ann@example.com")
    assert sorted(tag["name"] for tag in contact["tags"]) == ["Berlin", "VIP"]
    assert [each["id"] for each in contact["lists"]] == [list_id]


async def test_trap_08_a_name_is_written_whole_and_its_parts_are_only_read(world: World) -> None:
    world.ov.settings.readonly_properties = "reject"
    await world.linked("ann")
    world.do.edit_contact("crm-ann", name_first="Mary Ann", name_last="van der Lee")
    mark = world.mark()
    await world.sync()
    assert [(write.status, write.body) for write in _patches(world, mark)] == [(200, {"name": "Mary Ann van der Lee"})]
    await world.quiet()  # OnVoard may have split it elsewhere
    there = world.do.contact("crm-ann")
    assert (there["name_first"], there["name_last"]) == ("Mary Ann", "van der Lee")
    world.ov.edit_contact("ann@example.com", name="Mary Ann Lee")
    world.ov.record("ann@example.com").properties |= {"first_name": "Mary Ann", "last_name": "Lee"}  # how it splits it
    await world.sync()
    there = world.do.contact("crm-ann")
    assert (there["name_first"], there["name_last"]) == ("Mary Ann", "Lee")


async def test_trap_09_nothing_read_only_is_ever_written(world: World) -> None:
    await world.linked("ann", "bob", "cat")
    world.ov.hard_bounce("ann@example.com")
    world.ov.suppress("cat@example.com")
    world.do.unsubscribe("crm-bob")
    for name in ("ann", "bob", "cat"):
        world.do.edit_contact(f"crm-{name}", city="Bern", name_first="Other", email=f"{name}2@example.com")
        world.do.edit_contact(f"crm-{name}", phone_mobile="+14155550102")
    world.do.add_contact(unique_id="crm-new", email="new@example.com", name_first="New", unsubscribe_email=True)
    await world.import_export()
    await world.sync()
    assert world.ov.contact("new@example.com")["email_unsubscribed"] is True
    bodies = [entry.body for entry in world.writes(platform="onvoard")]
    assert len(bodies) >= 3 and set().union(*bodies) == WRITABLE
    assert not set().union(*(body.get("properties", {}) for body in bodies)) & {"first_name", "last_name", "is_from_eu"}


@pytest.mark.parametrize("field", [
    "id", "suppressed", "email_sendable", "email_marked_as_spam", "email_hard_bounced", "email_soft_bounced_count",
    "email_double_opted_in", "created_datetime", "modified_datetime", "suppressed_datetime",
])  # fmt: skip
async def test_trap_09_the_client_takes_nothing_read_only(sandbox: Sandbox, ov: OnVoard, field: str) -> None:
    contact = await ov.contacts.create(email="ann@example.com")
    mark = sandbox.journal.mark()
    read_only: Any = {field: True}
    for asked in (
        ov.contacts.patch(contact.id, **read_only), ov.contacts.create(email="bob@example.com", **read_only),
        ov.contacts.create_or_update(email="ann@example.com", **read_only),
    ):  # fmt: skip
        with pytest.raises(errors.RuleBroken, match=field):
            await asked
    assert sandbox.journal.entries(mark) == []


async def test_trap_10_keys_are_created_plain_and_only_contact_values_are_written_with_the_prefix(
    sandbox: Sandbox, ov: OnVoard
) -> None:
    await setup.complete(ov, settings.load({}, environ={}))
    account = sandbox.onvoard
    keys = [each.key for each in account.contact_property_types.values() if LINK in each.key]
    assert keys == [f"custom_{LINK}"]
    resources = [entry.body["key"] for entry in sandbox.journal.writes() if entry.path == "/v2/resource-property-types"]
    assert "sync_id" in resources and not [key for key in resources if key.startswith("custom_")]
    await ov.contacts.create(email="ann@example.com", properties={f"custom_{LINK}": "crm-ann"})
    with pytest.raises(errors.Rejected):
        await ov.contacts.patch(account.contact("ann@example.com")["id"], properties={LINK: "crm-ann"})


async def test_trap_10_a_sync_writes_the_value_with_the_prefix(world: World) -> None:
    await world.setup()
    await world.linked("ann")
    assert [entry.body for entry in _patches(world, 0)] == [{"properties": {f"custom_{LINK}": "crm-ann"}}]


async def test_trap_11_no_value_is_written_before_its_property_type_exists(world: World) -> None:
    await world.linked("ann")
    assert [e for e in world.writes(platform="onvoard") if LINK in str(e.body)] == []
    await world.setup()
    await world.sync()
    assert world.ov.contact("ann@example.com")["properties"][f"custom_{LINK}"] == "crm-ann"
    assert [entry for entry in world.writes(platform="onvoard") if entry.status >= 400] == []


async def test_trap_11_keys_are_plain_and_nothing_but_texts_is_patched(sandbox: Sandbox, ov: OnVoard) -> None:
    made = await ov.contact_property_types.create(key="total_9", label="Total", value_type=PropertyValueType.STRING)
    mark = sandbox.journal.mark()
    for key in ("Total", "total-9", "total 9", "größe", ""):
        with pytest.raises(errors.RuleBroken):
            await ov.contact_property_types.create(key=key, label="Total", value_type=PropertyValueType.STRING)
        with pytest.raises(errors.RuleBroken):
            await ov.contacts.create(email="ann@example.com", properties={key: "x"})
    fixed: Any
    for fixed in ({"key": "other"}, {"value_type": PropertyValueType.NUMBER}, {"field_type": PropertyFieldType.TEXT}):
        with pytest.raises(errors.RuleBroken):
            await ov.contact_property_types.patch(made, label="Sum", **fixed)
    assert sandbox.journal.entries(mark) == []
    patched = await ov.contact_property_types.patch(made, label="Sum", helper_text="of all orders")
    assert (patched.key, patched.label, patched.helper_text) == (made.key, "Sum", "of all orders")


async def test_trap_12_what_is_predefined_is_not_changed(sandbox: Sandbox, ov: OnVoard) -> None:
    listed = (await ov.contact_property_types.list()).items
    assert listed and {each.definition_type for each in listed} == {"PREDEFINED"}
    mark = sandbox.journal.mark()
    for each in listed:
        for asked in (ov.contact_property_types.patch(each, label="Mine"), ov.contact_property_types.delete(each)):
            with pytest.raises(errors.RuleBroken):
                await asked
    assert sandbox.journal.entries(mark) == []


async def test_trap_12_every_field_type_that_the_client_lets_through_is_taken(sandbox: Sandbox, ov: OnVoard) -> None:
    refused = set()
    for number, field_type in enumerate(PropertyFieldType):
        key, value_type = f"field_{number}", value_type_of(field_type)
        try:
            made = await ov.contact_property_types.create(
                key=key, label=key, value_type=value_type, field_type=field_type
            )
        except errors.RuleBroken:
            refused.add(field_type.value)
            continue
        assert (made.key, made.value_type, made.field_type) == (f"custom_{key}", value_type, field_type)
    assert refused == {"SINGLE_LINE_ITEM", "MULTIPLE_LINE_ITEMS"}
    mark = sandbox.journal.mark()
    for field_type in PropertyFieldType:
        for value_type in set(PropertyValueType) - {value_type_of(field_type)}:
            with pytest.raises(errors.RuleBroken):
                await ov.contact_property_types.create(key="x", label="x", value_type=value_type, field_type=field_type)
    assert sandbox.journal.entries(mark) == []


@pytest.mark.parametrize("phone", ["+1 (415) 555-0199", "1-415-555-0199 "])
async def test_trap_13_a_reformatted_phone_makes_no_endless_update(world: World, phone: str) -> None:
    await world.linked("ann", country="US")
    world.do.edit_contact("crm-ann", phone_mobile=phone)
    await world.sync()
    assert world.ov.contact("ann@example.com")["phone"].endswith("4155550199")
    assert world.do.contact("crm-ann")["phone_mobile"] == phone
    await world.quiet()


@pytest.mark.parametrize("phone", ["+1 (415) 555-0199", "415-555-0199"])
async def test_trap_13_two_spellings_of_one_number_are_no_difference(world: World, phone: str) -> None:
    world.ov.add_contact("ann@example.com", name="Ann Lee", phone="+14155550199", country="US")
    world.do.add_contact(
        unique_id="crm-ann", email="ann@example.com", name_first="Ann", name_last="Lee", phone_mobile=phone,
        country="United States",
    )  # fmt: skip
    await world.import_export()
    mark = world.mark()
    await world.sync()
    assert world.writes(mark) == []


async def test_trap_13_a_number_that_comes_back_as_a_float_makes_no_endless_update(world: World) -> None:
    rule = FieldRule("total", "properties.custom_total", ("county",))
    mapping = FieldMap([*world.mapping.rules[1:], rule], world.mapping.formats)
    world.bridge = replace(world.bridge, mapping=mapping)
    await world.bridge.onvoard.contact_property_types.create(
        key="total", label="Total", value_type=PropertyValueType.NUMBER
    )
    await world.linked("ann")
    world.ov.edit_contact("ann@example.com", custom_total=1500)
    assert str(world.ov.contact("ann@example.com")["properties"]["custom_total"]) == "1500.0"
    await world.sync()
    assert world.do.contact("crm-ann")["county"] == "1500"
    await world.quiet()
