"""Two kinds of click groups: one that imports a command's module on use, and one with a default subcommand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from keyword import iskeyword
from typing import Any

import click


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command that lives in `service.cli.<module>` under its own name (`import_` for `import`)."""

    name: str
    module: str
    help: str

    @property
    def path(self) -> str:
        return f"service.cli.{self.module}"

    def exists(self) -> bool:
        return find_spec(self.path) is not None

    def load(self) -> click.Command | None:
        found = getattr(import_module(self.path), f"{self.name}_" if iskeyword(self.name) else self.name, None)
        return found if isinstance(found, click.Command) else None


class LazyGroup(click.Group):
    """`--help` shows the table's own texts, so that it imports none of the commands and what they stand on."""

    def __init__(self, *args: Any, commands_table: Sequence[Lazy] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = {entry.name: entry for entry in commands_table}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, entry in self._lazy.items() if entry.exists()] + super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self._lazy.get(cmd_name)
        return entry.load() if entry is not None and entry.exists() else super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand:
            # click would look for near names only among the commands it has already loaded.
            raise click.exceptions.NoSuchCommand(args[0], possibilities=self.list_commands(ctx), ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, self._lazy[name].help) for name in self.list_commands(ctx) if name in self._lazy]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


class DefaultGroup(click.Group):
    """`conflicts` alone, or with options only, is `conflicts list`."""

    default = "list"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        asks_for_help = any(arg in self.get_help_option_names(ctx) for arg in args)
        if not args or (args[0].startswith("-") and not asks_for_help):
            args = [self.default, *args]
        return super().parse_args(ctx, args)
