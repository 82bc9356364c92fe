"""Orders on a phone: four taps, the same without a network, and what happens when somebody else was faster."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.async_api import Browser

from tests.browser.kit import World
from tests.browser.phone_kit import Phone, again, history, log_in, look, moved, open_order, staff
from tests.browser.waiting import counted, evaluates, says, until
from tests.ingest_kit import now_ms

STEPS = ("accept", "arrive", "photo_after", "resolve")
DONE = ["create", "dispatch", "accept", "arrive", "evidence", "resolve"]


async def _leak(world: World, phone: Phone) -> int:
    """A gas alarm goes off; the number of its order once the phone shows it, untouched."""
    device = f"{world.community.id}-gas_alarm-1"
    await world.publish(device, "event", {"id": "leak-1", "ts": now_ms(), "event": "alarm", "data": {"lel": 18.5}})
    card = phone.page.locator("[data-part=offered] a[data-severity=critical]")
    await card.wait_for()
    return int(await card.get_attribute("data-order") or 0)


async def _order(world: World, number: int) -> dict[str, Any]:
    async with world.http("desk") as http:
        page = await world.get(http, f"/communities/{world.community.id}/orders?state=all")
    found: dict[str, Any] = next(one for one in page["items"] if one["number"] == number)
    return found


async def test_phone_works_an_alarm_in_four_taps(world: World, browser: Browser, tmp_path: Path) -> None:
    phone = await staff(browser, world, "patrol1", tmp_path)
    await phone.page.evaluate("window.felt = 0; navigator.vibrate = () => { window.felt += 1; return true }; null")
    number = await _leak(world, phone)
    await evaluates(phone.page, "window.felt", 1)
    await evaluates(phone.page, "document.title.startsWith('(1)')", True)
    await phone.order(number)
    for step in STEPS:
        await phone.act(step)
    await phone.state("resolved")
    await phone.all_sent()
    assert phone.taps == 4
    order = await _order(world, number)
    lines = await history(world, order["id"])
    assert [line["move"] for line in lines] == DONE
    assert lines[-1]["detail"]["note"] == "已处置完毕"
    # The picture was made small on the phone, before it went out.
    async with world.http("desk") as http:
        (kept,) = (await world.get(http, f"/orders/{order['id']}/evidence"))["items"]
    assert (kept["phase"], kept["width"], kept["height"]) == ("after", 1600, 1200)
    phone.watched.assert_clean()
    await phone.context.close()


async def test_phone_works_without_a_network_and_sends_each_act_once(
    world: World, browser: Browser, tmp_path: Path
) -> None:
    """Four taps in a cellar, the tab killed on the way up: all of it arrives, once and in order, with its own time."""
    order = await open_order(world)
    phone = await staff(browser, world, "patrol1", tmp_path)
    await phone.page.wait_for_selector(f"[data-order='{order['number']}']")

    async def opened_ahead() -> bool:
        return bool(await phone.page.evaluate(_KEPT, order["id"]))

    await until(opened_ahead)
    await phone.context.set_offline(True)
    await phone.page.reload()
    await phone.order(order["number"])
    for waiting, step in enumerate(STEPS, start=1):
        await phone.act(step)
        await phone.queued(waiting)
    await phone.state("resolved")
    await says(phone.page, "[data-testid=pending]", "待发送")
    await counted(phone.page, "[data-testid=trouble]", 1)
    await look(phone.page)
    assert [line["move"] for line in await history(world, order["id"])] == ["create", "dispatch"]

    await again(phone, f"{world.url}/m/")
    await phone.queued(4)
    await phone.context.set_offline(False)
    await phone.all_sent()
    lines = await history(world, order["id"])
    assert [line["move"] for line in lines] == DONE
    made = [datetime.fromisoformat(line["detail"]["acted_at"]) for line in lines if line["move"] in STEPS]
    assert len(made) == 3 and made == sorted(made)
    assert made[0] < datetime.fromisoformat(lines[2]["at"]) < made[0] + timedelta(minutes=5)
    assert phone.watched.strayed == []
    await phone.context.close()


_KEPT = """(id) => new Promise((resolve) => {
    const asked = indexedDB.open('linhub-phone');
    asked.onsuccess = () => {
        const all = asked.result.transaction('orders').objectStore('orders').getAll();
        all.onsuccess = () => {
            asked.result.close();
            resolve(all.result.some((one) => one.id === id && one.order.order_class));
        };
    };
})"""


async def test_phone_lets_the_person_decide_when_somebody_was_faster(
    world: World, browser: Browser, tmp_path: Path
) -> None:
    lost, kept = await open_order(world), await open_order(world, title="另一处堆物")
    phone = await staff(browser, world, "patrol1", tmp_path)
    for order in (lost, kept):
        await phone.page.wait_for_selector(f"[data-order='{order['number']}']")
    await phone.context.set_offline(True)
    for order in (lost, kept):
        await phone.order(order["number"])
        await phone.act("accept")
        await phone.step("arrive")
        await phone.page.tap("header button.icon")
    await phone.queued(2)
    await moved(world, lost["id"], "desk", "accept")
    await phone.context.set_offline(False)
    await phone.page.wait_for_selector("[data-testid=queue][data-stuck]")

    # The other order did not wait for it.
    async def went() -> bool:
        return bool((await history(world, kept["id"]))[-1]["move"] == "accept")

    await until(went)

    await phone.order(lost["number"])
    conflict = phone.page.locator("[data-testid=conflict]")
    await conflict.wait_for()
    for words in ("工单已更新", "已接单", "desk"):
        await says(phone.page, "[data-testid=conflict]", words)
    await counted(phone.page, "[data-testid=act]", 0)
    await look(phone.page)
    await phone.page.tap("[data-testid=conflict-drop]")
    await conflict.wait_for(state="detached")
    await phone.all_sent()
    assert [line["move"] for line in await history(world, lost["id"])].count("accept") == 1
    await phone.context.close()


async def test_phone_never_sends_what_another_account_did(world: World, browser: Browser, tmp_path: Path) -> None:
    """Whoever logs out is warned; whoever logs in next sends nothing in their own name; the first one's acts stay.

    Nobody who logged out is known any more, even where the page was gone the same moment.
    """
    order = await open_order(world)
    phone = await staff(browser, world, "patrol1", tmp_path)
    await phone.order(order["number"])
    page = phone.page
    await phone.context.set_offline(True)
    await phone.act("accept")
    await phone.queued(1)
    await page.tap("header button.icon")
    await page.tap("[data-testid=settings]")
    await page.tap("[data-testid=logout]")
    await page.tap("[data-testid=logout-anyway]")
    await page.wait_for_selector("[name=username]")
    await phone.context.set_offline(False)

    await log_in(phone, world, "maintenance1")
    await page.wait_for_selector("[data-testid=foreign]")
    await page.tap("[data-testid=foreign-keep]")
    await counted(page, "[data-testid=queue]", 0)
    # Even a page that believed otherwise would be refused: the act says whose it is.
    refused = await page.evaluate(_IN_MY_NAME, order["id"])
    assert refused == 412
    assert [line["move"] for line in await history(world, order["id"])] == ["create", "dispatch"]

    await page.tap("[data-testid=settings]")
    await page.wait_for_selector("[data-testid=logout]")
    await page.evaluate("() => { document.querySelector('[data-testid=logout]').click(); location.reload() }")
    await page.wait_for_selector("[name=username]")
    await log_in(phone, world, "patrol1")

    async def accepted() -> bool:
        return [line["move"] for line in await history(world, order["id"])] == ["create", "dispatch", "accept"]

    await until(accepted)
    await phone.context.close()


_IN_MY_NAME = """async (id) => {
    const headers = {'Content-Type': 'application/json', 'X-LinHub': '1', 'X-LinHub-Account': 'somebody-else',
        'Idempotency-Key': 'theirs'};
    const body = JSON.stringify({move: 'accept', version: 2});
    return (await fetch(`/api/v1/orders/${id}/moves`, {method: 'POST', headers, body})).status;
}"""


async def test_phone_keeps_the_queue_when_the_session_ends(world: World, browser: Browser, tmp_path: Path) -> None:
    order = await open_order(world)
    phone = await staff(browser, world, "patrol1", tmp_path)
    await phone.order(order["number"])
    await phone.context.set_offline(True)
    await phone.act("accept")
    await phone.queued(1)
    await phone.context.clear_cookies()
    await phone.context.set_offline(False)
    await phone.page.wait_for_selector("[data-testid=expired]")
    await says(phone.page, "[data-testid=expired]", "登录已过期")
    await phone.page.tap("[data-testid=expired] button")
    assert await phone.page.input_value("[name=username]") == "patrol1"
    await phone.page.fill("[name=password]", "linhub-test-password")
    await phone.page.tap("button[type=submit]")
    await phone.all_sent()
    assert [line["move"] for line in await history(world, order["id"])] == ["create", "dispatch", "accept"]
    await phone.context.close()
