"""The only reader of environment and configuration files.

`load()` merges command line > environment > TOML file > defaults into one frozen `Settings`, or raises one
`SettingsError` that lists every problem at once. Nothing here reads anything at import.
"""

from service.settings.loading import load
from service.settings.models import Settings
from service.settings.values import is_loopback

__all__ = ["Settings", "is_loopback", "load"]
