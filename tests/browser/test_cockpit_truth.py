"""The page says when what it shows is no longer true, and is right again afterwards."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Browser, Page

from tests.browser.kit import World, new_context, open_page
from tests.browser.waiting import counted, says, until
from tests.ingest_kit import now_ms

BANNER = "[data-testid=stale-banner]"


async def _shown(page: Page) -> dict[str, Any]:
    shown: dict[str, Any] = await page.evaluate("""() => ({
        kpis: Object.fromEntries([...document.querySelectorAll('[data-kpi]')]
            .map((item) => [item.dataset.kpi, item.dataset.value ?? null])),
        orders: [...document.querySelectorAll('[data-order]')].map((item) => Number(item.dataset.order)).sort(),
        alerts: document.querySelectorAll('[data-testid=alerts] > li').length,
    })""")
    return shown


async def _true(world: World) -> dict[str, Any]:
    async with world.http("desk") as http:
        snapshot = await world.get(http, f"/communities/{world.community.id}/snapshot")
    return {
        "kpis": {
            kpi["name"]: None if kpi["value"] is None else f"{kpi['value']:g}" for kpi in snapshot["kpis"]["items"]
        },
        "orders": sorted(order["number"] for order in snapshot["orders"]),
        "alerts": len(snapshot["alerts"]),
    }


async def test_cockpit_says_stale_while_the_server_is_frozen_and_is_right_after(world: World, browser: Browser) -> None:
    context = await new_context(browser)
    watched = await open_page(context, world, "desk", "?stale_s=10")
    page = watched.page
    await counted(page, BANNER, 0)
    device = f"{world.community.id}-gas_alarm-2"

    world.api.freeze()
    try:
        await page.wait_for_selector(BANNER)
        await says(page, BANNER, "截至")
        await counted(page, ".tile.stale", 3, 1000)
        # The community goes on living while nobody can see it.
        await world.publish(device, "event", {"id": "unseen", "ts": now_ms(), "event": "alarm", "data": {"lel": 20}})
    finally:
        world.api.thaw()

    await page.wait_for_selector(BANNER, state="detached")
    await page.wait_for_selector("[data-testid=orders] [data-severity=critical]")

    async def equal() -> bool:
        return await _shown(page) == await _true(world)

    await until(equal)
    await counted(page, ".orders.stale, .alerts.stale, .plan.stale", 0)
    assert watched.strayed == []
    await context.close()


async def test_cockpit_comes_back_by_itself_after_the_server_died(world: World, browser: Browser) -> None:
    context = await new_context(browser)
    watched = await open_page(context, world, "desk")
    page = watched.page
    await page.evaluate("window.neverReloaded = true")
    await world.api.kill()
    await page.wait_for_selector(BANNER)
    await says(page, BANNER, "中断")
    await page.wait_for_selector("[data-testid=cockpit][data-status=lost]")
    await world.api.start()
    await page.wait_for_selector("[data-testid=cockpit][data-status=live]")
    await counted(page, BANNER, 0)
    assert await page.evaluate("window.neverReloaded") is True
    await context.close()


async def test_cockpit_says_that_all_is_well_and_since_when(world: World, browser: Browser) -> None:
    context = await new_context(browser)
    watched = await open_page(context, world, "desk")
    well = watched.page.locator("[data-testid=all-well]")
    await well.wait_for()
    await says(watched.page, "[data-testid=all-well]", "一切正常")
    await watched.page.click("[data-testid=locale]")
    await says(watched.page, "[data-testid=all-well]", "All is well")
    watched.assert_clean()
    await context.close()
