"""Rules: an activity, a review, a tag or a property on OnVoard asks for something on Digital Onboarding, once."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service import backtesting
from service.core.rules import (
    ActivityOf,
    CompleteObjective,
    Group,
    MemberOf,
    PropertyAt,
    ReviewWith,
    Rule,
    Ruleset,
    SetMetaPublic,
    StartJourney,
    Then,
)
from service.core.windows import EPOCH
from service.decide import examining
from service.errors import PlatformError
from service.store import firing_reports
from tests.cycle.world import World

ORDERED = ActivityOf(frozenset({"order_placed"}))
ORDERED_ONCE = Rule("first-order", ORDERED, CompleteObjective("online-banking"))
FIVE_STARS = ReviewWith(min_rating=5, status="PUBLISHED")
PATCH = {"method": "POST", "path": "/v1/contacts"}


def use(world: World, *rules: Rule) -> None:
    world.bridge = replace(world.bridge, rules=Ruleset(rules))


def order(world: World, who: str, at: datetime | None = None) -> datetime:
    world.clock.advance(60)
    world.ov.add_activity(f"{who}@example.com", "order_placed", at=at)
    return at or world.clock.now()


def statuses(world: World) -> list[str]:
    return [row["status"] for row in world.rows("SELECT status FROM rule_firings ORDER BY id")]


def reasons(world: World) -> list[str]:
    return [row["reason"] for row in world.rows("SELECT reason FROM rule_firings ORDER BY id")]


async def begun(world: World, *rules: Rule, people: tuple[str, ...] = ("ann", "bob")) -> str:
    """Linked people, and rules that have had their first run. -> a template's id"""
    template = world.do.add_template("Thank you")
    await world.setup()
    await world.linked(*people)
    use(world, *rules)
    await world.sync()
    return template


async def test_an_order_completes_an_objective_with_its_own_time_and_once(world: World) -> None:
    await world.setup()
    await world.linked("ann", "bob")
    use(world, ORDERED_ONCE)
    order(world, "bob")  # before the rule's first run
    await world.sync()
    at = order(world, "ann")
    order(world, "ann")
    await world.sync(full=False)
    assert world.do.completions_of("crm-bob") == {}
    ((key, told),) = world.do.completions_of("crm-ann").items()
    assert key == "online-banking" and told is not None
    assert abs(datetime.fromisoformat(told) - at) < timedelta(seconds=2)
    order(world, "ann")
    await world.sync(full=False)
    assert statuses(world) == ["done"]
    (told_back,) = world.activities("objective_completed")
    assert told_back["record_data"]["objective_key"] == "online-banking"
    await world.quiet(plain=True)


async def test_history_counts_from_the_time_that_a_rule_names(world: World) -> None:
    await world.setup()
    await world.linked("ann", "bob")
    order(world, "ann", datetime(2025, 6, 1, tzinfo=UTC))
    order(world, "bob", datetime(2024, 6, 1, tzinfo=UTC))
    await world.sync()
    use(world, replace(ORDERED_ONCE, since=datetime(2025, 1, 1, tzinfo=UTC)))
    await world.sync()
    assert set(world.do.completions_of("crm-ann")) == {"online-banking"}
    assert world.do.completions_of("crm-bob") == {}
    await world.quiet(plain=True)


async def test_history_is_included_where_a_person_asks_for_it(both: World) -> None:
    tagged = Rule("vip", MemberOf(Group.TAG, "vip"), SetMetaPublic("vip", True))
    both.ov.add_contact("ann@example.com", tags=["vip"])
    await both.setup()
    await both.linked("bob")
    order(both, "bob", datetime(2024, 6, 1, tzinfo=UTC))
    await both.sync()
    use(both, ORDERED_ONCE, tagged)
    await both.sync()
    assert statuses(both) == []
    with both.db.begin() as conn:
        for rule in (ORDERED_ONCE, tagged):
            examining.include_history(conn, rule)
    await both.sync()
    assert statuses(both) == ["done", "done"]
    assert set(both.do.completions_of("crm-bob")) == {"online-banking"}
    assert both.do.contact("ann@example.com")["meta_public"] == {"vip": True}
    await both.quiet()


