"""Which template or objective of Digital Onboarding a rule means.

Templates are rows of `id` and `name`, objectives of `id`, `key` and `name`, as the mirror has them; names may be null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from service.core.nearest import did_you_mean
from service.core.rules import CompleteObjective, Rule, Ruleset, StartJourney

Row = Mapping[str, Any]

# Every account has them (the vendor's documentation), whether or not the list names them.
STANDARD_OBJECTIVES = frozenset({
    "debit-card-activation", "direct-deposit", "online-bill-pay", "online-banking", "mobile-banking", "estatements",
    "open-cross-sell-account", "corporate-card-activation", "merchant-access", "ach-payroll", "remote-deposit",
    "automate-payments",
})  # fmt: skip


class NoSuchTarget(ValueError):
    """The text says what is not there, or is there more than once, and which one is near."""


def template_id(wanted: str, templates: Iterable[Row]) -> str:
    """The id of the template with this id or name. NoSuchTarget."""
    rows = list(templates)
    if any(row["id"] == wanted for row in rows):
        return wanted
    ids: list[str] = [row["id"] for row in rows if row["name"] == wanted]
    if len(ids) > 1:
        raise NoSuchTarget(f"{len(ids)} templates are named {wanted}; write the id of one: {', '.join(sorted(ids))}")
    if not ids:
        raise _missing("template", wanted, (row[key] for row in rows for key in ("name", "id")))
    return ids[0]


def objective_key(wanted: str, objectives: Iterable[Row]) -> str:
    """The key of the objective with this key, id or name. NoSuchTarget."""
    rows = list(objectives)
    if wanted in STANDARD_OBJECTIVES or any(row["key"] == wanted for row in rows):
        return wanted
    meant = [row for row in rows if row["id"] == wanted] or [row for row in rows if row["name"] == wanted]
    if not meant:
        known = (row[key] for row in rows for key in ("key", "name", "id"))
        raise _missing("objective", wanted, (*STANDARD_OBJECTIVES, *known))
    keys: list[str] = sorted({row["key"] for row in meant if row["key"]})
    if len(keys) > 1:
        raise NoSuchTarget(f"{len(keys)} objectives are named {wanted}; write the key of one: {', '.join(keys)}")
    if not keys:
        raise NoSuchTarget(f"the objective {wanted} has no key, so nothing can complete it")
    return keys[0]


def meant(find: Callable[[str, Iterable[Row]], str], wanted: str, rows: Iterable[Row]) -> tuple[str, str | None]:
    """What the platform calls something that an operator names, and why nobody can tell; `find`: one of the above."""
    try:
        return find(wanted, rows), None
    except NoSuchTarget as error:
        return wanted, str(error)


def _missing(kind: str, wanted: str, known: Iterable[str | None]) -> NoSuchTarget:
    return NoSuchTarget(f"Digital Onboarding has no {kind} {wanted}{did_you_mean(wanted, filter(None, known))}")


def unknown_targets(ruleset: Ruleset, templates: Iterable[Row], objectives: Iterable[Row]) -> list[str]:
    """What the enabled rules name and Digital Onboarding has not, each with the rule."""
    there, aims = list(templates), list(objectives)

    def problem(rule: Rule) -> str:
        try:
            match rule.then:
                case StartJourney(template):
                    template_id(template, there)
                case CompleteObjective(objective):
                    objective_key(objective, aims)
        except NoSuchTarget as error:
            return f"rule {rule.name}: {error}"
        return ""

    return [found for rule in ruleset.enabled if (found := problem(rule))]
