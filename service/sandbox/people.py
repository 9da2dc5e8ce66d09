"""A seeded world: one bank with a shop, its people on both platforms, as messy as real ones."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from service.sandbox.digital_onboarding import DigitalOnboarding
from service.sandbox.digital_onboarding import contacts as do_contacts
from service.sandbox.happenings import activities_of, reviews_of
from service.sandbox.onvoard import OnVoard
from service.sandbox.onvoard.store import PropertyType
from service.sandbox.person import Person, digital_onboarding_side, make_person, onvoard_side
from service.sandbox.places import CUSTOM_OBJECTIVES, PRODUCTS, TEMPLATES

PEOPLE = 340
LISTS = ("Newsletter", "Shop customers", "Bank customers")
# Traits and how many people have each; drawn independently, but `only_*` exclude each other.
TRAITS = {
    "other_case": 24,
    "plus_address": 18,
    "other_unique_id": 60,
    "unique_id_is_email": 5,
    "differs": 40,
    "sloppy": 45,
    "odd_phone": 30,
    "no_phone": 40,
    "opted_out_onvoard": 12,
    "opted_out_digital_onboarding": 12,
    "opted_out_sms": 10,
    "spam": 3,
    "hard_bounced": 3,
    "suppressed": 7,
    "duplicate": 5,
    "not_exported": 8,
    "loyal": 50,
}
ONLY_ONVOARD, ONLY_DIGITAL_ONBOARDING, NO_EMAIL = 80, 60, 16


@dataclass
class World:
    """Plain data.

    `onvoard`: contacts as `{"fields", "email", "lists", "created", "modified", "suppressed", "spam", "hard_bounced"}`;
    `digital_onboarding`: as `{"fields", "inserted", "updated", "exported", "completions", "template"}`.
    """

    seed: int
    now: datetime
    people: list[Person] = field(default_factory=list)
    onvoard: list[dict[str, Any]] = field(default_factory=list)
    digital_onboarding: list[dict[str, Any]] = field(default_factory=list)
    reviews: list[dict[str, Any]] = field(default_factory=list)
    activities: list[dict[str, Any]] = field(default_factory=list)


def build_world(seed: int, now: datetime) -> World:
    """The same world for the same seed and `now` (aware): 340 people, 200 reviews, 1,000 activities."""
    dice = random.Random(seed)
    world = World(seed, now)
    traits = _cast(dice)
    for number in range(PEOPLE):
        person = make_person(dice, number, {name for name, members in traits.items() if number in members})
        world.people.append(person)
        if "only_digital_onboarding" not in person.traits:
            world.onvoard.append(onvoard_side(dice, person, now))
        if "only_onvoard" not in person.traits:
            world.digital_onboarding.extend(digital_onboarding_side(dice, person, now))
    world.onvoard.sort(key=lambda each: each["created"])
    world.digital_onboarding.sort(key=lambda each: each["inserted"])
    active = [each for each in world.onvoard if not each["suppressed"]]
    world.activities = activities_of(dice, active, now)
    world.reviews = reviews_of(dice, active, now)
    return world


def _cast(dice: random.Random) -> dict[str, set[int]]:
    """Who has which trait: exact numbers, whatever the seed."""
    order = dice.sample(range(PEOPLE), PEOPLE)
    first, second = ONLY_ONVOARD, ONLY_ONVOARD + ONLY_DIGITAL_ONBOARDING
    cast = {
        "only_onvoard": set(order[:first]),
        "only_digital_onboarding": set(order[first:second]),
        "no_email": set(order[second - NO_EMAIL : second]),
    }
    both = order[second:]
    # These make sense for people on both sides only, and must not meet in one person.
    alone = ("unique_id_is_email", "duplicate", "not_exported", "suppressed", "spam", "hard_bounced")
    rest = dice.sample(both, len(both))
    for name in alone:
        cast[name], rest = set(rest[: TRAITS[name]]), rest[TRAITS[name] :]
    for name in TRAITS.keys() - set(alone):
        cast[name] = set()
    for name, count in TRAITS.items():
        if name not in alone:
            cast[name] = set(dice.sample(rest + order[:first] if name == "plus_address" else rest, count))
    return cast


def load_world(world: World, onvoard: OnVoard, digital_onboarding: DigitalOnboarding) -> None:
    """Put the world into both accounts, times and all. Fires no webhooks: there are none yet."""
    with onvoard.lock:
        _load_onvoard(world, onvoard)
    with digital_onboarding.lock:
        _load_digital_onboarding(world, digital_onboarding)


def _load_onvoard(world: World, state: OnVoard) -> None:
    lists = {name: state.add_list(name) for name in LISTS}
    points = PropertyType(state.new_id(""), state.next_seq(), "custom_loyalty_points", "Loyalty Points", "NUMBER")
    state.contact_property_types[points.id] = points
    for each in world.onvoard:
        ids = [lists[name] for name in each["lists"]]
        state.add_contact(each["email"], at=each["created"], lists=ids, **each["fields"])
    for external_id, name, group in PRODUCTS:
        state.add_product(external_id, name, group)
    for activity in world.activities:
        state.add_activity(activity["email"], activity["type"], at=activity["at"], **activity["data"])
    for review in world.reviews:
        # The document's asset media carry their time under two names; so do these.
        state.settings.asset_time_key, usual = review["asset_time_key"], state.settings.asset_time_key
        state.add_review(review["email"], review["rating"], review["content"], **review["fields"])
        state.settings.asset_time_key = usual
    for each in world.onvoard:
        _finish_onvoard(state, each)


def _finish_onvoard(state: OnVoard, each: dict[str, Any]) -> None:
    contact = state.record(each["email"])
    contact.email_marked_as_spam, contact.email_hard_bounced = each["spam"], each["hard_bounced"]
    if each["suppressed"]:
        state.suppress(contact.id)
        contact.suppressed_at = each["modified"]
    contact.modified = each["modified"]


def _load_digital_onboarding(world: World, state: DigitalOnboarding) -> None:
    templates = [state.add_template(name) for name in TEMPLATES]
    for key, name in CUSTOM_OBJECTIVES:
        state.add_objective(key, name)
    for each in world.digital_onboarding:
        shown = state.add_contact(at=each["inserted"], exported=each["exported"], **each["fields"])
        contact = state.record(shown["unique_id"])
        for key, at in each["completions"].items():
            state.complete_objective(contact.unique_id, key, at)
        if each["template"] is not None:
            journey = do_contacts.add_journey(state, contact, templates[each["template"]])
            journey.started_at = each["inserted"] + timedelta(hours=1)
        contact.updated_at = each["updated"]