async def test_a_five_star_review_starts_a_journey_once_for_a_person_and_a_template(both: World) -> None:
    template = await begun(
        both, Rule("thanks", FIVE_STARS, StartJourney("Thank you")), Rule("also", ORDERED, StartJourney("Thank you"))
    )
    both.ov.add_review("ann@example.com", 5, "good", entity="SITE")
    both.ov.add_review("ann@example.com", 5, "very good", entity="SITE")
    both.ov.add_review("bob@example.com", 4, "not bad", entity="SITE")
    both.ov.add_review("bob@example.com", 5, "hidden", entity="SITE", status="PENDING")
    order(both, "ann")
    await both.sync()
    assert [each["template_id"] for each in both.do.journeys_of("crm-ann")] == [template]
    assert both.do.journeys_of("crm-bob") == []
    assert sorted(statuses(both)) == ["done", "skipped"]
    await both.quiet()


async def test_a_review_counts_when_it_is_published(world: World) -> None:
    await begun(world, Rule("thanks", FIVE_STARS, StartJourney("Thank you")))
    review = world.ov.add_review("bob@example.com", 5, "hidden", entity="SITE", status="PENDING")
    await world.sync()
    assert world.do.journeys_of("crm-bob") == []
    world.ov.reviews[review["id"]].status = "PUBLISHED"
    await world.sync()
    assert len(world.do.journeys_of("crm-bob")) == 1


async def test_a_rule_fires_again_only_after_its_time(world: World) -> None:
    rule = Rule("again", ORDERED, StartJourney("Thank you"), again_after=timedelta(days=30))
    await begun(world, rule)
    for days, journeys in ((0, 1), (29, 1), (1, 2)):
        world.clock.advance(days * 86_400)
        order(world, "ann")
        await world.sync(full=False)
        assert len(world.do.journeys_of("crm-ann")) == journeys
    await world.quiet()


@pytest.mark.parametrize("group", [Group.TAG, Group.LIST])
async def test_joining_counts_and_not_being_there_already(both: World, group: Group) -> None:
    named = [both.ov.add_list("gold") if group is Group.LIST else "gold"]
    both.ov.add_contact("old@example.com", **{f"{group}s": named})
    await begun(both, Rule("gold", MemberOf(group, "gold"), SetMetaPublic("gold", 1)))
    assert statuses(both) == []
    both.ov.edit_contact("ann@example.com", **{f"{group}s": named})
    both.ov.edit_contact("old@example.com", city="Rome")
    await both.sync()
    assert both.do.contact("crm-ann")["meta_public"] == {"gold": 1} and statuses(both) == ["done"]
    both.ov.edit_contact("ann@example.com", **{f"{group}s": []})
    await both.sync()
    both.ov.edit_contact("ann@example.com", **{f"{group}s": named})
    await both.sync()
    assert statuses(both) == ["done"], "once for a person"
    await both.quiet()


async def test_a_property_that_passes_a_value_sets_a_key_beside_those_that_are_there(both: World) -> None:
    rule = Rule("rich", PropertyAt("custom_spent", at_least=1000), SetMetaPublic("rich", {"since": [1, "ü"]}))
    await begun(both, rule)
    await both.bridge.onvoard.contact_property_types.create(key="spent", label="Spent", value_type="NUMBER")
    both.do.edit_contact("crm-ann", meta_public={"branch": "Rome"})
    both.ov.edit_contact("ann@example.com", custom_spent=1000)
    both.ov.edit_contact("bob@example.com", custom_spent=999.5)
    await both.sync()
    both.do.edit_contact("crm-ann", meta_public={"branch": "Milan", "rich": {"since": [1, "ü"]}})
    await both.sync()
    assert both.do.contact("crm-ann")["meta_public"] == {"branch": "Milan", "rich": {"since": [1, "ü"]}}
    assert both.do.contact("crm-bob")["meta_public"] == {}
    line = both.rows("SELECT field, old_value, new_value, rule FROM changes WHERE field LIKE 'meta%'")
    assert line == [
        {"field": "meta_public.rich", "old_value": None, "new_value": '{"since": [1, "\\u00fc"]}', "rule": "rule rich"}
    ]
    await both.quiet()


