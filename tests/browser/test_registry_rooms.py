"""The rooms of the registry in a real browser: a device with its secret, a sheet, the plan moved and undone."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import Browser, FilePayload, Page

from tests.browser.kit import COCKPIT, World, new_context, open_page, until

AXE = COCKPIT / "node_modules" / "axe-core" / "axe.min.js"
_VIOLATIONS = "async () => (await axe.run()).violations.map((one) => one.id + ' ' + one.nodes[0].html)"


async def test_registry_room_makes_a_device_and_imports_a_sheet(browser: Browser, world: World, tmp_path: Path) -> None:
    context = await new_context(browser)
    watched = await open_page(context, world, "admin", f"?community={world.community.id}")
    page = watched.page
    await page.goto(f"{world.url}/registry?community={world.community.id}")
    await page.wait_for_selector("[data-device]")
    await page.fill("[data-testid=reg-search]", "manhole")
    await until(lambda: _one(page))
    await page.get_by_role("button", name="新建设备").click()
    id = f"{world.community.id}-new"
    await page.fill("[name=id]", id)
    await page.select_option("[name=kind]", "smoke_detector")
    await page.get_by_role("button", name="保存").click()
    secret = await page.locator("[data-testid=secret] code").inner_text()
    assert len(secret) > 15
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="导入", exact=True).click()
    sheet = f"编号,类型,X\n{id}-2,bin,3\n{id}-3,teapot,3\n"
    file = FilePayload(name="a.csv", mimeType="text/csv", buffer=sheet.encode("gb18030"))
    await page.set_input_files("[data-testid=sheet]", file)
    await page.get_by_role("button", name="校验").click()
    report = page.locator("[data-testid=import-report]")
    await report.get_by_text("teapot").first.wait_for()
    file = FilePayload(name="a.csv", mimeType="text/csv", buffer=sheet.rsplit("\n", 2)[0].encode("gb18030"))
    await page.set_input_files("[data-testid=sheet]", file)
    await page.get_by_role("button", name="校验").click()
    await page.locator("[data-testid=apply]").click()
    await report.get_by_text("已导入").wait_for()
    await page.keyboard.press("Escape")
    await page.evaluate(AXE.read_text())
    assert await page.evaluate(_VIOLATIONS) == []
    await page.screenshot(path=tmp_path / "registry.png")
    watched.assert_clean()
    await context.close()


async def _one(page: Page) -> bool:
    return await page.locator("[data-device]").count() == 1


async def test_plan_room_moves_undoes_and_saves(browser: Browser, world: World, tmp_path: Path) -> None:
    context = await new_context(browser)
    watched = await open_page(context, world, "admin", f"?community={world.community.id}")
    page = watched.page
    await page.goto(f"{world.url}/plan?community={world.community.id}")
    building = page.locator("[data-building]").first
    await building.wait_for()
    frame = await building.bounding_box()
    assert frame is not None
    canvas = page.locator("[data-testid=plan-canvas]")
    await page.mouse.click(frame["x"] + frame["width"] - 4, frame["y"] + frame["height"] - 4)
    told = page.locator("[data-testid=plan-told]")
    await told.get_by_text("1号楼").wait_for()
    await canvas.focus()
    await page.keyboard.press("Shift+ArrowRight")
    save = page.locator("[data-testid=plan-save]")
    await save.get_by_text("1").wait_for()
    await page.keyboard.press("Control+z")
    await save.get_by_text("全部已保存").wait_for()
    await page.keyboard.press("Control+y")
    await save.click()
    await told.get_by_text("全部已保存").wait_for()
    async with world.http("admin") as http:
        place = f"/communities/{world.community.id}/places/building/{world.community.id}-b1"
        assert (await world.get(http, place))["x"] == 25
        await page.evaluate(AXE.read_text())
        assert await page.evaluate(_VIOLATIONS) == []
        await page.screenshot(path=tmp_path / "plan.png")
        await page.keyboard.press("ArrowRight")
        version = (await world.get(http, place))["version"]
        moved = await http.patch(place, json={"x": 40}, headers={"If-Match": f'"{version}"'})
        assert moved.status_code == 200
    await canvas.focus()
    await page.keyboard.press("ArrowLeft")
    await save.click()
    await told.get_by_text("他人已先修改").wait_for()
    watched.complaints = [one for one in watched.complaints if "412" not in one]
    watched.assert_clean()
    await context.close()
