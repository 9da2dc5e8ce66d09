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
        head = f"── {self.number}. {title} "
        click.echo()
        click.secho(head + "─" * max(0, self._screen.width - len(head)), bold=True)
        if command:
            self.command(command)
        yield
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """A paragraph, wrapped."""
        from rich.padding import Padding
        from rich.text import Text

        click.echo()
        self._print(Padding(Text(text), (0, 0, 0, 0)))

    def heading(self, text: str) -> None:
        click.echo()
        click.secho(f"   {text}", bold=True)

    def command(self, text: str) -> None:
        click.secho(f"   $ {text}", fg="cyan")

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

        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
        for index, name in enumerate(columns):
            numbers = bool(rows) and all(isinstance(row[index], int | float | None) for row in rows)
            table.add_column(Text(name), overflow="fold", justify="right" if numbers else "left")
        for row in rows:
            table.add_row(*(Text(_cell(value)) for value in row))
        click.echo()
        self._print(table, indent=3)

    def _print(self, what: RenderableType, indent: int = 3) -> None:
        from rich.padding import Padding

        with self._screen.capture() as captured:
            self._screen.print(Padding(what, (0, 0, 0, indent), expand=False))
        for line in captured.get().splitlines():
            click.echo(line.rstrip())


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
