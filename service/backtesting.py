"""What rules would have done, shown by the mirror's own past; nothing is pushed, and nothing recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from service.core.consent import opted_out_anywhere
from service.core.rules import ActivityOf, Rule, StartJourney, may_fire
from service.store import firing_reports, firings
from service.store.database import Connection


@dataclass(frozen=True, slots=True)
class Touch:
    """`at` is None where only the present is known. `but`: why nothing would have been asked for, "" where it would."""

    rule: str
    person_id: int
    email: str | None
    unique_id: str | None
    at: datetime | None
    but: str = ""


def backtest(conn: Connection, rules: Iterable[Rule], since: datetime | None) -> Iterator[Touch]:
    """Whom each rule would have touched since then, oldest first; as if it had not fired before, and as people are
    today. Of what has no time of its own the mirror knows only for whom it holds now."""
    for rule in rules:
        fired: dict[int, list[datetime]] = {}
        types = rule.when.types if isinstance(rule.when, ActivityOf) else ()
        for row in firing_reports.past(conn, rule.when.source, None if rule.lasts else since, types):
            if row.get("deleted_at") is not None or not rule.when.holds(row):
                continue
            at = None if rule.lasts else row["at"]
            earlier = fired.setdefault(row["person_id"], [])
            if at is not None and not may_fire(rule, at, earlier):
                continue
            earlier += [at] if at is not None else []
            yield Touch(rule.name, row["person_id"], row["email"], row["unique_id"], at, _but(rule, row))


def _but(rule: Rule, row: firing_reports.Row) -> str:
    if row["state"] != "active":
        return f"{row['state']}: nothing is asked for"
    if row["onvoard_contact_id"] is None:
        return "deleted on OnVoard: nothing is asked for"
    if isinstance(rule.then, StartJourney) and opted_out_anywhere(row):
        return "opted out of e-mail: no journey"
    return "" if row["unique_id"] is not None else "not on Digital Onboarding: it would wait"


def history(conn: Connection, rules: Iterable[Rule]) -> dict[str, int]:
    """Rule -> for how many people it would fire if its history were included."""
    counts: dict[str, int] = {}
    for rule in rules:
        touched = {touch.person_id for touch in backtest(conn, [rule], rule.since) if not touch.but}
        counts[rule.name] = len(touched - firings.fired_for(conn, rule.name))
    return counts
