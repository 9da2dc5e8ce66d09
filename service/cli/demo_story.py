"""How the demo talks: numbered steps, short paragraphs and tables, at any width, with and without a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from service.cli.output import as_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

NARROWEST, WIDEST = 60, 120
PIPED = 100
"""Columns where there is no terminal, and COLUMNS does not say how many."""
_INDENT, _GAP = 3, 2


class Story:
    """Where the demo is, for when it fails: `step` numbers what it is told."""

    def __init__(self) -> None:
        self.number = 0
        self.doing = "making ready"
        self._screen = _screen()

    @property
    def where(self) -> str:
        return f"step {self.number}, {self.doing}" if self.number else self.doing

    @contextmanager
    def step(self, title: str, command: str = "") -> Iterator[None]:
        """A numbered part of the story; `command` is what an operator types for it."""
        self.number, self.doing = self.number + 1, title
        line = "-" if self._screen.options.ascii_only else "─"
        head = f"{line * 2} {self.number}. {title} "
        click.echo()
        click.secho(head + line * max(0, self._screen.width - len(head)), bold=True)
        if command:
            click.secho(f"   $ {command}", fg="cyan")
        yield
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """A paragraph, wrapped."""
        from rich.text import Text

        click.echo()
        self._print(Text(text))

    def heading(self, text: str) -> None:
        click.echo()
        click.secho(f"   {text}", bold=True)

    def command(self, *lines: str) -> None:
        """What an operator types."""
        click.echo()
        for line in lines:
            click.secho(f"   $ {line}", fg="cyan")

    def code(self, sql: str) -> None:
        """SQL as it may be pasted."""
        click.echo()
        for line in sql.strip().splitlines():
            click.secho(f"   {line}", fg="cyan")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Numbers to the right; nothing is cut off: what is too long for its column goes on below."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP, 0, 0))
        cells = [[_cell(value) for value in row] for row in rows]
        widths = _widths(list(zip(columns, *cells, strict=True)), self._screen.width - _INDENT)
        for index, name in enumerate(columns):
            numbers = bool(rows) and all(_is_number(row[index]) for row in rows)
            table.add_column(
                Text(name), overflow="fold", justify="right" if numbers else "left", width=widths[index]
            )
        for row in cells:
            table.add_row(*map(Text, row))
        click.echo()
        self._print(table)

    def _print(self, what: RenderableType) -> None:
        """Indented, and without the blanks that fill a line up."""
        from rich.padding import Padding

        with self._screen.capture() as captured:
            self._screen.print(Padding(what, (0, 0, 0, _INDENT), expand=False))
        for line in captured.get().splitlines():
            click.echo(line.rstrip())


def _widths(columns: Sequence[Sequence[str]], room: int) -> list[int | None]:
    """What each column gets: all it would like, or at least its longest word, so that no word is torn apart that need
    not be, and of the rest what saves most lines. None where even that is too much."""
    from rich.cells import cell_len

    room -= (_GAP + 1) * (len(columns) - 1)  # rich adds a divider, if only a blank one
    lengths = [[cell_len(cell) for cell in column] for column in columns]
    words = [max((cell_len(word) for cell in column for word in cell.split()), default=1) for column in columns]
    least = next(
        (tried for longest in (room, 32, 24, 20) if sum(tried := [min(w, longest) for w in words]) <= room), None
    )
    if least is None:
        return [None] * len(columns)
    for _ in range(room - sum(least)):
        gains = [
            sum(length**2 for length in column if length > width) / width**2
            for column, width in zip(lengths, least, strict=True)
        ]
        if not any(gains):
            break
        least[gains.index(max(gains))] += 1
    return list(least)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else as_text(value)


def _screen() -> Console:
    from rich.console import Console

    if sys.stdout.isatty():
        screen = Console(highlight=False, markup=False, emoji=False)
        screen.width = max(NARROWEST, min(screen.width, WIDEST))
        return screen
    given = os.environ.get("COLUMNS", "")
    width = int(given) if given.isdecimal() and int(given) else PIPED
    return Console(
        highlight=False, markup=False, emoji=False, no_color=True, force_terminal=False,
        width=max(NARROWEST, min(width, WIDEST)),
    )  # fmt: skip
