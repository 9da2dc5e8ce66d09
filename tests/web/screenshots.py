"""`python -m tests.web.screenshots`: the main pages as pictures in docs/dashboard/, with both platforms emulated."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from playwright.async_api import Page, async_playwright
from sqlalchemy import select

from service.sandbox import Sandbox
from service.store import migrate
from service.store import tables as t
from service.store.database import Database
from tests.web.browser import QUIET, executable
from tests.web.dashboard import TOKEN, Served, served, synced

OUT = Path(__file__).parents[2] / "docs" / "dashboard"
PEOPLE = 12
TIGHT = {"limits.max_changed_share": 0.1, "limits.max_changed_count": 2}


async def main() -> None:
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Sandbox() as sandbox:
        os.environ["BRIDGE_STATE_DIR"] = folder
        url = f"sqlite:///{folder}/mirror.db"
        database = Database(url)
        migrate.upgrade(database)
        database.close()
        await _something_happens(url, sandbox)
        async with served(url, sandbox.environment(), now=None, running=True, **TIGHT) as dashboard:
            await asyncio.sleep(3)
            async with async_playwright() as playwright:
                chromium = await playwright.chromium.launch(executable_path=executable(), args=QUIET)
                light = await chromium.new_page(viewport={"width": 1200, "height": 800}, color_scheme="light")
                await _take(light, dashboard, "light", ("", "streams", "conflicts", "brake", "people"))
                dark = await chromium.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
                await _take(dark, dashboard, "dark", ("",))
                await chromium.close()


async def _something_happens(url: str, sandbox: Sandbox) -> None:
    """Twelve people; then both sides of one were edited, one opts in again, and many are edited at once."""
    for number in range(PEOPLE):
        sandbox.onvoard.add_contact(f"person{number}@example.com", name=f"Person Number{number}", city="Lisbon")
    sandbox.onvoard.unsubscribe("person0@example.com")
    for _ in range(2):
        await synced(url, sandbox)
    sandbox.onvoard.add_review("person1@example.com", 5, "Quick and friendly", entity="SITE")
    sandbox.onvoard.resubscribe("person0@example.com")
    for number in range(1, PEOPLE - 2):
        sandbox.onvoard.edit_contact(f"person{number}@example.com", city="Porto")
    await synced(url, sandbox, **TIGHT)


async def _take(page: Page, dashboard: Served, look: str, names: tuple[str, ...]) -> None:
    await page.goto(f"{dashboard.address}/login")
    await page.get_by_label("Token").fill(TOKEN)
    await page.get_by_role("button", name="Sign in").click()
    for name in names:
        await page.goto(f"{dashboard.address}/{name}")
        if name == "people":
            with dashboard.db.begin(write=False) as conn:
                known = conn.execute(select(t.persons.c.id).order_by(t.persons.c.id).offset(1).limit(1)).scalar_one()
            await page.goto(f"{dashboard.address}/people/{known}")
        await page.screenshot(path=OUT / f"{name or 'overview'}-{look}.png", full_page=True)


if __name__ == "__main__":
    asyncio.run(main())
