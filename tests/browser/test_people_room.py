"""The room of people in a real browser: masks, purposes, changes, consents, sheets, erasing by two, who may not."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, FilePayload, Page

from tests.api_server import connect
from tests.browser.kit import COCKPIT, Watched, World, new_context, open_page
from tests.browser.waiting import expect, until

AXE = COCKPIT / "node_modules" / "axe-core" / "axe.min.js"
_VIOLATIONS = "async () => (await axe.run()).violations.map((one) => one.id + ' ' + one.nodes[0].html)"


async def accessible(page: Page, name: str) -> None:
    """Nothing that axe knows of, nothing wider than the page; pictures in both themes where a folder is named."""
    if folder := os.environ.get("LINHUB_SCREENSHOTS"):
        for theme in ("dark", "light"):
            await page.evaluate("(theme) => (document.documentElement.dataset.theme = theme)", theme)
            await page.screenshot(path=str(Path(folder) / f"{name}-{theme}.png"))
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    await page.evaluate(AXE.read_text())
    assert await page.evaluate(_VIOLATIONS) == [], name


async def people_room(browser: Browser, world: World, username: str, part: str = "") -> Watched:
    watched = await open_page(await new_context(browser), world, username, "?theme=dark&lang=zh")
    community = f"?community={world.community.id}" if username == "admin" else ""
    await watched.page.goto(f"{world.url}/people{part}{community}")
    await watched.page.wait_for_selector("[data-person]" if not part else "[data-testid=person-facts]")
    return watched


async def reveal(page: Page, purpose: str = "visit") -> None:
    await page.select_option("[data-testid=reveal-purpose]", purpose)
    await page.locator("[data-testid=reveal] button").click()
    await page.wait_for_selector("[data-testid=reveal]", state="detached")


async def rows(world: World, query: str, *values: Any) -> list[Any]:
    connection = await connect(world.database_url)
    try:
        return list(await connection.fetch(query, *values))
    finally:
        await connection.close()


async def prepared(world: World) -> str:
    """The elder with a number, a guardian and a tag of illness; the id."""
    elder = f"{world.community.id}-p1"
    await rows(
        world,
        "UPDATE person SET phone = '13800001234', tags = tags || '{chronic_illness}', guardian_id = 'user-desk' "
        "WHERE id = $1",
        elder,
    )
    return elder


async def test_people_room_shows_masks_until_it_was_said_what_for(world: World, browser: Browser) -> None:
    elder = await prepared(world)
    watched = await people_room(browser, world, "desk")
    page = watched.page
    everybody = await page.inner_text("[data-testid=people]")
    assert "王**" in everybody and "138****1234" in everybody
    assert not any(said in everybody for said in ("秀英", "13800001234", "慢性病"))
    await accessible(page, "people")

    await page.click("[data-testid=people-tags]")
    tag = page.locator("[data-tag=elder_living_alone] input")
    await tag.focus()
    await page.keyboard.press("Space")
    await accessible(page, "people-tags")
    await page.click("[data-testid=people-tags-use]")

    async def one() -> bool:
        return await page.locator("[data-person]").count() == 1

    await until(one)
    await page.fill("[data-testid=people-find]", "没有这个人")
    await page.get_by_text("没有符合条件的人").wait_for()
    await page.fill("[data-testid=people-find]", "王秀英")
    await until(one)

    # By keyboard: the name is a button, Escape leaves and the focus is where it was.
    name = page.locator(f"[data-person='{elder}']")
    await name.focus()
    await page.keyboard.press("Enter")
    facts = page.locator("[data-testid=person-facts]")
    await facts.wait_for()
    assert page.url.split("?")[0].endswith(f"/people/{elder}")
    assert "13800001234" not in await facts.inner_text()
    await expect(page.locator("[data-testid=reveal-purpose] option")).to_have_count(4)
    await reveal(page)
    shown = await facts.inner_text()
    assert all(said in shown for said in ("13800001234", "1号楼", "101", "慢性病"))
    await page.get_by_text("谁看过").click()
    await expect(page.locator("[data-testid=reads]")).to_contain_text("关怀探访 · 个人资料与标签")
    await accessible(page, "person")
    await page.get_by_role("button", name="恢复掩码").click()
    assert "13800001234" not in await facts.inner_text()
    await page.keyboard.press("Escape")
    await facts.wait_for(state="detached")
    assert await page.evaluate("document.activeElement.dataset.person") == elder
    audited = "SELECT detail FROM audit WHERE action = 'health.reveal' AND subject = $1"
    assert [row["detail"]["purpose"] for row in await rows(world, audited, f"person:{elder}")] == ["visit"]
    watched.assert_clean()


async def test_people_room_enters_changes_and_moves_out_by_version(world: World, browser: Browser) -> None:
    elder = await prepared(world)
    watched = await people_room(browser, world, "desk")
    page = watched.page
    await page.click("[data-testid=people-new]")
    form = page.locator("[data-testid=person-form]")
    await form.locator("[name=person-name]").fill("陈静")
    await form.locator("[name=birth-year]").fill("1990")
    await form.locator("[name=building]").select_option(label="1号楼")
    await form.locator("[name=unit]").select_option(label="2单元")
    await form.locator("[name=home]").select_option(label="101")
    await form.locator("summary").first.click()
    await form.locator("[data-tag=tenant] input").check()
    await accessible(page, "person-new")
    await page.click("[data-testid=person-save]")
    await page.wait_for_selector("[data-testid=person-facts]")
    made = "SELECT household_id, birth_year, tags FROM person WHERE name = '陈静' AND community_id = $1"
    (row,) = await rows(world, made, world.community.id)
    assert (row["household_id"], row["birth_year"], row["tags"]) == (f"{world.community.id}-h3", 1990, ["tenant"])

    await page.goto(f"{world.url}/people/{elder}")
    await page.wait_for_selector("[data-testid=reveal]")
    await reveal(page, "duty")
    await page.click("[data-testid=person-edit]")
    await form.locator("[name=person-phone]").fill("13900005678")
    # Somebody else is faster: with another field, which is kept, and with the same, which is said.
    faster = "UPDATE person SET birth_year = 1942, phone = '13700000000' WHERE id = $1"
    await rows(world, faster, elder)
    await page.click("[data-testid=person-save]")
    await expect(page.locator("[data-testid=person-trouble]")).to_contain_text("手机")
    await expect(form.locator("[name=birth-year]")).to_have_value("1942")
    await page.click("[data-testid=person-save]")
    await form.wait_for(state="detached")
    (row,) = await rows(world, "SELECT * FROM person WHERE id = $1", elder)
    assert (row["phone"], row["birth_year"], row["guardian_id"]) == ("13900005678", 1942, "user-desk")
    assert "chronic_illness" in row["tags"] and row["household_id"] == f"{world.community.id}-h1"

    await page.get_by_role("button", name="迁出", exact=True).click()
    dialog = page.get_by_role("dialog", name="迁出本社区")
    await expect(dialog).to_contain_text("同意立即失效")
    await page.select_option("[data-testid=move-out-why]", "care_home")
    await page.click("[data-testid=move-out]")
    await dialog.wait_for(state="detached")
    (row,) = await rows(world, "SELECT * FROM person WHERE id = $1", elder)
    assert row["moved_out_at"] is not None and row["household_id"] is None
    assert await rows(world, "SELECT FROM device WHERE person_id = $1", elder) == []
    await page.keyboard.press("Escape")
    await page.check("[data-testid=people-gone]")
    await page.wait_for_selector(f"[data-person='{elder}']")
    watched.complaints = [one for one in watched.complaints if "412" not in one]
    watched.assert_clean()


async def test_people_room_gives_and_withdraws_consents_in_words(world: World, browser: Browser) -> None:
    elder = await prepared(world)
    watched = await people_room(browser, world, "desk", f"/{elder}")
    page = watched.page
    vitals, family = page.locator("[data-consent=vitals]"), page.locator("[data-consent=family]")
    await page.wait_for_selector("[data-consent=vitals][data-state=on]")
    await vitals.get_by_role("button").click()
    words = page.locator("[data-testid=withdraw-words]")
    said = await words.inner_text()
    assert "心率" in said and "SOS" in said and "保存期限" in said
    await accessible(page, "consent-withdraw")
    assert await rows(world, "SELECT FROM consent WHERE person_id = $1 AND withdrawn_at IS NOT NULL", elder) == []
    await page.click("[data-testid=withdraw]")
    await page.wait_for_selector("[data-consent=vitals][data-state=withdrawn]")
    await expect(vitals).to_contain_text("desk 于")
    (row,) = await rows(world, "SELECT * FROM consent WHERE person_id = $1 AND withdrawn_at IS NOT NULL", elder)
    assert (row["what"], row["withdrawn_by"]) == ("vitals", "user-desk")

    await vitals.get_by_role("button").click()
    form = page.locator("[data-testid=consent-form]")
    await page.select_option("[data-testid=consent-by]", "guardian")
    await form.locator("[name=giver]").fill("李伟")
    await accessible(page, "consent-give")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("[data-consent=vitals][data-state=on]")
    await expect(vitals).to_contain_text("监护人 李伟 签字")
    given = "SELECT * FROM consent WHERE person_id = $1 AND what = 'vitals' AND withdrawn_at IS NULL"
    (row,) = await rows(world, given, elder)
    assert (row["given_by"], row["giver"], row["how"], row["recorded_by"]) == ("guardian", "李伟", "paper", "user-desk")
    assert await family.get_attribute("data-state") == "on"
    watched.assert_clean()


async def test_people_room_erases_by_two_with_the_name_typed_in(world: World, browser: Browser) -> None:
    elder = await prepared(world)
    watched = await people_room(browser, world, "admin", f"/{elder}")
    page = watched.page
    await reveal(page, "export")
    await page.locator("[data-testid=rights] summary").click()
    async with page.expect_download() as taken:
        await page.click("[data-testid=copy]")
    assert (await taken.value).suggested_filename == f"person-{elder}.zip"
    ask = page.locator("[data-testid=erase-ask]")
    await page.select_option("[data-testid=erase-why]", "deceased")
    await ask.get_by_role("button").click()
    counts = page.locator("[data-testid=erased-counts]")
    await expect(counts.locator("[data-side=goes] [data-count=consents] dd")).to_have_text("3")
    await expect(counts.locator("[data-side=stays] [data-count=devices] dd")).to_have_text("3")
    await expect(counts).to_contain_text("统计不变")
    send = ask.get_by_role("button")
    await expect(send, "asked for before the name was typed in").to_be_disabled()
    await ask.locator("[name=erase-name]").fill("王秀")
    await expect(send, "asked for with another name").to_be_disabled()
    await ask.locator("[name=erase-name]").fill("王秀英")
    await accessible(page, "erase")
    await send.click()
    await expect(page.locator("[data-testid=erase-waiting]")).to_contain_text("等待另一位批准")
    await expect(page.locator("[data-testid=erase-approve]"), "who asked may approve").to_have_count(0)
    assert (await rows(world, "SELECT name FROM person WHERE id = $1", elder))[0]["name"] == "王秀英"
    watched.assert_clean()

    second = await people_room(browser, world, "desk")
    page = second.page
    await page.get_by_role("button", name="抹除申请（1 待批）").click()
    await accessible(page, "erasures")
    await page.get_by_role("button", name=elder).click()
    await page.locator("[data-testid=rights] summary").click()
    approve = page.locator("[data-testid=erase-approve]")
    await approve.locator("[name=erase-name]").fill("王秀英")
    await expect(approve.get_by_role("button"), "approved by somebody who has not seen whom").to_be_disabled()
    await reveal(page, "duty")
    await approve.get_by_role("button").click()
    await page.wait_for_selector("[data-testid=erased]")
    assert "王" not in await page.inner_text(".drawer"), "what was erased is still on the screen"
    await expect(page.locator("[data-side=goes] [data-count=consents] dd")).to_have_text("3")
    await accessible(page, "erased")
    assert (await rows(world, "SELECT name FROM person WHERE id = $1", elder))[0]["name"] != "王秀英"
    await page.click("[data-testid=erase-finish]")
    await page.wait_for_selector(f"[data-person='{elder}']", state="detached")
    await page.goto(f"{world.url}/people/{elder}")
    await page.get_by_text("没有此人").wait_for()
    second.assert_clean()


async def test_people_room_tells_a_grid_member_who_may(world: World, browser: Browser) -> None:
    elder = await prepared(world)
    watched = await people_room(browser, world, "grid1", f"/{elder}")
    page = watched.page
    await expect(page.locator("[data-testid=people-new], [data-testid=people-sheet]")).to_have_count(0)
    await expect(page.locator("[data-testid=reveal-purpose] option")).to_have_count(3)
    await page.locator("[data-testid=rights] summary").click()
    await expect(page.locator("[data-testid=erase-who]")).to_contain_text("管理员")
    await expect(page.locator("[data-testid=copy]")).to_have_count(0)
    await page.goto(f"{world.url}/people/{world.community.id}-p99")
    await page.get_by_text("没有此人").wait_for()
    watched.assert_clean()


async def test_people_room_reads_a_sheet_before_it_writes_one(world: World, browser: Browser) -> None:
    watched = await people_room(browser, world, "desk")
    page = watched.page
    await page.click("[data-testid=people-sheet]")
    sheet = "姓名,楼栋,单元,房号,标签\n赵六,1号楼,1单元,101,党员\n,9号楼,1单元,101,没有的\n"

    async def check(text: str) -> None:
        file = FilePayload(name="people.csv", mimeType="text/csv", buffer=text.encode("gb18030"))
        await page.set_input_files("[data-testid=people-file]", file)
        await page.get_by_role("button", name="校验").click()
        await page.wait_for_selector("[data-testid=people-report]")

    await check(sheet)
    report = page.locator("[data-testid=people-report]")
    await expect(report).to_contain_text("目录中没有标签：没有的")
    await expect(page.locator("[data-testid=people-import]"), "a sheet with faults can be written").to_have_count(0)
    await accessible(page, "people-sheet")
    await check(sheet.rsplit("\n", 2)[0])
    await expect(report).to_contain_text("新增 1")
    known = "SELECT tags FROM person WHERE name = '赵六' AND community_id = $1"
    assert await rows(world, known, world.community.id) == []
    await page.click("[data-testid=people-import]")
    await report.get_by_text("已导入").wait_for()
    assert [row["tags"] for row in await rows(world, known, world.community.id)] == [["party_member"]]
    async with page.expect_download() as taken:
        await page.click("[data-testid=people-export]")
    content = await asyncio.to_thread(Path(await (await taken.value).path()).read_text, "utf-8-sig")
    assert "赵六" in content
    watched.assert_clean()
