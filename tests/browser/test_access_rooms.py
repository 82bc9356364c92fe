"""The rooms of accounts, keys and the audit trail, used by an administrator: made, changed, ended, proved."""

from __future__ import annotations

from uuid import uuid4

import httpx
from playwright.async_api import Browser

from tests.browser.kit import Watched, World, new_context, open_page
from tests.browser.room_kit import DESK, PHONE, confirmed, enter, forgive, gone, live, log_in, looked_at
from tests.browser.waiting import expect, says, until

CHOSEN = "六月的雨下在老城墙上"


async def _admin(browser: Browser, world: World) -> Watched:
    return await open_page(await new_context(browser), world, "admin", "?theme=light&lang=zh")


async def test_account_is_made_moved_to_another_team_logged_out_and_disabled(world: World, browser: Browser) -> None:
    watched = await _admin(browser, world)
    page, name = watched.page, f"new{uuid4().hex[:8]}"
    await enter(page, "/accounts")
    await page.click("[data-testid=new-account]")
    form = page.locator("[data-testid=account-form]")
    await form.locator("[name=new-username]").fill("desk")
    await form.locator("[name=display-name]").fill("李建国")
    await form.locator("[name=role]").select_option("grid")
    await form.locator("[name=grid]").wait_for()
    await looked_at(page, "account-new", (DESK, PHONE))
    await page.keyboard.press("Enter")
    await form.locator("[name=display-name]").press("Enter")
    await form.get_by_role("alert").filter(has_text="已被使用").wait_for()
    await form.locator("[name=new-username]").fill(name)
    await form.locator("[name=display-name]").press("Enter")
    once = await page.locator("[data-testid=one-time] [data-testid=secret-value]").inner_text()
    row = page.locator(f"[data-row='{name}']")
    await says(page, f"[data-row='{name}']", "网格员")
    await says(page, f"[data-row='{name}'] [data-state]", "待改密码")
    await looked_at(page, "account-made", (DESK, PHONE))

    # Its owner chooses a password and works.
    theirs = Watched(await (await new_context(browser)).new_page(), world.url)
    await theirs.page.goto(f"{world.url}/login?theme=light&lang=zh")
    await log_in(theirs.page, name, once)
    own = theirs.page.locator("[data-testid=password-form]")
    await own.locator("[name=new]").fill(CHOSEN)
    await own.locator("[name=again]").fill(CHOSEN)
    await theirs.page.keyboard.press("Enter")
    await live(theirs.page)

    # Another role: it counts at once.
    await page.fill("[name=find]", name)
    await page.keyboard.press("Enter")
    await says(page, f"[data-row='{name}'] [data-state]", "正常")
    await row.locator("[data-act=open]").click()
    dialog = page.locator("dialog[data-testid=account]")
    await dialog.locator("[name=role]").select_option("staff")
    await dialog.locator("[name=team]").select_option("cleaning")
    await dialog.get_by_role("button", name="保存").click()
    await dialog.get_by_text("已保存，立即生效").wait_for()
    await says(page, f"[data-row='{name}']", "保洁")

    # One of its sessions is ended: that page is cut.
    await dialog.locator("[data-session]").wait_for()
    await looked_at(page, "account-dialog", (DESK, PHONE))
    await dialog.locator("[data-session] button").click()
    await dialog.get_by_text("目前没有登录").wait_for()
    await theirs.page.wait_for_selector("[data-testid=ended]")
    await log_in(theirs.page, name, CHOSEN)
    await live(theirs.page)

    # Disabled with a reason: out at once, and no way in until it is enabled.
    await dialog.locator("[name=why]").fill("离职")
    await page.keyboard.press("Enter")
    await dialog.get_by_text("账号已停用").wait_for()
    await theirs.page.wait_for_selector("[data-testid=ended]")
    await log_in(theirs.page, name, CHOSEN)
    await theirs.page.locator("form [role=alert]").wait_for()
    await dialog.locator("[data-act=switch]").click()
    await dialog.get_by_text("账号已启用").wait_for()
    await page.keyboard.press("Escape")
    await gone(dialog)
    await log_in(theirs.page, name, CHOSEN)
    await live(theirs.page)

    # A new one-time password, asked for twice: nobody loses theirs by a slip.
    await page.get_by_role("button", name="我已保存").click()
    await row.locator("[data-act=reset]").click()
    await looked_at(page, "account-reset")
    await confirmed(page)
    fresh = await page.locator("[data-testid=one-time] [data-testid=secret-value]").inner_text()
    assert fresh != once
    await theirs.page.wait_for_selector("[data-testid=ended]")
    forgive(theirs, 401)
    theirs.assert_clean()
    forgive(watched, 409)
    watched.assert_clean()


