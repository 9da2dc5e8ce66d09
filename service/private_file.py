"""Small JSON files of this machine's own, that nobody else may read: mode 0600, replaced as a whole."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any


def read(path: Path) -> Any:
    """None where there is none, or others could have read it, or put it there."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def write(path: Path, document: Any) -> None:
    """OSError where that cannot be done; then it is as it was."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(document, file)
        os.replace(name, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
