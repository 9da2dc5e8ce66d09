"""What a verification has found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from service.core.sampling import Share, share

WRONG = ("different", "gone", "missing")
SHOWN = 1_000
"""Wrong records of a stream that are kept; the others are counted alone."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one record: `right`, `different`, `gone` (only in the mirror), `missing` (only on the platform) or
    `absent` (of neither, or nothing was learned). `stale`: news that the mirror has not heard, and the next pull or
    sweep will."""

    id: str
    kind: str
    columns: tuple[str, ...] = ()
    stale: bool = False
    repaired: bool = False


@dataclass(slots=True)
class Tally:
    """One stream's. `population`: how many records there are, of which `checked` were compared; `complete`: all were.
    `skipped` says why nothing was. `counts`: how many were wrong by kind, and how many of these stale or repaired."""

    stream: str
    population: int = 0
    complete: bool = False
    skipped: str = ""
    checked: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def add(self, found: Finding) -> None:
        self.checked += found.kind != "absent"
        if found.kind not in WRONG:
            return
        self.counts.update({found.kind: 1, "stale": int(found.stale), "repaired": int(found.repaired)})
        if len(self.findings) < SHOWN:
            self.findings.append(found)

    @property
    def wrong(self) -> int:
        return sum(self.counts[kind] for kind in WRONG)

    @property
    def drift(self) -> Share:
        return share(self.wrong, self.checked, self.checked if self.complete else self.population)
