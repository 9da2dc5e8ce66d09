"""An emulated Digital Onboarding team: state, console and HTTP."""

from service.sandbox.digital_onboarding.console import DigitalOnboarding
from service.sandbox.digital_onboarding.routes import routes
from service.sandbox.digital_onboarding.settings import DigitalOnboardingSettings
from service.sandbox.digital_onboarding.tokens import guard

__all__ = ["DigitalOnboarding", "DigitalOnboardingSettings", "guard", "routes"]
