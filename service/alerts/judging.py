"""What is to be told: pure. What was told is told no more until it is over."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from service.alerts.problems import Problem
from service.store.types import iso

Row = dict[str, Any]


@dataclass(slots=True)
class Verdict:
    """What follows from what is wrong now: rows to keep and to forget, problems that are to be told and those that are
    over."""

    keep: list[Row] = field(default_factory=list)
    forget: list[str] = field(default_factory=list)
    begun: list[Row] = field(default_factory=list)
    over: list[Row] = field(default_factory=list)
    open: int = 0

    def __bool__(self) -> bool:
        return bool(self.keep or self.forget)


def judge(known: Iterable[Row], problems: Iterable[Problem], now: datetime, after: timedelta) -> Verdict:
    """A problem is told when it has lasted for `after`, or at once, and over when it has been gone for as long."""
    rows, verdict = {row["key"]: row for row in known}, Verdict()
    for problem in problems:
        row = rows.pop(problem.key, None)
        since = min(row["since"] if row else problem.since, now)
        new: Row = {"key": problem.key, "since": since, "problem": told(problem, since), "ended_at": None}
        new["told_at"] = row["told_at"] if row else None
        if new["told_at"] is None and (problem.urgent or now - since >= after):
            new["told_at"] = now
            verdict.begun.append(new["problem"])
        verdict.open += new["told_at"] is not None
        if new != row:
            verdict.keep.append(new)
    for key, row in rows.items():
        ended = row["ended_at"] or now
        if row["told_at"] is None:
            verdict.forget.append(key)
        elif now - ended >= after:
            verdict.forget.append(key)
            verdict.over.append({**row["problem"], "until": iso(ended)})
        else:
            verdict.open += 1
            if row["ended_at"] is None:
                verdict.keep.append({**row, "ended_at": now})
    return verdict


def told(problem: Problem, since: datetime) -> Row:
    """As JSON will have it."""
    details = {name: iso(value) if isinstance(value, datetime) else value for name, value in problem.details.items()}
    return {
        "key": problem.key, "what": problem.what, "since": iso(since), "next": problem.next, "details": details,
    }  # fmt: skip


def message(event: str, problems: Sequence[Row], still: int, now: datetime) -> Row:
    """`id` is for who receives it twice; `open` counts what was told and is not over."""
    return {"id": uuid.uuid4().hex, "event": event, "at": iso(now), "problems": list(problems), "open": still}
