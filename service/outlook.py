"""What is being done, how much is left, when that will be over, and what needs a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from service.reasons import EMPTIED, bad_runs, is_alive, many
from service.settings import Settings
from service.store import health, reports
from service.store.database import Connection
from service.store.outbox import Lane
from service.text import SIDES

Row = dict[str, Any]
_LEAVING = ("pending", "sending", "unknown")
"""What the brake holds leaves when somebody lets it."""


def doing(runs: Iterable[Mapping[str, Any]], now: datetime) -> list[Row]:
    """The runs at work: since when, what each is at, how many records of which stream it has done, and how fast."""
    found = []
    for run in runs:
        if is_alive(run, now):
            so_far = {"at": None, "done": {}, "per_second": {}} | (run["progress"] or {})
            whose = {"run_id": run["id"], "kind": run["kind"], "since": run["started_at"], "told_at": run["told_at"]}
            found.append(whose | so_far)
    return found


def left(conn: Connection, waiting: Iterable[Row], at_work: Iterable[Row], now: datetime, settings: Settings) -> Row:
    """`estimates`: how long what can be counted will take. `done_at` only where all that is left is being done, at a
    pace that is known: nobody knows how much a pull will find."""
    pushes = [row for row in waiting if row["status"] != "dead"]
    found: Row = {
        "pushes": pushes, "backfills": health.backfills(conn), "unseen": reports.unseen(conn),
        "inbox": health.inbox_waiting(conn),
    }  # fmt: skip
    pace: dict[str, float] = {}
    for run in at_work:
        for name, speed in run["per_second"].items():
            pace[name] = pace.get(name, 0.0) + speed
    estimates = [*_of_pushes(pushes, pace, settings), *_of_backfills(found["backfills"], pace)]
    unknown = found["inbox"] or any(found["unseen"].values()) or len(found["backfills"]) > 0
    known = estimates and all(row["by"] == "pace" for row in estimates)
    soonest = max(row["seconds"] for row in estimates) if known and not unknown else None
    done_at = now + timedelta(seconds=soonest) if soonest is not None else None
    return found | {"estimates": estimates, "done_at": done_at}


def _of_pushes(pushes: Iterable[Row], pace: Mapping[str, float], settings: Settings) -> Iterable[Row]:
    """By the pace of the last minutes; where nobody is pushing, by what the settings allow: it takes no less."""
    do = settings.digital_onboarding
    for platform, side in SIDES.items():
        rows = [row for row in pushes if row["platform"] == platform and row["status"] in _LEAVING]
        number = sum(row["pushes"] for row in rows)
        if not number:
            continue
        what = {"what": f"pushes to {side}", "left": number}
        if speed := pace.get(f"push to {platform}"):
            yield what | {"per_second": speed, "seconds": round(number / speed), "by": "pace"}
            continue
        if platform == "onvoard":
            requests = float(number)
        else:
            alone = sum(row["pushes"] for row in rows if row["lane"] == Lane.ACTION.name.lower())
            requests = alone + (number - alone) / do.batch_size
        rate = (settings.onvoard if platform == "onvoard" else do).requests_per_second
        seconds = requests / rate
        yield what | {"per_second": round(number / seconds, 3), "seconds": round(seconds), "by": "rate"}


def _of_backfills(backfills: Iterable[Row], pace: Mapping[str, float]) -> Iterable[Row]:
    for row in backfills:
        speed = pace.get(f"{row['stream']}.share")
        if speed and row["share"] is not None:
            seconds = round((1 - row["share"]) / speed)
            yield {"what": f"the pull of {row['stream']}", "left": row["left"], "per_second": speed,
                   "seconds": seconds, "by": "pace"}  # fmt: skip


def needs_person(conn: Connection, report: Mapping[str, Any], waiting: Iterable[Row]) -> list[Row]:
    """What nobody but a person will end, each with the command to type. `kind`: held, denied, empty, conflicts,
    dead_letters, loader."""
    found: list[Row] = []

    def add(kind: str, what: str, number: int, since: datetime | None, command: str) -> None:
        found.append({"kind": kind, "what": what, "number": number, "since": since, "command": command})

    for hold in report["holds"]:
        side = SIDES.get(hold["platform"], hold["platform"])
        what = f"the brake holds changes of {hold['people']} people towards {side}"
        add("held", what, hold["people"], hold["since"], f"contact-bridge plan, then {hold['release_with']}")
    bad = bad_runs(report["runs"])
    for platform, runs in _denied(bad).items():
        kinds = ", ".join(run["kind"] for run in runs)
        what = f"{SIDES.get(platform, 'a platform')} denied {kinds}: wrong credentials, or a right that is missing"
        since = min(health.failing_since(conn, run["kind"]) or run["finished_at"] for run in runs)
        add("denied", what, len(runs), since, "contact-bridge check")
    for run in bad:
        if run["outcome"] == "suspiciously empty":
            add("empty", f"the last {run['kind']} met nobody: is it true?", 1, run["finished_at"], EMPTIED)
    if report["conflicts"]:
        since = health.conflicts_since(conn)
        what = f"{many(report['conflicts'], 'conflict')} to be decided"
        add("conflicts", what, report["conflicts"], since, "contact-bridge conflicts list")
    if report["dead_letters"]:
        since = health.dead_since(waiting)
        what = f"{many(report['dead_letters'], 'dead letter')}: refused for good"
        add("dead_letters", what, report["dead_letters"], since, "contact-bridge outbox list")
    for loader in report["loaders"]:
        if loader["stopped"] and loader["enabled"]:
            add("loader", f"the loader {loader['name']} is stopped", 1, None, "contact-bridge check")
    return found


def _denied(bad: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """By platform: it is one key that all of them have."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for run in bad:
        if run["outcome"] == "denied":
            found.setdefault((run["counts"] or {}).get("denied_by", ""), []).append(run)
    return found
