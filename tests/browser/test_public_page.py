"""What residents, merchants and visitors see after logging in: the community's public figures, and nothing else."""

from __future__ import annotations

from playwright.async_api import Browser

from tests.browser.kit import Watched, World, new_context
from tests.browser.waiting import evaluates, until
from tests.factory import PASSWORD
from tests.ingest_kit import now_ms


async def test_public_page_shows_the_air_and_asks_for_nothing_else(world: World, browser: Browser) -> None:
    station = f"{world.community.id}-environment-1"
    sent = {"id": "air", "ts": now_ms(), "values": {"temperature": 21.5, "humidity": 55, "pm2_5": 33}}
    await world.publish(station, "telemetry", sent)
    async with world.http("resident1") as http:

        async def known() -> bool:
            public = await world.get(http, f"/communities/{world.community.id}/public")
            return any(one["values"].get("temperature") == 21.5 for one in public["stations"])

        await until(known)
    context = await new_context(browser, (390, 844))
    watched = Watched(await context.new_page(), world.url)
    await watched.page.goto(f"{world.url}/")
    await watched.page.fill("input[name=username]", "resident1")
    await watched.page.fill("input[name=password]", PASSWORD)
    await watched.page.click("button[type=submit]")
    shown = watched.page.locator("[data-testid=public-station]").first
    await shown.wait_for()
    text = await shown.inner_text()
    assert "21.5" in text and "温度" in text
    assert await watched.page.locator("[data-testid=orders], [data-testid=alerts]").count() == 0
    await evaluates(watched.page, "document.documentElement.scrollWidth > innerWidth", False)
    watched.assert_clean()
