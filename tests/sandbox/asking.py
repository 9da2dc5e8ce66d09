"""How the tests ask: quickly, and for tokens as the document recommends."""

from __future__ import annotations

from typing import Any

import httpx

from service.sandbox import Sandbox

# Loading the certificates of a TLS context takes longer than most of these tests.
QUICK: Any = {"trust_env": False, "verify": False}


def fetch_token(sandbox: Sandbox, **overrides: Any) -> httpx.Response:
    """Ask for a token as the document recommends: Basic auth, form body."""
    arguments: dict[str, Any] = {
        "auth": (sandbox.client_id, sandbox.client_secret),
        "data": {"grant_type": "client_credentials"},
    }
    arguments.update(overrides)
    return httpx.post(f"{sandbox.digital_onboarding_url}/oauth2/token", **QUICK, **arguments)
