"""Emergency contacts and guardians in the room of people: masked, changed, put into order, overtaken, removed."""

from __future__ import annotations

from playwright.async_api import Browser, Request

from tests.browser.kit import World
from tests.browser.room_kit import confirmed, forgive, gone
from tests.browser.test_people_room import people_room, prepared, reveal, rows
from tests.browser.waiting import expect, until

_KNOWN = (
    "SELECT c.id::text AS id, c.name, c.relation, c.position, min(k.address) AS phone FROM person_contact AS c"
    " JOIN contact_channel AS k ON k.contact_id = c.id WHERE c.person_id = $1 GROUP BY c.id ORDER BY c.position"
)


async def test_people_room_keeps_emergency_contacts(world: World, browser: Browser) -> None:
    elder = await prepared(world)
    # Whoever is the guardian knows whom they named; the desk here is not.
    await rows(world, "UPDATE person SET guardian_id = NULL WHERE id = $1", elder)
    watched = await people_room(browser, world, "desk", f"/{elder}")
    page = watched.page
    section, form = page.locator("[data-testid=contacts]"), page.locator("[data-testid=contact-form]")
    await expect(section).to_contain_text("还没有紧急联系人")

    async def enter(name: str, relation: str, phone: str) -> None:
        await page.click("[data-testid=contact-add]")
        await form.locator("[name=contact-name]").fill(name)
        await form.locator("[name=contact-relation]").fill(relation)
        await form.locator("[name=contact-phone]").fill(phone)
        await page.keyboard.press("Enter")

    # A number that cannot be called is said while it is entered, and what was typed stands.
    await enter("李娜娜", "女儿", "1380013800")
    await expect(page.locator("[data-testid=contact-trouble]")).to_have_text("手机号应为 11 位，现为 10 位")
    await form.locator("[name=contact-phone]").fill("13800138000")
    await page.click("[data-testid=contact-save]")
    await gone(form)
    await enter("李强", "儿子", "0792-8123456")
    await gone(form)
    await expect(section.locator("li")).to_have_count(2)
    shown = await section.inner_text()
    assert "李**" in shown and "138****00" in shown
    assert not any(said in shown for said in ("娜", "13800138000", "8123456"))
    await expect(section.locator("li button"), "changed with the mask on").to_have_count(0)

    await reveal(page, "emergency")
    daughter = section.locator("li", has_text="李娜娜")
    await expect(daughter.locator("a")).to_have_attribute("href", "tel:13800138000")
    await page.get_by_text("谁看过").click()
    await expect(page.locator("[data-testid=reads]")).to_contain_text("紧急处置 · 紧急联系人")

    # By keyboard: what was moved keeps the focus, and at the top its other button has it.
    son = section.locator("li", has_text="李强")
    await son.get_by_role("button", name="上移 李强").focus()
    await page.keyboard.press("Enter")
    await expect(section.locator("li").first).to_contain_text("李强")
    await until(lambda: page.evaluate("document.activeElement.ariaLabel === '下移 李强'"))
    assert [row["name"] for row in await rows(world, _KNOWN, elder)] == ["李强", "李娜娜"]

    # Somebody else is faster: what stands now is said, what was typed stays, the second try counts.
    await daughter.get_by_role("button", name="编辑联系人").click()
    await form.locator("[name=contact-name]").fill("李娜")
    (_, known) = await rows(world, _KNOWN, elder)
    faster = "UPDATE contact_channel SET address = '13900139000' WHERE contact_id = $1::text::uuid"
    await rows(world, faster, known["id"])
    await page.click("[data-testid=contact-save]")
    trouble = page.locator("[data-testid=contact-trouble]")
    await expect(trouble).to_contain_text("现为：李娜娜 · 女儿 · 13900139000")
    await expect(form.locator("[name=contact-name]")).to_have_value("李娜")
    await form.locator("[name=contact-phone]").fill("13900139000")
    await page.click("[data-testid=contact-save]")
    await gone(form)
    assert [(row["name"], row["phone"]) for row in await rows(world, _KNOWN, elder)] == [
        ("李强", "07928123456"), ("李娜", "13900139000"),
    ]  # fmt: skip

    # The order that somebody else has changed meanwhile is not turned over unseen.
    await rows(world, "UPDATE person_contact SET name = '李小强' WHERE name = '李强' AND person_id = $1", elder)
    await section.locator("li", has_text="李强").get_by_role("button", name="下移").click()
    await expect(section.locator("[role=alert]")).to_contain_text("他人已先修改")
    await expect(section.locator("li").first).to_contain_text("李小强")

    for name, words in (("李小强", "呼救和告警不再通知此人"), ("李娜", "这是最后一位")):
        await section.get_by_role("button", name=f"删除联系人 {name}").click()
        await expect(page.locator("[data-testid=confirm]")).to_contain_text(words)
        await confirmed(page)
    await expect(section).to_contain_text("还没有紧急联系人")
    assert await rows(world, _KNOWN, elder) == []
    await page.get_by_role("button", name="恢复掩码").click()
    forgive(watched, 412, 422)
    watched.assert_clean()


