"""The frame of all rooms in a real browser: which community, the alarm that nobody has, another place of login."""

from __future__ import annotations

import time
from pathlib import Path

from playwright.async_api import Browser, Page

from tests.browser.kit import ApiProcess, World, new_context, open_page
from tests.browser.phone_kit import moved
from tests.browser.room_kit import forgive
from tests.browser.test_people_room import accessible
from tests.browser.waiting import expect, until
from tests.factory import put_community, small_community


async def _community(page: Page) -> str | None:
    named: str | None = await page.evaluate("new URLSearchParams(location.search).get('community')")
    return named


async def test_room_frame_keeps_the_community_in_the_address(world: World, browser: Browser) -> None:
    """Chosen in a room, it holds in a new tab, on the cockpit and on the way back."""
    here, other = world.community.id, f"{world.community.id}x"
    await put_community(world.database_url, small_community(other, f"{other}-"))
    context = await new_context(browser)
    watched = await open_page(context, world, "admin", f"?community={here}")
    page = watched.page
    await page.wait_for_selector("[data-testid=community]")
    await accessible(page, "chooser-cockpit")
    await page.click("[data-testid=rooms]")
    await page.click("[data-room='/people']")
    await page.wait_for_selector(f"[data-person='{here}-p1']")
    chooser = page.locator("nav [data-testid=community]")
    await expect(chooser).to_have_value(here)
    await chooser.select_option(other)
    await page.wait_for_selector(f"[data-person='{other}-p1']")
    await expect(page.locator(f"[data-person='{here}-p1']"), "people of the community before").to_have_count(0)
    assert page.url.split("?")[0].endswith("/people") and await _community(page) == other
    await accessible(page, "chooser-room")

    async with context.expect_page() as opened:
        await page.click("[data-room='/registry']", modifiers=["ControlOrMeta"])
    tab = await opened.value
    await tab.wait_for_selector("[data-device]")
    assert await _community(tab) == other and tab.url.split("?")[0].endswith("/registry")
    assert page.url.split("?")[0].endswith("/people"), "the room behind the new tab was left"
    await tab.close()

    await page.click("[data-testid=to-cockpit]")
    await page.wait_for_selector("[data-testid=cockpit][data-status=live]")
    await expect(page.locator("header [data-testid=community]")).to_have_value(other)
    await page.go_back()
    await page.go_back()
    await page.wait_for_selector(f"[data-person='{here}-p1']")
    await expect(chooser).to_have_value(here)
    assert await _community(page) == here
    await page.reload()
    await page.wait_for_selector(f"[data-person='{here}-p1']")

    await page.goto(f"{world.url}/people?community=nowhere")
    await page.get_by_text("不在您的管理范围").wait_for()
    await page.wait_for_selector("[data-person]")
    assert await _community(page) != "nowhere"
    watched.assert_clean()


async def test_room_frame_of_one_community_asks_nothing(world: World, browser: Browser) -> None:
    watched = await open_page(await new_context(browser), world, "desk", "?community=elsewhere")
    await watched.page.get_by_text("不在您的管理范围").wait_for()
    await expect(watched.page.locator("[data-testid=community]")).to_have_count(0)
    assert await _community(watched.page) == world.community.id
    watched.assert_clean()


async def test_room_frame_shows_the_alarm_that_nobody_has(world: World, browser: Browser) -> None:
    watched = await open_page(await new_context(browser), world, "desk", "?theme=dark&lang=zh")
    page = watched.page
    await page.click("[data-testid=rooms]")
    await page.click("[data-room='/people']")
    await page.click(f"[data-person='{world.community.id}-p2']")
    await page.wait_for_selector("[data-testid=person-facts]")
    device, ms = f"{world.community.id}-gas_alarm-1", int(time.time() * 1000)
    await world.publish(device, "event", {"id": "leak-1", "ts": ms, "event": "alarm", "data": {"lel": 18.5}})
    alarm = page.locator("[data-testid=room-alarm]")
    await alarm.wait_for()

    async def ordered() -> bool:
        return "order=" in (await alarm.locator("a").get_attribute("href") or "")

    await until(ordered)
    said = await alarm.inner_text()
    assert "燃气泄漏" in said and "1号楼101室" in said and "起" in said
    below = "document.querySelector('.drawer').getBoundingClientRect().top >= "
    below += "document.querySelector('[data-testid=room-alarm]').getBoundingClientRect().bottom - 1"

    async def uncovered() -> bool:
        return bool(await page.evaluate(below))

    await until(uncovered)
    await accessible(page, "room-alarm")

    # Put aside on the plan it is out of the way there; whoever is in a room is told for as long as nobody has it.
    await alarm.locator("a").focus()
    await page.keyboard.press("Enter")
    await page.wait_for_selector("[data-testid=order-state]")
    await page.click("[data-testid=takeover-back]")
    await page.go_back()
    await alarm.wait_for()
    async with world.http("patrol1") as http:
        order = (await world.get(http, f"/communities/{world.community.id}/orders"))["items"][0]
        await moved(world, order["id"], "patrol1", "accept")
    await alarm.wait_for(state="detached")

    world.api.freeze()
    await page.wait_for_selector("[data-testid=room-deaf]")
    world.api.thaw()
    await page.wait_for_selector("[data-testid=room-deaf]", state="detached")
    forgive(watched, 503)  # what was asked as it froze was answered too late
    watched.assert_clean()


async def test_room_frame_accounts_are_linked_to_another_login_and_unlinked(
    world: World, browser: Browser, tmp_path: Path
) -> None:
    issuer = "https://id.example"
    set_up = {
        "OIDC_ISSUER": issuer,
        "OIDC_CLIENT_ID": "linhub",
        "OIDC_NAME": "市民中心",
        "PUBLIC_URL": "http://127.0.0.1",
    }
    api = ApiProcess(
        world.database_url, tmp_path / "api.log", **{f"LINHUB_{name}": value for name, value in set_up.items()}
    )
    await api.start()
    try:
        at = World(world.community, api, world.mqtt, world.database_url)
        watched = await open_page(await new_context(browser), at, "admin", f"?community={at.community.id}")
        page = watched.page
        await page.goto(f"{at.url}/accounts?community={at.community.id}")
        row = page.locator("[data-row=patrol1]")
        await row.locator("[data-act=link]").click()
        form = page.locator("[data-testid=link-form]")
        await expect(form).to_contain_text("市民中心")
        await expect(form).to_contain_text(issuer)
        await form.locator("[name=subject]").fill("f3a1c9")
        await accessible(page, "account-link")
        await page.keyboard.press("Enter")
        await row.locator("[data-act=unlink]").click()
        await expect(form).to_contain_text("立即结束")
        await page.get_by_role("dialog").get_by_role("button", name="解除统一登录").click()
        await row.locator("[data-act=link]").wait_for()
        async with at.http("admin") as http:
            audit = await at.get(http, "/audit?action=account.")
        assert {"account.link", "account.unlink"} <= {one["action"] for one in audit["items"]}
        watched.assert_clean()
        await page.context.close()
    finally:
        await api.stop()
