"""The state of the whole bridge at a glance, for the command line and the dashboard: is it in sync and, if not, why and
since when; what is it doing, how much is left, and what needs a person."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from service import marks, outlook, reasons
from service.errors import SettingsError
from service.loader_files import read_loaders
from service.reasons import Reason
from service.settings import Settings
from service.store import firing_reports, freshness, health, jobs, loaded, reports, restoration
from service.store.database import Connection

HOUR = timedelta(hours=1)
RESTORED = "the mirror was restored from a backup, and is read anew by the next: contact-bridge sync"
_OF_PROGRESS = ("progress", "told_at")


def gather(conn: Connection, now: datetime, settings: Settings) -> dict[str, Any]:
    """The whole report. Its keys are relied upon by scripts."""
    pushes, runs = health.pushes(conn), reports.last_runs(conn)
    outbox = reports.outbox_counts(pushes)
    waiting = [row for row in pushes if row["status"] in health.WAITING]
    at_work = outlook.doing(runs, now)
    report: dict[str, Any] = {
        "people": reports.people(conn),
        "cursors": reports.cursors(conn, now),
        "runs": runs,
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
        "doing": at_work,
        "left": outlook.left(conn, waiting, at_work, now, settings),
        "streams": health.streams(conn),
        "last_run": health.last_run(conn),
        "last_change": health.last_change(conn),
    }
    why = [*_restored(conn, settings), *reasons.why_not(conn, report, waiting, now), *_paused(conn)]
    report["needs_person"] = outlook.needs_person(conn, report, waiting)
    report["runs"] = [{name: row[name] for name in row if name not in _OF_PROGRESS} for row in runs]
    told = [{"reason": each.text, "since": each.since} for each in why]
    return {"in_sync": not why, "reasons": [each.text for each in why], **report, "why": told}


def lasts(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The last run and, where that is another one, the last that carried anything over; each with its title."""
    last, change = report["last_run"], report["last_change"]
    found = [("The last run", last)] if last else []
    if change and (not last or change["id"] != last["id"]):
        found.append(("The last run that changed something", change))
    return found


def _paused(conn: Connection) -> list[Reason]:
    paused = sorted(jobs.paused(conn).items())
    return [Reason(f"the job {name} is paused: contact-bridge jobs resume {name}", since) for name, since in paused]


def _restored(conn: Connection, settings: Settings) -> list[Reason]:
    last = restoration.read(conn)
    if last is not None and last.unread:
        return [Reason(RESTORED, last.at)]
    return [Reason(RESTORED, None)] if marks.is_behind(conn, settings) else []


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
