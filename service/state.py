"""The state of the whole bridge at a glance: is it in sync and, if not, why; for the command line and the dashboard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from service import restoring
from service.errors import SettingsError
from service.loader_files import read_loaders
from service.settings import Settings
from service.store import firing_reports, freshness, jobs, loaded, reports, restoration
from service.store.database import Connection
from service.text import SIDES

HOUR = timedelta(hours=1)
EMPTIED = "contact-bridge sync --full --allow-mass-change"
RESTORED = "the mirror was restored from a backup, and is read anew by the next: contact-bridge sync"
_WELL = ("ok", "held")
_WAITING = {
    "pending": "wait to be pushed",
    "sending": "are being pushed",
    "unknown": "were sent without an answer",
    "held": "are held by the brake",
}


def gather(conn: Connection, now: datetime, settings: Settings) -> dict[str, Any]:
    """The whole report. Its keys are relied upon by scripts."""
    outbox = reports.outbox_counts(conn)
    report: dict[str, Any] = {
        "people": reports.people(conn),
        "cursors": reports.cursors(conn, now),
        "runs": reports.last_runs(conn),
        "outbox": outbox,
        "dead_letters": sum(counts.get("dead", 0) for counts in outbox.values()),
        "conflicts": reports.open_conflicts(conn),
        "holds": reports.holds(conn, settings.limits.hold_opt_outs_for),
        "jobs": reports.leases(conn, now),
        "surprises": reports.surprises(conn),
        "freshness": freshness_of(conn, now, settings),
        "verifications": reports.verifications(conn),
        "rules": firing_reports.rules(conn),
        "loaders": loaders_of(conn, settings),
        "restored": restored(conn),
    }
    behind = restoration.is_unread(conn) or restoring.is_behind(conn, settings)
    reasons = [RESTORED] if behind else []
    reasons += [*_why_not(report, reports.unseen(conn), reports.unfinished_backfills(conn))]
    reasons += [f"the job {name} is paused: contact-bridge jobs resume {name}" for name in sorted(jobs.paused(conn))]
    return {"in_sync": not reasons, "reasons": reasons, **report}


def restored(conn: Connection) -> dict[str, Any] | None:
    """When it was noticed last that the mirror was restored from a backup, why, and whether all was read anew."""
    last = restoration.read(conn)
    return None if last is None else {"at": last.at, "why": last.why, "read_anew": not last.unread}


def loaders_of(conn: Connection, settings: Settings) -> list[dict[str, Any]]:
    """Files that cannot be read are for `check` to tell of."""
    try:
        return loaded.overview(conn, read_loaders(settings))
    except SettingsError:
        return loaded.overview(conn, ())


def freshness_of(conn: Connection, now: datetime, settings: Settings) -> dict[str, Any]:
    """How long ago what is known was read, and whether the sweep may ask often enough. Where contacts of Digital
    Onboarding are not asked about one by one, their age has no limit."""
    schedule = settings.schedule
    streams = freshness.swept(conn, now, schedule.sweep_within, schedule.sweep_after)
    requests = sum(row["requests"] for row in streams)
    if settings.digital_onboarding.refresh == "probe":
        streams += freshness.refreshed(conn, now, schedule.refresh_within, schedule.longest(schedule.refresh, now))
    needed = requests / (schedule.sweep_after / HOUR) * schedule.sweep_peak
    allowed = settings.onvoard.requests_per_second * schedule.sweep_budget * HOUR.total_seconds()
    return {
        "streams": streams,
        "sweep": {
            "requests": requests, "needed_per_hour": round(needed, 1), "allowed_per_hour": round(allowed, 1),
            "suffices": needed <= allowed,
        },
    }  # fmt: skip


def _why_not(report: Mapping[str, Any], unseen: Mapping[str, int], unfinished: Iterable[str]) -> Iterable[str]:
    if not report["cursors"] and not any(run["finished_at"] for run in report["runs"]):
        yield "nothing was pulled or synced yet"
    yield from _bad_runs(report["runs"])
    for hold in report["holds"]:
        yield f"changes to {SIDES.get(hold['platform'], hold['platform'])} are held: {hold['reason']}"
    for platform, counts in report["outbox"].items():
        for state, what in _WAITING.items():
            if counts.get(state):
                yield f"{_many(counts[state], 'push', 'pushes')} to {SIDES.get(platform, platform)} {what}"
    if report["dead_letters"]:
        yield f"{_many(report['dead_letters'], 'dead letter')}: see contact-bridge outbox list"
    if report["conflicts"]:
        yield f"{_many(report['conflicts'], 'open conflict')}: see contact-bridge conflicts list"
    for loader in report["loaders"]:
        if loader["stopped"] and loader["enabled"]:
            yield f"the loader {loader['name']} is stopped: {loader['stopped']}"
    for platform, number in unseen.items():
        if number:
            yield f"{_many(number, 'contact')} of {SIDES[platform]} changed and not yet reconciled"
    for stream in unfinished:
        yield f"the pull of {stream} was begun and is not finished"
    for row in report["freshness"]["streams"]:
        if row["late"]:
            age, limit = (timedelta(seconds=row[f"{what}_seconds"]) for what in ("age", "limit"))
            mends = "contact-bridge sync --full" if row["stream"].startswith("onvoard.") else "contact-bridge sync"
            yield f"some {row['stream']} were last read {age} ago, and the limit is {limit}: {mends}"


def _bad_runs(runs: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """The last runs that did not end well, unless a sync has gone through since. Held ones are the brake's to tell."""
    mended = max((run["id"] for run in runs if run["kind"] == "sync" and run["outcome"] in _WELL), default=0)
    for run in runs:
        if run["id"] > mended and run["outcome"] not in _WELL:
            how = "has not finished" if run["outcome"] == "running" else f"ended as {run['outcome']}"
            way_out = f"; if it is true: {EMPTIED}" if run["outcome"] == "suspiciously empty" else ""
            yield f"the last {run['kind']} {how} (run {run['id']}){way_out}"


def _many(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or one + 's'}"
