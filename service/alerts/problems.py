"""What is wrong, as somebody on call needs to know it: in our own words, with counts and numbers, and nobody's data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from service import state
from service.jobs import JOBS
from service.reasons import EMPTIED, bad_runs, many
from service.settings import Settings
from service.store import health, reports
from service.store.database import Connection
from service.text import SIDES

WATCHED = frozenset({"sync", *(job.name for job in JOBS)})
"""Kinds of runs that nobody sits in front of."""
_NEVER_MIND = ("running", "interrupted")


@dataclass(frozen=True, slots=True)
class Problem:
    """`key` is the same for as long as it lasts. `urgent`: whoever is on call is told at once. `next`: what to type."""

    key: str
    what: str
    since: datetime
    next: str
    urgent: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)


def found(
    conn: Connection, settings: Settings, now: datetime, silent: Mapping[str, datetime | None]
) -> list[Problem]:
    """`silent`: since when a platform has not answered this process. Conflicts are no problem: they are to be decided
    some day, and nothing else waits for it."""
    problems = [*_runs(conn), *_held(conn, settings), *_late(conn, settings, now), *_dead(conn)]
    problems += _loaders(conn, settings)
    for platform, since in silent.items():
        if since is not None:
            what = f"{SIDES[platform]} does not answer"
            problems.append(Problem(f"away:{platform}", what, since, "contact-bridge check"))
    return problems


def _runs(conn: Connection) -> Iterable[Problem]:
    denied: dict[str, Problem] = {}
    for run in bad_runs(reports.last_runs(conn)):
        kind, outcome, counts = run["kind"], run["outcome"], run["counts"] or {}
        if kind not in WATCHED or outcome in _NEVER_MIND:
            continue
        since = health.failing_since(conn, kind) or run["finished_at"]
        details = {"run_id": run["id"], "kind": kind, "outcome": outcome, "streams": counts.get("failed") or {}}
        if outcome == "denied":
            platform = counts.get("denied_by", "")
            if platform not in denied or since < denied[platform].since:
                what = f"{SIDES.get(platform, 'a platform')} denies us: wrong credentials, or a right that is missing"
                check = "contact-bridge check"
                denied[platform] = Problem(f"denied:{platform}", what, since, check, urgent=True, details=details)
            continue
        what = f"{kind} does not get through: its last run ended as {outcome}"
        command = EMPTIED if outcome == "suspiciously empty" else "contact-bridge status"
        yield Problem(f"run:{kind}", what, since, command, details=details)
    yield from denied.values()


def _held(conn: Connection, settings: Settings) -> Iterable[Problem]:
    """Opt-outs that are held are to be known at once (contract section 5)."""
    for hold in reports.holds(conn, settings.limits.hold_opt_outs_for):
        side = SIDES.get(hold["platform"], hold["platform"])
        details = {"people": hold["people"], "opt_outs": hold["opt_outs"], "run_id": hold["run_id"]}
        if hold["opt_outs_leave_at"] is not None:
            details["opt_outs_leave_at"] = hold["opt_outs_leave_at"]
        what = f"the brake holds changes of {hold['people']} people towards {side}"
        command = f"contact-bridge plan, then {hold['release_with']}"
        urgent = hold["opt_outs"] > 0
        yield Problem(f"held:{hold['platform']}", what, hold["since"], command, urgent=urgent, details=details)
        if urgent:  # a problem of its own: opt-outs may join what was held, and told, before
            text = f"the brake holds {many(hold['opt_outs'], 'opt-out')} towards {side}"
            key = f"held_opt_outs:{hold['platform']}"
            yield Problem(key, text, hold["since"], command, urgent=True, details=details)


def _late(conn: Connection, settings: Settings, now: datetime) -> Iterable[Problem]:
    for row in state.freshness_of(conn, now, settings)["streams"]:
        if row["late"]:
            since = now - timedelta(seconds=row["age_seconds"] - row["limit_seconds"])
            what = f"some of {row['stream']} were not read for longer than the settings allow"
            details = {"limit_seconds": row["limit_seconds"]}
            yield Problem(f"late:{row['stream']}", what, since, "contact-bridge status", details=details)


def _dead(conn: Connection) -> Iterable[Problem]:
    waiting = health.waiting(conn)
    number = sum(row["pushes"] for row in waiting if row["status"] == "dead")
    since = health.dead_since(waiting)
    if since is not None:
        what = f"{many(number, 'dead letter')}: refused for good"
        yield Problem("dead_letters", what, since, "contact-bridge outbox list", details={"dead_letters": number})


def _loaders(conn: Connection, settings: Settings) -> Iterable[Problem]:
    for loader in state.loaders_of(conn, settings):
        if loader["stopped"] and loader["enabled"] and loader["ran_at"]:
            what = f"the loader {loader['name']} is stopped"
            yield Problem(f"loader:{loader['name']}", what, loader["ran_at"], "contact-bridge check")
