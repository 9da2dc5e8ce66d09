"""The peers' own environments: a venv each, with the versions of `benchmarks/peers/<name>.txt`."""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".bench"
_LISTS = Path(__file__).resolve().parent / "peers"


def bin_of(name: str) -> Path:
    """The folder of this environment's programs; it is made where it is not there, or where its list has changed."""
    folder, listed = CACHE / "venvs" / name, (_LISTS / f"{name}.txt").read_text()
    programs, stamp = folder / ("Scripts" if os.name == "nt" else "bin"), folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != listed:
        print(f"installing {name} (once)", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        pip = [str(programs / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-deps"]
        subprocess.run([*pip, "-r", str(_LISTS / f"{name}.txt")], check=True, stdin=subprocess.DEVNULL)
        stamp.write_text(listed)
    return programs


def python(name: str) -> str:
    """The interpreter of an environment."""
    return str(bin_of(name) / "python")
