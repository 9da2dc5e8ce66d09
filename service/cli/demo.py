"""`contact-bridge demo`: both platforms emulated, synced both ways, and explained. Nothing real is ever touched."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from service import resources
from service.cli.context import Context, pass_context
from service.errors import BridgeError, UsageError

if TYPE_CHECKING:
    from service.cli.demo_story import Story
    from service.sandbox.server import Sandbox
    from service.settings import Settings
    from service.store.database import Database

_OPEN = ("BRIDGE_LOG__", "BRIDGE_WEB__")
"""The user's settings that a demo may take: none of them leads to an account or a mirror."""


@click.command()
@click.option("--serve", is_flag=True, help="Leave the platforms and the daemon running afterwards, until Ctrl-C.")
@click.option("--seed", type=int, default=1, show_default=True, help="Which people there are.")
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Keep the mirror, its settings and the exports in DIR.",
)  # fmt: skip
@pass_context
def demo(ctx: Context, serve: bool, seed: int, keep: Path | None) -> None:
    """See it work: no credentials needed, and neither your settings nor your mirror are touched.

    Both platforms are emulated on this machine with realistic, messy people; they are imported, linked, synced both
    ways, edited on both sides and synced again, and each step is explained.
    """
    from service.cli.demo_story import Story
    from service.cli.sandbox import running
    from service.sandbox.server import Sandbox

    began, story = time.monotonic(), Story()
    with _folder(keep) as folder, _told(story), _terminable():
        both = Sandbox()
        both.load_world(seed)
        with running(both):
            settings = _settings(ctx, both, folder)
            with closing(_database(settings)) as database:
                _play(ctx, story, both, settings, database, folder)
                _what_next(story, folder if keep else None, time.monotonic() - began)
                if serve:
                    _serve(ctx, story, both, settings, database, folder)


def _play(ctx: Context, story: Story, both: Sandbox, settings: Settings, database: Database, folder: Path) -> None:
    from service.cli.demo_steps import Demo

    ctx.run(Demo(story, both, settings, database, folder).play())


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Where the demo's files go; removed at the end unless it was named. UsageError where files are already."""
    if keep is None:
        with TemporaryDirectory(prefix="contact-bridge-demo-") as name:
            yield Path(name)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
        taken = any(keep.iterdir())
    except OSError as error:
        raise UsageError(f"--keep {keep}: {error.strerror}") from None
    if taken:
        raise UsageError(f"--keep {keep}: is not empty", hint="name a new folder")
    yield keep.absolute()


@contextmanager
def _told(story: Story) -> Iterator[None]:
    """A failure says in which step it happened."""
    try:
        yield
    except BridgeError as error:
        raise BridgeError(f"the demo failed in {story.where}: {error}", hint=error.hint) from error
    except Exception:
        click.echo(f"Error: the demo failed in {story.where}", err=True)
        raise


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does, also where a script has it in the background: all is closed and removed."""
    handlers = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: lambda *_: signal.raise_signal(signal.SIGINT),
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _settings(ctx: Context, both: Sandbox, folder: Path) -> Settings:
    """The demo's own, from a file of its own; of the environment only what is about this terminal."""
    from service import settings as source

    path, examples = folder / "bridge.toml", resources.config_dir() / "examples"
    path.write_text(_TOML.format(
        database=_quoted(f"sqlite:///{folder / 'bridge.db'}"), state=_quoted(str(folder / "state")),
        onvoard=_quoted(both.onvoard_url), api_key=_quoted(both.api_key),
        digital=_quoted(both.digital_onboarding_url),
        client_id=_quoted(both.client_id), client_secret=_quoted(both.client_secret),
        rules=_quoted(str(examples / "rules.toml")), loaders=_quoted(str(examples / "loaders")),
    ), encoding="utf-8")  # fmt: skip
    mine = {name: value for name, value in os.environ.items() if name.startswith(_OPEN)}
    loaded = source.load(config=path, environ=mine)
    ctx.loaded_settings = loaded  # whatever fails is told as it is for every other command
    ctx.set_up_logs()
    return loaded


_TOML = """\
# The settings of a demo: two emulated platforms that existed for as long as it ran.
database_url = {database}
state_dir = {state}

[onvoard]
base_url = {onvoard}
api_key = {api_key}
requests_per_second = 1000  # on this machine nobody has to be spared

[digital_onboarding]
base_url = {digital}
client_id = {client_id}
client_secret = {client_secret}
requests_per_second = 1000

[paths]
rules = {rules}
loaders = {loaders}

[web]
port = 0

[log]
level = "error"  # what the brake holds is part of the story
"""


def _quoted(text: str) -> str:
    """As TOML writes it, which for text is as JSON does."""
    return json.dumps(text, ensure_ascii=False)


def _database(settings: Settings) -> Database:
    from service import app

    return app.open_database(settings)


def _what_next(story: Story, kept: Path | None, seconds: float) -> None:
    click.echo()
    click.secho(f"That was contact-bridge, in {seconds:.0f} seconds. What next?", bold=True)
    if kept is not None:
        story.say("The mirror is kept, with its settings:")
        commands = ("query 'SELECT * FROM people LIMIT 5'", "explain amara.okafor@example.org", "conflicts")
        story.command(*(f"contact-bridge --config {kept / 'bridge.toml'} {command}" for command in commands))
    else:
        story.say("Look around in what the demo leaves behind:")
        story.command(
            "contact-bridge demo --keep DIR     # the mirror, to be queried",
            "contact-bridge demo --serve        # both platforms and the daemon, running",
        )
    story.say("Rehearse with your own Digital Onboarding export:")
    story.command("contact-bridge sandbox --load export.csv")
    story.say("Or begin with your own accounts; set the four credentials, and let it tell what is missing:")
    story.command("contact-bridge check")


def _serve(ctx: Context, story: Story, both: Sandbox, settings: Settings, database: Database, folder: Path) -> None:
    """The daemon, on the mirror of the demo, until Ctrl-C or SIGTERM."""
    from service.cli import run
    from service.web import server

    story.number, story.doing = 0, "serving"
    with server.listen(settings) as listening:
        story.heading("Running until Ctrl-C")
        rows = [
            ("OnVoard", both.onvoard_url),
            ("Digital Onboarding", both.digital_onboarding_url),
            ("the daemon", f"{server.address(listening)}/healthz"),
        ]
        story.table(("what", "where"), rows)
        config = folder / "bridge.toml"
        story.say("In another terminal, any command works on it:")
        story.command(f"contact-bridge --config {config} status")
        story.say("Edit somebody on OnVoard, and look who hears of it:")
        story.command(
            f"curl {both.onvoard_url}/_sandbox/console -d '{_EDIT}'",
            f"contact-bridge --config {config} sync --full",
            f"contact-bridge --config {config} explain amara.okafor@example.org",
        )
        sys.stdout.flush()
        ctx.run(run.serve(settings, database, listening))
    click.echo("Stopped.")


_EDIT = json.dumps({
    "method": "edit_contact", "args": ["amara.okafor@example.org"], "kwargs": {"phone": "+12125550199"},
})  # fmt: skip
