"""Televisions: paired by the code they show, the wall by themselves, cut off at the desk, and a code that ran out."""

from __future__ import annotations

from playwright.async_api import Browser, Page

from tests.api_server import connect
from tests.browser.kit import Watched, World, new_context, open_page
from tests.browser.room_kit import (
    DESK,
    PHONE,
    address,
    confirmed,
    enter,
    forgive,
    forgive_silence,
    live,
    log_in,
    looked_at,
)
from tests.browser.waiting import expect, until

TV = (1920, 1080)
_OPEN_ORDER = """async (community) => (await fetch(`/api/v1/communities/${community}/orders`, {
    method: 'POST',
    headers: {'Content-Type': 'application/json', 'X-LinHub': '1', 'Idempotency-Key': 'from-a-wall'},
    body: JSON.stringify({source: 'patrol', title: 'x', severity: 'major', team: 'patrol', place: 'x'}),
})).status"""


async def _code(page: Page, other_than: str = "") -> str:
    """The code the television shows; another one than that, where one is named."""

    async def shown() -> str:
        code = page.locator("[data-testid=code]")
        text = await code.inner_text() if await code.count() else ""
        return text if text != other_than else ""

    return await until(shown, 120)


async def _widest(page: Page) -> None:
    """The code made of its widest letter: which ones a code has is chance."""
    await page.eval_on_selector("[data-testid=code]", "(code) => { code.firstChild.data = 'WWWW-WWWW' }")


async def _television(browser: Browser, world: World) -> Watched:
    watched = Watched(await (await new_context(browser, TV)).new_page(), world.url)
    await watched.page.goto(f"{world.url}/tv")
    return watched


async def test_screen_becomes_the_wall_by_its_code_and_is_cut_off(world: World, browser: Browser) -> None:
    tv = await _television(browser, world)
    code = await _code(tv.page)
    await _widest(tv.page)
    await looked_at(tv.page, "tv-code", (TV, (1080, 1920), PHONE))
    desk = await open_page(await new_context(browser), world, "desk", "?theme=light&lang=zh")
    page = desk.page
    await enter(page, "/displays")
    await page.get_by_text("还没有屏幕").wait_for()

    # A code that no screen shows: said in words, and what was typed stays.
    await page.fill("[name=code]", "acac-dfdf")
    await page.fill("[name=name]", "大厅主屏")
    await page.keyboard.press("Enter")
    alert = page.locator("[role=alert]")
    await alert.wait_for()
    await expect(alert).to_have_text("没有屏幕显示这个配对码：请核对，或等屏幕换新码")
    await expect(page.locator("[name=name]")).to_have_value("大厅主屏")
    await looked_at(page, "displays-wrong-code", (DESK, PHONE))

    # However it is spaced and in whatever case.
    await page.fill("[name=code]", code.lower().replace("-", " "))
    await page.fill("[name=place]", "1号楼大厅")
    await page.keyboard.press("Enter")
    await page.get_by_text("「大厅主屏」已配对").wait_for()
    await live(tv.page)
    assert await tv.page.evaluate("document.documentElement.dataset.view") == "wall"
    await expect(tv.page.locator("[data-testid=rooms]")).to_have_count(0)
    assert await tv.page.evaluate(_OPEN_ORDER, world.community.id) == 403
    await page.wait_for_selector("[data-testid=pair] ~ * [data-status=seen]")
    await looked_at(page, "displays", (DESK, PHONE))
    await page.get_by_role("button", name="改名").click()
    await page.fill("[name=rename]", "大厅东屏")
    await page.keyboard.press("Enter")
    await page.get_by_text("大厅东屏").wait_for()

    # The power fails: it is the wall again by itself.
    await tv.page.reload()
    await live(tv.page)

    await page.click("[data-act=revoke]")
    await looked_at(page, "displays-cut-off")
    await confirmed(page)
    await tv.page.wait_for_selector("[data-testid=cut]")
    await expect(tv.page.locator("[data-testid=cut]")).to_contain_text("此屏已被断开")
    await expect(tv.page.locator("[data-testid=cockpit]")).to_have_count(0)
    assert await _code(tv.page) != code
    await looked_at(tv.page, "tv-cut", (TV,))
    await page.get_by_text("还没有屏幕").wait_for()
    await page.check("input[type=checkbox]")
    await page.wait_for_selector("[data-status=revoked]")
    forgive(desk, 422)
    desk.assert_clean()
    forgive(tv, 401, 403)
    forgive_silence(tv)
    tv.assert_clean()


async def test_screen_shows_a_new_code_when_its_own_ran_out(world: World, browser: Browser) -> None:
    tv = await _television(browser, world)
    code = await _code(tv.page)
    connection = await connect(world.database_url)
    plain = code.replace("-", "")
    await connection.execute("UPDATE display_pairing SET expires_at = now() WHERE code = $1", plain)
    await connection.close()
    fresh = await _code(tv.page, other_than=code)

    # Scanned by a phone on which nobody is logged in: the login leads on to the room, with the code in its field.
    phone = Watched(await (await new_context(browser, PHONE)).new_page(), world.url)
    await phone.page.goto(address(world, "/displays", f"&code={code}"))
    await log_in(phone.page, "desk")
    await phone.page.wait_for_selector("[data-testid=pair]")
    await expect(phone.page.locator("[name=code]")).to_have_value(code)
    await phone.page.fill("[name=name]", "门厅")
    await phone.page.get_by_role("button", name="配对屏幕").click()
    await phone.page.get_by_text("请核对，或等屏幕换新码").wait_for()
    await phone.page.fill("[name=code]", fresh)
    await phone.page.get_by_role("button", name="配对屏幕").click()
    await live(tv.page)
    forgive(phone, 422)
    phone.assert_clean()
    tv.assert_clean()
