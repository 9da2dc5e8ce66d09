"""`contact-bridge verify`: is the mirror right?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from service.cli import output
from service.cli.context import Context, pass_context
from service.verifying import STREAMS

if TYPE_CHECKING:
    from service.bridge import Report
    from service.verifying.tally import Tally

LINES = 20
COLUMNS = ("stream", "checked", "of", "different", "gone", "missing", "stale", "repaired", "drift", "interval")


@click.command()
@click.option("--sample", type=click.IntRange(min=1), help="Records of each stream  [default: verify.sample].")
@click.option("--all", "everything", is_flag=True, help="Compare everything, instead of a sample.")
@click.option("--stream", "streams", multiple=True, type=click.Choice(STREAMS), help="Only this one; may be repeated.")
@click.option("--repair/--no-repair", default=None, help="Put the mirror right  [default: verify.repair].")
@output.format_option("table", "json")
@pass_context
def verify(
    ctx: Context, sample: int | None, everything: bool, streams: tuple[str, ...], repair: bool | None,
    output_format: str,
) -> None:  # fmt: skip
    """Compare the mirror with both platforms, and say what share of it is wrong."""
    if everything and sample is not None:
        raise click.UsageError("--all and --sample exclude each other")
    settings = ctx.settings
    settings.require_platforms()
    database = ctx.database()
    from service import app
    from service.cli.progress import progress
    from service.verifying import comparing

    size = None if everything else sample or settings.verify.sample
    mend = settings.verify.repair if repair is None else repair

    async def work() -> tuple[Report, list[Tally]]:
        async with app.open_bridge(settings, database) as bridge:
            with progress() as shown:
                chosen = dict.fromkeys(streams or STREAMS)
                return await comparing.verify(bridge, chosen, sample=size, repair=mend, progress=shown)

    report, found = ctx.run(work())
    if output_format == "json":
        output.write_json({"run_id": report.run_id, "streams": [_figures(tally) for tally in found]} | _wrong(found))
    else:
        _show(found)


def _figures(tally: Tally) -> dict[str, Any]:
    """One stream; `low` and `high` are the 95 % interval of `drift`, None of all where nothing was compared."""
    drift = None if tally.skipped else asdict(tally.drift)
    return {
        "stream": tally.stream, "skipped": tally.skipped or None, "complete": tally.complete,
        "population": tally.checked if tally.complete else tally.population, "checked": tally.checked,
        **{kind: tally.counts[kind] for kind in ("different", "gone", "missing", "stale", "repaired")},
        "drift": drift and drift["value"], "low": drift and drift["low"], "high": drift and drift["high"],
    }  # fmt: skip


def _wrong(found: Sequence[Tally]) -> dict[str, Any]:
    """Ids and names of columns, and never a value."""
    kept = [{"stream": tally.stream, **asdict(finding)} for tally in found for finding in tally.findings]
    return {"findings": kept, "left_out": sum(tally.wrong for tally in found) - len(kept)}


def _show(found: Sequence[Tally]) -> None:
    figures = [_figures(tally) for tally in found]
    rows = [_row(each) for each in figures if not each["skipped"]]
    if rows:
        output.write_table(COLUMNS, rows)
    for each in figures:
        if each["skipped"]:
            output.write_line(f"{each['stream']}: not compared: {each['skipped']}")
    wrong = _wrong(found)
    if shown := wrong["findings"][:LINES]:
        columns = ("stream", "id", "kind", "columns", "stale", "repaired")
        output.write_table(columns, [[_cell(each[name]) for name in columns] for each in shown], "Wrong in the mirror")
    if more := len(wrong["findings"]) - len(shown) + wrong["left_out"]:
        output.write_line(f"… and {more} more: contact-bridge verify --format json")
    if any(each["stale"] and not each["repaired"] for each in figures):
        output.write_line("Stale is what the next pull or sweep finds by itself; now: contact-bridge sync --full")


def _row(each: dict[str, Any]) -> list[Any]:
    interval = "exact" if each["complete"] else f"{each['low']:.2%} to {each['high']:.2%}"
    counts = [each[name] for name in ("checked", "population", "different", "gone", "missing", "stale", "repaired")]
    return [each["stream"], *counts, f"{each['drift']:.2%}", interval]


def _cell(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, tuple) else value
