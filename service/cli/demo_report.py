"""What the mirror tells of a sync: who was linked, what was written where and why, what waits. All by `query`'s SQL."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from service.store import readonly
from service.text import SIDES

if TYPE_CHECKING:
    from service.store.database import Database

Row = tuple[Any, ...]
CREATED = "no counterpart"
_LINE = 24
"""Characters of an example."""

_HOW = {
    "email": ("email", "the same e-mail, whatever its case"),
    "unique_id": ("unique_id", "the unique_id is the other's e-mail"),
    "property": ("property", "OnVoard already names the unique_id"),
    "digital_onboarding": ("created", "was on OnVoard alone"),
    "onvoard": ("created", "was on Digital Onboarding alone"),
    "digital_onboarding_only": (None, "not linked: has no e-mail"),
    "onvoard_only": (None, "not linked: on OnVoard alone"),
    "conflict": (None, "not linked: two candidates, and nobody guesses"),
    "suppressed": (None, "suppressed on OnVoard: no personal data is kept"),
}
_WHY = {
    CREATED: "created: it was not there",
    "fills a blank": "fills a blank",
    "newer record": "two values: the newer record wins",
    "tie": "two values, equally old",
    "linked": "keeps the other side's key",
}
_CONFLICTS = {
    "ambiguous_identity": (
        "Several contacts could be this person. Nothing but opt-outs is pushed until one is left.",
        "Remove the duplicate, or give it its own e-mail; the next sync links the rest.",
    ),
    "resubscribed": (
        "Opted in again on one side. The bridge never raises consent: the other side stays opted out.",
        "If the person means it, opt them in on the other side as well.",
    ),
}

_LINKS = """
SELECT CASE WHEN p.matched_by <> 'created' THEN p.matched_by
            WHEN d.created_by_bridge THEN 'digital_onboarding'
            WHEN p.matched_by = 'created' THEN 'onvoard'
            ELSE p.status END AS how,
       o.email, COALESCE(d.email, d.name_first || ' ' || d.name_last), d.unique_id
FROM people p
LEFT JOIN onvoard_contacts o ON o.id = p.onvoard_contact_id
LEFT JOIN digital_onboarding_contacts d ON d.unique_id = p.unique_id
ORDER BY o.email = d.email, p.matched_by = 'unique_id' AND d.email = d.unique_id, length(o.email), length(d.email),
         p.person_id
"""
_FLOWS = """
SELECT c.platform, c.rule, c.person_id, c.field, c.old_value, c.new_value
FROM changes c
WHERE c.run_id = {run_id} AND c.field NOT LIKE 'custom.%' AND c.field <> 'unique_id'
ORDER BY c.id
"""
_REFUSED = """
SELECT count(*), reason, min(digital_onboarding_value) FROM conflicts
WHERE kind = 'not_transferable' GROUP BY reason ORDER BY 1 DESC
"""
_WRITTEN = """
SELECT COALESCE(NULLIF(o.name, ''), o.email), c.platform, c.field, c.old_value, c.new_value, c.rule
FROM changes c
JOIN persons p ON p.id = c.person_id AND p.state = 'active'
JOIN onvoard_contacts o ON o.id = p.onvoard_contact_id
WHERE c.run_id = {run_id} AND c.field NOT LIKE 'custom.%'
ORDER BY c.id
"""
_OPEN = "SELECT kind, count(*), min(id) FROM conflicts WHERE status = 'open' GROUP BY kind ORDER BY 2 DESC"


def links(database: Database) -> list[Row]:
    """-> (matched_by, people, what it means, an example)"""
    found: dict[str, list[Row]] = {}
    for how, *sides in readonly.query(database, _LINKS).rows:
        found.setdefault(how, []).append(tuple(sides))
    order = [*_HOW, *(how for how in found if how not in _HOW)]
    named = [(how, *_HOW.get(how, (None, how))) for how in order if how in found]
    return [(by, len(found[how]), meaning, _example(*found[how][0])) for how, by, meaning in named]


def _example(onvoard: str | None, digital: str | None, unique_id: str | None) -> str | None:
    keyed = digital if digital == unique_id else f"{digital} as {unique_id}"
    return " ↔ ".join(side for side in (onvoard, keyed if unique_id else None) if side) or None


def flows(database: Database, run_id: int) -> list[Row]:
    """What a run wrote, by platform and rule. -> (to, why, people, fields, an example)"""
    found: dict[tuple[str, str], list[Row]] = {}
    for platform, rule, *change in readonly.query(database, _FLOWS.format(run_id=run_id)).rows:
        found.setdefault((platform, rule), []).append(tuple(change))
    rows = [
        (SIDES[platform], why(rule), len({change[0] for change in changes}), len(changes), _telling(changes))
        for (platform, rule), changes in found.items()
    ]
    return sorted(rows, key=lambda row: (row[0], -row[2], row[1]))


def _telling(changes: Iterable[Row]) -> str:
    """One that replaced something, if any did, and that fits into a line."""
    _, field, old, new = min(changes, key=lambda change: (not change[2], abs(len(change[1] + change[3]) - _LINE)))
    return f"{field}: {arrow(old, new)}"


def arrow(old: str | None, new: str | None) -> str:
    return f"{old} → {new or '(blank)'}" if old else f"{new or '(blank)'}"


def why(rule: str) -> str:
    """The rule as people say it."""
    for key, name in SIDES.items():
        rule = rule if rule in _WHY else rule.replace(key, name)
    return _WHY.get(rule, rule)


def refused(database: Database) -> list[Row]:
    """Values that stay where they are. -> (how many, why, an example)"""
    return [
        (number, reason.replace("onvoard", SIDES["onvoard"]), example)
        for number, reason, example in readonly.query(database, _REFUSED).rows
    ]


def written(database: Database, run_id: int) -> tuple[list[Row], list[Row]]:
    """Each write of a run. -> (changes: who, what, old → new, why; creations: who, where, how many fields)"""
    changes: list[Row] = []
    created: dict[tuple[str, str], int] = {}
    for who, platform, field, old, new, rule in readonly.query(database, _WRITTEN.format(run_id=run_id)).rows:
        if rule == CREATED:
            created[who, SIDES[platform]] = created.get((who, SIDES[platform]), 0) + 1
        else:
            changes.append((who, f"{SIDES[platform]}: {field}", arrow(old, new), why(rule)))
    return changes, [(*key, fields) for key, fields in created.items()]


def lost(database: Database, run_id: int) -> list[str]:
    """The values that lost against a newer one in this run."""
    sql = f"SELECT onvoard_value, digital_onboarding_value, kept FROM conflicts WHERE run_id = {run_id}"
    found = readonly.query(database, f"{sql} AND kind = 'both_changed'").rows
    return [digital if kept == "onvoard" else onvoard for onvoard, digital, kept in found]


def conflicts(database: Database) -> tuple[list[Row], list[int]]:
    """What waits for a person. -> (how many, what it means, what to do), one id of each kind"""
    found = readonly.query(database, _OPEN).rows
    rows = [
        (number, *_CONFLICTS.get(kind, (kind, f"contact-bridge conflicts show {one}")))
        for kind, number, one in found
    ]
    return rows, [one for _, _, one in found]
