"""A gas leak as people live it: it appears on two screens by itself and is carried through to its close by clicking."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page

from tests.browser.kit import Watched, World, new_context, open_page
from tests.browser.waiting import counted, says, until
from tests.evidence_kit import jpeg
from tests.ingest_kit import now_ms


async def _state(page: Page, state: str) -> None:
    await page.wait_for_selector(f"[data-testid=order-state][data-state={state}]")


async def _move(page: Page, move: str, then: str, **words: str) -> None:
    """`words`: what is filled in, by the name of its field; a move that asks nothing is one press."""
    await page.click(f"[data-testid=moves] [data-move={move}]")
    for field, text in words.items():
        await page.fill(f"[data-testid=moves] [name={field}]", text)
    if words:
        await page.click("[data-testid=moves] button[type=submit]")
    await _state(page, then)


async def _leak(world: World, *watching: Watched) -> int:
    """Publishes the alarm; returns the number of the order once every page shows it, none of them reloaded."""
    for one in watching:
        await one.page.evaluate("window.neverReloaded = true")
        assert await one.page.locator("[data-testid=orders] [data-severity=critical]").count() == 0
    device = f"{world.community.id}-gas_alarm-1"
    await world.publish(device, "event", {"id": "leak-1", "ts": now_ms(), "event": "alarm", "data": {"lel": 18.5}})
    for one in watching:
        await one.page.wait_for_selector("[data-testid=orders] [data-severity=critical]", state="attached")
        assert await one.page.evaluate("window.neverReloaded") is True
    number = await watching[0].page.get_attribute("[data-testid=orders] [data-severity=critical]", "data-order")
    return int(number or 0)


async def test_cockpit_carries_a_gas_leak_from_alarm_to_close(world: World, browser: Browser) -> None:
    desk_context, patrol_context = await new_context(browser), await new_context(browser, (390, 844))
    desk = await open_page(desk_context, world, "desk")
    patrol = await open_page(patrol_context, world, "patrol1")
    number = await _leak(world, desk, patrol)

    takeover = desk.page.locator("[data-testid=takeover]")
    assert "燃气泄漏" in await takeover.inner_text()
    await says(desk.page, "[data-testid=alerts]", "燃气泄漏")

    await patrol.page.click(f"[data-order='{number}']")
    await _state(patrol.page, "dispatched")
    await _move(patrol.page, "accept", "accepted")
    await takeover.wait_for(state="detached")
    await _move(patrol.page, "arrive", "arrived", place="1号楼101室门口")
    await _move(patrol.page, "resolve", "resolved", note="已关阀通风，更换软管")
    assert await patrol.page.locator("[data-move=verify], [data-move=close]").count() == 0

    await desk.page.click(f"[data-order='{number}']")
    await _state(desk.page, "resolved")
    await says(desk.page, "[data-testid=history]", "已关阀通风")
    await _move(desk.page, "verify", "verified", note="现场照片已核对")
    await _move(desk.page, "close", "closed", note="")
    await desk.page.wait_for_selector(f"[data-order='{number}']", state="detached")
    await patrol.page.wait_for_selector(f"[data-order='{number}']", state="detached")

    async with world.http("desk") as http:
        page = await world.get(http, f"/communities/{world.community.id}/orders?state=all")
        order = next(one for one in page["items"] if one["number"] == number)
        detail = await world.get(http, f"/orders/{order['id']}")
    moves = [line["move"] for line in detail["history"]]
    assert detail["state"] == "closed"
    assert moves == ["create", "dispatch", "accept", "arrive", "resolve", "verify", "close"]
    for watched in (desk, patrol):
        watched.assert_clean()
        await watched.page.context.close()


async def test_cockpit_reloads_an_order_that_somebody_else_moved(world: World, browser: Browser) -> None:
    """Two people press at once: the second is told, sees how it stands now, and can go on from there."""
    watched = await open_page(await new_context(browser), world, "desk")
    page = watched.page
    number = await _leak(world, watched)
    await page.click(f"[data-order='{number}']")
    await _state(page, "dispatched")

    async def overtaken(route: Any) -> None:
        async with world.http("patrol1") as http:
            listed = await world.get(http, f"/communities/{world.community.id}/orders")
            order = next(one for one in listed["items"] if one["number"] == number)
            body = {"move": "accept", "version": order["version"]}
            answer = await http.post(f"/orders/{order['id']}/moves", json=body, headers={"Idempotency-Key": "first"})
            assert answer.status_code == 200, answer.text
        await route.continue_()

    await page.route("**/moves", overtaken, times=1)
    await page.click("[data-testid=moves] [data-move=accept]")
    await page.wait_for_selector("[data-testid=outcome][data-ok=false]")
    await _state(page, "accepted")
    await says(page, "[data-testid=outcome]", "其他人")
    await page.wait_for_selector("[data-testid=moves] [data-move=arrive]")
    assert watched.strayed == []
    await page.context.close()


async def _thrown(world: World) -> Any:
    """Something fell from a window: the order of it may not be resolved without a photo."""
    body = {
        "source": "patrol",
        "title": "高空抛物",
        "severity": "major",
        "team": "patrol",
        "device_id": f"{world.community.id}-highthrow_camera-1",
    }
    async with world.http("desk") as http:
        path = f"/communities/{world.community.id}/orders"
        answer = await http.post(path, json=body, headers={"Idempotency-Key": "thrown"})
    assert answer.status_code == 201, answer.text
    assert answer.json()["class_id"] == "high_throw"
    return answer.json()


async def test_cockpit_carries_an_order_that_needs_a_photo(world: World, browser: Browser, tmp_path: Path) -> None:
    """On a phone: accept, arrive, photograph, resolve. What is missing is said in words, here and by the API."""
    photo = tmp_path / "after.jpg"
    photo.write_bytes(jpeg(1280, 960))
    order = await _thrown(world)
    watched = await open_page(await new_context(browser, (390, 844)), world, "patrol1")
    page = watched.page
    await page.click(f"[data-order='{order['number']}']")
    await _state(page, "dispatched")
    await says(page, "[data-testid=class]", "高空抛物")
    await page.wait_for_selector("[data-clock=accept][data-state=calm]")
    await _move(page, "accept", "accepted")
    await page.wait_for_selector("[data-clock=accept][data-state=done]")
    await _move(page, "arrive", "arrived", place="1号楼东侧")

    await page.click("[data-testid=moves] [data-move=resolve]")
    await page.fill("[data-testid=moves] [name=note]", "已清理，已上门劝导")
    await page.click("[data-testid=moves] button[type=submit]")
    await says(page, "[data-testid=complaint]", "照片")
    await _state(page, "arrived")

    # The network fails once: it is said, nothing is lost, and the same picture goes again.
    await page.route("**/evidence?*", lambda route: route.abort(), times=1)
    await page.set_input_files("[data-testid=moves] [data-photo=after] [data-testid=photo-input]", photo)
    await page.wait_for_selector("[data-testid=moves] [data-testid=upload-fault]")
    watched.complaints.clear()
    await page.click("[data-testid=moves] [data-photo=after] li button >> nth=0")
    shown = page.locator("[data-testid=evidence] [data-phase=after] img")
    await shown.wait_for()
    await shown.scroll_into_view_if_needed()

    async def seen() -> bool:
        return bool(await shown.evaluate("(image) => image.naturalWidth > 0"))

    await until(seen)
    await counted(page, "[data-testid=upload-fault]", 0)
    assert await page.input_value("[data-testid=moves] [name=note]") == "已清理，已上门劝导"
    # What was complained of is taken back once the order knows of the photo, a moment after it is shown.
    await counted(page, "[data-testid=complaint]", 0)
    await page.click("[data-testid=moves] button[type=submit]")
    await _state(page, "resolved")

    async with world.http("desk") as http:
        kept = await world.get(http, f"/orders/{order['id']}/evidence")
        detail = await world.get(http, f"/orders/{order['id']}")
    assert [(one["sort"], one["phase"]) for one in kept["items"]] == [("photo", "after")]
    moves = [line["move"] for line in detail["history"]]
    assert moves == ["create", "dispatch", "accept", "arrive", "evidence", "resolve"]
    watched.assert_clean()
    await page.context.close()


async def test_cockpit_says_why_the_api_refuses(world: World, browser: Browser) -> None:
    """A page that asks for what may not be: the words of the API stand there, what was written stays."""
    order = await _thrown(world)
    watched = await open_page(await new_context(browser), world, "patrol1")
    page = watched.page

    async def on_duty() -> bool:
        return int(await page.inner_text("[data-testid=duty-count]")) > 0

    await until(on_duty)
    await page.click(f"[data-order='{order['number']}']")
    await _state(page, "dispatched")
    await _move(page, "accept", "accepted")
    await _move(page, "arrive", "arrived", place="1号楼东侧")

    async def hasty(route: Any) -> None:
        body = json.loads(route.request.post_data)
        await route.continue_(post_data=json.dumps({**body, "move": "resolve"}))

    await page.route("**/moves", hasty, times=1)
    await page.click("[data-testid=moves] [data-move=note]")
    await page.fill("[data-testid=moves] [name=note]", "好了")
    await page.click("[data-testid=moves] button[type=submit]")
    refused = page.locator("[data-testid=outcome][data-ok=false]")
    await refused.wait_for()
    assert await refused.inner_text() == "不能这样操作：缺少处置后照片"
    await _state(page, "arrived")
    assert await page.input_value("[data-testid=moves] [name=note]") == "好了"
    assert watched.strayed == []
    await page.context.close()


async def test_cockpit_returns_to_the_login_when_the_session_ends(world: World, browser: Browser) -> None:
    context = await new_context(browser)
    watched = await open_page(context, world, "desk")
    async with world.http("desk") as http:
        token = http.headers["Authorization"]
        assert token.startswith("Bearer ")
    cookies = await context.cookies()
    cookie = next(one for one in cookies if one["name"] == "linhub_session")
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    ended = await watched.page.evaluate(
        "fetch('/api/v1/auth/logout', {method: 'POST', headers: {'X-LinHub': '1'}}).then((answer) => answer.status)"
    )
    assert ended == 204

    async def at_login() -> bool:
        return await watched.page.locator("[name=password]").count() == 1

    await until(at_login)
    assert watched.page.url.startswith(f"{world.url}/login")
    await context.close()


async def test_cockpit_refuses_a_wrong_password_in_words(world: World, browser: Browser) -> None:
    context = await new_context(browser)
    page = await context.new_page()
    await page.goto(f"{world.url}/")
    await page.wait_for_selector("[name=username]")
    await page.fill("[name=username]", "desk")
    await page.fill("[name=password]", "not the password")
    await page.click("button[type=submit]")
    alert = page.locator("form [role=alert]")
    await alert.wait_for()
    assert await alert.inner_text() == "用户名或密码不对"
    await context.close()
