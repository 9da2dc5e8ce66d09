"""Progress bars on a terminal, silence in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from service.progress import Progress


class _Bars:
    """A line per stream; nobody knows the totals in advance (traps 32), so it counts."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def advance(self, stream: str, records: int) -> None:
        if stream not in self._tasks:
            self._tasks[stream] = self._bars.add_task(stream, total=None)
        self._bars.advance(self._tasks[stream], records)


@contextmanager
def progress() -> Iterator[Progress]:
    if not sys.stderr.isatty():
        from service.progress import Silent

        yield Silent()
        return
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed:,.0f} records", justify="right"),
        TimeElapsedColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Bars(bars)