async def test_the_other_keys_are_those_of_now(world: World) -> None:
    await begun(world, Rule("ordered", ORDERED, SetMetaPublic("ordered", True)))
    world.configure(schedule__refresh_within="10d")
    world.bridge = replace(world.bridge, rules=Ruleset((Rule("ordered", ORDERED, SetMetaPublic("ordered", True)),)))
    order(world, "ann")
    world.do.edit_contact("crm-ann", meta_public={"branch": "Rome"})  # nobody has asked since
    await world.sync(full=False)
    assert world.do.contact("crm-ann")["meta_public"] == {"branch": "Rome", "ordered": True}


async def test_two_keys_for_one_person_stand_side_by_side(world: World) -> None:
    await begun(
        world, Rule("one", ORDERED, SetMetaPublic("one", 1)), Rule("two", ORDERED, SetMetaPublic("two", 2)),
    )  # fmt: skip
    order(world, "ann")
    await world.sync()
    assert world.do.contact("crm-ann")["meta_public"] == {"one": 1, "two": 2}
    await world.quiet()


async def test_an_order_of_somebody_new_waits_until_they_are_linked(world: World) -> None:
    await begun(world, ORDERED_ONCE)
    world.ov.add_contact("new@example.com", name="New One")
    order(world, "new")
    await world.sync()
    assert set(world.do.completions_of("new@example.com")) == {"online-banking"}
    assert world.do.contact("new@example.com")["name_first"] == "New"
    await world.quiet()


async def test_a_conflict_holds_back_and_its_end_releases(both: World) -> None:
    await begun(both, ORDERED_ONCE)
    with both.db.begin() as conn:
        conn.exec_driver_sql("UPDATE persons SET conflict_id = 1 WHERE unique_id = 'crm-ann'")
    order(both, "ann")
    await both.sync(full=False)
    assert statuses(both) == ["due"] and reasons(both) == ["conflict 1 is open"]
    assert both.do.completions_of("crm-ann") == {}
    with both.db.begin() as conn:
        conn.exec_driver_sql("UPDATE persons SET conflict_id = NULL WHERE unique_id = 'crm-ann'")
    await both.sync(full=False)
    assert statuses(both) == ["done"] and set(both.do.completions_of("crm-ann")) == {"online-banking"}


async def test_whoever_opted_out_of_email_is_started_no_journey(world: World) -> None:
    await begun(world, Rule("thanks", ORDERED, StartJourney("Thank you")), ORDERED_ONCE)
    world.ov.unsubscribe("ann@example.com")
    order(world, "ann")
    await world.sync()
    assert world.do.journeys_of("crm-ann") == []
    assert sorted(statuses(world)) == ["done", "skipped"]
    assert set(world.do.completions_of("crm-ann")) == {"online-banking"}
    await world.quiet()


async def test_of_the_suppressed_nothing_is_said(world: World) -> None:
    await begun(world, ORDERED_ONCE)
    order(world, "ann")
    world.ov.suppress("ann@example.com")
    await world.sync()
    assert world.do.completions_of("crm-ann") == {}
    assert [s for s in statuses(world) if s != "skipped"] == []


async def test_the_brake_counts_what_rules_ask_for(world: World) -> None:
    names = tuple(f"p{number}" for number in range(6))
    await begun(world, ORDERED_ONCE, people=names)
    world.configure(limits__max_changed_count=3, limits__max_changed_share=0.1)
    use(world, ORDERED_ONCE)
    for name in names[:4]:
        order(world, name)
    report = await world.sync(full=False)
    assert report.held and not any(world.do.completions_of(f"crm-{name}") for name in names)
    report = await world.sync(full=False)
    assert report.held and statuses(world) == ["staged"] * 4
    await world.sync(full=False, allow=True)
    assert all(world.do.completions_of(f"crm-{name}") for name in names[:4])
    assert statuses(world) == ["done"] * 4
    await world.quiet()


