"""What travels with the code: its version, and where its files are (inside the package when installed from a wheel,
at the top of the checkout otherwise)."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def migrations_dir() -> Path:
    """Alembic's script location."""
    return _find("migrations")


def config_dir() -> Path:
    """The default configuration: `bridge.toml` as an example, and the built-in defaults of the other files."""
    return _find("config")


def version() -> str:
    try:
        return metadata.version("contact-bridge")
    except metadata.PackageNotFoundError:  # a checkout that was never installed
        return "unknown"


def _find(name: str) -> Path:
    packed = _PACKAGE / f"_{name}"
    return packed if packed.is_dir() else _PACKAGE.parent / name
