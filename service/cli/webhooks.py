"""`contact-bridge webhooks`: what the two platforms tell of, and what has come of it."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from service.cli import output
from service.cli.context import Context, pass_context
from service.cli.groups import DefaultGroup
from service.cli.moment import Ago
from service.cli.sync import LEASE_WAIT
from service.errors import NobodyFound, UsageError

if TYPE_CHECKING:
    from service.bridge import Report
    from service.platforms.onvoard.client import OnVoard
    from service.settings import Settings
    from service.setup import Part
    from service.store.database import Database

_EVENTS = ("platform", "came", "pending", "processed", "ignored", "failed", "last_at")
_HOOKS = ("id", "ours", "active", "url", "event_types")
_REPLAYED = ("id", "platform", "type", "status", "reason")


@click.group(cls=DefaultGroup)
def webhooks() -> None:
    """OnVoard's webhooks, and the events of both platforms. Alone: `list`."""


@webhooks.command("list")
@output.format_option("table", "json")
@pass_context
def list_(ctx: Context, output_format: str) -> None:
    """List OnVoard's webhooks as they are now, and how many events have come from either platform."""
    ctx.settings.require_platforms()
    database = ctx.database()
    from service.store import inbox

    hooks = ctx.run(_listed(ctx.settings, database))
    with database.begin(write=False) as conn:
        events = [{"platform": name, **figures} for name, figures in inbox.figures(conn).items()]
    if output_format == "json":
        output.write_json({"webhooks": hooks, "events": events})
        return
    if hooks:
        output.write_table(_HOOKS, [[_cell(hook[name]) for name in _HOOKS] for hook in hooks], "Webhooks on OnVoard")
    else:
        output.write_line("OnVoard has no webhooks.")
    output.write_table(_EVENTS, [[row[name] for name in _EVENTS] for row in events], "Events")
    if ctx.settings.web.public_url is None:
        output.write_line("Which of them is this bridge's is not known: set BRIDGE_WEB__PUBLIC_URL")
    elif not any(hook["ours"] and hook["active"] for hook in hooks):
        output.write_line("None of them tells this bridge anything. Next: contact-bridge webhooks register")


def _cell(value: Any) -> Any:
    return " ".join(value) if isinstance(value, list) else value


async def _listed(settings: Settings, database: Database) -> list[dict[str, Any]]:
    from service import app, setup

    async with app.open_bridge(settings, database) as bridge:
        return [
            {"id": hook.id, "ours": setup.is_ours(settings, hook.url or ""), "active": hook.active, "url": hook.url,
             "event_types": list(hook.event_types or ())}
            for hook in await _hooks(bridge.onvoard)
        ]  # fmt: skip


async def _hooks(client: OnVoard) -> list[Any]:
    from service import setup

    known = await setup.known_of(client, setup.What.WEBHOOK)
    return sorted((hook for hooks in known.values() for hook in hooks), key=lambda hook: hook.id)


@webhooks.command()
@click.option("--renew-secret", is_flag=True, help="Give it the secret again: which one it has cannot be looked at.")
@pass_context
def register(ctx: Context, renew_secret: bool) -> int:
    """Register this bridge's webhook on OnVoard, or mend it; and say what to enter in Digital Onboarding.

    The `setup` of the webhook alone. Needs web.public_url and onvoard.webhook_secret.
    """
    settings = ctx.settings
    settings.require_platforms()
    database = ctx.unchecked_database()
    from service.setup import State

    parts: list[Part] = ctx.run(_registered(settings, database, renew_secret))
    output.write_table(("on OnVoard", "state", "detail"), [[part.name, part.state, part.detail] for part in parts])
    _say_what_to_enter(settings)
    return 1 if any(part.state is State.REFUSED for part in parts) else 0


async def _registered(settings: Settings, database: Database, renew_secret: bool) -> list[Part]:
    from service import app, setup
    from service.cli.check import no_mirror

    async with app.open_bridge(settings, database) as bridge:
        why_not = no_mirror(settings, database)
        parts = await setup.register(bridge.onvoard, settings, renew_secret=renew_secret)
        if not why_not:
            await setup.refresh_mirror(bridge, ("webhooks",))
        return parts


def _say_what_to_enter(settings: Settings) -> None:
    from service.setup import THIN_PATH

    output.write_heading("In Digital Onboarding's admin interface (Settings, API Access) enter by hand")
    output.write_pairs([("webhook URL", f"{settings.web.public_url}{THIN_PATH}")])
    if settings.digital_onboarding.webhook_secret is None:
        output.write_line("and set BRIDGE_DIGITAL_ONBOARDING__WEBHOOK_SECRET to the secret that it shows there.")
    else:
        output.write_line("and compare the secret with BRIDGE_DIGITAL_ONBOARDING__WEBHOOK_SECRET, which is set.")


