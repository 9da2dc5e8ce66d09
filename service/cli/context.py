"""What every command shares: the settings, the mirror, the logs and the event loop, each made when first asked for."""

from __future__ import annotations

import gc
import sys
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from service.settings import Settings
    from service.store.database import Database

T = TypeVar("T")


NEW_OBJECTS = 50_000
"""A few pages of records: hardly any is garbage that refers to itself, and each look at all of them takes a while."""
TURN = 0.001
"""Seconds after which a busy thread lets another one go on, in place of 0.005: a writer asks the database for something
short ten times in a transaction, and for each answer it would wait so long for the event loop's thread."""


def settle_in() -> None:
    """The imports are over, and work begins that may last: from now on garbage is looked for, and among what comes now
    (see `main`)."""
    if not gc.isenabled():
        gc.freeze()
        gc.set_threshold(NEW_OBJECTS)
        gc.enable()
        sys.setswitchinterval(TURN)


class Context:
    """Made once per invocation; `close` is called however the command ends."""

    def __init__(self, config: str | None = None) -> None:
        self.config = config
        self.loaded_settings: Settings | None = None
        self._overrides: dict[str, object] = {}
        self._closing = ExitStack()
        self._logs = self._telemetry = False

    def override(self, key: str, value: object) -> None:
        """A command line option that is a setting (`limits.max_wait`); before the settings are first asked for."""
        if self.loaded_settings is not None:
            raise RuntimeError(f"{key}: the settings were already read")
        self._overrides[key] = value

    @property
    def settings(self) -> Settings:
        """The settings, read when they are first asked for. Raises SettingsError."""
        if self.loaded_settings is None:
            from service import settings

            self.loaded_settings = settings.load(self._overrides, self.config)
        return self.loaded_settings

    def read_again(self) -> Settings:
        """From where they were read before: the files may have changed. Raises SettingsError."""
        from service import settings

        return settings.load(self._overrides, self.config)

    def set_up_logs(self, *, quietly: bool = False) -> None:
        """Once; what only looks into the mirror logs nothing, and needs none. `quietly`: at a terminal a command's own
        words say what it did; its log line is for those who keep logs."""
        from service import logs

        if not self._logs:
            log, secrets = self.settings.log, self.settings.secrets()
            unasked = quietly and sys.stderr.isatty() and self.settings.source_of("log.level") == "default"
            logs.setup(log.format, "warning" if unasked else log.level, secrets)
            self._logs = True

    def set_up_telemetry(self) -> None:
        """Once, where the settings ask for it. Raises SettingsError."""
        asked = self.settings.telemetry
        if not self._telemetry and (asked.otlp_endpoint or asked.sentry_dsn):
            from service import telemetry
            from service.resources import version

            self._closing.callback(telemetry.set_up(self.settings, version()))
            self._telemetry = True

    def report(self, error: BaseException) -> None:
        """A defect, to whoever is to hear of it."""
        if self._telemetry:
            from service import telemetry

            telemetry.defect(error, part="cli")

    def database(self, *, create: bool = False) -> Database:
        """The migrated mirror, or an error that names the command to run.

        `create`: for those that may create SQLite's default file (run, sync, backfill, import).
        """
        database = self.unchecked_database()
        from service.store import migrate

        migrate.require_current(database, create=create and self._is_default_file())
        return database

    def unchecked_database(self) -> Database:
        """The mirror in whatever state it is; for `db` and `check`."""
        from service.store.database import Database

        database = Database(self.settings.database_url.get_secret_value())
        self._closing.callback(database.close)
        return database

    def _is_default_file(self) -> bool:
        default: object = type(self.settings).model_fields["database_url"].default
        return self.settings.database_url == default

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Runs the async part of a command to its end; Ctrl-C cancels it first."""
        import asyncio

        from service.errors import SettingsError

        self.set_up_logs(quietly=True)
        try:
            self.set_up_telemetry()
        except SettingsError:
            main.close()
            raise
        settle_in()
        return asyncio.run(main)

    def close(self) -> None:
        self._closing.close()


pass_context = click.make_pass_decorator(Context)
