"""`contact-bridge rules`: what the operator's rules say, and whether they do what their tests expect."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.cli import output
from service.cli.context import Context, pass_context
from service.cli.groups import DefaultGroup
from service.cli.moment import Ago

if TYPE_CHECKING:
    from service.core.rules import Rule

TOUCHED = ("rule", "person_id", "email", "unique_id", "at", "but")
COLUMNS = ("name", "when", "then", "since", "again_after", "enabled")


@click.group(cls=DefaultGroup)
def rules() -> None:
    """What happens on OnVoard, and asks for something on Digital Onboarding. Alone: `list`."""


@rules.command("list")
@output.format_option()
@pass_context
def list_(ctx: Context, output_format: str) -> None:
    """List the rules of the rules file, in its order."""
    from service.rules_file import ruleset

    rows = [_row(rule) for rule in ruleset(ctx.settings).rules]
    if not rows and output_format == "table":
        output.write_line(f"No rules: {_why_none(ctx.settings.paths.rules)}.")
        return
    output.write_rows(COLUMNS, ([row[name] for name in COLUMNS] for row in rows), output_format)


def _why_none(path: Path) -> str:
    return f"{path} holds none" if path.exists() else f"there is no {path}"


def _row(rule: Rule) -> dict[str, Any]:
    """`since` null: its own first run. `again_after` null: never again."""
    from service.core.rule_words import in_words, span

    return {
        "name": rule.name,
        "when": in_words(rule.when),
        "then": in_words(rule.then),
        "since": rule.since,
        "again_after": rule.again_after and span(rule.again_after),
        "enabled": rule.enabled,
    }


@rules.command("test")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@pass_context
def test(ctx: Context, file: Path | None) -> int:
    """Run the rules against fixtures: a happening in, the expected actions out. Touches nothing.

    FILE: the fixtures  [default: rules.tests.toml beside the rules file]. Exit 1 where a rule does something else.
    """
    from service.errors import SettingsError, UsageError
    from service.rule_fixtures import differences, path_of, read_tests
    from service.rules_file import ruleset

    path = ctx.settings.paths.rules
    found = ruleset(ctx.settings)
    if not path.exists():
        raise UsageError(f"there are no rules to test: there is no {path}", hint="write it, or set paths.rules")
    try:
        tests = read_tests(file or path_of(path), found, datetime.now(UTC))
    except SettingsError as error:
        error.hint = "mend the fixtures"
        raise
    results = [(each.name, differences(each, found)) for each in tests]
    for name, differs in results:
        output.write_line(f"{'FAIL' if differs else 'ok':<5} {name}")
        for difference in differs:
            output.write_line(f"      {difference}")
    failed = sum(bool(differs) for _, differs in results)
    output.write_line()
    number, what = (failed, "failed") if failed else (len(tests), "passed")
    output.write_line(f"{number} of {len(tests)} tests {what}.")
    return 1 if failed else 0


@rules.command("backtest")
@click.argument("names", nargs=-1)
@click.option("--since", type=Ago(), default="90d", show_default=True, help="90d, 12h, or a date.")
@output.format_option()
@pass_context
def backtest(ctx: Context, names: tuple[str, ...], since: datetime, output_format: str) -> None:
    """Show whom the rules (or NAMES of them) would have touched, and when, by what the mirror holds. Pushes nothing.

    As if they had not acted before. Of a tag, a list, a segment or a property it is only known for whom it holds now.
    """
    from service.backtesting import backtest
    from service.errors import UsageError
    from service.rules_file import ruleset

    known = ruleset(ctx.settings).rules
    if unknown := set(names) - {rule.name for rule in known}:
        raise UsageError(f"there is no rule {', '.join(sorted(unknown))}", hint="contact-bridge rules list")
    with ctx.database().begin(write=False) as conn:
        told = backtest(conn, [rule for rule in known if not names or rule.name in names], since)
        rows = [[getattr(each, name) for name in TOUCHED] for each in told]
    if rows or output_format != "table":
        output.write_rows(TOUCHED, rows, output_format)
    if output_format == "table":
        people = len({row[1] for row in rows})
        output.write_line(f"{len(rows)} times, {people} people, since {since:%Y-%m-%d %H:%M} UTC. Nothing was pushed.")
