"""What whoever asks the mirror for more than a SELECT is told."""

from __future__ import annotations

from typing import NoReturn

from service.errors import UsageError

READ_ONLY = "the mirror is read-only here"
HINT = "one SELECT; the columns are in the documentation of the mirror"


def no_rows() -> NoReturn:
    raise UsageError(f"{READ_ONLY}, and this statement returns no rows", hint=HINT)
