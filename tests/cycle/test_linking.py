"""Who is linked to whom at the first sync, and who stands still because nobody may guess."""

from __future__ import annotations

from service.platforms.onvoard.enums import PropertyValueType
from service.store import tables as t
from tests.cycle.world import World

LINK = "custom_digital_onboarding_unique_id"


async def test_first_sync_links_by_property_email_and_unique_id(both: World) -> None:
    await both.setup()
    both.ov.add_contact("prop@example.com", name="Pia Prop", **{LINK: "crm-1"})
    both.do.add_contact(unique_id="crm-1", email="other@example.org", name_first="Pia", name_last="Prop")
    both.ov.add_contact("Mixed.Case@Example.com", name="Max Case")
    both.do.add_contact(unique_id="crm-2", email="mixed.case@example.COM", name_first="Max", name_last="Case")
    both.ov.add_contact("keyed@example.com", name="Kim Key")
    both.do.add_contact(unique_id="keyed@example.com", name_first="Kim", name_last="Key")
    await both.import_export()
    report = await both.sync()
    found = {row["unique_id"]: (row["status"], row["matched_by"]) for row in both.rows("SELECT * FROM people")}
    assert found == {
        "crm-1": ("linked", "property"),
        "crm-2": ("linked", "email"),
        "keyed@example.com": ("linked", "unique_id"),
    }
    assert not report.new_conflicts and len(both.ov.contacts) == len(both.do.contacts) == 3
    assert both.unequal() == []
    await both.quiet()


async def test_the_link_is_written_into_the_property_after_setup(world: World) -> None:
    await world.linked("ann")
    assert LINK not in world.ov.contact("ann@example.com")["properties"]
    await world.setup()
    await world.sync()
    assert world.ov.contact("ann@example.com")["properties"][LINK] == "crm-ann"
    await world.quiet()


async def test_beyond_trim_and_ascii_case_nothing_is_guessed(world: World) -> None:
    world.ov.add_contact("jo.smith@example.com")
    world.do.add_contact(unique_id="crm-1", email="josmith@example.com")
    world.ov.add_contact("jo+news@example.com")
    world.do.add_contact(unique_id="crm-2", email="jo@example.com")
    await world.import_export()
    await world.sync()
    assert len(world.ov.contacts) == len(world.do.contacts) == 4
    assert {row["matched_by"] for row in world.people().values()} == {"created"}


async def test_ambiguity_freezes_only_those_involved_and_clears_with_the_duplicate(both: World) -> None:
    both.ov.add_contact("twin@example.com", name="Tom Twin")
    both.do.add_contact(unique_id="crm-1", email="twin@example.com", name_first="Tim")
    both.do.add_contact(unique_id="crm-2", email="TWIN@example.com", name_first="Tam")
    both.ov.add_contact("free@example.com", name="Fay Free")
    both.do.add_contact(unique_id="crm-3", email="free@example.com", city="Oslo")
    await both.import_export()
    mark = both.mark()
    report = await both.sync()
    assert report.new_conflicts == 1 and report.needs_person
    assert [c["kind"] for c in both.conflicts()] == ["ambiguous_identity"]
    assert not any("twin" in str(entry.body).lower() or "crm-1" in str(entry.body) for entry in both.writes(mark))
    assert both.ov.contact("free@example.com")["properties"]["city"] == "Oslo"
    assert sorted(row["status"] for row in both.rows("SELECT status FROM people")) == ["conflict"] * 3 + ["linked"]
    assert (await both.sync()).new_conflicts == 0
    await both.quiet()

    both.clock.advance(60)
    both.do.edit_contact("crm-2", email="tam@example.com")
    await both.sync()
    assert both.conflicts() == []
    assert both.status("twin@example.com") == ("linked", "email")
    assert both.ov.contact("tam@example.com")["name"] == "Tam"
    assert both.unequal() == []
    await both.quiet()


async def test_two_onvoard_contacts_with_one_unique_id_are_asked_about(world: World) -> None:
    await world.setup()
    world.ov.add_contact("one@example.com", **{LINK: "crm-1"})
    world.ov.add_contact("two@example.com", **{LINK: "crm-1"})
    world.do.add_contact(unique_id="crm-1", email="three@example.com")
    await world.import_export()
    mark = world.mark()
    await world.sync()
    assert world.writes(mark) == [] and len(world.conflicts("ambiguous_identity")) == 1
    world.clock.advance(60)
    world.ov.delete_contact("two@example.com")
    await world.sync()
    assert world.conflicts() == [] and world.do.contact("crm-1")["unique_id"] == "crm-1"
    assert {row["status"] for row in world.people().values()} == {"linked"}
    await world.quiet()


async def test_a_link_property_rebuilds_a_lost_mirror(world: World) -> None:
    """Nobody imported anything: the property is enough to ask about the contact."""
    await world.setup()
    world.do.add_contact(unique_id="crm-1", email="old@example.com", city="Bern")
    world.ov.add_contact("new@example.com", **{LINK: "crm-1"})
    await world.sync()
    assert [row["matched_by"] for row in world.people().values()] == ["property"]
    assert len(world.do.contacts) == 1 and world.ov.contact_list()[0]["properties"]["city"] == "Bern"
    await world.quiet()


async def test_people_without_email_stay_where_they_are(world: World) -> None:
    world.do.add_contact(unique_id="crm-1", name_first="Nobody")
    await world.import_export()
    await world.sync()
    assert world.people()["crm-1"]["status"] == "digital_onboarding_only" and not world.ov.contacts
    await world.quiet()


async def test_a_link_property_of_another_type_is_not_written(world: World) -> None:
    """Every write that carries it would be refused; `setup` and `check` say so."""
    client = world.bridge.onvoard.contact_property_types
    await client.create(key="digital_onboarding_unique_id", label="Link", value_type=PropertyValueType.NUMBER)
    await world.linked("ann")
    world.do.edit_contact("crm-ann", city="Bern")
    report = await world.sync()
    assert report.new_dead == 0 and world.ov.contact("ann@example.com")["properties"]["city"] == "Bern"
    await world.quiet()


async def test_a_lost_mirror_finds_every_link_again(both: World) -> None:
    """By the property, whatever the addresses are by now, and without an import."""
    await both.setup()
    await both.linked("ann", "bob")
    both.do.add_contact(unique_id="crm-3", email="cat@example.com", name_first="Cat")
    await both.import_export()
    await both.sync()
    links = {(row["onvoard_contact_id"], row["unique_id"]) for row in both.people().values()}
    both.do.edit_contact("crm-ann", email="elsewhere@example.com")
    lose_the_mirror(both)
    await both.setup()
    await both.sync()
    again = {(row["onvoard_contact_id"], row["unique_id"]) for row in both.people().values()}
    assert again == links and {row["matched_by"] for row in both.people().values()} == {"property"}
    assert (len(both.ov.contacts), len(both.do.contacts)) == (3, 3) and both.unequal() == []
    await both.quiet()


def lose_the_mirror(world: World) -> None:
    with world.db.begin() as conn:
        for table in reversed(t.metadata.sorted_tables):
            conn.execute(table.delete())
