"""An operator's TOML file, and in which line something stands: tomllib keeps no positions."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from service.errors import SettingsError

Row = dict[str, Any]
# What ends a list, or a list in a table in a list, that is still open at the end of a line.
_ENDS = ("", "\n]", "\n]}]")


def read(path: Path) -> tuple[str, Row]:
    """-> (its text, what that says). SettingsError where it is no UTF-8 text or no TOML, with file and line."""
    text = ""
    try:
        text = path.read_text("utf-8-sig")
        return text, tomllib.loads(text)
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SettingsError([f"{path} line {line}: is not UTF-8 text; save it as UTF-8"]) from None
    except ValueError as error:
        raise SettingsError([_syntax(path, text, str(error))]) from None
    except RecursionError:
        raise SettingsError([f"{path} line 1: is nested too deeply"]) from None


def _syntax(path: Path, text: str, message: str) -> str:
    at = re.search(r"\s*\(at line (\d+), column \d+\)", message)
    line = at.group(1) if at else max(1, len(text.rstrip().splitlines()))
    what = re.sub(r"\s*\(at [^)]*\)$", "", message)
    return f"{path} line {line}: is not valid TOML: {what}"


class Lines:
    """The lines of a text that is valid TOML."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._known: dict[int, Row | None] = {}

    def of(self, *path: str | int) -> int:
        """In which line what is at this path begins; what is around it, where that is not there; else 1."""
        whole = self._up_to(len(self._lines)) or {}
        while path and not _is_at(whole, path):
            path = path[:-1]
        return self.first(lambda read: _is_at(read, path)) if path else 1

    def first(self, holds: Callable[[Row], bool]) -> int:
        """The first line up to which what was read holds; 1 where none does. What holds once has to hold from there."""
        found, low, high = 1, 1, len(self._lines)
        while low <= high:
            middle = (low + high) // 2
            # Not every line ends something.
            number = next((each for each in range(middle, high + 1) if self._up_to(each) is not None), None)
            read = self._up_to(number) if number else None
            if number and not (read and holds(read)):
                low = number + 1
            else:
                found, high = number or found, middle - 1
        return found

    def _up_to(self, number: int) -> Row | None:
        """What the first lines say, with what ends a list that is still open there; None in the midst of something."""
        if number not in self._known:
            self._known[number] = _parsed("\n".join(self._lines[:number]))
        return self._known[number]


def _parsed(text: str) -> Row | None:
    for end in _ENDS:
        try:
            return tomllib.loads(text + end)
        except tomllib.TOMLDecodeError:
            continue
    return None


def _is_at(read: Any, path: tuple[str | int, ...]) -> bool:
    for step in path:
        if isinstance(step, int):
            if not isinstance(read, list) or len(read) <= step:
                return False
        elif not isinstance(read, dict) or step not in read:
            return False
        read = read[step]
    return True
