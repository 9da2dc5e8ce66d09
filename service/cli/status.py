"""`contact-bridge status`: is it in sync and, if not, why; and everything an operator looks at first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from service.cli import output
from service.cli.context import Context, pass_context
from service.cli.text import SIDES

if TYPE_CHECKING:
    from service.core.loaders import Loader
    from service.settings import Settings
    from service.store.reports import Connection

HOUR = timedelta(hours=1)
_WELL = ("ok", "held")
HELD_LINES = 20
EMPTIED = "contact-bridge sync --full --allow-mass-change"
_WAITING = {
    "pending": "wait to be pushed",
    "sending": "are being pushed",
    "unknown": "were sent without an answer",
    "held": "are held by the brake",
}


@click.command()
@output.format_option("table", "json")
@pass_context
def status(ctx: Context, output_format: str) -> None:
    """Is it in sync, and if not, why: cursors, freshness, runs, outbox, dead letters, conflicts, the brake, jobs."""
    with ctx.database().begin(write=False) as conn:
        report = gather(conn, datetime.now(UTC), ctx.settings)
    if output_format == "json":
        output.write_json(report)
    else:
        _show(report)


def gather(conn: Connection, now: datetime, settings: Settings) -> dict[str, Any]:
    """The whole report. Its keys are relied upon by scripts."""
    from service.store import firing_reports, loaded, reports

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
        "freshness": _freshness(conn, now, settings),
        "verifications": reports.verifications(conn),
        "rules": firing_reports.rules(conn),
        "loaders": loaded.overview(conn, _loaders(settings)),
    }
    reasons = [*_why_not(report, reports.unseen(conn), reports.unfinished_backfills(conn))]
    return {"in_sync": not reasons, "reasons": reasons, **report}


def _loaders(settings: Settings) -> Iterable[Loader]:
    """Files that cannot be read are for `check` to tell of."""
    from service.errors import SettingsError
    from service.loader_files import read_loaders

    try:
        return read_loaders(settings)
    except SettingsError:
        return ()


def _freshness(conn: Connection, now: datetime, settings: Settings) -> dict[str, Any]:
    """How long ago what is known was read, and whether the sweep may ask often enough. Where contacts of Digital
    Onboarding are not asked about one by one, their age has no limit."""
    from service.store import freshness

    schedule = settings.schedule
    streams = freshness.swept(conn, now, schedule.sweep_within, schedule.sweep_after)
    requests = sum(row["requests"] for row in streams)
    if settings.digital_onboarding.refresh == "probe":
        streams += freshness.refreshed(conn, now, schedule.refresh_within, schedule.refresh)
    needed = requests / (schedule.sweep_after / HOUR)
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


def _show(report: Mapping[str, Any]) -> None:
    output.write_line("In sync." if report["in_sync"] else "Not in sync:")
    for reason in report["reasons"]:
        output.write_line(f"  - {reason}")
    output.write_heading("People")
    output.write_pairs((name, number) for name, number in report["people"].items())
    _table("Cursors", report["cursors"], {"stream": "stream", "lag_seconds": "lag (s)", "updated_at": "moved"})
    _table(
        "Last runs", report["runs"],
        {"id": "run", "kind": "kind", "outcome": "outcome", "started_at": "started", "finished_at": "finished",
         "counts": "counts"},
    )  # fmt: skip
    pushes = [
        {"platform": platform, "status": state, "pushes": number}
        for platform, counts in report["outbox"].items()
        for state, number in counts.items()
    ]
    _table("Outbox", pushes, {name: name for name in ("platform", "status", "pushes")})
    _held(report["holds"])
    _fresh(report["freshness"])
    _verified(report["verifications"])
    columns = ("name", "enabled", "since", "fired", "waiting", "done", "dead", "skipped", "last_result")
    _table("Rules", report["rules"], {name: name.replace("_", " ") for name in columns})
    columns = ("name", "target", "enabled", "ran_at", "rows", "changed", "waiting", "dead", "stopped")
    _table("Loaders", report["loaders"], {name: name.replace("_at", "") for name in columns})
    _table("Jobs", report["jobs"], {"name": "job", "owner": "owner", "running": "running", "expires_at": "lease until"})
    _table(
        "Beyond the platforms' documents", report["surprises"],
        {"platform": "platform", "what": "what", "times": "times", "first_seen_at": "since"},
    )  # fmt: skip
    if report["holds"]:
        output.write_line()
        output.write_line(f"Next: contact-bridge plan, then {report['holds'][0]['release_with']}")


def _fresh(freshness: Mapping[str, Any]) -> None:
    _table(
        "Freshness", freshness["streams"],
        {"stream": "stream", "age_seconds": "age (s)", "limit_seconds": "limit (s)", "due": "due", "slices": "slices",
         "requests": "requests"},
    )  # fmt: skip
    sweep = freshness["sweep"]
    if sweep["requests"]:
        needed, allowed = (f"{sweep[f'{what}_per_hour']:.0f}" for what in ("needed", "allowed"))
        output.write_line(f"A sweep in time takes {needed} requests an hour; schedule.sweep_budget allows {allowed}.")
    if not sweep["suffices"]:
        output.write_line("That is too few: raise schedule.sweep_budget or schedule.sweep_within.")


def _verified(verifications: Iterable[Mapping[str, Any]]) -> None:
    shares = ("drift", "low", "high")
    rows = [{**row, **{name: f"{row[name]:.2%}" for name in shares}} for row in verifications]
    columns = ("stream", "at", "checked", "different", "gone", "missing", "stale", *shares)
    _table("Last verification", rows, {name: name for name in columns})


def _held(holds: Iterable[Mapping[str, Any]]) -> None:
    _table(
        "Held by the brake", holds,
        {"platform": "platform", "since": "since", "people": "people", "opt_outs": "opt-outs",
         "opt_outs_leave_at": "opt-outs leave", "reason": "reason"},
    )  # fmt: skip
    for hold in holds:
        columns = ("person_id", "email", "field", "old", "new", "why")
        title = f"Held towards {SIDES.get(hold['platform'], hold['platform'])}"
        _table(title, hold["changes"][:HELD_LINES], {name: name.replace("_id", "") for name in columns})
        if hold["left_out"] or len(hold["changes"]) > HELD_LINES:
            output.write_line("… and more: contact-bridge status --format json, or contact-bridge plan")


def _table(title: str, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Nothing at all where there is nothing to show."""
    cells = [[row[name] for name in columns] for row in rows]
    if cells:
        output.write_table(list(columns.values()), cells, title)
