"""What a wall may sound: nothing before somebody pressed something, which it says beforehand; nothing once off."""

from __future__ import annotations

import asyncio

from playwright.async_api import Browser, Page

from tests.api_data import raise_alert
from tests.api_server import connect
from tests.browser.kit import World, new_context, open_page
from tests.browser.room_kit import DESK, live, looked_at
from tests.browser.waiting import until

WALL = (1920, 1080)
TRIED = """(() => {
    const Own = window.AudioContext;
    window.AudioContext = class extends Own {
        constructor(...given) {
            super(...given);
            window.__tried();
        }
    };
})()"""
"""Tells when the page first asks the browser whether it may sound."""


async def _sounds(page: Page, state: str) -> None:
    await page.wait_for_selector(f"[data-testid=takeover][data-sound={state}]")


async def test_wall_says_that_it_cannot_be_heard_until_somebody_presses_something(
    world: World, browser: Browser
) -> None:
    watched = await open_page(await new_context(browser, WALL), world, "desk", "?view=wall&theme=dark&lang=zh")
    page = watched.page
    tried = asyncio.Event()
    await page.expose_binding("__tried", lambda *_: tried.set())
    await page.add_init_script(TRIED)
    # As after a power cut: loaded by nobody's hand. Each look of ours counts as one, so the page is to try first.
    await page.goto(f"{world.url}/?view=wall&theme=dark&lang=zh")
    await asyncio.wait_for(tried.wait(), 120)
    blocked = page.locator("[data-testid=sound-blocked]")
    await blocked.wait_for()
    await live(page)
    assert await blocked.inner_text() == "告警还不能发声：按任意键开启"
    await looked_at(page, "wall-blocked", (WALL, DESK))
    connection = await connect(world.database_url)
    try:
        await raise_alert(connection, f"{world.community.id}-gas_alarm-1")
    finally:
        await connection.close()
    await _sounds(page, "blocked")
    assert "浏览器未允许发声" in await page.inner_text("[data-testid=sound-allow]")
    await looked_at(page, "wall-blocked-alarm", (WALL,))
    assert await page.get_attribute("[data-testid=takeover]", "data-rounds") == "0"

    await page.keyboard.press("Shift")
    await _sounds(page, "ringing")
    await blocked.wait_for(state="detached")

    # Off on this screen, and the alarm says so as long as it stands; on again, it goes on.
    await page.click("[data-testid=sound]")
    switch = page.locator("dialog input[type=checkbox]").first
    await switch.uncheck()
    await _sounds(page, "off")
    await looked_at(page, "wall-sound-dialog", (WALL,))
    await page.keyboard.press("Escape")
    await page.wait_for_selector("[data-testid=sound-dialog]", state="detached")
    assert "本屏声音已关闭" in await page.inner_text("[data-testid=takeover]")
    await page.reload()
    await _sounds(page, "off")
    assert await blocked.count() == 0, "who turned it off need not be told that it cannot be heard"
    await page.click("[data-testid=sound]")
    await page.locator("dialog input[type=checkbox]").first.check()
    await _sounds(page, "ringing")

    async def twice() -> bool:
        return int(await page.get_attribute("[data-testid=takeover]", "data-rounds") or 0) >= 2

    await until(twice)
    # The browser's own word about sound before a press is what this is about.
    watched.complaints = [one for one in watched.complaints if "AudioContext" not in one]
    watched.assert_clean()
