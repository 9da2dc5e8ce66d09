"""Why it is not in sync, and since when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from service.headway import DEAD_AFTER
from service.store import health
from service.store.database import Connection
from service.store.health import ENDED_WELL
from service.text import SIDES

EMPTIED = "contact-bridge sync --full --allow-mass-change"
_WAITING = {
    "pending": "wait to be pushed",
    "sending": "are being pushed",
    "unknown": "were sent without an answer",
    "held": "are held by the brake",
}
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reason:
    """`since` is None where nobody knows."""

    text: str
    since: datetime | None = None


def is_alive(run: Row, now: datetime) -> bool:
    """Whether somebody is still at it."""
    said: datetime = run["told_at"] or run["started_at"]
    return run["finished_at"] is None and now - said <= DEAD_AFTER


def bad_runs(runs: Iterable[Row]) -> list[Row]:
    """The last runs that did not end well, or left out a stream, unless a sync has gone through since. Held ones are
    the brake's to tell."""
    found = [run for run in runs if run["outcome"] not in ENDED_WELL or _left_out(run)]
    mended = max((run["id"] for run in runs if run["kind"] == "sync" and run not in found), default=0)
    return [run for run in found if run["id"] > mended]


def _left_out(run: Row) -> bool:
    counts = run["counts"] or {}
    return bool(run["outcome"] == "partial" and (counts.get("failed") or counts.get("bad_rows")))


def why_not(
    conn: Connection, report: Mapping[str, Any], waiting: Sequence[dict[str, Any]], now: datetime
) -> Iterable[Reason]:
    """By what `state.gather` has found, and `health.waiting`."""
    if not report["cursors"] and not any(run["finished_at"] for run in report["runs"]):
        yield Reason("nothing was pulled or synced yet")
    for run in bad_runs(report["runs"]):
        yield _bad(conn, run, report["streams"], now)
    for row in report["streams"]:
        if row["failing_since"] and not row["succeeded_at"]:
            text = f"{row['stream']} was never read, and is {row['failure']}: nothing is decided before"
            yield Reason(text, row["failing_since"])
    for hold in report["holds"]:
        text = f"changes to {SIDES.get(hold['platform'], hold['platform'])} are held: {hold['reason']}"
        yield Reason(text, hold["since"])
    yield from _pushes(report["outbox"], waiting)
    if report["dead_letters"]:
        text = f"{many(report['dead_letters'], 'dead letter')}: see contact-bridge outbox list"
        yield Reason(text, health.dead_since(waiting))
    if report["conflicts"]:
        text = f"{many(report['conflicts'], 'open conflict')}: see contact-bridge conflicts list"
        yield Reason(text, health.conflicts_since(conn))
    for loader in report["loaders"]:
        if loader["stopped"] and loader["enabled"]:
            yield Reason(f"the loader {loader['name']} is stopped: {loader['stopped']}")
    for platform, number in report["left"]["unseen"].items():
        if number:
            yield Reason(f"{many(number, 'contact')} of {SIDES[platform]} changed and not yet reconciled")
    for row in report["left"]["backfills"]:
        yield Reason(f"the pull of {row['stream']} was begun and is not finished")
    yield from _late(report["freshness"]["streams"], now)


def _bad(conn: Connection, run: Row, streams: Iterable[Row], now: datetime) -> Reason:
    kind, outcome = run["kind"], run["outcome"]
    if outcome == "running":
        if is_alive(run, now):
            return Reason(f"the last {kind} has not finished (run {run['id']})", run["started_at"])
        text = f"the last {kind} was broken off (run {run['id']}): the next one goes on with it"
        return Reason(text, run["told_at"] or run["started_at"])
    counts = run["counts"] or {}
    failed = ", ".join(f"{name} {how}" for name, how in (counts.get("failed") or {}).items())
    why = "".join(f": {each}" for each in (failed, counts.get("error")) if each)
    way_out = ""
    if outcome == "suspiciously empty":
        way_out = f"; if it is true: {EMPTIED}"
    elif outcome == "denied":
        way_out = "; see contact-bridge check"
    since = health.failing_since(conn, kind)
    if failed and since is None:  # it came to its end without them
        since = min((row["failing_since"] for row in streams if row["failing_since"]), default=None)
    since = since or run["finished_at"]
    return Reason(f"the last {kind} ended as {outcome} (run {run['id']}){why}{way_out}", since)


def _pushes(outbox: Mapping[str, Mapping[str, int]], waiting: Iterable[Row]) -> Iterable[Reason]:
    oldest: dict[tuple[str, str], datetime] = {}
    for row in waiting:
        if row["since"] is not None:
            key = row["platform"], row["status"]
            oldest[key] = min(row["since"], oldest.get(key, row["since"]))
    for platform, counts in outbox.items():
        for status, what in _WAITING.items():
            if counts.get(status):
                text = f"{many(counts[status], 'push', 'pushes')} to {SIDES.get(platform, platform)} {what}"
                yield Reason(text, oldest.get((platform, status)))


def _late(streams: Iterable[Row], now: datetime) -> Iterable[Reason]:
    for row in streams:
        if row["late"]:
            age, limit = (timedelta(seconds=row[f"{what}_seconds"]) for what in ("age", "limit"))
            mends = "contact-bridge sync --full" if row["stream"].startswith("onvoard.") else "contact-bridge sync"
            text = f"some {row['stream']} were last read {age} ago, and the limit is {limit}: {mends}"
            yield Reason(text, now - age + limit)


def many(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or one + 's'}"
