"""The one way to get `Settings`: find the file, merge the sources, judge the values, report all that is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from service.errors import SettingsError
from service.settings import sources
from service.settings.models import KNOWN, PATHS, SECRETS, Settings, variable
from service.settings.sources import Given, Source
from service.settings.values import is_loopback

_DEFAULT_FILE = Path("config/bridge.toml")
_DEFAULT_PATHS = {"paths.mapping": "mapping.toml", "paths.rules": "rules.toml", "paths.loaders": "loaders"}
_ADDRESSES = frozenset({"onvoard.base_url", "digital_onboarding.base_url", "web.public_url"})


def load(
    overrides: Mapping[str, object] | None = None,
    config: str | Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Settings from the command line (`overrides`: dotted name → value), the environment, the TOML file and defaults.

    `config` is `--config`; without it `BRIDGE_CONFIG`, then `config/bridge.toml` where there is one.
    Raises SettingsError with every problem. Missing credentials are none: see `Settings.require_platforms`.
    """
    file, problems = _config_file(config, environ)
    read = [
        sources.from_toml(file) if file else Source({}, []),
        sources.from_environment(environ),
        sources.from_overrides(overrides),
    ]
    problems += [problem for source in reversed(read) for problem in source.problems]
    given: dict[str, Given] = {}
    for source in read:
        given |= source.given
    settings, wrong = _judge(given, (file or _DEFAULT_FILE).parent)
    if problems or settings is None:
        raise SettingsError([*problems, *wrong])
    settings._sources.update({key: item.source for key, item in given.items()})
    settings._config_file = file
    return settings


def for_running(new: Settings, old: Settings) -> tuple[Settings, list[str]]:
    """What a daemon that was started with `old` can take of `new`. -> (its settings, keys that wait for a new start)

    SettingsError where the address that it goes on listening on would be open to everybody.
    """
    if new.web.token is None and not is_loopback(old.web.host):
        raise SettingsError([f"web.token ({variable('web.token')}): is required, because it listens on {old.web.host}"])
    before, after = ({"database_url": each.database_url, "web.host": each.web.host, "web.port": each.web.port,
                      "telemetry": each.telemetry} for each in (old, new))  # fmt: skip
    web = new.web.model_copy(update={"host": old.web.host, "port": old.web.port})
    taken = new.model_copy(update={"database_url": old.database_url, "web": web, "telemetry": old.telemetry})
    return taken, [key for key, value in before.items() if value != after[key]]


def _config_file(config: str | Path | None, environ: Mapping[str, str]) -> tuple[Path | None, list[str]]:
    named = config or environ.get("BRIDGE_CONFIG")
    if not named:
        return (_DEFAULT_FILE if _DEFAULT_FILE.is_file() else None), []
    path = Path(named).expanduser()
    if path.is_file():
        return path, []
    what = "is a directory" if path.is_dir() else "no such file"
    return None, [f"{'--config' if config else 'environment variable BRIDGE_CONFIG'}: {path}: {what}"]


def _judge(given: Mapping[str, Given], folder: Path) -> tuple[Settings | None, list[str]]:
    """Typed settings, or what is wrong with each value."""
    nested: dict[str, Any] = {}
    unread: dict[str, str] = {}
    for key, name in _DEFAULT_PATHS.items():
        _put(nested, key, (folder / name).absolute())
    for key, item in given.items():
        try:
            _put(nested, key, _value(key, item))
        except ValueError as error:
            unread[key] = str(error)
    settings, wrong = None, {}
    try:
        settings = Settings.model_validate(nested)
    except ValidationError as error:
        wrong = _reasons(error)
    # An unreadable secret file also looks like a missing secret; the file is the reason to show.
    wrong |= unread
    lines = [_line(key, wrong[key], given.get(key)) for key in KNOWN if key in wrong]
    return (None if lines else settings), lines


def _value(key: str, given: Given) -> object:
    if given.from_file:
        return sources.secret_from_file(given)
    if key in PATHS and isinstance(given.value, str | Path):
        return (given.folder / Path(given.value).expanduser()).absolute()
    return given.value


def _put(nested: dict[str, Any], key: str, value: object) -> None:
    group, _, name = key.rpartition(".")
    (nested.setdefault(group, {}) if group else nested)[name] = value


def _reasons(error: ValidationError) -> dict[str, str]:
    """The first reason for each setting; unions would give one per member."""
    found: dict[str, str] = {}
    for item in error.errors(include_input=False, include_url=False, include_context=False):
        parts = [str(part) for part in item["loc"]]
        key = next((k for n in (2, 1) if (k := ".".join(parts[:n])) in KNOWN), ".".join(parts))
        message = item["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        found.setdefault(key, message)
    return found


def _line(key: str, reason: str, given: Given | None) -> str:
    if given is None:
        return f"{key} ({variable(key)}): {reason}"
    # Addresses may carry a password by mistake.
    hidden = key in SECRETS or key in _ADDRESSES or given.from_file
    shown = "" if hidden else f", not {str(given.value)[:60]!r}"
    return f"{key} ({given.source}): {reason}{shown}"
