"""The dashboard in a real browser: every page, every action, with a keyboard, in light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser, expect
from sqlalchemy import insert, select, update

from service.sandbox import Sandbox
from service.store import tables as t
from service.store.database import Database
from tests.cli.filled import NOW
from tests.web.browser import Watched, browser
from tests.web.dashboard import ANN, NO_LEEWAY, TOKEN, Served, filled, served, synced, there, until

PAGES = (
    "/", "/jobs", "/streams", "/outbox", "/outbox?status=pending", "/outbox/2", "/conflicts?all=1", "/conflicts/1",
    "/conflicts/3", "/brake", "/rules", "/people", "/people/1", "/people/2", "/erasure", "/login",
)  # fmt: skip
FIRST = ("/", "/people/1", "/login")
"""Those that are also looked at by somebody who has not signed in; the others differ from them by their forms alone."""
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1200, "height": 800}},
    "dark and narrow": {"color_scheme": "dark", "viewport": {"width": 360, "height": 740}},
}


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with browser() as running:
        yield running


@pytest.fixture
def something_of_everything(sqlite_mirror: str) -> str:
    database = Database(filled(sqlite_mirror))
    details = [{"field": "city", "old": "Paris", "new": "Rome", "why": "newer record"}]
    held = {"platform": "onvoard", "operation": "patch_contact", "payload": {}, "lane": 1, "status": "held"}
    conflict = {"kind": "both_changed", "field": "city", "status": "open", "onvoard_value": "x" * 80}
    with database.begin() as conn:
        conn.execute(insert(t.outbox).values(person_id=1, details=details, created_at=NOW, **held))
        conn.execute(insert(t.conflicts).values(person_id=1, created_at=NOW, **conflict))
        conn.execute(update(t.conflicts).where(t.conflicts.c.id == 1).values(kind="ambiguous_identity"))
        conn.execute(insert(t.outbox).values(person_id=1, **held | {"status": "dead", "last_error": "refused"}))
    database.close()
    return sqlite_mirror


async def signed_in(page: Watched, dashboard: Served) -> None:
    await page.page.goto(f"{dashboard.address}/login")
    await page.page.get_by_label("Token").fill(TOKEN)
    await page.page.get_by_role("button", name="Sign in").click()
    await expect(page.page.get_by_role("button", name="Sign out")).to_be_visible()


@pytest.mark.parametrize("look", LOOKS)
async def test_every_page_opens_without_an_error_and_shuts_nobody_out(
    something_of_everything: str, chromium: Browser, look: str
) -> None:
    async with served(something_of_everything) as dashboard:
        page = Watched(await chromium.new_page(**LOOKS[look]))
        for own, paths in ((False, FIRST), (True, PAGES)):
            if own:
                await signed_in(page, dashboard)
            for path in paths:
                await page.page.goto(dashboard.address + path)
                assert await page.grave() == [], path
                wide = await page.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
                assert wide <= 0, f"{path} is {wide} px too wide"
        assert page.wrong == []


async def test_the_style_sheet_and_the_charts_are_there(something_of_everything: str, chromium: Browser) -> None:
    async with served(something_of_everything) as dashboard:
        page = await chromium.new_page(color_scheme="dark")
        await page.goto(f"{dashboard.address}/streams")
        ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb(20, 23, 26)"
        assert await page.get_by_role("img").count() == 3


async def test_a_keyboard_is_enough(something_of_everything: str, chromium: Browser) -> None:
    async with served(something_of_everything) as dashboard:
        page = await chromium.new_page()
        await page.goto(dashboard.address)
        await page.keyboard.press("Tab")
        await expect(page.get_by_text("Skip to the content")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("main")).to_be_focused()
        outline = await page.evaluate(
            "(() => { const a = document.querySelector('main a'); a.focus({focusVisible: true});"
            " return getComputedStyle(a).outlineStyle })()"
        )
        assert outline == "solid"


async def test_letters_and_conflicts_are_dealt_with_by_clicks(something_of_everything: str, chromium: Browser) -> None:
    async with served(something_of_everything) as dashboard:
        watched = Watched(await chromium.new_page())
        page = watched.page
        await signed_in(watched, dashboard)
        for button, path, comes_to in (
            ("Retry 2", "/outbox", "Push 2 will be sent again"),
            ("Discard 6", "/outbox", "Push 6 is discarded"),
            ("Keep Digital Onboarding", "/conflicts/3", "Conflict 3: kept Digital Onboarding"),
            ("Link ov-3 and b-3", "/conflicts/1", "ov-3 and b-3 are one person"),
        ):
            await page.goto(dashboard.address + path)
            await page.get_by_role("button", name=button, exact=True).click()
            await expect(page.get_by_role("status")).to_contain_text(comes_to)
            assert await watched.grave() == []
        assert watched.wrong == []
        with dashboard.db.begin(write=False) as conn:
            assert not conn.execute(select(t.conflicts.c.id).where(t.conflicts.c.status == "open")).all()
            assert not conn.execute(select(t.outbox.c.id).where(t.outbox.c.status == "dead")).all()
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("Token")).to_be_visible()


async def test_a_person_is_found_released_and_erased_by_clicks(
    linked: str, sandbox: Sandbox, chromium: Browser
) -> None:
    sandbox.onvoard.edit_contact(ANN, name="Ann Changed")
    assert await synced(linked, sandbox, **NO_LEEWAY)
    async with served(linked, sandbox.environment(), now=None, running=True, **NO_LEEWAY) as dashboard:
        watched = Watched(await chromium.new_page())
        page = watched.page
        await signed_in(watched, dashboard)
        await page.get_by_role("link", name="Brake", exact=True).click()
        await page.get_by_role("button", name="Release all of it").click()
        await expect(page.get_by_role("status")).to_contain_text("on its way")
        await until(lambda: there(sandbox)["name_last"] == "Changed")
        await page.get_by_role("link", name="People").click()
        await page.get_by_label("E-mail").fill(ANN)
        await page.get_by_role("button", name="Find").click()
        await expect(page.get_by_role("heading", name="Person 1")).to_be_visible()
        assert ANN not in page.url
        await page.get_by_role("link", name="Erase this person").click()
        await page.get_by_role("button", name="Find").click()
        await page.get_by_label("type again").fill("person:1")
        await page.get_by_role("button", name="Erase for good").click()
        await expect(page.get_by_role("heading", name="Person 1: erased")).to_be_visible(timeout=30_000)
        assert await watched.grave() == []
        assert watched.wrong == []
    assert sandbox.onvoard.contact_list()[0]["suppressed"]
