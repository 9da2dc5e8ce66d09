"""An emulated OnVoard account: state, console and HTTP."""

from service.sandbox.onvoard.console import OnVoard
from service.sandbox.onvoard.http import guard, routes
from service.sandbox.onvoard.settings import OnVoardSettings

__all__ = ["OnVoard", "OnVoardSettings", "guard", "routes"]
