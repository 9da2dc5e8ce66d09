"""The operator's loaders: one file of SQL each, with a head of comments (contract section 7)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from service.core.loaders import Key, Loader, Missing, Target
from service.core.nearest import did_you_mean
from service.errors import SettingsError
from service.settings import Settings
from service.settings.values import duration, positive

E = TypeVar("E", bound=StrEnum)

_HEAD = re.compile(r"--\s*(?P<key>[A-Za-z][A-Za-z0-9_-]*)\s*:(?P<value>.*)")
_NEEDED = ("target", "key")


def read_loaders(settings: Settings) -> tuple[Loader, ...]:
    """By name; none where there is no folder. SettingsError with every problem: file, line, what may stand there."""
    folder = settings.paths.loaders
    if not folder.exists():
        return ()
    if not folder.is_dir():
        raise SettingsError([f"{folder}: is no folder; loaders are the .sql files of a folder"])
    problems: list[str] = []
    loaders = [_read(path, problems) for path in sorted(folder.glob("*.sql"))]
    if problems:
        raise SettingsError(problems)
    return tuple(loader for loader in loaders if loader is not None)


def _read(path: Path, problems: list[str]) -> Loader | None:
    """None where there is something to say about it, which is then among the problems."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}")
        return None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problems.append(f"{path} line {line}: is not UTF-8 text; save it as UTF-8")
        return None
    found, told = _header(lines)
    problems += [f"{path} line {line}: {problem}" for line, problem in sorted(told)]
    if told:
        return None
    return Loader(name=path.stem, sql=_sql(lines), **found)


def _header(lines: list[str]) -> tuple[dict[str, Any], list[tuple[int, str]]]:
    """-> (what the head says, and what is wrong with it by line)"""
    found: dict[str, Any] = {}
    told: list[tuple[int, str]] = []
    places: dict[str, int] = {}
    for line, key, text in _said(lines):
        if key not in _VALUES:
            told.append((line, f"unknown key {key}{did_you_mean(key, _VALUES)} (the keys are {', '.join(_VALUES)})"))
        elif key in places:
            told.append((line, f"{key} stands in line {places[key]} already; keep one of them"))
        else:
            places[key] = line
            try:
                found[key] = _VALUES[key](text)
            except ValueError as error:
                told.append((line, f"{key} {text!r}: {error}"))
    for key in _NEEDED:
        if key not in places:
            told.append((1, f"-- {key}: is missing; it is one of {_choices(Target if key == 'target' else Key)}"))
    if not _sql(lines):
        told.append((len(lines) or 1, "there is no SELECT below the head"))
    target = found.get("target")
    if found.get("missing") is Missing.CLEAR and target is not None and not target.clears:
        able = " and ".join(each.value for each in Target if each.clears)
        told.append((places["missing"], f"{target} cannot be taken back: clear is for {able}; write keep"))
    return found, told


def _said(lines: list[str]) -> Iterator[tuple[int, str, str]]:
    """(line, key, value) of the comments before the first SQL; one that is no `key: value` is a remark."""
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and not text.startswith("--"):
            return
        if said := _HEAD.fullmatch(text):
            yield number, said["key"].lower(), _value(said["value"])


def _value(text: str) -> str:
    """Without what explains it: `person_id    (or email)`."""
    return re.sub(r"\s+\(.*\)$", "", text.strip())


def _sql(lines: list[str]) -> str:
    """Without the head and what ends it; empty where nothing is asked for."""
    body = list(lines)
    while body and (not body[0].strip() or body[0].strip().startswith("--")):
        body.pop(0)
    return re.sub(r"[;\s]+$", "", "\n".join(body))


def _choices(kind: type[StrEnum]) -> str:
    return ", ".join(each.value for each in kind)


def _one_of(kind: type[E]) -> Callable[[str], E]:
    def read(text: str) -> E:
        try:
            return kind(text)
        except ValueError:
            meant = did_you_mean(text, [each.value for each in kind])
            raise ValueError(f"it is one of {_choices(kind)}{meant}") from None

    return read


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("it is true or false")
    return text == "true"


def _duration(text: str) -> timedelta:
    return positive(duration(text))


_VALUES: dict[str, Callable[[str], Any]] = {
    "target": _one_of(Target),
    "key": _one_of(Key),
    "missing": _one_of(Missing),
    "schedule": _duration,
    "timeout": _duration,
    "enabled": _flag,
}