@pytest.mark.parametrize(
    "then", [CompleteObjective("no-such"), StartJourney("no-such")], ids=["objective", "template"]
)
async def test_an_unknown_target_is_a_dead_letter_and_goes_out_once_it_is_there(both: World, then: Then) -> None:
    await begun(both, Rule("lost", ORDERED, then))
    order(both, "ann")
    report = await both.sync()
    assert report.new_dead == 1 and statuses(both) == ["dead"]
    (letter,) = both.rows("SELECT id, last_error, cause FROM outbox WHERE status = 'dead'")
    assert "no-such" in letter["last_error"] and letter["cause"] == "rule lost"
    assert (await both.sync()).new_dead == 0
    both.do.add_objective("no-such", "Found")
    both.do.add_template("no-such")
    with both.db.begin() as conn:
        from service.store import outbox

        outbox.retry(conn, [letter["id"]], both.clock.now())
    await both.sync()
    assert statuses(both) == ["done"]
    assert both.do.completions_of("crm-ann") or both.do.journeys_of("crm-ann")
    await both.quiet()


@pytest.mark.parametrize("fault", ["reset_after", "reset_before"])
@pytest.mark.parametrize(
    "then", [SetMetaPublic("ordered", True), CompleteObjective("online-banking")], ids=["meta", "objective"]
)
async def test_a_lost_answer_leads_to_nothing_twice(world: World, then: Then, fault: str) -> None:
    await begun(world, Rule("ordered", ORDERED, then))
    order(world, "ann")
    if isinstance(then, SetMetaPublic):  # the first call asks, the second one sets
        world.sandbox.fail("digital_onboarding", fault, skip=1, **PATCH)
    else:
        world.sandbox.fail("digital_onboarding", fault, **PATCH)
    with contextlib.suppress(PlatformError):
        await world.sync(full=False)
    await world.sync(full=False)
    assert statuses(world) == ["done"]
    await world.quiet()


async def test_a_rule_that_is_switched_off_sleeps_and_wakes_without_its_history(world: World) -> None:
    await begun(world, ORDERED_ONCE)
    use(world, replace(ORDERED_ONCE, enabled=False))
    await world.sync()
    order(world, "ann")
    await world.sync()
    use(world, ORDERED_ONCE)
    await world.sync()
    assert statuses(world) == []
    order(world, "ann")
    await world.sync()
    assert statuses(world) == ["done"]


async def test_without_rules_nothing_is_marked_and_with_them_nothing_stays_marked(world: World) -> None:
    marked = "SELECT count(*) FROM onvoard_activities WHERE unexamined"
    await begun(world)
    order(world, "ann")
    await world.backfill()
    await world.sync()
    assert world.value(marked) == 0
    use(world, replace(ORDERED_ONCE, since=EPOCH))
    await world.sync()
    assert world.value(marked) == 0 and statuses(world) == ["done"]


