"""`contact-bridge sandbox`: both emulated platforms, until somebody stops them."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.cli.context import settle_in
from service.errors import BridgeError, UsageError
from service.text import clean

if TYPE_CHECKING:
    from service.sandbox.server import Sandbox

PORT = click.IntRange(0, 65535)
_LISTED = 20
"""Bad rows that are told one by one."""


_ADMIN = """\b
While it runs, admin calls change it, on each platform's address:
  GET POST DELETE  /_sandbox/faults    what to break, on which route, how often
  GET POST         /_sandbox/console   what a user of the platform does there
  GET POST         /_sandbox/clock     {"advance": SECONDS} or {"set": ISO TIME}
  GET PATCH        /_sandbox/settings  what the documents leave open
  GET              /_sandbox/journal   what was asked; ?writes=true&since=MARK

\b
A fault is JSON. Its kind is one of
  status        answers "status" with "body"; "after_effect": true takes effect
  rate_limit    429; "retry_after": SECONDS, "retry_after_as": "date" as a date
  delay         "seconds" before it takes effect, or after with "after_effect"
  reset_before  resets the connection, and the request takes no effect
  reset_after   resets it after the request took effect
  truncate      ends in the midst of the body, after the request took effect
  malformed     a body that is no JSON, after the request took effect
It strikes once, on any request, unless it says otherwise: "method", "path"
(both with * for anything), "body_contains", "skip": N requests first,
"times": N (null: until DELETE), "probability". Any kind takes "seconds".

\b
  curl $BRIDGE_ONVOARD__BASE_URL/_sandbox/faults -d \\
    '{"kind": "rate_limit", "retry_after": 5, "path": "/v2/contacts*", "times": 3}'
  curl $BRIDGE_ONVOARD__BASE_URL/_sandbox/console   # names all that it can do
  curl $BRIDGE_ONVOARD__BASE_URL/_sandbox/console -d \\
    '{"method": "unsubscribe", "args": ["jane@example.com"]}'
  curl $BRIDGE_DIGITAL_ONBOARDING__BASE_URL/_sandbox/console -d \\
    '{"method": "configure_webhook", "args": ["http://127.0.0.1:8080/webhooks/digital-onboarding", "SECRET"]}'
"""


@click.command(epilog=_ADMIN)
@click.option("--onvoard-port", type=PORT, default=0, metavar="N", help="Port of OnVoard  [default: any free one]")
@click.option(
    "--digital-onboarding-port", type=PORT, default=0, metavar="N",
    help="Port of Digital Onboarding  [default: any free one]",
)  # fmt: skip
@click.option(
    "--load", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="Your own Digital Onboarding export instead of the demo's people: to rehearse a go-live.",
)  # fmt: skip
@click.option("--empty", is_flag=True, help="Nobody on either platform.")
@click.option("--seed", type=int, default=1, show_default=True, help="Which people the demo's are.")
@click.option(
    "--export", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write the Digital Onboarding export that contact-bridge import takes.",
)  # fmt: skip
def sandbox(
    onvoard_port: int, digital_onboarding_port: int, load: Path | None, empty: bool, seed: int, export: Path | None
) -> int:
    """Run both platforms, emulated on this machine, until Ctrl-C.

    Prints the variables that point contact-bridge at them. Nothing of it is kept.
    """
    if load and empty:
        raise click.UsageError("--load and --empty exclude each other")
    from service.sandbox.server import Sandbox

    both = Sandbox(onvoard_port=onvoard_port, digital_onboarding_port=digital_onboarding_port)
    with stop_signals() as stopped:
        if load is not None:
            _load(both, load)
        elif not empty:
            both.load_world(seed)
        if export is not None:
            write_export(both, export)
        with running(both):
            _announce(both, load or export)
            stopped.wait()
    click.echo("Stopped.", err=True)
    return 0


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, instead of what they usually do."""
    event = threading.Event()
    before = {number: signal.signal(number, lambda *_: event.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def running(both: Sandbox) -> Iterator[Sandbox]:
    """The servers, up for as long as the block runs. BridgeError where a port is taken."""
    settle_in()
    try:
        both.start()
    except OSError as error:
        raise BridgeError(f"the sandbox cannot listen: {error.strerror}", hint="another port, or 0 for any") from None
    try:
        yield both
    finally:
        both.stop()


def write_export(both: Sandbox, path: Path) -> None:
    from service.sandbox.export import export_csv

    try:
        path.write_text(export_csv(both.digital_onboarding), encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None


def _load(both: Sandbox, path: Path) -> None:
    """Bad rows are told and left out. UsageError for what is no export at all."""
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")  # with the line ends that stand in its cells
        report = both.load_export(text)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None
    for problem in report.problems[:_LISTED]:
        click.echo(clean(f"{path}: {problem}"), err=True)
    if len(report.problems) > _LISTED:
        click.echo(f"{path}: and {len(report.problems) - _LISTED} more bad rows", err=True)
    click.echo(f"Loaded {report.loaded} contacts from {path}.", err=True)


def _announce(both: Sandbox, export: Path | None) -> None:
    """The variables on standard output, flushed at once for who reads them through a pipe; all that is said about them
    on standard error, because a pasted comment is an error in some shells."""
    ov, do = both.onvoard, both.digital_onboarding
    click.echo(f"OnVoard             {both.onvoard_url}  {len(ov.contacts)} contacts", err=True)
    click.echo(f"Digital Onboarding  {both.digital_onboarding_url}  {len(do.contacts)} contacts", err=True)
    click.echo("\nPaste these lines into the terminal in which you run contact-bridge:\n", err=True)
    for name, value in both.environment().items():
        click.echo(f"export {name}={shlex.quote(value)}")
    sys.stdout.flush()
    click.echo("\nA mirror belongs to one pair of accounts, so give this pair one of its own:\n", err=True)
    click.echo("export BRIDGE_DATABASE_URL=sqlite:///sandbox.db", err=True)
    import_it = [f"import {shlex.quote(str(export))}"] if export else []
    click.echo("\nThen, one after the other:\n", err=True)
    for step in ["db upgrade", "check", "setup", *import_it, "backfill", "plan", "sync"]:
        click.echo(f"contact-bridge {step}", err=True)
    click.echo("\nFaults, edits by users, the clock: contact-bridge sandbox --help.", err=True)
    click.echo("Ctrl-C ends it; nothing is kept.", err=True)