async def test_people_room_names_a_guardian_and_a_grid_member_is_told_who_may(world: World, browser: Browser) -> None:
    elder = await prepared(world)
    watched = await people_room(browser, world, "desk", f"/{elder}")
    page = watched.page
    facts = page.locator("[data-testid=person-facts]")
    await expect(facts).to_contain_text("有监护人")
    await reveal(page, "duty")
    await expect(facts).to_contain_text("监护人：desk")
    await page.click("[data-testid=person-edit]")
    guardian = page.locator("[data-picker=guardian]")
    await guardian.get_by_role("button", name="取消：监护人").click()
    await guardian.locator("input").fill("没有这个账号")
    await page.keyboard.press("Enter")
    await expect(guardian.locator("[role=status]")).to_have_text("没有这样的账号")
    await guardian.locator("input").fill("RESIDENT1")
    await page.keyboard.press("Enter")
    await guardian.locator("[data-account=resident1]").click()
    own = page.locator("[data-picker=own-account]")
    await own.locator("input").fill("resident1")
    await page.keyboard.press("Enter")
    await own.locator("[data-account=resident1]").click()
    await page.click("[data-testid=person-save]")
    await expect(page.locator("[data-testid=person-trouble]")).to_have_text("监护人不能是本人的账号")
    await own.get_by_role("button", name="取消：账号").click()
    await page.click("[data-testid=person-save]")
    await expect(facts).to_contain_text("监护人：resident1")
    (row,) = await rows(world, "SELECT account_id, guardian_id FROM person WHERE id = $1", elder)
    assert (row["account_id"], row["guardian_id"]) == (None, "user-resident1")
    forgive(watched, 422)
    watched.assert_clean()

    second = await people_room(browser, world, "grid1", f"/{elder}")
    await reveal(second.page, "visit")
    await expect(second.page.locator("[data-testid=edit-who]")).to_contain_text("社区值班或管理员")
    await expect(second.page.locator("[data-testid=person-edit]")).to_have_count(0)
    await expect(second.page.locator("[data-testid=contact-add]")).to_have_count(1)
    second.assert_clean()


async def test_people_room_puts_no_name_or_number_into_an_address(world: World, browser: Browser) -> None:
    """Neither into what it asks for nor into its own: both are kept by whatever stands on the way."""
    elder = await prepared(world)
    watched = await people_room(browser, world, "admin")
    page = watched.page
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    await page.fill("[data-testid=people-find]", "王秀英")
    await expect(page.locator("[data-person]")).to_have_count(1)
    async with page.expect_response(lambda answer: answer.url.endswith("/people/search")):
        await page.fill("[data-testid=people-find]", "13800001234")
    await page.click(f"[data-person='{elder}']")
    await reveal(page, "export")
    asked.append(page.url)
    for room, field, button in (("/accounts", "find", "form[role=search] button"), ("/audit", "actor", "form button")):
        await page.goto(f"{world.url}{room}?community={world.community.id}")
        await page.fill(f"[name={field}]", "王秀英")
        async with page.expect_response(lambda answer: answer.url.endswith("/search")) as answered:
            await page.locator(button).first.click()
        assert (await answered.value).ok
        asked.append(page.url)
    assert len([url for url in asked if url.endswith("/people/search")]) >= 2
    assert not [url for url in asked if "13800001234" in url or "%E7%8E%8B" in url or "王" in url]
    watched.assert_clean()
