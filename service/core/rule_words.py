"""Conditions and actions of rules in words."""

from __future__ import annotations

import json
from datetime import timedelta

from service.core.rules import (
    ActivityOf,
    CompleteObjective,
    MemberOf,
    PropertyAt,
    ReviewWith,
    SetMetaPublic,
    StartJourney,
    Then,
    When,
)

_UNITS = (("d", 86400), ("h", 3600), ("m", 60))


def in_words(part: When | Then) -> str:
    match part:
        case ActivityOf(types):
            return f"an activity {' or '.join(sorted(types))}"
        case ReviewWith():
            return _review(part)
        case MemberOf(group, name):
            return f"a contact gets the tag {name}" if group == "tag" else f"a contact joins the {group} {name}"
        case PropertyAt():
            return _property(part)
        case CompleteObjective(objective):
            return f"complete the objective {objective}"
        case StartJourney(template):
            return f"start the journey {template}"
        case SetMetaPublic(key, value):
            return f"set meta_public {key} to {json.dumps(value, ensure_ascii=False, sort_keys=True)}"


def _review(when: ReviewWith) -> str:
    low, high = when.min_rating, when.max_rating
    if low is None or high is None:
        stars = f" with {low:g} stars or more" if low else f" with {high:g} stars or less" if high else ""
    else:
        stars = f" with {low:g} to {high:g} stars" if low < high else f" with {low:g} stars"
    entity = f" of a {when.entity}" if when.entity else ""
    return f"a {f'{when.status} ' if when.status else ''}review{entity}{stars}"


def _property(when: PropertyAt) -> str:
    if when.equals is not None:
        return f"property {when.key} becomes {json.dumps(when.equals, ensure_ascii=False)}"
    limits = [f"{word} {limit:g}" for word, limit in (("at least", when.at_least), ("at most", when.at_most))
              if limit is not None]  # fmt: skip
    return f"property {when.key} becomes {' and '.join(limits)}"


def span(value: timedelta) -> str:
    """`30d`, `12h`, `1h30m`: as the rules file may say it."""
    left, parts = value.total_seconds(), []
    for unit, seconds in _UNITS:
        whole, left = divmod(left, seconds)
        parts += [f"{whole:.0f}{unit}"] if whole else []
    return "".join([*parts, *([f"{left:g}s"] if left else [])])
