"""The three places settings are written in, each read into dotted names with their source. Nothing is judged here
but names: values are `models`' business."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from service.settings.models import GROUPS, KNOWN, SECRETS, variable

_FILES = {f"{key}_file": key for key in SECRETS}
_NAMES = (*KNOWN, *_FILES)
_PREFIX = "BRIDGE_"
_CONFIG = "BRIDGE_CONFIG"
_PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_NAME = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*\[{{1,2}}\s*({_NAME})\s*\]")
_KEY = re.compile(rf"\s*({_NAME})\s*=")
_LARGEST_SECRET_FILE = 64 * 1024  # bytes


@dataclass(frozen=True)
class Given:
    """One written value. `folder` is what a relative path in it starts from."""

    value: object
    source: str
    folder: Path
    from_file: bool = False


@dataclass
class Source:
    """What one place says, by dotted name, and what is wrong with it."""

    given: dict[str, Given]
    problems: list[str]

    def add(self, key: str, given: Given) -> None:
        target = _FILES.get(key, key)
        if target in self.given:
            self.problems.append(f"{target} ({given.source}): given twice, also by {self.given[target].source}")
            return
        self.given[target] = Given(given.value, given.source, given.folder, from_file=key in _FILES)


def nearest(name: str, names: tuple[str, ...]) -> str:
    return difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]


def from_overrides(overrides: Mapping[str, object] | None) -> Source:
    """Command line options by dotted name; None means not given."""
    source = Source({}, [])
    for key, value in (overrides or {}).items():
        if key not in _NAMES:
            source.problems.append(f"{key} (command line): unknown setting; did you mean {nearest(key, _NAMES)}?")
        elif value is not None:
            source.add(key, Given(value, "command line", Path()))
    return source


def from_environment(environ: Mapping[str, str]) -> Source:
    """Every BRIDGE_* variable; an empty one counts as unset, as compose files leave them."""
    source = Source({}, [])
    names = {variable(key): key for key in _NAMES}
    for name in sorted(name for name in environ if name.startswith(_PREFIX) and name != _CONFIG):
        if name not in names:
            near = nearest(name, (*names, _CONFIG))
            source.problems.append(f"environment variable {name}: unknown setting; did you mean {near}?")
        elif environ[name].strip():
            source.add(names[name], Given(environ[name], f"environment variable {name}", Path()))
    return source


def from_toml(path: Path) -> Source:
    """A TOML file; its relative paths start beside it."""
    source = Source({}, [])
    try:
        text = path.read_text(encoding="utf-8-sig")
        document = tomllib.loads(text)
    except OSError as error:
        source.problems.append(f"{path}: cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        source.problems.append(f"{path}: is not UTF-8 text")
    except tomllib.TOMLDecodeError as error:
        source.problems.append(_syntax(path, text, str(error)))
    except RecursionError:
        source.problems.append(f"{path}: is nested too deeply")
    else:
        _read_table(source, path, document, _lines(text))
    return source


def _syntax(path: Path, text: str, message: str) -> str:
    found = re.search(r"\s*\(at line (\d+), column (\d+)\)", message)
    line = int(found.group(1)) if found else max(1, len(text.rstrip().splitlines()))
    what = re.sub(r"\s*\(at [^)]*\)$", "", message)
    return f"{path} line {line}: is not valid TOML: {what}"


def _read_table(source: Source, path: Path, table: Mapping[str, object], lines: Mapping[str, int]) -> None:
    for key, value in _flat(table):
        where = f"{path}{_line_of(key, lines)}"
        if key in _NAMES:
            source.add(key, Given(value, where, path.parent))
        elif key in GROUPS:
            source.problems.append(f"{key} ({where}): is a table of settings, not a value: write [{key}]")
        else:
            near = nearest(key, (*_NAMES, *sorted(GROUPS)))
            source.problems.append(f"{key} ({where}): unknown setting; did you mean {near}?")


def _flat(table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Dotted names with values, one level of tables deep; a table in a setting's place stays one value."""
    for name, value in table.items():
        if name not in _NAMES and isinstance(value, dict) and value:
            yield from ((f"{name}.{inner}", item) for inner, item in value.items())
        elif not (name in GROUPS and value == {}):  # an empty [limits] says nothing
            yield name, value


def _lines(text: str) -> dict[str, int]:
    """Dotted name to line number. tomllib keeps no positions; this reads only what looks like a key or a header."""
    found: dict[str, int] = {}
    table, fence = "", ""
    for number, line in enumerate(text.splitlines(), start=1):
        if fence:
            fence = "" if fence in line else fence
            continue
        if header := _HEADER.match(line):
            table = _plain(header.group(1))
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault(f"{table}.{_plain(key.group(1))}".lstrip("."), number)
            fence = next((mark for mark in ('"""', "'''") if line.count(mark) == 1), "")
    return found


def _plain(name: str) -> str:
    return ".".join(part.strip("\"'") for part in re.findall(_PART, name))


def _line_of(key: str, lines: Mapping[str, int]) -> str:
    """` line 12`; for a key in an inline table the line of the table."""
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return f" line {lines[key]}" if key else ""


def secret_from_file(given: Given) -> str:
    """The text of the file that a `…_FILE` names. ValueError where it cannot be read."""
    path = given.folder / Path(str(given.value)).expanduser()
    try:
        if path.stat().st_size > _LARGEST_SECRET_FILE:
            raise ValueError(f"{path}: is too large for a secret")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8 text") from None
