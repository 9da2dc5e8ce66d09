"""`contact-bridge`: the entry point and the table of its commands."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from service.cli import failures
from service.cli.context import Context
from service.cli.groups import Lazy, LazyGroup

# pydantic would look through all that is installed for plugins, of which there are none: a tenth of a start.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

PROGRAM = "contact-bridge"

# In the order of the documentation. A command appears as soon as its module exists.
COMMANDS = (
    Lazy("demo", "demo", "Try it: both platforms emulated, synced both ways, explained."),
    Lazy("sandbox", "sandbox", "Run the two emulated platforms alone."),
    Lazy("check", "check", "Check settings, database, platforms and credentials."),
    Lazy("setup", "check", "Create on OnVoard what the bridge needs there."),
    Lazy("backfill", "sync", "Pull everything into the mirror; never pushes."),
    Lazy("import", "sync", "Import contacts exported from Digital Onboarding as CSV."),
    Lazy("sync", "sync", "Run one whole cycle: pull, reconcile, push."),
    Lazy("plan", "plan", "Show what a sync would change, without pushing."),
    Lazy("apply", "plan", "Push exactly a saved plan."),
    Lazy("undo", "plan", "Make a plan that restores what a run changed."),
    Lazy("run", "run", "Run the daemon: scheduled jobs, and its health."),
    Lazy("status", "status", "Is it in sync? Jobs, cursors, runs, outbox, conflicts."),
    Lazy("verify", "verify", "Is the mirror right? Compare it with both platforms."),
    Lazy("query", "query", "Run read-only SQL on the mirror."),
    Lazy("explain", "explain", "Show both sides of a person and where each value came from."),
    Lazy("conflicts", "conflicts", "Show and resolve what needs a person's decision."),
    Lazy("people", "people", "Join and cut links by hand."),
    Lazy("outbox", "outbox", "Show pending and dead pushes."),
    Lazy("webhooks", "webhooks", "Show, register and remove webhooks; look into their events again."),
    Lazy("jobs", "jobs", "Show the daemon's jobs; run, pause and resume one."),
    Lazy("rules", "rules", "Show and test what happenings on OnVoard ask for."),
    Lazy("consent", "consent", "Report, per opt-out, when it was seen and when the other side had it."),
    Lazy("forget", "forget", "Erase a person, on both platforms and here; with a certificate."),
    Lazy("db", "db", "Migrate the database: upgrade, downgrade, current."),
)


class Bridge(LazyGroup):
    """The top of the command line: whatever goes wrong below ends as a message and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        shared = extra.setdefault("obj", Context())

        def run() -> Any:
            # `python -m service` is the same program under the same name.
            return super(Bridge, self).main(args, PROGRAM, complete_var, standalone_mode=False, **extra)

        if not standalone_mode:
            return run()
        sys.exit(failures.exit_code_of(run, shared))


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from importlib import metadata

    try:
        version = metadata.version(PROGRAM)
    except metadata.PackageNotFoundError:  # a checkout that was never installed
        version = "(not installed)"
    click.echo(f"{PROGRAM} {version}")
    ctx.exit()


@click.group(cls=Bridge, commands_table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", metavar="FILE", help="Settings file  [default: config/bridge.toml]")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
@click.pass_obj
def cli(shared: Context, config: str | None) -> None:
    """Keep the contacts of OnVoard and Digital Onboarding in step.

    \b
    Exit codes: 0 done · 1 failed, run it again · 2 wrong usage or settings,
    or an un-migrated database · 3 done, but something needs a person.
    """
    shared.config = config


def main() -> NoReturn:
    """The console script."""
    # A quarter of a short command's time would go to looking for garbage among its modules, which stay to the end, and
    # once more at the end itself. What may last calls `settle_in`.
    gc.disable()
    try:
        cli.main()
    finally:
        gc.freeze()
    raise AssertionError("click leaves by SystemExit")
