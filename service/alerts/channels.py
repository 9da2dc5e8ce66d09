"""How a message reaches whoever is on call: posted to an address, or given to a program."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import httpx

from service.settings import is_loopback

SIGNATURE = "X-Contact-Bridge-Signature"
TIMEOUT = 10.0
"""Seconds that an address may take."""
PATIENCE = 30.0
"""Seconds that a program may take."""
_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""Of the environment: our secrets are in it."""


def signature(secret: str, body: bytes) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


async def post(url: str, secret: str | None, body: bytes) -> str | None:
    """-> why it was not delivered; never the address, which may hold a token. Nothing but 2xx is taken for delivered,
    and no redirect is followed."""
    headers = {"Content-Type": "application/json", "User-Agent": "contact-bridge"}
    if secret is not None:
        headers[SIGNATURE] = signature(secret, body)
    proxied = not is_loopback(urlsplit(url).hostname or "")
    try:
        async with (
            asyncio.timeout(TIMEOUT),
            httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, trust_env=proxied) as client,
        ):
            answer = await client.post(url, content=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
        return f"no answer ({type(error).__name__})"
    return None if answer.is_success else f"answered {answer.status_code}"


async def run(argv: Sequence[str], body: bytes) -> str | None:
    """A program, without a shell, with the message on its standard input; it and its children are killed when its time
    is over. -> why it was not delivered"""
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    pipe, nowhere = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=pipe, stdout=nowhere, stderr=nowhere, env=environment, start_new_session=True
        )
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    try:
        async with asyncio.timeout(PATIENCE):
            await process.communicate(body)
    except TimeoutError:
        return f"took longer than {PATIENCE:g} s"
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return None if process.returncode == 0 else f"ended with {process.returncode}"
