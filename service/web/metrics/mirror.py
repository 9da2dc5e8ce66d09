"""What the database knows: the same whichever process tells it, and whatever was restarted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import product
from typing import Any

from prometheus_client.core import Metric, SummaryMetricFamily

from service.core.records import Platform
from service.jobs import JOBS, LOOKS, intervals
from service.settings import Settings
from service.store import figures, freshness, health, jobs, reports, tallies
from service.store.database import Connection
from service.store.figures import Waiting
from service.store.outbox import OPEN, Lane
from service.web.metrics.shapes import PREFIX, Key, counter, gauge, histogram

_PLATFORMS = [platform.value for platform in Platform]
_BAD = ("failed", "denied", "suspiciously empty")
"""There from the beginning: of a counter that begins with 1, Prometheus sees no increase."""
_NOTHING = Waiting(0, None)
_VERIFIED = (
    ("drift_ratio", "drift", "Share of a stream's records that is wrong in the mirror, by the last verification"),
    ("drift_ratio_low", "low", "Lower end of the 95 % interval of contact_bridge_drift_ratio"),
    ("drift_ratio_high", "high", "Upper end of the 95 % interval of contact_bridge_drift_ratio"),
    ("verified_records", "checked", "Records that the last verification has compared"),
    ("last_verification_timestamp_seconds", "at", "When the last verification of a stream ended"),
)
# What runs count under names of their own; everything else is a stream of OnVoard's.
_DIGITAL = {
    "digital_onboarding_contacts": "contacts", "templates": "templates", "objectives": "objectives",
    tallies.IMPORT: tallies.IMPORT,
}  # fmt: skip
_EVENTS = "webhook_events."

Tallied = Mapping[str, Mapping[str, float]]


def everything(conn: Connection, settings: Settings, now: datetime) -> Iterator[Metric]:
    yield from _outbox(conn, now)
    yield from _to_do(conn, now)
    yield from _jobs(conn, settings, now)
    yield from _streams(conn, settings, now)
    tallied = tallies.everything(conn)
    yield from _runs(tallied)
    yield from _records(tallied)
    surprises = dict.fromkeys(_PLATFORMS, 0) | figures.surprises(conn)
    yield counter("surprises", "What answers held beyond the platforms' documents", surprises, "platform")
    firings: dict[Key, float] = dict(figures.firings(conn).items())
    yield gauge("rule_firings", "What rules fired for and was not carried out", firings, "rule", "status")


def _outbox(conn: Connection, now: datetime) -> Iterator[Metric]:
    lanes = [lane.name.lower() for lane in Lane]
    numbers: dict[Key, float] = dict.fromkeys(product(_PLATFORMS, lanes, OPEN), 0)
    ages, dead = dict(numbers), dict.fromkeys(_PLATFORMS, 0)
    for row in health.waiting(conn):
        if row["status"] == "dead":
            dead[row["platform"]] += row["pushes"]
        else:
            key = row["platform"], row["lane"], row["status"]
            numbers[key], ages[key] = row["pushes"], _age(row["since"], now)
    labels = ("platform", "lane", "status")
    yield gauge("outbox_pushes", "Pushes that are still to be made", numbers, *labels)
    yield gauge("outbox_oldest_age_seconds", "Age of the oldest of them", ages, *labels)
    yield gauge("dead_letters", "Pushes and records that were refused for good", dead, "platform")


def _to_do(conn: Connection, now: datetime) -> Iterator[Metric]:
    held, oldest = figures.held(conn), _age(health.conflicts_since(conn), now)
    yield gauge("open_conflicts", "Conflicts that need a person's decision", reports.open_conflicts(conn))
    yield gauge("open_conflicts_oldest_age_seconds", "Age of the oldest of them", oldest)
    holding = {platform: float(platform in held) for platform in _PLATFORMS}
    yield gauge("brake_holding", "1 where the brake holds changes towards a platform", holding, "platform")
    events = dict.fromkeys(_PLATFORMS, _NOTHING) | figures.events(conn, now)
    numbers = {platform: each.number for platform, each in events.items()}
    yield gauge("inbox_events", "Webhook events that are due to be looked into", numbers, "platform")
    ages = {platform: _age(each.since, now) for platform, each in events.items()}
    yield gauge("inbox_oldest_age_seconds", "Age of the oldest of them", ages, "platform")


def _jobs(conn: Connection, settings: Settings, now: datetime) -> Iterator[Metric]:
    ended = {kind: at.timestamp() for kind, at in reports.last_successes(conn).items()}
    yield gauge("last_success_timestamp_seconds", "When a run of this kind last ended well", ended, "kind")
    every = intervals(settings) | {"verify": settings.schedule.verify}
    regular = [job.name for job in JOBS if job.name not in LOOKS]
    longest = {name: settings.schedule.longest(every[name], now).total_seconds() for name in regular}
    yield gauge("job_interval_seconds", "Longest time from one turn of a job to the next", longest, "kind")
    paused = jobs.paused(conn)
    yield gauge("job_paused", "1 where a person has paused it", {j.name: float(j.name in paused) for j in JOBS}, "kind")
    missed = dict.fromkeys(regular, 0) | jobs.missed(conn)
    yield counter("missed_turns", "Turns of a job that no daemon took", missed, "kind")


def _streams(conn: Connection, settings: Settings, now: datetime) -> Iterator[Metric]:
    cursors = reports.cursors(conn, now)
    lag = {row["stream"]: row["lag_seconds"] for row in cursors if row["lag_seconds"] is not None}
    yield gauge("cursor_lag_seconds", "Age of what a stream was last read up to", lag, "stream")
    yield from _read(conn)
    schedule = settings.schedule
    swept = freshness.swept(conn, now, schedule.sweep_within, schedule.sweep_after)
    for name, text in (("age", "Time since the record was read that waits longest"), ("limit", "What that may be")):
        seconds = {row["stream"]: row[f"{name}_seconds"] for row in swept}
        yield gauge(f"freshness_{name}_seconds", text, seconds, "stream")
    verified = reports.verifications(conn)
    for name, column, text in _VERIFIED:
        yield gauge(name, text, {row["stream"]: _number(row[column]) for row in verified}, "stream")


def _read(conn: Connection) -> Iterator[Metric]:
    known = {tuple(row["stream"].split(".", 1)): row for row in health.streams(conn)}
    at: dict[Key, float] = {of: row["succeeded_at"].timestamp() for of, row in known.items() if row["succeeded_at"]}
    text = "When a stream was last read to its end"
    yield gauge("stream_last_success_timestamp_seconds", text, at, "platform", "stream")
    failing: dict[Key, float] = {of: float(row["failing_since"] is not None) for of, row in known.items()}
    yield gauge("stream_failing", "1 where a stream could not be read the last time", failing, "platform", "stream")


def _runs(tallied: Tallied) -> Iterator[Metric]:
    runs: dict[Key, float] = {(job.name, outcome): 0 for job in JOBS for outcome in _BAD}
    runs |= {tuple(label.split(".", 1)): number for label, number in tallied.get(tallies.RUNS, {}).items()}
    yield counter("runs", "Runs that ended", runs, "kind", "outcome")
    family = SummaryMetricFamily(PREFIX + "run_duration_seconds", "How long runs took", labels=("kind",))
    for kind, seconds in tallied.get(tallies.RUN_SECONDS, {}).items():
        family.add_metric((kind,), int(sum(number for of, number in runs.items() if of[0] == kind)), seconds)
    yield family


def _records(tallied: Tallied) -> Iterator[Metric]:
    pulled = tallied.get(tallies.PULLED, {})
    yield counter("records_pulled", "Records that were read from a platform", _by_stream(pulled), "platform", "stream")
    refused = tallied.get(tallies.REFUSED, {})
    yield counter("records_refused", "Records that could not be kept, for want of an id", refused, "stream")
    events = {name.removeprefix(_EVENTS): number for name, number in pulled.items() if name.startswith(_EVENTS)}
    yield counter("webhook_events", "Webhook events that were looked into", events, "outcome")
    pushes: dict[Key, float] = {tuple(label.split(".")): n for label, n in tallied.get(tallies.PUSHES, {}).items()}
    text = "Pushes that were tried, and what became of them"
    yield counter("pushes", text, pushes, "platform", "operation", "outcome")
    numbers, sums = tallied.get(tallies.OPT_OUTS, {}), tallied.get(tallies.OPT_OUT_SECONDS, {})
    took = {
        platform: (
            [int(numbers.get(f"{platform}.{bound}", 0)) for bound in (*tallies.BOUNDS, tallies.MORE)],
            sums.get(platform, 0.0),
        )
        for platform in _PLATFORMS
    }
    text = "From when an opt-out was seen on the other platform until this one had it"
    yield histogram("opt_out_propagation_seconds", text, tallies.BOUNDS, took, "platform")


def _by_stream(numbers: Mapping[str, float]) -> dict[Key, float]:
    """By platform and stream."""
    return {
        ("digital_onboarding", _DIGITAL[name]) if name in _DIGITAL else ("onvoard", name): number
        for name, number in numbers.items()
        if not name.startswith(_EVENTS)
    }


def _age(since: datetime | None, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds()) if since is not None else 0.0


def _number(value: Any) -> float:
    return value.timestamp() if isinstance(value, datetime) else float(value)
