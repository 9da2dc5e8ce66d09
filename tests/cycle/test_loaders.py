"""Loaders: whatever a SELECT on the mirror says reaches the platforms, only what is new of it, and never by half."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from service import planning, relinking, resources, setup
from service.core.loaders import Key, Loader, Missing, Target
from service.core.rules import Ruleset
from service.errors import PlatformError
from service.loader_files import read_loaders
from service.store import outbox, streaming
from tests.cycle.test_killed import Killed, MortalDatabase
from tests.cycle.world import World, members

ALLOWED = frozenset({"review_count", "average_rating", "vip"})
COUNTS = "unique_id, review_count"


def _load(world: World, sql: str, target: Target = Target.META_PUBLIC, key: Key = Key.PERSON_ID, **more: Any) -> Loader:
    """The one loader of this world from now on."""
    name = more.pop("name", "figures")
    loader = Loader(name, target, key, sql, **more)
    world.bridge = replace(world.bridge, loaders=(loader,), rules=Ruleset(meta_public=ALLOWED))
    return loader


def _values(*rows: tuple[Any, ...], columns: str) -> str:
    """A result that does not come from the mirror."""
    said = " UNION ALL ".join(
        f"SELECT {', '.join(f'{_literal(v)} AS {c.strip()}' for v, c in zip(row, columns.split(','), strict=True))}"
        for row in rows
    )
    return said or f"SELECT {', '.join(f'NULL AS {name}' for name in columns.split(','))} WHERE 1 = 0"


def _literal(value: Any) -> str:
    return "NULL" if value is None else f"'{value}'" if isinstance(value, str) else str(value)


def _meta(world: World, who: str) -> dict[str, Any]:
    return world.do.contact(who)["meta_public"] or {}


def _rows(world: World) -> dict[str, tuple[str, str | None]]:
    return {row["key"]: (row["status"], row["reason"]) for row in world.rows("SELECT * FROM loader_rows")}


async def test_figures_reach_meta_public_and_only_differences_are_pushed(both: World) -> None:
    await both.linked("ann", "bob")
    for rating in (5, 4):
        both.ov.add_review("ann@example.com", rating, "Fine", entity="SITE")
    _load(
        both,
        "SELECT person_id, count(*) AS review_count, avg(rating) AS average_rating FROM reviews "
        "WHERE person_id IS NOT NULL GROUP BY person_id",
    )
    await both.sync()
    assert _meta(both, "crm-ann") == {"review_count": 2, "average_rating": 4.5} and _meta(both, "crm-bob") == {}
    assert [status for status, _ in _rows(both).values()] == ["done"]
    before = both.rows("SELECT * FROM loader_rows")
    await both.quiet()
    assert both.rows("SELECT * FROM loader_rows") == before and both.value("SELECT changed FROM loader_states") == 0
    both.ov.add_review("bob@example.com", 1, "Fine", entity="SITE")
    mark = both.mark()
    await both.sync()
    assert [m["unique_id"] for entry in both.writes(mark) for m in members(entry)] == ["crm-bob"]
    await both.quiet()


async def test_properties_are_written_and_read_back_the_same(world: World) -> None:
    await _set_up(world)
    await world.linked("ann")
    columns = "email, custom_branch, level, ratio, since"
    _load(world, _values(("ANN@example.com ", "Oak St", 3, 0.5, "2026-01-05T09:30:00Z"), columns=columns),
          Target.CONTACT_PROPERTIES, Key.EMAIL)  # fmt: skip
    for key, value_type in {"branch": "STRING", "level": "NUMBER", "ratio": "NUMBER", "since": "DATETIME"}.items():
        await world.bridge.onvoard.contact_property_types.create(key=key, label=key, value_type=value_type)
    report = await world.sync()
    assert not report.needs_person and set(_rows(world)) == {"ann@example.com"}
    shown = world.ov.contact("ann@example.com")["properties"]
    assert (shown["custom_branch"], shown["custom_level"], shown["custom_ratio"]) == ("Oak St", 3.0, 0.5)
    assert shown["custom_since"] == 1767605400
    await world.quiet()
    world.ov.edit_contact("ann@example.com", custom_branch="Elm St")
    await world.quiet()  # the row is as it was


@pytest.mark.parametrize("missing", Missing)
async def test_what_leaves_the_result_is_cleared_or_kept(both: World, missing: Missing) -> None:
    await both.linked("ann", "bob")
    two = _values(("crm-ann", 1), ("crm-bob", 2), columns=COUNTS)
    _load(both, two, key=Key.UNIQUE_ID, missing=missing)
    await both.sync()
    _load(both, _values(("crm-bob", 2), columns=COUNTS), key=Key.UNIQUE_ID, missing=missing)
    mark = both.mark()
    await both.sync()
    if missing is Missing.KEEP:
        assert both.writes(mark) == [] and _meta(both, "crm-ann") == {"review_count": 1}
    else:
        assert _meta(both, "crm-ann").get("review_count") is None and set(_rows(both)) == {"crm-bob"}
    assert _meta(both, "crm-bob") == {"review_count": 2}
    await both.quiet()
    _load(both, two, key=Key.UNIQUE_ID, missing=missing)
    mark = both.mark()
    await both.sync()
    assert len(both.writes(mark)) == (missing is Missing.CLEAR), "one that comes back unchanged is no difference"
    assert _meta(both, "crm-ann") == {"review_count": 1}
    await both.quiet()


async def test_a_value_may_come_back(world: World) -> None:
    await world.linked("ann")
    for number in (1, 2, 1, 2, None, 1):
        _load(world, _values(("crm-ann", number), columns=COUNTS), key=Key.UNIQUE_ID)
        await world.sync()
        assert _meta(world, "crm-ann").get("review_count") == number
    await world.quiet()


async def test_what_the_loader_has_not_set_it_does_not_clear(world: World) -> None:
    await world.linked("ann")
    world.do.edit_contact("crm-ann", meta_public={"review_count": 7})
    _load(world, _values(("crm-ann", None, 1), columns=COUNTS + ", vip"), key=Key.UNIQUE_ID, missing=Missing.CLEAR)
    await world.sync()
    assert _meta(world, "crm-ann") == {"review_count": 7, "vip": 1}


BAD = {
    "two rows": (_values(("crm-bob", 1), ("crm-ann", 1), ("crm-ann", 2), columns=COUNTS), "two rows for one unique_id"),
    "no key column": ("SELECT 'crm-bob' AS unique_i, 1 AS review_count", "did you mean unique_i?"),
    "not allowed": (_values(("crm-bob", 1), columns="unique_id, shoe_size"), "shoe_size is not among the allowed"),
    "nothing beside": ("SELECT 'crm-bob' AS unique_id", "no column beside unique_id"),
    "no such table": ("SELECT unique_id, vip FROM nowhere", "nowhere"),
    "writes": ("-- all\nDELETE FROM persons RETURNING 'a' AS unique_id, 1 AS vip", "begins with DELETE"),
    "writes within": ("WITH gone AS (DELETE FROM persons RETURNING 'a' AS unique_id) SELECT *, 1 AS vip FROM gone", ""),
    "writes behind": ("SELECT 'a' AS unique_id, 1 AS vip) AS x; DELETE FROM persons; SELECT * FROM (SELECT 1", ""),
    "two statements": ("SELECT 'a' AS unique_id, 1 AS vip; SELECT 2", ""),
}


async def test_rows_about_nobody_are_left_out(world: World) -> None:
    await world.linked("ann", "bob")
    _load(world, _values((None, 3), ("crm-bob", 1), (None, 1), columns=COUNTS), key=Key.UNIQUE_ID)
    report = await world.sync()
    assert not report.stopped and set(_rows(world)) == {"crm-bob"}
    assert _meta(world, "crm-bob") == {"review_count": 1}
    await world.quiet()


@pytest.mark.parametrize("case", BAD)
async def test_a_result_that_cannot_be_stops_its_loader_alone(world: World, case: str) -> None:
    await _is_stopped(world, case)


@pytest.mark.parametrize("case", ["no such table", "writes within", "two statements"])
async def test_what_postgres_refuses_stops_it_as_well(postgres_world: World, case: str) -> None:
    await _is_stopped(postgres_world, case)


async def _is_stopped(world: World, case: str) -> None:
    await world.linked("ann", "bob")
    people = world.value("SELECT count(*) FROM persons")
    sql, why = BAD[case]
    _load(world, sql, key=Key.UNIQUE_ID)
    world.ov.edit_contact("ann@example.com", city="Oslo")
    mark = world.mark()
    report = await world.sync()
    assert why in report.stopped["figures"] and report.needs_person
    assert "@" not in report.stopped["figures"]
    [entry] = world.writes(mark)
    assert "city" in members(entry)[0], "the sync goes on, and nothing of the result is pushed"
    assert world.value("SELECT count(*) FROM persons") == people
    assert not (await world.sync()).needs_person, "it is told once"
    _load(world, _values(("crm-bob", 1), columns=COUNTS), key=Key.UNIQUE_ID)
    assert not (await world.sync()).needs_person
    assert _meta(world, "crm-bob") == {"review_count": 1} and _meta(world, "crm-ann") == {}
    assert world.value("SELECT stopped FROM loader_states") is None
    await world.quiet()


async def test_nothing_is_pushed_of_a_result_that_was_read_by_half(
    both: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "PART", 1)
    await both.linked("ann", "bob")
    _load(both, _values(("crm-bob", 1), columns=COUNTS), key=Key.UNIQUE_ID)
    await both.sync()
    _load(both, _values(("crm-ann", 1), ("crm-bob", 1), ("crm-bob", 2), columns=COUNTS), key=Key.UNIQUE_ID)
    mark = both.mark()
    assert (await both.sync()).stopped and (await both.sync()).stopped == {}
    assert both.writes(mark) == [] and _rows(both)["crm-ann"][0] == "due"
    _load(both, _values(("crm-bob", 2), columns=COUNTS), key=Key.UNIQUE_ID)
    await both.sync()
    assert _meta(both, "crm-ann") == {} and _meta(both, "crm-bob") == {"review_count": 2}
    assert set(_rows(both)) == {"crm-bob"}, "what was never pushed is forgotten"
    await both.quiet()


FOREVER = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000) "
    "SELECT 'crm-ann' AS unique_id, count(*) AS vip FROM n"
)


async def test_what_takes_too_long_is_stopped(world: World) -> None:
    await world.linked("ann")
    _load(world, FOREVER, key=Key.UNIQUE_ID, timeout=timedelta(seconds=0.2))
    report = await world.sync()
    assert "took too long" in report.stopped["figures"]


async def test_a_plan_lists_what_would_be_pushed_and_pushes_nothing(both: World) -> None:
    await both.linked("ann", "bob")
    _load(both, _values(("crm-ann", 1), columns=COUNTS), key=Key.UNIQUE_ID)
    mark = both.mark()
    made = await planning.plan(both.bridge)
    told = {key: made.changes[0][key] for key in ("email", "platform", "operation", "field", "old", "new", "why")}
    assert told == {
        "email": "ann@example.com", "platform": "digital_onboarding", "operation": "set_meta_public",
        "field": "meta_public.review_count", "old": None, "new": 1, "why": "loader figures",
    }  # fmt: skip
    assert len(made.changes) == 1 and both.journal.writes(mark) == []
    assert both.rows("SELECT * FROM outbox WHERE cause IS NOT NULL") == []
    await planning.apply(both.bridge, made)
    assert _meta(both, "crm-ann") == {"review_count": 1}
    await both.quiet()


async def test_a_loader_that_stops_in_a_plan_is_told_by_the_next_sync(world: World) -> None:
    await world.linked("ann")
    _load(world, "SELECT nothing", key=Key.UNIQUE_ID)
    await planning.plan(world.bridge)
    assert (await world.sync()).needs_person and not (await world.sync()).needs_person


async def test_the_brake_holds_what_a_loader_would_change_and_lets_it_go_again(world: World) -> None:
    world.configure(limits__max_changed_count=1, limits__max_changed_share=0.0)
    await world.linked("ann", "bob", "cid")
    world.clock.advance(60)
    two = _values(("crm-ann", 1), ("crm-bob", 2), columns=COUNTS)
    _load(world, two, key=Key.UNIQUE_ID, missing=Missing.CLEAR)
    mark = world.mark()
    report = await world.sync()
    assert list(report.held) == ["digital_onboarding"] and world.writes(mark) == []
    assert (await world.sync()).held and world.writes(mark) == []
    assert not (await world.sync(allow=True)).held
    assert (_meta(world, "crm-ann"), _meta(world, "crm-bob")) == ({"review_count": 1}, {"review_count": 2})
    _load(world, _values(columns=COUNTS), key=Key.UNIQUE_ID, missing=Missing.CLEAR)
    assert (await world.sync()).held and (await world.sync()).held, "nor is it forgotten what is to be cleared"
    await world.sync(allow=True)
    assert _meta(world, "crm-ann").get("review_count") is None is _meta(world, "crm-bob").get("review_count")
    assert _rows(world) == {}
    await world.quiet()


async def test_the_property_types_are_made_from_the_columns_when_something_is_to_be_pushed(world: World) -> None:
    await world.linked("ann")
    columns = "email, branch, level, joined_at"
    _load(world, _values(("ann@example.com", "Oak St", 3, "2026-01-05T09:30:00Z"), columns=columns),
          Target.CONTACT_PROPERTIES, Key.EMAIL)  # fmt: skip
    mark = world.mark()
    made = await planning.plan(world.bridge)
    assert {each["field"] for each in made.changes} == {"custom_branch", "custom_level", "custom_joined_at"}
    assert world.journal.writes(mark) == [], "a plan makes nothing"
    report = await world.sync()
    assert not report.needs_person
    types = {each.key: each.value_type for each in world.ov.contact_property_types.values()}
    assert [types[f"custom_{key}"] for key in ("branch", "level", "joined_at")] == ["STRING", "NUMBER", "DATETIME"]
    shown = world.ov.contact("ann@example.com")["properties"]
    assert shown["custom_branch"] == "Oak St" and shown["custom_joined_at"] == 1767605400
    await world.quiet()


async def test_booleans_come_from_boolean_columns(world: World) -> None:
    await world.linked("ann", "bob")
    world.do.unsubscribe("crm-ann")
    await world.sync()
    _load(world, "SELECT person_id, email_opted_out FROM people", Target.CONTACT_PROPERTIES)
    await world.sync()
    shown = [world.ov.contact(f"{who}@example.com")["properties"]["custom_email_opted_out"] for who in ("ann", "bob")]
    assert shown == [True, False]
    await world.quiet()


async def test_a_property_of_another_type_stops_the_loader(world: World) -> None:
    await world.linked("ann")
    await world.bridge.onvoard.contact_property_types.create(key="level", label="Level", value_type="STRING")
    _load(world, _values(("ann@example.com", 3), columns="email, level"), Target.CONTACT_PROPERTIES, Key.EMAIL)
    mark = world.mark()
    report = await world.sync()
    assert report.stopped == {"figures": "the property custom_level is a STRING on OnVoard, and the column a NUMBER"}
    assert world.writes(mark) == []


VISITS = "email, id, type, occurred_at, branch, minutes"


def _visit(who: str, number: int, at: str = "2026-02-03T10:00:00Z", branch: str | None = "Oak St") -> tuple[Any, ...]:
    return (f"{who}@example.com", f"v{number}", "branch_visit", at, branch, 20)


async def _ready(world: World, *names: str) -> None:
    world.configure(activities__since="2026-01-01")
    await _set_up(world)
    await world.linked(*names)


async def _set_up(world: World) -> None:
    """For real: what is put there as another world made it may have ids that this one gives again."""
    await setup.complete(world.bridge.onvoard, world.bridge.settings)
    await setup.refresh_mirror(world.bridge)


async def test_activities_are_made_once_with_their_own_time_and_schema(both: World) -> None:
    await _ready(both, "ann", "bob")
    old = _visit("ann", 0, "2025-12-31T23:59:59Z")
    _load(both, _values(old, _visit("ann", 1), _visit("bob", 2, branch=None), columns=VISITS), Target.ACTIVITIES,
          Key.EMAIL)  # fmt: skip
    report = await both.sync()
    assert not report.needs_person, both.rows("SELECT last_error, payload FROM outbox WHERE status = 'dead'")
    made = {each["contact"]["email"]: each for each in both.ov.activity_list(type="custom.branch_visit")}
    assert set(made) == {"ann@example.com", "bob@example.com"}
    ann = made["ann@example.com"]
    assert ann["datetime"].startswith("2026-02-03T10:00:00")
    assert ann["record_data"]["branch"] == "Oak St" and ann["record_data"]["minutes"] == 20.0
    [kind] = [each for each in both.ov.activity_types.values()
              if both.ov.resources[each.resource_id].accessor == "custom.branch_visit"]  # fmt: skip
    assert kind.descriptor_template == "Branch: {{ branch }}, Minutes: {{ minutes }}"
    assert _rows(both)["v0"] == ("skipped", "older than BRIDGE_ACTIVITIES__SINCE")
    await both.quiet()
    _load(both, _values(_visit("ann", 1, branch="Elm St"), _visit("bob", 2), columns=VISITS), Target.ACTIVITIES,
          Key.EMAIL)  # fmt: skip
    mark = both.mark()
    await both.sync()
    assert both.writes(mark) == [], "what has been said cannot be said otherwise"
    assert _rows(both)["v1"][0] == "done"
    with both.db.begin() as conn:
        conn.exec_driver_sql("DELETE FROM loader_rows")
        conn.exec_driver_sql("DELETE FROM outbox WHERE cause IS NOT NULL")
    await both.sync()
    assert both.writes(mark) == [], "nor by a mirror that has forgotten"


@pytest.mark.parametrize("fault", ["reset_after", "reset_before"])
async def test_an_activity_whose_answer_is_lost_is_made_once(world: World, fault: str) -> None:
    await _ready(world, "ann")
    _load(world, _values(_visit("ann", 1), columns=VISITS), Target.ACTIVITIES, Key.EMAIL)
    world.sandbox.fail("onvoard", fault, method="POST", path="/v2/contact-activities")
    with contextlib.suppress(PlatformError):
        await world.sync()
    await world.sync()
    assert len(world.ov.activity_list(type="custom.branch_visit")) == 1 and _rows(world)["v1"][0] == "done"
    await world.quiet()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({3: "yesterday"}, "occurred_at is not a time"), ({2: "Branch visit"}, "type is no key"),
        ({2: "digital_onboarding_contact_added"}, "one of the bridge's own"), ({1: None}, "a row has no id"),
        ({5: "many"}, "minutes is sometimes"),
    ],
)  # fmt: skip
async def test_an_activity_that_cannot_be_stops_its_loader(world: World, changed: dict[int, Any], why: str) -> None:
    await _ready(world, "ann")
    row = [changed.get(place, value) for place, value in enumerate(_visit("ann", 1))]
    _load(world, _values(_visit("ann", 2), tuple(row), columns=VISITS), Target.ACTIVITIES, Key.EMAIL)
    mark = world.mark()
    assert why in (await world.sync()).stopped["figures"] and world.writes(mark) == []


async def test_objectives_are_completed_once_and_unknown_ones_are_dead_letters(world: World) -> None:
    await world.setup()
    await world.linked("ann", "bob")
    world.do.complete_objective("crm-bob", "estatements")
    rows = [("crm-ann", "estatements"), ("crm-bob", "estatements"), ("crm-ann", "Estatements"), ("crm-ann", "flying")]
    columns = "unique_id, objective, completed_at"
    _load(world, _values(*((*row, "2026-01-05T09:30:00Z") for row in rows), columns=columns), Target.OBJECTIVES,
          Key.UNIQUE_ID)  # fmt: skip
    await world.import_export()
    report = await world.sync()
    assert report.new_dead == 1 and report.needs_person and not report.stopped
    assert world.do.completions_of("crm-ann") == {"estatements": "2026-01-05T09:30:00.000000Z"}
    told = {key.replace("\x1f", " "): row for key, row in _rows(world).items()}
    assert told["crm-bob estatements"] == ("skipped", "completed already")
    same = {told["crm-ann Estatements"], told["crm-ann estatements"]}  # by its name, and by its key
    assert same == {("done", None), ("skipped", "completed already")}
    assert told["crm-ann flying"] == ("dead", "Digital Onboarding has no objective flying")
    await world.quiet()
    world.do.add_objective("flying", "Flying")
    await world.sync()
    with world.db.begin() as conn:
        outbox.retry(conn, [row["id"] for row in world.rows("SELECT id FROM outbox WHERE status = 'dead'")],
                     world.clock.now())  # fmt: skip
    await world.sync()
    assert "flying" in world.do.completions_of("crm-ann")
    await world.quiet()


async def test_journeys_are_started_once_by_name_or_id_and_for_nobody_who_opted_out(world: World) -> None:
    await world.setup()
    await world.linked("ann", "bob", "cid")
    world.do.unsubscribe("crm-cid")
    template = world.do.add_template("Thank you")
    rows = [("crm-ann", "Thank you"), ("crm-bob", template), ("crm-bob", "Thank you"), ("crm-cid", template)]
    _load(world, _values(*rows, columns="unique_id, template"), Target.JOURNEYS, Key.UNIQUE_ID)
    report = await world.sync()
    assert not report.needs_person
    assert [len(world.do.journeys_of(f"crm-{who}")) for who in ("ann", "bob", "cid")] == [1, 1, 0]
    told = {key.partition("\x1f")[0]: row for key, row in _rows(world).items()}
    assert told["crm-cid"] == ("skipped", "opted out of e-mail")
    await world.quiet()
    _load(world, _values(*rows, columns="unique_id, template"), Target.JOURNEYS, Key.UNIQUE_ID, name="others")
    await world.quiet()  # once per person and template, whoever asks
    _load(world, _values(("crm-ann", "Gone"), columns="unique_id, template"), Target.JOURNEYS, Key.UNIQUE_ID)
    assert (await world.sync()).new_dead == 1


async def test_who_is_in_a_conflict_waits_and_everybody_else_goes_on(both: World) -> None:
    await both.linked("ann", "bob")
    both.do.edit_contact("crm-ann", email="bob@example.com")  # an edit that would merge them
    both.ov.add_contact("cid@example.com", name="Cid")
    both.do.add_contact(unique_id="crm-cid", email="cid@example.com")
    await both.import_export()
    await both.sync()
    frozen = both.rows("SELECT unique_id FROM persons WHERE conflict_id IS NOT NULL ORDER BY unique_id")
    assert [row["unique_id"] for row in frozen] == ["crm-ann", "crm-bob"]
    _load(both, _values(("crm-ann", 1), ("crm-cid", 3), columns=COUNTS), key=Key.UNIQUE_ID)
    await both.sync()
    assert _meta(both, "crm-ann") == {} and _meta(both, "crm-cid") == {"review_count": 3}
    assert _rows(both)["crm-ann"][0] == "due" and "waits for conflict" in (_rows(both)["crm-ann"][1] or "")
    await both.quiet()
    both.do.edit_contact("crm-ann", email="ann@example.com")
    await both.sync()
    assert _meta(both, "crm-ann") == {"review_count": 1}
    await both.quiet()


async def test_who_is_unknown_or_not_linked_waits_for_it(world: World) -> None:
    await world.linked("ann")
    _load(world, _values(("new@example.com", 1), ("ann@example.com", 2), columns="email, review_count"), key=Key.EMAIL)
    await world.sync()
    assert _rows(world)["new@example.com"] == ("due", "waits: nobody has this email")
    world.ov.add_contact("new@example.com", name="New")
    await world.sync()
    assert _meta(world, "new@example.com") == {"review_count": 1}, "made in the same sync"
    await world.quiet()


async def test_a_suppressed_person_gets_nothing_and_leaves_the_loaders_rows(world: World) -> None:
    await world.linked("ann", "bob")
    sql = _values(("ann@example.com", 1, "see ann@example.com"), ("bob@example.com", 2, "x"),
                  columns="email, review_count, vip")  # fmt: skip
    _load(world, sql, key=Key.EMAIL)
    await world.sync()
    assert set(_rows(world)) == {"ann@example.com", "bob@example.com"}
    world.ov.suppress("ann@example.com")
    await world.sync()
    assert set(_rows(world)) == {"bob@example.com"}
    mark = world.mark()
    await world.sync()
    assert world.writes(mark) == [] and set(_rows(world)) == {"bob@example.com"}, "nor is anything of them kept again"
    assert "ann@example.com" not in world.mirror_text()


async def test_nor_does_a_key_that_is_no_address_stay(world: World) -> None:
    await world.linked("ann")
    _load(world, _values(("crm-ann", 1), columns=COUNTS), key=Key.UNIQUE_ID)
    await world.sync()
    assert set(_rows(world)) == {"crm-ann"}
    world.ov.suppress("ann@example.com")
    world.bridge = replace(world.bridge, loaders=())
    await world.sync()
    assert _rows(world) == {}


async def test_who_was_deleted_on_onvoard_is_skipped(world: World) -> None:
    await world.linked("ann")
    world.ov.delete_contact("ann@example.com")
    await world.sync()
    _load(world, _values(("crm-ann", 1), columns="unique_id, level"), Target.CONTACT_PROPERTIES, Key.UNIQUE_ID)
    mark = world.mark()
    await world.sync()
    assert world.writes(mark) == [] and _rows(world)["crm-ann"] == ("skipped", "deleted on OnVoard")


async def test_a_newer_value_replaces_one_that_still_waits(both: World) -> None:
    await both.linked("ann")
    both.sandbox.fail("digital_onboarding", "rate_limit", method="POST", path="/v1/contacts",
                      body_contains="review_count", times=None)  # fmt: skip
    for number in (1, 2, 3):
        _load(both, _values(("crm-ann", number), columns=COUNTS), key=Key.UNIQUE_ID)
        with pytest.raises(PlatformError):
            await both.sync()
    both.sandbox.clear_faults()
    mark = both.mark()
    await both.sync()
    said = [m["meta_public"] for entry in both.writes(mark) for m in members(entry)]
    assert said == [{"review_count": 3}] and _meta(both, "crm-ann") == {"review_count": 3}
    await both.quiet()


async def test_a_loader_that_is_read_seldom(world: World) -> None:
    await world.linked("ann")
    often = {"key": Key.UNIQUE_ID, "schedule": timedelta(hours=1)}
    _load(world, _values(("crm-ann", 1), columns=COUNTS), **often)
    await world.sync()
    _load(world, _values(("crm-ann", 2), columns=COUNTS), **often)
    await world.sync()
    assert _meta(world, "crm-ann") == {"review_count": 1}
    world.clock.advance(3600)
    await world.sync()
    assert _meta(world, "crm-ann") == {"review_count": 2}


async def test_one_that_is_switched_off_says_nothing_more(world: World) -> None:
    await world.linked("ann", "bob")
    loader = _load(world, _values(("crm-ann", 1), columns=COUNTS), key=Key.UNIQUE_ID)
    world.sandbox.fail("digital_onboarding", "rate_limit", method="POST", path="/v1/contacts",
                       body_contains="review_count", times=None)  # fmt: skip
    with pytest.raises(PlatformError):
        await world.sync()
    world.sandbox.clear_faults()
    world.bridge = replace(world.bridge, loaders=(replace(loader, enabled=False),))
    await world.quiet()
    world.bridge = replace(world.bridge, loaders=(loader,))
    await world.sync()
    assert _meta(world, "crm-ann") == {"review_count": 1}


@pytest.mark.parametrize("dies_at", range(1, 30, 4))
@pytest.mark.parametrize("after_commit", [False, True])
async def test_killed_anywhere_the_next_sync_makes_it_good(world: World, dies_at: int, after_commit: bool) -> None:
    await _ready(world, "ann", "bob")
    visits = _values(_visit("ann", 1), _visit("bob", 2), columns=VISITS)
    _load(world, _values(("crm-ann", 1), ("crm-bob", 2), columns=COUNTS), key=Key.UNIQUE_ID)
    figures = world.bridge.loaders[0]
    _load(world, visits, Target.ACTIVITIES, Key.EMAIL, name="visits")
    alive = replace(world.bridge, loaders=(figures, *world.bridge.loaders))
    before = world.value("SELECT count(*) FROM runs")
    world.bridge = replace(alive, db=MortalDatabase(alive.db, 50 + dies_at, after_commit=after_commit))
    with contextlib.suppress(Killed):
        await world.sync()
    world.bridge = alive
    await world.sync()
    await world.sync()
    assert (_meta(world, "crm-ann"), _meta(world, "crm-bob")) == ({"review_count": 1}, {"review_count": 2})
    assert len(world.ov.activity_list(type="custom.branch_visit")) == 2
    assert world.value("SELECT count(*) FROM runs") > before
    await world.quiet()


async def test_the_worked_examples_do_what_they_say(world: World) -> None:
    await _ready(world, "ann", "bob")
    examples = resources.config_dir() / "examples" / "loaders"
    world.configure(paths__loaders=str(examples))
    loaders = read_loaders(world.bridge.settings)
    world.bridge = replace(world.bridge, loaders=loaders, rules=Ruleset(meta_public=ALLOWED))
    for rating in (5, 4, 4):
        world.ov.add_review("ann@example.com", rating, "Fine", entity="SITE")
    for key in ("estatements", "online-banking", "mobile-banking"):
        world.do.complete_objective("crm-ann", key)
    await world.import_export()
    report = await world.sync()
    assert not report.needs_person
    assert _meta(world, "crm-ann") == {"review_count": 3, "average_rating": 4.3}
    shown = {who: world.ov.contact(f"{who}@example.com")["properties"] for who in ("ann", "bob")}
    assert [each["custom_onboarding_state"] for each in shown.values()] == ["objective completed", "invited"]
    assert shown["ann"]["custom_objectives_completed"] == 3.0
    [told] = world.ov.activity_list(type="custom.onboarding_finished")
    assert told["contact"]["email"] == "ann@example.com" and told["record_data"]["objectives"] == 3.0
    await world.quiet()


async def test_what_an_unlinking_calls_back_is_said_when_it_may_be(world: World) -> None:
    await world.linked("ann", "bob")
    _load(world, _values(("crm-ann", 1), columns=COUNTS), key=Key.UNIQUE_ID)
    world.sandbox.fail("digital_onboarding", "rate_limit", method="POST", path="/v1/contacts",
                       body_contains="review_count", times=None)  # fmt: skip
    with pytest.raises(PlatformError):
        await world.sync()
    with world.db.begin() as conn:
        conn.exec_driver_sql("UPDATE outbox SET status = 'cancelled' WHERE cause IS NOT NULL")
    world.sandbox.clear_faults()
    await world.sync()
    assert _meta(world, "crm-ann") == {"review_count": 1} and _rows(world)["crm-ann"] == ("done", None)
    await world.quiet()


async def test_what_a_person_discards_is_not_said_again(world: World) -> None:
    await world.linked("ann")
    _load(world, _values(("crm-ann", "flying", "2026-01-05"), columns="unique_id, objective, completed_at"),
          Target.OBJECTIVES, Key.UNIQUE_ID)  # fmt: skip
    assert (await world.sync()).new_dead == 1
    with world.db.begin() as conn:
        outbox.discard(conn, [row["id"] for row in world.rows("SELECT id FROM outbox WHERE status = 'dead'")],
                       world.clock.now())  # fmt: skip
    assert (await world.sync()).new_dead == 0
    await world.quiet()


async def test_several_people_with_one_address_wait(world: World) -> None:
    await world.linked("ann")
    world.do.add_contact(unique_id="crm-ann-too", email="ann@example.com", name_first="Ann")
    await world.import_export()
    await world.sync()
    _load(world, _values(("ann@example.com", 1), columns="email, review_count"), key=Key.EMAIL)
    mark = world.mark()
    await world.sync()
    assert world.writes(mark) == [] and _rows(world)["ann@example.com"] == ("due", "waits: 2 people have this email")


async def test_another_contact_of_the_same_person_gets_what_the_first_one_had(both: World) -> None:
    await both.linked("ann")
    both.do.add_contact(unique_id="crm-other", name_first="Other")
    await both.import_export()
    _load(both, "SELECT 'ann@example.com' AS email, 3 AS review_count", key=Key.EMAIL)
    await both.sync()
    assert _meta(both, "crm-ann") == {"review_count": 3}
    (ann,) = both.rows("SELECT person_id, onvoard_contact_id FROM people WHERE unique_id = 'crm-ann'")
    with both.db.begin() as conn:
        relinking.cut(conn, ann["person_id"], ann["onvoard_contact_id"], "crm-ann", "told apart", both.clock.now())
        relinking.join(conn, ann["onvoard_contact_id"], "crm-other", "is", both.clock.now())
    both.do.edit_contact("crm-ann", email="")  # or nobody could tell whom the address means
    await both.sync()
    assert _meta(both, "crm-other") == {"review_count": 3}
    await both.quiet()
