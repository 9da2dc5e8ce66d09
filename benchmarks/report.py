"""The table at the end: medians over the rounds, and how the contestants of one round compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import StringIO
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.peers import PLAIN, Cost

HEADINGS = ("records/s", "wall s", "CPU s", "db CPU s", "peak MB", "requests", "server CPU s", "speed", "CPU")


def table(costs: Sequence[Cost]) -> str:
    """Ratios are taken within each round, where both had the same machine, and their median is shown: `speed` above 1
    is faster than the plain script, `CPU` below 1 is cheaper (the database's CPU included)."""
    shown = Table("", *HEADINGS, title="Medians; the last two beside the plain script of the same round")
    for column in shown.columns[1:]:
        column.justify = "right"
    for kind, peer in dict.fromkeys((cost.kind, cost.peer) for cost in costs):
        own = [cost for cost in costs if (cost.kind, cost.peer) == (kind, peer)]
        plain = [cost for cost in costs if (cost.kind, cost.peer) == (kind, PLAIN)]
        shown.add_row(
            f"{peer}, {kind}",
            *_figures(own),
            _ratios(own, plain, lambda cost: cost.speed),
            _ratios(own, plain, lambda cost: cost.cpu + cost.database_cpu),
        )
    text = StringIO()
    Console(file=text, width=150).print(shown)
    return text.getvalue().rstrip()


def _figures(costs: Sequence[Cost]) -> list[str]:
    return [
        f"{median(cost.speed for cost in costs):,.0f}",
        f"{median(cost.wall for cost in costs):.1f}",
        f"{median(cost.cpu for cost in costs):.1f}",
        f"{median(cost.database_cpu for cost in costs):.1f}",
        f"{max(cost.memory for cost in costs):.0f}",
        f"{median(cost.served for cost in costs):,.0f}",
        f"{median(cost.server_cpu for cost in costs):.1f}",
    ]


def _ratios(own: Sequence[Cost], plain: Sequence[Cost], figure: Callable[[Cost], float]) -> str:
    """The median of each round's ratio, with its spread where there is more than one round."""
    each = [figure(a) / figure(b) for a, b in zip(own, plain, strict=True) if figure(b)]
    if not each:
        return "-"
    spread = f" ({min(each):.2f} to {max(each):.2f})" if min(each) < max(each) else ""
    return f"{median(each):.2f}{spread}"
