"""`contact-bridge status`: is it in sync and, if not, why; and everything an operator looks at first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from service.cli import output
from service.cli.context import Context, pass_context
from service.text import SIDES, duration

HELD_LINES = 20
_CAME_TO = (("read", "pulled"), ("pushed", "pushed"), ("changed", "changed"))


@click.command()
@output.format_option("table", "json")
@pass_context
def status(ctx: Context, output_format: str) -> None:
    """Is it in sync, and if not, why and since when; what is being done, how much is left, and what needs a person."""
    from service import state

    now = datetime.now(UTC)
    with ctx.database().begin(write=False) as conn:
        report = state.gather(conn, now, ctx.settings)
    if output_format == "json":
        output.write_json(report)
    else:
        _show(report, state.lasts(report), now)


def _show(report: Mapping[str, Any], lasts: Iterable[tuple[str, Mapping[str, Any]]], now: datetime) -> None:
    output.write_line("In sync." if report["in_sync"] else "Not in sync:")
    for each in report["why"]:
        output.write_line(f"  - {each['reason']}{_since(each['since'], now)}")
    _at_work(report["doing"], now)
    _left(report["left"], now)
    if report["needs_person"]:
        output.write_heading("Needs a person")
    for each in report["needs_person"]:
        output.write_line(f"  - {each['what']}{_since(each['since'], now)}: {each['command']}")
    output.write_heading("People")
    output.write_pairs((name, number) for name, number in report["people"].items())
    _table("Cursors", report["cursors"], {"stream": "stream", "lag_seconds": "lag (s)", "updated_at": "moved"})
    _table(
        "Streams", report["streams"],
        {"stream": "stream", "succeeded_at": "last read", "failing_since": "failing since", "failure": "how"},
    )  # fmt: skip
    _table(
        "Last runs", report["runs"],
        {"id": "run", "kind": "kind", "outcome": "outcome", "started_at": "started", "finished_at": "finished"},
    )
    _lasts(lasts)
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


def _since(at: datetime | None, now: datetime) -> str:
    return f" (for {duration((now - at).total_seconds())}, since {output.short(at)})" if at is not None else ""


def _at_work(runs: Iterable[Mapping[str, Any]], now: datetime) -> None:
    for number, run in enumerate(runs):
        if not number:
            output.write_heading("At work")
        done = ", ".join(f"{n} {name}" for name, n in run["done"].items() if n)
        at = f": {run['at']}" if run["at"] else ""
        so_far = f"; so far {done}" if done else ""
        output.write_line(f"  - {run['kind']}, run {run['run_id']}{_since(run['since'], now)}{at}{so_far}")


def _left(left: Mapping[str, Any], now: datetime) -> None:
    pushes = {name: name for name in ("platform", "lane", "status", "pushes", "since")}
    _table("Left to push", left["pushes"], pushes)
    shares = [f"{row['share']:.0%}" if row["share"] is not None else "" for row in left["backfills"]]
    backfills = [{**row, "share": share} for row, share in zip(left["backfills"], shares, strict=True)]
    _table("Left to pull", backfills, {"stream": "stream", "left": "windows left", "windows": "of", "share": "read"})
    if left["inbox"]:
        output.write_line(f"Webhook events that wait: {left['inbox']}")
    for each in left["estimates"]:
        least = "about " if each["by"] == "pace" else "by the settings' rates no less than "
        output.write_line(f"{each['what']}: {each['left']} left, {least}{duration(each['seconds'])}")
    if left["done_at"] is not None:
        output.write_line(f"Done in about {duration((left['done_at'] - now).total_seconds())}.")


def _lasts(runs: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    for title, run in runs:
        ended = output.short(run["finished_at"])
        output.write_heading(f"{title}: {run['kind']}, run {run['id']}, {run['outcome']}, ended {ended}")
        counted = [(name, _tally(run[what])) for name, what in _CAME_TO if _tally(run[what])]
        output.write_pairs(counted or [("nothing", "")])


def _tally(counts: Any) -> str:
    if not isinstance(counts, Mapping):
        return str(counts)
    return ", ".join(f"{name}: {number}" for name, number in counts.items() if number)


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
