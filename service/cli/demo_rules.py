"""The demo's last act: the worked examples of rules and loaders, on the people of the demo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from service.cli.demo_scene import DO, LINKED, OV, Actor, actors
from service.core.rule_words import in_words
from service.errors import BridgeError
from service.rule_fixtures import differences, path_of, read_tests
from service.store import readonly

if TYPE_CHECKING:
    from service.bridge import Bridge
    from service.core.rules import Ruleset
    from service.sandbox.server import Sandbox
    from service.store.database import Database

Row = tuple[object, ...]
TEMPLATE, OBJECTIVE = "Go Mobile", "first-shop-order"

# Linked and opted out of nothing; of whom no rule of the examples has anything to say yet.
_FREE = f"""{LINKED}
  AND NOT p.email_opted_out AND o.name <> ''
  AND coalesce(CAST(o.properties ->> 'custom_loyalty_points' AS NUMERIC), 0) < 500
  AND NOT EXISTS (SELECT 1 FROM digital_onboarding_objective_completions c
                  WHERE c.unique_id = d.unique_id AND c.objective_key = 'first-shop-order')
  AND NOT EXISTS (SELECT 1 FROM onvoard_reviews r WHERE r.reviewer_contact_id = o.id)
ORDER BY p.person_id
"""
_LED_TO = """
SELECT rule, count(*) FROM rule_firings WHERE status = 'done' GROUP BY rule ORDER BY rule
"""


@dataclass(frozen=True)
class Deed:
    """What somebody did on OnVoard, what it is to lead to over there, and whether it did."""

    who: str
    what: str
    leads_to: str
    arrived: Callable[[], bool]


def rules(ruleset: Ruleset) -> list[Row]:
    """-> (rule, when, then)"""
    return [(rule.name, in_words(rule.when), in_words(rule.then)) for rule in ruleset.rules]


def tests(ruleset: Ruleset, path: Path) -> tuple[int, int]:
    """-> (how many tests of the rules there are, how many fail)"""
    found = read_tests(path_of(path), ruleset, datetime.now(UTC))
    return len(found), sum(bool(differences(test, ruleset)) for test in found)


def loaders(bridge: Bridge) -> list[Row]:
    """-> (loader, what it feeds)"""
    return [(f"{loader.name}.sql", loader.target.value) for loader in bridge.loaders]


def fed(database: Database, both: Sandbox) -> list[Row]:
    """What the loaders have brought to both platforms. -> (where, what, people)"""
    states: dict[str, int] = {}
    for contact in both.onvoard.contact_list():
        state = contact["properties"].get("custom_onboarding_state")
        if state:
            states[state] = states.get(state, 0) + 1
    reviewed = sum("review_count" in contact["meta_public"] for contact in both.digital_onboarding.contact_list())
    rows: list[Row] = [(OV, f"onboarding_state is {state}", number) for state, number in sorted(states.items())]
    return [*rows, (DO, "meta_public has review_count and average_rating", reviewed)]


def deeds(database: Database, both: Sandbox) -> list[Deed]:
    """Three people do something in the shop."""
    ov, do = both.onvoard, both.digital_onboarding
    [template] = [key for key, name in do.templates.items() if name == TEMPLATE]
    free = [each for each in actors(database, _FREE) if template not in _started(both, each)]
    if len(free) < 3:
        raise BridgeError("these people do not have the parts of the rules", hint="another --seed")
    happy, buyer, loyal = free[:3]
    ov.add_review(happy.email, 5, "Quick, and friendly.", entity="SITE")
    ov.add_activity(buyer.onvoard_contact_id, "order_placed")
    ov.edit_contact(loyal.onvoard_contact_id, custom_loyalty_points=510)
    return [
        Deed(happy.name, "gives five stars", f"the journey {TEMPLATE}", lambda: template in _started(both, happy)),
        Deed(
            buyer.name, "orders for the first time", f"the objective {OBJECTIVE} is completed",
            lambda: OBJECTIVE in do.completions_of(buyer.unique_id),
        ),
        Deed(
            loyal.name, "has 510 loyalty points", "loyalty_tier gold in meta_public",
            lambda: do.contact(loyal.unique_id)["meta_public"].get("loyalty_tier") == "gold",
        ),
    ]  # fmt: skip


def _started(both: Sandbox, who: Actor) -> set[str]:
    return {each["template_id"] for each in both.digital_onboarding.journeys_of(who.unique_id)}


def led_to(database: Database) -> Sequence[Row]:
    """-> (rule, how often it did what it says)"""
    return readonly.query(database, _LED_TO).rows
