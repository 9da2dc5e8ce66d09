"""A plan as a value, and as a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.errors import UsageError

Row = dict[str, Any]
FORMAT = 1
PUSH = ("person_id", "platform", "operation", "lane", "target", "payload", "details", "basis", "sync_id")
"""What of an outbox row is kept in a plan."""


@dataclass(slots=True)
class Plan:
    """`changes` and `held` are one entry per person and field; `pushes` is what would be sent, for `apply`."""

    kind: str
    changes: list[Row] = field(default_factory=list)
    held: list[Row] = field(default_factory=list)
    summary: Row = field(default_factory=dict)
    pushes: list[Row] = field(default_factory=list)

    def shown(self) -> Row:
        return {"changes": self.changes, "held": self.held, "summary": self.summary}

    def save(self, path: Path) -> None:
        """It names people, so nobody else may read it."""
        document = {"format": FORMAT, "kind": self.kind, **self.shown(), "pushes": self.pushes}
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file, ensure_ascii=False, indent=1)


def load(path: Path) -> Plan:
    try:
        document = json.loads(path.read_text("utf-8"))
        if document["format"] != FORMAT:
            raise UsageError(f"{path}: a plan of another version", hint="contact-bridge plan -o FILE")
        return Plan(document["kind"], document["changes"], document["held"], document["summary"], document["pushes"])
    except (ValueError, KeyError, TypeError, OSError):
        raise UsageError(f"{path}: not a saved plan", hint="contact-bridge plan -o FILE") from None


def entry(row: Row, detail: Row) -> Row:
    """One line of a plan: what a push would do to one field of one person."""
    head = {"person_id": row["person_id"], "email": row.get("email"), "platform": row["platform"]}
    said = {key: detail[key] for key in ("field", "old", "new", "why")}
    return {**head, "operation": row["operation"], **said}


def tally(pushes: Iterable[Row]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for push in pushes:
        key = f"{push['platform']}.{push['operation']}"
        counts[key] = counts.get(key, 0) + 1
    return counts