@webhooks.command()
@click.argument("ids", metavar="[ID...]", nargs=-1)
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_context
def remove(ctx: Context, ids: tuple[str, ...], yes: bool) -> None:
    """Remove webhooks from OnVoard: this bridge's own, known by its address, or those with these IDs."""
    if not yes and not sys.stdin.isatty():
        raise UsageError("remove asks first, and there is no terminal", hint="contact-bridge webhooks remove --yes")
    settings = ctx.settings
    settings.require_platforms()
    if not ids and settings.web.public_url is None:
        raise UsageError("which webhook is this bridge's is not known", hint="set BRIDGE_WEB__PUBLIC_URL, or name IDs")
    database = ctx.unchecked_database()
    chosen = _chosen(ctx.run(_listed(settings, database)), ids)
    if not chosen:
        output.write_line("OnVoard has no webhook of this bridge.")
        return
    if not yes:
        for hook in chosen:
            click.echo(f"  {output.clean(hook['id'])}  {output.clean(hook['url'] or '')}", err=True)
        click.confirm("Remove from OnVoard?", abort=True, err=True)
    ctx.run(_removed(settings, database, [hook["id"] for hook in chosen]))
    output.write_line(f"{len(chosen)} removed.")


def _chosen(hooks: list[dict[str, Any]], ids: tuple[str, ...]) -> list[dict[str, Any]]:
    if missing := set(ids) - {hook["id"] for hook in hooks}:
        raise NobodyFound(f"OnVoard has no webhook {', '.join(sorted(missing))}", hint="contact-bridge webhooks list")
    return [hook for hook in hooks if (hook["id"] in ids if ids else hook["ours"])]


async def _removed(settings: Settings, database: Database, ids: list[str]) -> None:
    from service import app, setup
    from service.cli.check import no_mirror

    async with app.open_bridge(settings, database) as bridge:
        why_not = no_mirror(settings, database)
        for hook_id in ids:
            await bridge.onvoard.webhooks.delete(hook_id)
        if not why_not:
            await setup.refresh_mirror(bridge, ("webhooks",))


@webhooks.command()
@click.argument("ids", metavar="[ID...]", nargs=-1)
@click.option("--since", type=Ago(), help="All that came since then, or in the last 2h.")
@click.option("--status", type=click.Choice(["processed", "ignored", "failed", "pending"]), help="All of this status.")
@output.format_option("table", "json")
@pass_context
def replay(ctx: Context, ids: tuple[str, ...], since: datetime | None, status: str | None, output_format: str) -> int:
    """Look into stored events once more: these IDs, or all by --since or --status. Nothing happens twice."""
    if bool(ids) == (since is not None or status is not None):
        raise click.UsageError("name events by their IDs, or all of them by --since or --status")
    ctx.settings.require_platforms()
    database = ctx.database()
    rows, left, report = ctx.run(_replayed(ctx.settings, database, ids, since, status))
    if output_format == "json":
        output.write_json(rows)
    else:
        _tell(rows, left)
    if any(row["status"] == "failed" for row in rows):
        return 1
    return 3 if report is not None and report.needs_person else 0


async def _replayed(
    settings: Settings, database: Database, ids: tuple[str, ...], since: datetime | None, status: str | None
) -> tuple[list[dict[str, Any]], int, Report | None]:
    """-> (what has become of each event, how many were left alone, the run)"""
    from service import app, runs
    from service.store import inbox
    from service.store.lease import lease

    async with app.open_bridge(settings, database) as bridge, lease(database, "cycle", wait=LEASE_WAIT):
        if missing := await database.run(lambda conn: inbox.unknown_among(conn, ids)):
            raise NobodyFound(f"there is no event {', '.join(sorted(missing))}")
        again, left = await database.run(lambda conn: inbox.look_again(conn, ids, since, status))
        if not again:
            return [], left, None
        report = await runs.run(bridge, "inbox", lambda cycle: cycle.look_into_inbox())
        return await database.run(lambda conn: inbox.told_of(conn, again)), left, report


def _tell(rows: list[dict[str, Any]], left: int) -> None:
    if rows:
        output.write_table(_REPLAYED, [[row[name] for name in _REPLAYED] for row in rows])
    counts = Counter(row["status"] for row in rows)
    told = ", ".join(f"{number} {how}" for how, number in sorted(counts.items()))
    output.write_line(f"Looked into again: {told}." if rows else "There are no such events.")
    if left:
        output.write_line(f"{left} name nobody, and were left alone.")
    if rows:
        output.write_line("What they led to leaves with the next sync, or at the daemon's next turn.")
