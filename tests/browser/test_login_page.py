"""The way in: wrong passwords and how long they lock out, a one-time password, and back to where one was."""

from __future__ import annotations

import re
from uuid import uuid4

from playwright.async_api import Browser

from tests.api_server import connect
from tests.browser.kit import Watched, World, new_context, open_page
from tests.browser.room_kit import DESK, PHONE, address, enter, forgive, gone, live, log_in, looked_at
from tests.browser.waiting import expect, until
from tests.factory import PASSWORD

CHOSEN = "六月的雨下在老城墙上"


async def _newcomer(world: World) -> tuple[str, str]:
    """An account that just got its one-time password."""
    name = f"new{uuid4().hex[:8]}"
    body = {"username": name, "display_name": "李建国", "role": "staff", "team": "patrol"}
    async with world.http("admin") as http:
        answer = await http.post(
            "/users",
            json={**body, "community_id": world.community.id},
            headers={"Idempotency-Key": name},
        )
    assert answer.status_code == 201, answer.text
    return name, answer.json()["one_time_password"]


async def test_login_says_how_to_get_in_again_and_asks_for_a_password_of_ones_own(
    world: World, browser: Browser
) -> None:
    name, once = await _newcomer(world)
    watched = Watched(await (await new_context(browser)).new_page(), world.url)
    page = watched.page
    await page.goto(f"{world.url}/?lang=zh")
    await page.wait_for_selector("[name=username]")
    assert await page.evaluate("document.activeElement.name") == "username"
    await looked_at(page, "login", (DESK, PHONE))
    alert = page.locator("form [role=alert]")
    await log_in(page, name, "not the password")
    await alert.wait_for()
    await expect(alert).to_have_text("用户名或密码不对")
    assert await page.evaluate("document.activeElement.name") == "password"

    async def locked() -> bool:
        # The right one does not help any more either.
        await log_in(page, name, once if "尝试过多" in await alert.inner_text() else "not the password")
        await page.wait_for_selector("button[type=submit]:not([disabled])")
        return "尝试过多" in await alert.inner_text()

    await until(locked)
    await locked()
    # A minute is not long for what is looked at before the desk frees them.
    connection = await connect(world.database_url)
    await connection.execute("UPDATE login_failure SET blocked_until = now() + '1 h' WHERE blocked_until > now()")
    await connection.close()
    said = await alert.inner_text()
    assert re.search(r"请于 \d\d:\d\d 后再试", said) and "社区值班" in said and "解除锁定" in said
    await looked_at(page, "login-locked", (DESK, PHONE))

    # The desk, whom the page names, lets them in at once.
    desk = await open_page(await new_context(browser), world, "desk", "?theme=light&lang=zh")
    await enter(desk.page, "/accounts")
    row = desk.page.locator(f"[data-row='{name}']")
    await row.locator("[data-act=free]").click()
    await gone(row.locator("[data-act=free]"))
    await desk.page.get_by_text("已解除 李建国 的锁定").wait_for()
    desk.assert_clean()

    await log_in(page, name, once)
    form = page.locator("[data-testid=password-form]")
    await form.wait_for()
    await looked_at(page, "login-first", (DESK, PHONE))
    for first, second, why in (
        (CHOSEN, f"{CHOSEN}!", "两次输入的新密码不同"),
        ("1234567890", "1234567890", "太容易猜"),
        (once, once, "相同"),
    ):
        await form.locator("[name=new]").fill(first)
        await form.locator("[name=again]").fill(second)
        await page.keyboard.press("Enter")
        await form.get_by_role("alert").filter(has_text=why).wait_for()
    await form.locator("[name=new]").fill(CHOSEN)
    await form.locator("[name=again]").fill(CHOSEN)
    await page.keyboard.press("Enter")
    await live(page)
    forgive(watched, 401, 403, 422, 429)
    watched.assert_clean()


async def test_login_leads_back_to_where_one_was_when_the_session_ended_elsewhere(
    world: World, browser: Browser
) -> None:
    here = await open_page(await new_context(browser), world, "desk", "?theme=light&lang=zh")
    await enter(here.page, "/rosters")
    there = await open_page(await new_context(browser), world, "desk", "?theme=light&lang=zh")
    await enter(there.page, "/accounts")
    mine = there.page.locator("[data-testid=my-sessions]")
    await looked_at(there.page, "accounts-desk", (DESK, PHONE))
    await mine.locator("[data-testid=end-others]").click()
    await mine.get_by_text("没有其他登录").wait_for()

    await here.page.wait_for_selector("[data-testid=ended]")
    await expect(here.page.locator("[data-testid=ended]")).to_contain_text("登录已结束")
    assert "/login" in here.page.url
    await looked_at(here.page, "login-ended", (DESK, PHONE))
    await log_in(here.page, "desk")
    await here.page.wait_for_selector("[data-room='/rosters'][aria-current=page]")
    assert here.page.url.startswith(f"{world.url}/rosters")

    # Whoever leaves by themselves is told nothing, and whoever comes next begins at the beginning.
    await here.page.click("[data-testid=to-cockpit]")
    await here.page.click("[data-testid=logout]")
    await here.page.wait_for_selector("[name=username]")
    await expect(here.page.locator("[data-testid=ended]")).to_have_count(0)
    await log_in(here.page, "desk")
    await live(here.page)
    forgive(here, 401)
    here.assert_clean()
    there.assert_clean()


async def test_login_of_somebody_else_in_another_tab_is_seen_in_all(world: World, browser: Browser) -> None:
    """Tabs share their cookies: what one does in the old tab would be done in the new one's name."""
    context = await new_context(browser)
    first = await open_page(context, world, "desk", "?theme=light&lang=zh")
    await expect(first.page.locator("[data-testid=logout]")).to_contain_text("desk")
    second = Watched(await context.new_page(), world.url)
    await second.page.goto(address(world, "/"))
    await live(second.page)
    await second.page.click("[data-testid=logout]")
    await first.page.wait_for_selector("[data-testid=ended]")
    await second.page.wait_for_selector("[name=username]")
    await first.page.fill("[name=username]", "desk")
    await first.page.fill("[name=password]", PASSWORD)
    await first.page.click("button[type=submit]")
    await live(first.page)
    await second.page.fill("[name=username]", "patrol1")
    await second.page.fill("[name=password]", PASSWORD)
    await second.page.click("button[type=submit]")
    await live(second.page)

    async def known() -> bool:
        return "patrol1" in await first.page.inner_text("[data-testid=logout]")

    await until(known)
    await live(first.page)
    assert first.strayed == [] and second.strayed == []
