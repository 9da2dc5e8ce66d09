"""What commands print: `--format table|json|csv`, and the same values in each of them.

Standard output holds the result alone. Whatever came from a platform passes through `clean` or is escaped by JSON.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import click

from service.text import CONTROL
from service.text import clean as clean

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

F = TypeVar("F", bound=Callable[..., Any])
Row = Mapping[str, Any]

# A column squeezed below this many characters is read more easily record by record.
_READABLE = 16
_UNBOUNDED = 1_000_000


def format_option(*formats: str) -> Callable[[F], F]:
    """`--format`, passed on as `output_format`; the first one is the default."""
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(formats or ("table", "json", "csv")),
        default=(formats or ("table",))[0],
        show_default=True,
        help="How to print it.",
    )


def iso(value: datetime) -> str:
    """2026-01-31T09:30:00.000000Z, as `query` prints it: text that sorts as time does."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def short(value: datetime) -> str:
    """2026-01-31T09:30:00Z, for people."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def plain(value: Any) -> Any:
    """The value as JSON knows it."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else plain(float(value))
    if isinstance(value, datetime):
        return iso(value) if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    return str(value)


def as_json(value: Any, indent: int | None = None) -> str:
    """JSON that a person can read: letters stay letters, and what a terminal would obey is escaped."""
    letters = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(plain(value), ensure_ascii=not letters, indent=indent)
    # json escapes C0 by itself. Outside of strings only its own line breaks are left, which CONTROL must not see.
    return "\n".join(CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", line) for line in text.split("\n"))


def as_text(value: Any) -> str:
    """The value in a cell."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return short(value)
    value = plain(value)
    return clean(value) if isinstance(value, str) else as_json(value)


def write_json(value: Any) -> None:
    """One document; a list has one element per line, and is never in memory as a whole text."""
    if isinstance(value, Mapping):
        click.echo(as_json(value, indent=2))
        return
    separator = "[\n  "
    for item in value:
        click.echo(separator + as_json(item), nl=False)
        separator = ",\n  "
    click.echo("[]" if separator.startswith("[") else "\n]")


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for row in (columns, *rows):
        writer.writerow([as_text(plain(value)) for value in row])
        click.echo(buffer.getvalue(), nl=False)
        buffer.seek(0)
        buffer.truncate()


def write_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]], output_format: str) -> None:
    """A result of columns and rows in the format that was asked for; JSON is a list of objects."""
    if output_format == "json":
        write_json(dict(zip(columns, row, strict=True)) for row in rows)
    elif output_format == "csv":
        write_csv(columns, rows)
    else:
        write_table(columns, rows)


def console() -> Console:
    """Standard output. Piped, a line is as long as it has to be: whoever reads it counts on one row per line."""
    from rich.console import Console

    if sys.stdout.isatty():
        return Console(highlight=False, markup=False, emoji=False)
    return Console(highlight=False, markup=False, emoji=False, width=_UNBOUNDED)


def write_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
    """A table as wide as the terminal allows, with nothing cut off; record by record where columns would be slivers."""
    screen = console()
    if title:
        write_heading(title)
    cells = [[as_text(value) for value in row] for row in rows]
    if screen.is_terminal and len(columns) > 1 and _needed(columns, cells) > screen.width:
        for number, row in enumerate(cells, start=1):
            click.secho(f"-- {number} --", dim=True)
            _print(screen, _grid((), list(zip(columns, row, strict=True)), framed=False))
    else:
        _print(screen, _grid(columns, cells, framed=screen.is_terminal))


def _needed(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> int:
    """The narrowest width at which no column of the table is a sliver."""
    from rich.cells import cell_len

    widest = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    return sum(min(width, _READABLE) + 3 for width in widest)


def write_pairs(pairs: Iterable[tuple[str, Any]]) -> None:
    """Names and values below each other."""
    rows = [[name, as_text(value)] for name, value in pairs]
    _print(console(), _grid((), rows, framed=False))


def write_heading(text: str) -> None:
    click.echo()
    click.secho(clean(text), bold=True)


def write_line(text: str = "") -> None:
    click.echo(clean(text))


def _grid(columns: Sequence[str], rows: Sequence[Sequence[str]], *, framed: bool) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD if framed else None,
        show_header=bool(columns),
        pad_edge=False,
        show_edge=False,
        padding=(0, 1 if framed else 2, 0, 0),
    )
    for name in columns:
        table.add_column(Text(clean(name)), overflow="fold")
    if not columns:
        table.add_column(no_wrap=True)  # names
        table.add_column(overflow="fold")
    for row in rows:
        # Text, not str: brackets of a platform's text are no markup.
        table.add_row(*map(Text, row))
    return table


def _print(screen: Console, table: RenderableType) -> None:
    """Without the blanks that pad a row to the table's width."""
    with screen.capture() as captured:
        screen.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())
