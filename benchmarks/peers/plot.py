"""The plots beside `results.json`, in an environment of their own.

    python benchmarks/peers/plot.py <results.json>
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import NullFormatter

BRIDGE = "contact-bridge"
COLOURS = {BRIDGE: "#1b6ca8"}
OTHERS = "#b9c4cd"
CURVE = "curve-"


def main(path: Path) -> None:
    said = [each for of_it in json.loads(path.read_text()).values() for each in of_it["results"]]
    curve = [each for each in said if each["scenario"].startswith(CURVE)]
    if any(each["contestant"] != BRIDGE for each in said):
        speeds(said, path.with_name("speed"))
    if curve:
        scaling(curve, path.with_name("curve"))


def speeds(results: list[dict[str, Any]], to: Path) -> None:
    """Records per second of everybody, a panel for each scenario and database in which there are peers."""
    panels: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for each in results:
        panels.setdefault((each["scenario"], each["kind"]), {}).setdefault(each["contestant"], []).append(each)
    panels = {where: own for where, own in panels.items() if len(own) > 1}
    figure, axes = plt.subplots(len(panels), 1, figsize=(8, 0.9 + 1.9 * len(panels)), squeeze=False)
    for axis, ((scenario, kind), own) in zip(axes[:, 0], panels.items(), strict=True):
        names = sorted(own, key=lambda name: median(each["wall"] for each in own[name]), reverse=True)
        speed = [[each["records"] / each["wall"] for each in own[name]] for name in names]
        middle = [median(values) for values in speed]
        spread = [
            [mid - min(values) for mid, values in zip(middle, speed, strict=True)],
            [max(values) - mid for mid, values in zip(middle, speed, strict=True)],
        ]
        axis.barh(names, middle, xerr=spread, color=[COLOURS.get(name, OTHERS) for name in names], ecolor="#555555")
        for place, (value, further) in enumerate(zip(middle, spread[1], strict=True)):
            axis.text(value + further, place, f"  {value:,.0f}", va="center", fontsize=8)
        axis.set_title(f"{scenario}, {kind}: records per second", fontsize=9, loc="left")
        axis.margins(x=0.12)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    save(figure, to)


def scaling(results: list[dict[str, Any]], to: Path) -> None:
    """Time, memory and size of the database by the number of people, beside a straight line through the first."""
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4))
    figures = {"wall": "seconds", "memory": "peak memory, MB", "size": "database, MB"}
    for axis, (key, name) in zip(axes, figures.items(), strict=True):
        for kind in sorted({each["kind"] for each in results}):
            points: dict[int, list[float]] = {}
            for each in results:
                if each["kind"] == kind:
                    points.setdefault(each["records"], []).append(each[key])
            sizes = sorted(points)
            axis.plot(sizes, [median(points[size]) for size in sizes], marker="o", label=kind)
            if key != "memory":
                first = median(points[sizes[0]]) / sizes[0]
                axis.plot(sizes, [first * size for size in sizes], color=OTHERS, linestyle=":", zorder=0)
                axis.set_yscale("log")
        axis.set_xscale("log")
        if key == "memory":
            axis.set_ylim(0, 1.3 * max(max(values) for values in points.values()))
        for scale in (axis.xaxis, axis.yaxis):
            scale.set_minor_formatter(NullFormatter())
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.yaxis.set_major_formatter("{x:,.0f}")
        axis.set_title(name, fontsize=9, loc="left")
        axis.set_xlabel("records", fontsize=8)
        axis.legend(fontsize=8, frameon=False)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    save(figure, to)


def save(figure: Any, to: Path) -> None:
    figure.tight_layout()
    figure.savefig(to.with_suffix(".png"), dpi=150)
    figure.savefig(to.with_suffix(".svg"), metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
