"""Many tabs of one login, a machine that slept, and a phone whose login ran out meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page

from services.domain.vocabulary import Severity, Team
from tests.api_data import raise_alert
from tests.api_server import connect
from tests.browser.kit import Watched, World, new_context, open_page
from tests.browser.phone_kit import history, look, moved, open_order, staff
from tests.browser.room_kit import live
from tests.browser.waiting import expect, until
from tests.factory import PASSWORD
from tests.ingest_kit import now_ms

NO_SHARING = "delete window.SharedWorker"
IN_TURN = """() => {
    let shown = true;
    Object.defineProperty(document, 'visibilityState', {get: () => (shown ? 'visible' : 'hidden')});
    window.__show = (now) => { shown = now; document.dispatchEvent(new Event('visibilitychange')); };
}"""
"""Headless tabs are all in sight at once; with this, the one that a person would look at."""


async def _in_turn(page: Page) -> None:
    await page.add_init_script(f"({IN_TURN})()")


async def _minor(world: World) -> None:
    connection = await connect(world.database_url)
    try:
        await raise_alert(connection, f"{world.community.id}-bin-1", severity=Severity.MINOR, team=Team.CLEANING)
    finally:
        await connection.close()


async def _seven(pages: list[Page], url: str, up: str) -> None:
    """Seven tabs, one after the other in sight; each came up, so none has waited for a connection."""
    first = pages[0]
    for _ in range(6):
        await pages[-1].evaluate("__show(false)")
        page = await first.context.new_page()
        await _in_turn(page)
        await page.goto(url)
        await page.wait_for_selector(up)
        pages.append(page)


async def test_seven_tabs_take_turns_where_the_browser_cannot_share(world: World, browser: Browser) -> None:
    context = await new_context(browser)
    await context.add_init_script(NO_SHARING)
    await context.add_init_script(f"({IN_TURN})()")
    pages = [(await open_page(context, world, "desk")).page]
    assert await pages[0].evaluate("typeof SharedWorker") == "undefined"
    await _seven(pages, world.url, "[data-testid=cockpit][data-status=live]")
    await _minor(world)
    await pages[-1].wait_for_selector("[data-testid=orders] [data-severity=minor]", state="attached")
    # Back to the first: what it missed while it rested is there.
    await pages[-1].evaluate("__show(false)")
    await pages[0].evaluate("__show(true)")
    await pages[0].wait_for_selector("[data-testid=orders] [data-severity=minor]", state="attached")
    await live(pages[0])


async def test_seven_tabs_of_the_phone_page_stay_alive(world: World, browser: Browser, tmp_path: Path) -> None:
    """Each notice that is tapped opens another one."""
    phone = await staff(browser, world, "patrol1", tmp_path)
    await _in_turn(phone.page)
    await phone.page.reload()
    up = "[data-testid=phone][data-status=live] [data-testid=my-orders][data-listed=true]"
    await phone.page.wait_for_selector(up)
    pages = [phone.page]
    await _seven(pages, f"{world.url}/m/", up)
    order = await open_order(world)
    await pages[-1].wait_for_selector(f"[data-order='{order['number']}']")
    # The one in sight is closed: one of those behind it goes on, so that it rings.
    await pages.pop().close()
    other = await open_order(world, title="另一处堆物")

    async def heard() -> int:
        return sum([await page.locator(f"[data-order='{other['number']}']").count() for page in pages])

    await until(heard)
    assert await heard() == 1
    # Another one is looked at: what came while it rested is there.
    await pages[0].evaluate("__show(true)")
    for one in (order, other):
        await pages[0].wait_for_selector(f"[data-order='{one['number']}']")


async def _sleep(page: Page) -> Any:
    """The page as on a machine whose lid was closed: not a line of it runs."""
    session = await page.context.new_cdp_session(page)
    await session.send("Page.setWebLifecycleState", {"state": "frozen"})
    return session


async def test_page_is_right_after_the_machine_slept(world: World, browser: Browser) -> None:
    """It slept while the server was restarted and a gas alarm went off; nobody touches it after it woke."""
    watched = await open_page(await new_context(browser), world, "desk", "?theme=light&lang=zh")
    page = watched.page
    asleep = await _sleep(page)
    await world.api.kill()
    await world.api.start()
    device = f"{world.community.id}-gas_alarm-2"
    await world.publish(device, "event", {"id": "asleep", "ts": now_ms(), "event": "alarm", "data": {"lel": 20}})
    async with world.http("desk") as http:

        async def told() -> list[Any]:
            found: list[Any] = (await world.get(http, f"/communities/{world.community.id}/snapshot"))["orders"]
            return found

        orders = await until(told)
    await asleep.send("Page.setWebLifecycleState", {"state": "active"})
    await page.wait_for_selector(f"[data-testid=orders] [data-order='{orders[0]['number']}']")
    await page.wait_for_selector("[data-testid=takeover]")
    await live(page)
    await page.wait_for_selector("[data-testid=stale-banner]", state="detached")
    assert watched.strayed == []


async def test_page_asks_to_log_in_when_the_session_ended_while_it_slept(world: World, browser: Browser) -> None:
    watched = await open_page(await new_context(browser), world, "desk", "?theme=light&lang=zh")
    asleep = await _sleep(watched.page)
    async with world.http("desk") as http:
        answer = await http.post("/auth/sessions/end-others", headers={"X-LinHub": "1"})
        assert answer.status_code == 200, answer.text
    await asleep.send("Page.setWebLifecycleState", {"state": "active"})
    await watched.page.wait_for_selector("[data-testid=ended]")
    await expect(watched.page.locator("[data-testid=cockpit]")).to_have_count(0)


async def test_phone_opened_with_an_ended_login_says_how_old_it_is_and_keeps_what_was_done(
    world: World, browser: Browser, tmp_path: Path
) -> None:
    order, taken = await open_order(world), await open_order(world, title="另一处堆物")
    phone = await staff(browser, world, "patrol1", tmp_path)
    for one in (order, taken):
        await phone.page.wait_for_selector(f"[data-order='{one['number']}']")
    await phone.order(order["number"])
    await phone.context.set_offline(True)
    await phone.act("accept")
    await phone.queued(1)
    # The tab is killed, the login runs out, and somebody else takes the other order meanwhile.
    await phone.page.close()
    await phone.context.clear_cookies()
    await moved(world, taken["id"], "desk", "accept")
    await phone.context.set_offline(False)
    phone.watched = Watched(await phone.context.new_page(), world.url)
    page = phone.page
    await page.goto(f"{world.url}/m/")
    await page.wait_for_selector("[data-testid=expired]")
    mine = page.locator("[data-testid=my-orders]")
    assert await mine.get_attribute("data-listed") == "false"
    await expect(page.locator("[data-testid=as-of]")).to_contain_text("截至")
    await phone.queued(1)
    await look(page)
    assert [line["move"] for line in await history(world, order["id"])] == ["create", "dispatch"]
    await page.tap("[data-testid=expired] button")
    await page.fill("[name=password]", PASSWORD)
    await page.tap("button[type=submit]")
    await phone.all_sent()
    await page.wait_for_selector("[data-testid=my-orders][data-listed=true]")
    assert [line["move"] for line in await history(world, order["id"])] == ["create", "dispatch", "accept"]
    await expect(page.locator("[data-testid=expired], [data-testid=as-of]")).to_have_count(0)
    assert phone.watched.strayed == []
