"""Debian's Chromium, driven by Playwright, which brings no browser of its own along."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, Request, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
# As root there is no sandbox; and nothing is looked for outside of this machine.
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
_GRAVE = ("serious", "critical")
_NOBODY_IS_THERE = {"DEBIAN_FRONTEND": "noninteractive"}


def executable() -> str:
    """Skips the test where there is no browser and none may be installed; with BROWSER_REQUIRED=1 that is a failure."""
    found = _found() or _installed()
    if found is None:
        reason = f"no browser is installed (none of {', '.join(NAMES)}): apt-get install chromium, as root"
        if os.environ.get("BROWSER_REQUIRED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def _found() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


@cache
def _installed() -> str | None:
    """Debian's, where this is root on a Debian. By one of the tests' processes; the others wait for it."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return None
    apt = ("apt-get", "--quiet", "--yes", "--no-install-recommends")
    with (Path(tempfile.gettempdir()) / "contact-bridge-tests-apt.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if _found() is None:
            for work in (["update"], ["install", "chromium"]):
                # Where it fails, the tests say that there is no browser.
                subprocess.run([*apt, *work], env=os.environ | _NOBODY_IS_THERE, capture_output=True, timeout=300)
    return _found()


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    path = executable()
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=path, args=QUIET)
        yield running
        await running.close()


class Watched:
    """A page, and everything that went wrong on it."""

    def __init__(self, page: Page) -> None:
        self.page, self.wrong = page, list[str]()
        page.on("console", lambda said: self.wrong.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("requestfailed", self._failed)
        page.on("response", lambda answer: self.wrong.append(answer.url) if answer.status >= 400 else None)

    def _failed(self, request: Request) -> None:
        """But for what the browser gave up itself: an icon that was on its way when the next page was opened."""
        if request.failure != "net::ERR_ABORTED":
            self.wrong.append(f"failed: {request.url}")

    async def grave(self) -> list[str]:
        """What axe finds that shuts somebody out."""
        found: Any = (await Axe().run(self.page)).response
        return [
            f"{each['id']}: {node['html']}"
            for each in found["violations"]
            if each["impact"] in _GRAVE
            for node in each["nodes"]
        ]
