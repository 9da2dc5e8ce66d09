"""`contact-bridge consent`: what became of every opt-out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Any

import click

from service.cli import output
from service.cli.context import Context, pass_context
from service.cli.groups import DefaultGroup
from service.cli.moment import Moment


class _Group(DefaultGroup):
    default = "report"


@click.group(cls=_Group)
def consent() -> None:
    """Who opted out where, and when the other side knew. Alone: `report`."""


@consent.command()
@click.option("--since", type=Moment(), help="Only opt-outs first seen from then on.")
@click.option("--open", "still_open", is_flag=True, help="Only those that the other side has not confirmed.")
@output.format_option()
@pass_context
def report(ctx: Context, since: datetime | None, still_open: bool, output_format: str) -> None:
    """Per opt-out: where and when it was first seen, when it was confirmed on the other side, and the delay."""
    from service.store import consent_report

    with ctx.database().begin(write=False) as conn:
        rows: Iterable[Mapping[str, Any]] = consent_report.report(conn, since)
        if still_open:
            rows = (row for row in rows if row["state"] in consent_report.OPEN)
        if output_format == "table":
            rows = list(rows)
        columns = consent_report.COLUMNS
        output.write_rows(columns, ([row[name] for name in columns] for row in rows), output_format)
    if output_format == "table":
        output.write_line(_summary(list(rows)))


def _summary(rows: Sequence[Mapping[str, Any]]) -> str:
    delays = [row["delay_seconds"] for row in rows if row["delay_seconds"] is not None]
    told = f"{len(rows)} opt-outs, {len(delays)} confirmed on the other side"
    return f"{told}; the delay is {median(delays):.0f} s at the median, {max(delays)} s at most" if delays else told
