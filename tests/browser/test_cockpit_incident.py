"""One fire told by two detectors, on a wall: one takeover with its one order; deep links; a start without a server."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Browser, Page

from tests.browser.kit import World, new_context, open_page
from tests.browser.phone_kit import moved
from tests.browser.waiting import evaluates, until
from tests.ingest_kit import now_ms

_PLAN = """() => {
    const canvas = document.querySelector('[data-testid=devices]');
    const box = canvas.parentElement.getBoundingClientRect();
    const {width, height} = canvas;
    const drawn = width > 0 && height > 0
        && canvas.getContext('2d').getImageData(0, 0, width, height).data.some((one) => one > 0);
    return {width: Math.abs(canvas.width - box.width) <= 1 && box.width > 100, drawn};
}"""


async def _smoke(world: World, number: int) -> None:
    event = {"id": f"smoke-{number}", "ts": now_ms(), "event": "alarm", "data": {}}
    await world.publish(f"{world.community.id}-smoke_detector-{number}", "event", event)


async def _one_order(world: World, http: Any) -> dict[str, Any] | None:
    """The order of the fire, once both alarms are worked on in it."""
    alerts = (await world.get(http, f"/communities/{world.community.id}/alerts"))["items"]
    orders = (await world.get(http, f"/communities/{world.community.id}/orders"))["items"]
    joined = len(alerts) == 3 and len(orders) == 1 and {one["order_id"] for one in alerts} == {orders[0]["id"]}
    return dict(orders[0]) if joined else None


async def _plan_whole(page: Page) -> bool:
    return bool(await page.evaluate(_PLAN) == {"width": True, "drawn": True})


async def test_cockpit_shows_a_fire_of_two_detectors_as_one_order(world: World, browser: Browser) -> None:
    """The banner names the fire, counts nobody beside it, leads to its order, and ends once that is accepted."""
    watched = await open_page(await new_context(browser, (1920, 1080)), world, "desk", "?view=wall")
    page = watched.page
    takeover = page.locator("[data-testid=takeover]")
    await _smoke(world, 1)
    await takeover.wait_for()
    await _smoke(world, 2)
    async with world.http("patrol1") as http:
        order = await until(lambda: _one_order(world, http))
        assert order is not None

        async def is_the_fire() -> bool:
            return bool(await takeover.get_attribute("data-alert") == order["alert_id"])

        await until(is_the_fire)

        async def has_its_order() -> bool:
            return "无人接单" not in await takeover.inner_text()

        await until(has_its_order)
        await takeover.get_by_role("button", name="查看工单").click()
        await page.wait_for_selector("[data-testid=order-state]")
        await page.keyboard.press("Escape")

        # In a room and back by its link, by the address, and by the browser's own way: the plan has its size.
        await page.goto(f"{world.url}/figures?view=wall")
        await page.click("[data-testid=to-cockpit]")
        await takeover.wait_for()
        await until(lambda: _plan_whole(page))
        await page.goto(f"{world.url}/?order={order['id']}&view=wall")
        await page.wait_for_selector("[data-testid=order-state]")
        await page.goto(f"{world.url}/figures?view=wall")
        await page.wait_for_selector("[data-testid=to-cockpit]")
        await page.evaluate("id => { history.pushState(null, '', '/?order=' + id); history.back() }", order["id"])
        await evaluates(page, "location.pathname", "/figures")
        await page.evaluate("history.forward()")
        await page.wait_for_selector("[data-testid=order-state]")
        await until(lambda: _plan_whole(page))
        await page.keyboard.press("Escape")
        await page.wait_for_selector("[data-testid=order-state]", state="detached")
        assert "order=" not in page.url

        await moved(world, order["id"], "patrol1", "accept")
    await takeover.wait_for(state="detached")

    # A wall that is switched on before the API answers is live without a hand on it.
    await page.route("**/api/v1/**", lambda route: route.abort())
    await page.reload()
    await page.get_by_text("正在自动重试").wait_for()
    await page.unroute("**/api/v1/**")
    await page.wait_for_selector("[data-testid=cockpit][data-status=live]")
    assert watched.strayed == []
    await page.context.close()
