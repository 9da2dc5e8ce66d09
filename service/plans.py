"""A plan as a value, and as a file."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.errors import PlanMoved, UsageError

Row = dict[str, Any]
FORMAT = 2
PUSH = ("person_id", "platform", "operation", "lane", "target", "payload", "details", "basis", "sync_id")
"""What of an outbox row is kept in a plan."""
ANEW = "contact-bridge plan -o FILE, or undo RUN -o FILE"


@dataclass(slots=True)
class Plan:
    """`changes` and `held` are one entry per person and field, `not_transferable` one per value that stays where it is;
    `pushes` is what would be sent, for `apply`.

    `undoes` is the run that an undo plan takes back, `mapping` the fingerprint of the table that it was made with.
    """

    kind: str
    changes: list[Row] = field(default_factory=list)
    held: list[Row] = field(default_factory=list)
    not_transferable: list[Row] = field(default_factory=list)
    summary: Row = field(default_factory=dict)
    pushes: list[Row] = field(default_factory=list)
    undoes: int | None = None
    mapping: str = ""
    seal: str = ""

    def shown(self) -> Row:
        parts = ("changes", "held", "not_transferable", "summary")
        return {part: getattr(self, part) for part in parts}

    def _document(self) -> Row:
        said = {"format": FORMAT, "kind": self.kind, "undoes": self.undoes, "mapping": self.mapping}
        return said | self.shown() | {"pushes": self.pushes}

    def sealed(self, key: bytes) -> Plan:
        """With the seal of the mirror whose `key` it is: the file is good for no other, and nobody has touched it."""
        self.seal = self._sealed_with(key)
        return self

    def check_seal(self, key: bytes) -> None:
        """Raises PlanMoved where the plan is another mirror's, or not as it was saved."""
        if not hmac.compare_digest(self.seal, self._sealed_with(key)):
            raise PlanMoved(
                "this plan was changed after it was saved, or belongs to another mirror: nothing was pushed", hint=ANEW
            )

    def _sealed_with(self, key: bytes) -> str:
        return hmac.new(key, json.dumps(self._document(), sort_keys=True).encode(), hashlib.sha256).hexdigest()

    def save(self, path: Path) -> None:
        """It names people, so nobody else may read it."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(self._document() | {"seal": self.seal}, file, ensure_ascii=False, indent=1)


def load(path: Path) -> Plan:
    """Raises PlanMoved for a plan in another version's form, UsageError for what is no plan."""
    try:
        document = json.loads(path.read_text("utf-8"))
        if document.pop("format") != FORMAT:
            raise PlanMoved(f"{path}: a plan of another version: nothing was pushed", hint=ANEW)
        return Plan(**document)
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        raise UsageError(f"{path}: not a saved plan", hint=ANEW) from None


def entry(row: Row, detail: Row) -> Row:
    """One line of a plan: what a push would do to one field of one person."""
    head = {"person_id": row["person_id"], "email": row.get("email"), "platform": row["platform"]}
    said = {key: detail[key] for key in ("field", "old", "new", "why")}
    return {**head, "operation": row["operation"], **said}


def stays(person_id: int, email: str | None, platform: str, name: str, value: str | None, why: str) -> Row:
    """One line about a value that `platform` cannot be given; `name` is the field as that platform calls it."""
    return {
        "person_id": person_id, "email": email, "platform": platform, "field": name, "value": value, "why": why,
    }  # fmt: skip


def tally(pushes: Iterable[Row]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for push in pushes:
        key = f"{push['platform']}.{push['operation']}"
        counts[key] = counts.get(key, 0) + 1
    return counts
