"""The traps are numbered from 1 to 55; each has at least one test that is named after it."""

from __future__ import annotations

import re
from pathlib import Path

NUMBERS = range(1, 56)
NAMED = re.compile(r"^(?:async )?def test_trap_(\d\d)_\w+\(", re.MULTILINE)


def test_each_trap_has_a_test_that_is_named_after_it() -> None:
    files = Path(__file__).parent.glob("test_*.py")
    assert {int(number) for file in files for number in NAMED.findall(file.read_text())} == set(NUMBERS)
