"""What came of it: medians with their spread, in words, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contestants import BRIDGE
from benchmarks.running import Result
from benchmarks.scenarios import MEMORY, SCENARIOS, Bar, Scenario

TOLD = ("median ms", "p99 ms", "answers/s", "lost", "refused", "pages meanwhile", "looked into after s")
"""What a burst tells of itself (`benchmarks.burst`)."""
FIGURES: Mapping[str, Callable[[Result], float]] = {
    "wall": lambda result: result.wall,
    "rows": lambda result: result.rows or 0,
    "rows/record": lambda result: (result.rows or 0) / result.records,
    "written": lambda result: result.written,
    "pushed/s": lambda result: result.written / result.pushing if result.pushing > 0 else 0.0,
    "lead s": lambda result: result.lead,
    "peak MB": lambda result: result.memory,
    **{name: lambda result, name=name: result.told.get(name, 0.0) for name in TOLD},  # type: ignore[misc]
}
COLUMNS: Mapping[str, Callable[[Sequence[Result]], str]] = {
    "wall s": lambda own: _spread([each.wall for each in own], 1),
    "records/s": lambda own: f"{median(each.records / each.wall for each in own):,.0f}",
    "CPU s": lambda own: f"{median(each.cpu for each in own):.1f}",
    "db CPU s": lambda own: f"{median(each.database_cpu for each in own):.1f}",
    "peak MB": lambda own: f"{max(each.memory for each in own):.0f}",
    "db MB": lambda own: f"{median(each.size for each in own):.0f}",
    "requests": lambda own: f"{median(each.requests for each in own):,.0f}",
    "rows written": lambda own: "" if own[0].rows is None else f"{median(each.rows or 0 for each in own):,.0f}",
    "pushed": lambda own: f"{median(each.written for each in own):,.0f}",
    "pushed/s": lambda own: f"{median(FIGURES['pushed/s'](each) for each in own):,.0f}",
    "server CPU s": lambda own: f"{median(each.server_cpu for each in own):.1f}",
    **{name: lambda own, name=name: f"{median(FIGURES[name](each) for each in own):,.0f}" for name in TOLD},  # type: ignore[misc]
}


def write(folder: Path, scenario: Scenario, about: Mapping[str, Any], results: Sequence[Result]) -> Path:
    """Into `results.json` and `results.md`, beside what earlier calls found of other scenarios. -> the former"""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    known[scenario.name] = {"about": about, "results": [asdict(each) for each in results]}
    path.write_text(json.dumps(known, indent=1) + "\n")
    (folder / "results.md").write_text(markdown(known) + "\n")
    return path


def markdown(known: Mapping[str, Any]) -> str:
    """Of what `results.json` holds."""
    parts = ["# Figures"]
    for scenario in SCENARIOS:
        of_it = known.get(scenario.name, {"about": {}, "results": []})
        results = [Result(**each) for each in of_it["results"]]
        if results:
            parts += ["", f"## {scenario.name}: {scenario.title}", ""]
            parts += [f"- {key}: {value}" for key, value in of_it["about"].items()]
        for kind in dict.fromkeys(result.kind for result in results):
            own = [each for each in results if each.kind == kind]
            parts += ["", f"### {kind}", "", *table(own), "", *(f"- {line}" for line in bars(scenario, kind, own))]
    return "\n".join(parts)


def table(own: Sequence[Result]) -> list[str]:
    """Of one scenario on one database. `ratio`: how many times as long it takes as the bridge in the same round."""
    by_name: dict[str, list[Result]] = {}
    for each in own:
        by_name.setdefault(each.contestant, []).append(each)
    columns = {"ratio": [_ratio(own, name) for name in by_name]}
    columns |= {name: [shown(of_it) for of_it in by_name.values()] for name, shown in COLUMNS.items()}
    told = {name: cells for name, cells in columns.items() if set(cells) - {"0", "0.0"}}
    lines = [f"| | {' | '.join(told)} |", "|---|" + "---|" * len(told)]
    return lines + [f"| {' | '.join(row)} |" for row in zip(by_name, *told.values(), strict=True)]


def bars(scenario: Scenario, kind: str, own: Sequence[Result]) -> list[str]:
    """Each bar beside what was measured, where that was measured."""
    return [said for bar in (*scenario.bars, MEMORY) if kind in bar.kinds and (said := _told(bar, own))]


def _told(bar: Bar, own: Sequence[Result]) -> str | None:
    bridge = [each for each in own if each.contestant == BRIDGE.name]
    if bar.versus is None:
        what, found = bar.figure, [FIGURES[bar.figure](each) for each in bridge]
    else:
        what, found = f"times as fast as {bar.versus.name}", _ratios(own, bar.versus.name)
    if not found:
        return None
    digits = 2 if bar.versus or median(found) < 10 else 0
    met = {"at least": median(found) >= bar.wanted, "at most": max(found) <= bar.wanted}
    verdict = "met" if met.get(bar.sense, all(each == bar.wanted for each in found)) else "not met"
    return f"{what}: bar {bar.sense} {bar.wanted:,g}, measured {_spread(found, digits)}: {verdict}"


def _ratio(own: Sequence[Result], name: str) -> str:
    found = _ratios(own, name)
    return _spread(found, 2) if found else "-"


def _ratios(own: Sequence[Result], peer: str) -> list[float]:
    """Within each round, where both had the same machine: the peer's wall time by the bridge's."""
    walls = {(each.round, each.contestant): each.wall for each in own}
    return [
        wall / walls[turn, BRIDGE.name]
        for (turn, name), wall in walls.items()
        if name == peer and (turn, BRIDGE.name) in walls
    ]


def _spread(values: Sequence[float], digits: int) -> str:
    around = f" ({min(values):,.{digits}f} to {max(values):,.{digits}f})" if min(values) < max(values) else ""
    return f"{median(values):,.{digits}f}{around}"