async def test_a_backtest_tells_from_the_mirror_whom_a_rule_would_have_touched(both: World) -> None:
    tagged = Rule("vip", MemberOf(Group.TAG, "vip"), SetMetaPublic("vip", True))
    monthly = replace(ORDERED_ONCE, name="monthly", again_after=timedelta(days=30))
    thanks = Rule("thanks", ORDERED, StartJourney("Thank you"))
    await begun(both)
    both.ov.edit_contact("ann@example.com", tags=["vip"])
    both.ov.unsubscribe("bob@example.com")
    at = datetime(2025, 3, 1, tzinfo=UTC)
    for who, days in (("ann", 0), ("ann", 20), ("ann", 40), ("bob", 5), ("ann", -400)):
        order(both, who, at + timedelta(days=days))
    await both.sync()
    mark = both.mark()
    with both.db.begin(write=False) as conn:
        rules = [ORDERED_ONCE, monthly, thanks, tagged]
        told = list(backtesting.backtest(conn, rules, datetime(2025, 1, 1, tzinfo=UTC)))
        counts = backtesting.history(conn, [ORDERED_ONCE, thanks, tagged])
    by_rule = [(each.rule, each.email, each.at and (each.at - at).days, each.but) for each in told]
    assert by_rule == [
        ("first-order", "ann@example.com", 0, ""), ("first-order", "bob@example.com", 5, ""),
        ("monthly", "ann@example.com", 0, ""), ("monthly", "bob@example.com", 5, ""),
        ("monthly", "ann@example.com", 40, ""),
        ("thanks", "ann@example.com", 0, ""), ("thanks", "bob@example.com", 5, "opted out of e-mail: no journey"),
        ("vip", "ann@example.com", None, ""),
    ]  # fmt: skip
    assert counts == {"first-order": 2, "thanks": 1, "vip": 1}
    assert both.journal.entries(mark) == [] and statuses(both) == []


async def test_what_rules_led_to_is_told_by_rule_and_by_person(both: World) -> None:
    await begun(both, ORDERED_ONCE, Rule("thanks", ORDERED, StartJourney("Thank you")))
    both.ov.unsubscribe("ann@example.com")
    order(both, "ann")
    await both.sync()
    person_id = both.value("SELECT person_id FROM people WHERE unique_id = 'crm-ann'")
    with both.db.begin(write=False) as conn:
        told = {row["name"]: row for row in firing_reports.rules(conn)}
        theirs = {row["rule"]: row["status"] for row in firing_reports.of_person(conn, person_id)}
    assert theirs == {"first-order": "done", "thanks": "skipped"}
    assert [told["first-order"][key] for key in ("enabled", "fired", "done", "waiting", "dead")] == [True, 1, 1, 0, 0]
    assert told["thanks"]["last_result"] == "skipped: opted out of e-mail: no journey is started"


async def test_a_time_that_the_file_moves_is_the_one_that_counts(world: World) -> None:
    other = Rule("other", ORDERED, SetMetaPublic("ordered", True), EPOCH)  # looks at every order
    await world.setup()
    await world.linked("ann", "bob")
    order(world, "ann", datetime(2025, 3, 1, tzinfo=UTC))
    await world.sync()
    for since in (datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC)):
        use(world, replace(ORDERED_ONCE, since=since), other)
        await world.sync()
    order(world, "bob", datetime(2025, 6, 15, tzinfo=UTC))
    await world.sync()
    assert world.rows("SELECT 1 FROM rule_firings WHERE rule = 'first-order'") == [], "before the later of the two"
    use(world, replace(ORDERED_ONCE, since=datetime(2025, 1, 1, tzinfo=UTC)), other)
    await world.sync()
    assert statuses(world) == ["done"] * 4
    await world.quiet()


async def test_true_is_not_one(world: World) -> None:
    await begun(world, Rule("ordered", ORDERED, SetMetaPublic("ordered", True)))
    world.do.edit_contact("crm-ann", meta_public={"ordered": 1})
    order(world, "ann")
    await world.sync()
    assert world.do.contact("crm-ann")["meta_public"]["ordered"] is True


@pytest.mark.parametrize("ahead", [-1, 1])
async def test_a_rule_begins_by_the_platforms_clock(world: World, ahead: int) -> None:
    await world.setup()
    await world.linked("ann", "bob")
    world.use_clock(lambda: world.clock.now() + timedelta(hours=ahead))  # this machine's
    order(world, "ann")
    world.clock.advance(60)
    use(world, ORDERED_ONCE)
    await world.sync()
    order(world, "bob")
    await world.sync()
    assert world.do.completions_of("crm-ann") == {}
    assert set(world.do.completions_of("crm-bob")) == {"online-banking"}
