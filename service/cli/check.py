"""`contact-bridge check` and `contact-bridge setup`: is everything in place, and putting it there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from service.cli import output
from service.cli.context import Context, pass_context
from service.errors import DatabaseError, ForeignAccount

if TYPE_CHECKING:
    from service.checks import Check
    from service.settings import Settings
    from service.setup import Part
    from service.store.database import Database

_MARKS = {True: "ok", False: "FAIL", None: "-"}


@click.command()
@output.format_option("table", "json")
@pass_context
def check(ctx: Context, output_format: str) -> int:
    """Check settings, mapping, rules, database, both platforms, credentials and OnVoard's schema. Changes nothing."""
    settings = ctx.settings
    from service import checks

    found = ctx.run(_all(settings))
    if output_format == "json":
        output.write_json(each.as_row() for each in found)
    else:
        _show(found)
    return checks.exit_code(found)


async def _all(settings: Settings) -> list[Check]:
    import asyncio

    from service import checks, loader_checks, rule_checks

    parts = await asyncio.gather(checks.all_checks(settings), rule_checks.all_checks(settings))
    return [*(each for part in parts for each in part), await asyncio.to_thread(loader_checks.check, settings)]


def _show(found: list[Check]) -> None:
    width = max(len(each.check) for each in found)
    for each in found:
        mark = "note" if each.ok and each.next else _MARKS[each.ok]
        advice = f" | next: {each.next}" if each.next else ""
        output.write_line(f"{mark:<5} {each.check:<{width}}  {each.detail}{advice}")
    failed = sum(each.ok is False for each in found)
    output.write_line()
    output.write_line(f"{failed} of {len(found)} checks failed." if failed else "All is well.")


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what is there and what would be done.")
@click.option("--relabel", is_flag=True, help="Also give names, labels and descriptors back that were changed there.")
@click.option("--renew-secret", is_flag=True, help="Also give the webhook the secret again: it cannot be looked at.")
@pass_context
def setup(ctx: Context, /, dry_run: bool, **options: bool) -> int:
    """Create and repair on OnVoard what the bridge needs there: property types, resources, activity types, a webhook.

    What is as it should be is left alone, so it may run again at any time. Webhooks need web.public_url and
    onvoard.webhook_secret.
    """
    ctx.settings.require_platforms()
    database = ctx.unchecked_database()
    parts, mirror = ctx.run(_set_up(ctx.settings, database, dry_run, options))
    from service.setup import REMEDY, State

    output.write_table(
        ["on OnVoard", "name", "state", "detail"], [[part.what, part.name, part.state, part.detail] for part in parts]
    )
    _sum_up(parts, mirror)
    states = {part.state for part in parts}
    if State.WRONG in states:
        output.write_line(f"Next: {REMEDY}")
    if State.REFUSED in states:
        output.write_line("Next: mend what was refused (403: the rights of BRIDGE_ONVOARD__API_KEY), then run it again")
    return 1 if states & {State.WRONG, State.REFUSED} else 0


async def _set_up(
    settings: Settings, database: Database, dry_run: bool, options: dict[str, bool]
) -> tuple[list[Part], str]:
    """-> (what was found and done, what became of the mirror)"""
    from service import app, setup

    async with app.open_bridge(settings, database) as bridge:
        why_not = no_mirror(settings, database)
        more = [] if why_not else setup.of_loaders(bridge)
        if dry_run:
            return await setup.survey(bridge.onvoard, settings, more=more, **options), ""
        parts = await setup.complete(bridge.onvoard, settings, more=more, **options)
        if not why_not:
            await setup.refresh_mirror(bridge)
        return parts, f"The mirror was left alone: {why_not}" if why_not else "The mirror knows of it."


def no_mirror(settings: Settings, database: Database) -> str:
    """Why the mirror cannot be told, "" where it can. ForeignAccount before anything is made on the wrong account,
    where it would stay for good."""
    from service import checks
    from service.store import migrate

    if checks.will_be_created(settings, database):
        return "it will be created by the first import, backfill, sync or run"
    try:
        migrate.require_current(database)
        with database.begin(write=False) as conn:
            accounts = [checks.check_account(conn, settings, platform) for platform in checks.PLATFORMS]
    except DatabaseError as error:
        return str(error)
    for account in accounts:
        if account.ok is False:
            raise ForeignAccount(f"{account.check}: {account.detail}", hint=account.next)
    return ""


def _sum_up(parts: list[Part], mirror: str) -> None:
    from collections import Counter

    counts = Counter(str(part.state) for part in parts)
    output.write_line()
    output.write_line(", ".join(f"{number} {state}" for state, number in counts.items()) + ".")
    if mirror:
        output.write_line(mirror)
