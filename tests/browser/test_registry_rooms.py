"""The rooms of the registry in a real browser: a device with its secret, a sheet, the plan moved and undone."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.async_api import Browser, FilePayload, Page

from tests.browser.kit import COCKPIT, World, new_context, open_page
from tests.browser.waiting import expect, until

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


async def test_registry_room_makes_renames_and_removes_places(browser: Browser, world: World) -> None:
    """From the building down to a home and back up; what still stands on a place keeps it from being removed."""
    context = await new_context(browser)
    watched = await open_page(context, world, "admin", "?theme=dark&lang=zh")
    page, id = watched.page, world.community.id
    await page.goto(f"{world.url}/registry?community={id}")
    await page.click("[data-new=building]")
    form = page.locator("[data-testid=place-form]")
    name = form.locator("[name=place-name]")
    await expect(form.locator("[name=place-id]")).to_have_value(f"{id}-b2")
    await name.fill("2号楼")
    await form.locator("[name=grid]").select_option(label="第二网格")
    await form.locator("[name=place-floors]").fill("6")
    await page.keyboard.press("Enter")
    for sort, said in (("unit", "1单元"), ("household", "101")):
        await page.click("[data-testid=place-add]")
        await page.get_by_role("dialog").get_by_text("新建").first.wait_for()
        await name.fill(said)
        if sort == "household":
            await form.locator("[name=place-floor]").fill("1")
        await expect(form.locator("[name=place-id]")).not_to_have_value("")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("[data-testid=place-remove]")
    async with world.http("admin") as http:
        home = await world.get(http, f"/communities/{id}/places/household/{id}-b2-u1-h1")
        assert (home["name"], home["floor"], home["unit_id"]) == ("101", 1, f"{id}-b2-u1")

        await name.fill("102")
        changed = await http.patch(
            f"/communities/{id}/places/household/{home['id']}",
            json={"name": "103"},
            headers={"If-Match": f'"{home["version"]}"'},
        )
        assert changed.status_code == 200
        await page.keyboard.press("Enter")
        await page.locator("[data-testid=place-trouble]").get_by_text("他人已先修改").wait_for()
        await expect(name, "the newest is shown").to_have_value("103")
        await name.fill("102")
        await page.keyboard.press("Enter")
        await page.get_by_role("heading", name="102").wait_for()
        await page.click("[data-testid=place-back]")
        await page.click("[data-testid=place-back]")
        await page.wait_for_selector(f"[data-place='{id}-b2-u1']")
        if folder := os.environ.get("LINHUB_SCREENSHOTS"):
            await page.screenshot(path=f"{folder}/place.png")
        await page.evaluate(AXE.read_text())
        assert await page.evaluate(_VIOLATIONS) == []
        await page.click("[data-testid=place-remove]")
        await page.click("[data-testid=place-remove-yes]")
        await page.locator("[data-testid=place-trouble]").get_by_text("不能删除").wait_for()
        for place in (f"{id}-b2-u1", f"{id}-b2-u1-h1"):
            await page.click(f"[data-place='{place}']")
        for _ in "household", "unit", "building":
            heading = await page.get_by_role("dialog").get_by_role("heading", level=2).first.inner_text()
            await page.click("[data-testid=place-remove]")
            await page.click("[data-testid=place-remove-yes]")
            await page.get_by_text(f"已删除 {heading}").wait_for()
        assert (await http.get(f"/communities/{id}/places/building/{id}-b2")).status_code == 404
    watched.complaints = [one for one in watched.complaints if "412" not in one and "409" not in one]
    watched.assert_clean()
    await context.close()