async def test_key_is_shown_once_opens_what_it_may_and_is_revoked(world: World, browser: Browser) -> None:
    watched = await _admin(browser, world)
    page, name = watched.page, f"平台{uuid4().hex[:4]}"
    await enter(page, "/keys")
    await page.fill("[name=account]", name)
    await page.keyboard.press("Enter")
    form = page.locator("[data-testid=key]")
    await form.locator("[name=key]").fill("一网统管对接")
    await form.locator("[name=per-minute]").fill("120")
    await form.locator("[name=addresses]").fill("nowhere")
    await form.locator("[name=key]").press("Enter")
    await form.get_by_role("alert").wait_for()
    await form.locator("[name=addresses]").fill("127.0.0.0/8\n::1")
    await form.locator("[name=key]").press("Enter")
    made = page.locator("[data-testid=made]")
    secret = await made.locator("[data-testid=secret] [data-testid=secret-value]").inner_text()
    assert secret.startswith("lhk_")
    await looked_at(page, "keys", (DESK, PHONE))
    await made.get_by_role("button", name="复制").click()
    await made.get_by_text("已复制").wait_for()
    await made.get_by_role("button", name="我已保存").click()
    await gone(made)
    assert secret not in await page.content()

    row = page.locator("[data-row]").filter(has_text="一网统管对接")
    await expect(row).to_contain_text("120 次/分钟")
    await expect(row).to_contain_text("127.0.0.0/8")
    path = f"{world.url}/api/v1/communities/{world.community.id}/alerts"
    async with httpx.AsyncClient(trust_env=False, headers={"X-API-Key": secret}) as http:
        assert (await http.get(path)).status_code == 200
        assert (await http.get(f"{world.url}/api/v1/audit")).status_code == 403
        await row.locator("[data-act=revoke]").click()
        await looked_at(page, "keys-revoke")
        await confirmed(page)
        await gone(row)
        assert (await http.get(path)).status_code == 401
    await page.check("[name=ended]")
    await row.locator("[data-status=revoked]").wait_for()

    # The client of OAuth has an id beside its secret.
    await form.locator("[name=key]").fill("另一个")
    await form.locator("[name=sort]").select_option("client")
    await form.locator("[name=key]").press("Enter")
    await made.get_by_text("lhc_").first.wait_for()
    await expect(made.locator("[data-testid=secret-value]")).to_have_count(2)
    forgive(watched, 422)
    watched.assert_clean()


async def test_audit_room_finds_who_did_what_and_proves_the_chain(world: World, browser: Browser) -> None:
    async with world.http("admin") as http:
        body = {"name": "城市运行平台", "role": "platform", "community_id": world.community.id}
        answer = await http.post("/service-accounts", json=body)
        assert answer.status_code == 201, answer.text
        account = answer.json()["id"]
    watched = await _admin(browser, world)
    page = watched.page
    await enter(page, "/audit")
    chain = page.locator("[data-testid=chain]")
    await chain.get_by_text("链完整").wait_for()
    head = await chain.locator("[data-testid=chain-head]").inner_text()
    assert len(head.split(":")[1]) == 64
    # One press narrows it down to what was pressed.
    line = page.locator(f"[data-row]:has([data-action='service.create']):has-text('{account}')")
    await line.wait_for()
    assert "城市运行平台" in await line.inner_text() and "{" not in await line.inner_text()
    await looked_at(page, "audit", (DESK, PHONE))
    await line.locator("[data-action]").click()

    async def narrowed() -> bool:
        actions = await page.eval_on_selector_all("[data-action]", "(all) => all.map((one) => one.dataset.action)")
        return set(actions) == {"service.create"}

    await until(narrowed)
    await expect(page.locator("[name=action]")).to_have_value("service.create")
    await page.fill("[name=actor]", "nobody of this name")
    await page.keyboard.press("Enter")
    await page.get_by_text("没有符合条件的记录").wait_for()
    await page.fill("[name=actor]", "admin")
    await page.keyboard.press("Enter")
    await line.wait_for()
    # Fields are in the community's time, as the lines are: from tomorrow on there is nothing.
    await page.evaluate(
        """() => {
            const field = document.querySelector('[name=from]');
            field.value = new Date(Date.now() + 86400000 + 8 * 3600000).toISOString().slice(0, 16);
            field.dispatchEvent(new Event('input'));
        }"""
    )
    await page.press("[name=actor]", "Enter")
    await page.get_by_text("没有符合条件的记录").wait_for()
    await page.get_by_role("button", name="清除").click()
    await line.wait_for()
    watched.assert_clean()
