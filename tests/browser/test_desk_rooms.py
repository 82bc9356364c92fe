"""The rooms of the desk, used: a silence from preview to end, a rule from a mistake to a trial, a rota, a figure."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page

from services.domain.vocabulary import Severity, Team
from tests.api_data import raise_alert
from tests.api_server import connect
from tests.browser.kit import COCKPIT, World, new_context, open_page
from tests.browser.waiting import counted, says, until


async def _enter(page: Page, room: str) -> None:
    if await page.locator("[data-testid=rooms]").is_visible():
        await page.click("[data-testid=rooms]")
    await page.click(f"[data-room='{room}']")


async def _accessible(page: Page, name: str) -> None:
    """Nothing that axe knows of, nothing wider than the page; a picture where a folder for them is named."""
    if folder := os.environ.get("LINHUB_SCREENSHOTS"):
        await page.screenshot(path=str(Path(folder) / f"desk-{name}.png"), full_page=True)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    await page.evaluate((COCKPIT / "node_modules" / "axe-core" / "axe.min.js").read_text())
    found = await page.evaluate(
        "axe.run().then(({violations}) => violations.map((one) => one.id + ' ' + one.nodes[0].html))"
    )
    assert found == [], name


async def _content(taken: Any) -> bytes:
    path = await (await taken.value).path()
    return await asyncio.to_thread(Path(path).read_bytes)


async def test_desk_silences_a_rule_after_seeing_what_it_would_match(world: World, browser: Browser) -> None:
    connection = await connect(world.database_url)
    await raise_alert(connection, f"{world.community.id}-bin-1", severity=Severity.MINOR, team=Team.CLEANING)
    await connection.close()
    watched = await open_page(await new_context(browser), world, "desk", "?theme=light&lang=zh")
    page = watched.page
    await _enter(page, "/silences")
    await page.click("[data-testid=new-maintenance]")
    form = page.locator("[data-testid=silence-form]")
    await form.locator("[data-testid=silence-rules]").select_option("*")
    await form.locator("[data-testid=silence-why]").fill("电梯检修")
    assert await page.is_disabled("[data-testid=silence-make]"), "made before anybody saw what it holds back"
    await page.click("[data-testid=silence-look]")
    await page.wait_for_selector("[role=alert]")  # a maintenance window needs its place
    await says(page, "[role=alert]", "地点")
    await form.locator("input[maxlength='200']").fill("3号楼电梯")
    await page.click("[data-testid=silence-look]")
    await says(page, "[data-testid=silence-preview]", "1 起")
    await _accessible(page, "silence")
    await page.click("[data-testid=silence-make]")
    row = page.locator("[data-testid=silences] [data-silence]")
    await row.wait_for()
    for words in ("3号楼电梯", "周三"):
        await says(page, "[data-testid=silences] [data-silence]", words)
    await row.locator("button").click()
    await page.click("[data-testid=end-silence]")

    async def ended() -> bool:
        return await row.count() == 0

    await until(ended)
    watched.complaints = [one for one in watched.complaints if "422" not in one]
    watched.assert_clean()
    await page.context.close()


async def test_desk_changes_a_rule_line_by_line_and_sees_what_it_would_have_done(
    world: World, browser: Browser
) -> None:
    watched = await open_page(await new_context(browser), world, "admin", "?theme=light&lang=en")
    page = watched.page
    await _enter(page, "/rules")
    assert f"community={world.community.id}" in page.url, "another community's rules"
    await page.fill("[data-testid=rule-find]", "water_meter.burst")
    await _accessible(page, "rules")
    await page.click("[data-rule='water_meter.burst'] a")
    text = page.locator("[data-testid=rule-text]")

    async def loaded() -> bool:
        return "water_meter.burst" in await text.input_value()

    await until(loaded)
    before = await text.input_value()
    await text.fill(before.replace("limit: 3.125", "limt: 3.125"))
    await page.click("[data-testid=rule-check]")
    faults = await page.locator("[data-testid=rule-faults]").inner_text()
    assert "Line " in faults and "limt" in faults
    await text.fill(before.replace("limit: 3.125", "limit: 2.5"))
    await page.click("[data-testid=whatif-run]")
    await page.wait_for_selector("[data-testid=whatif-sums]")
    await _accessible(page, "rule")
    await page.fill("[data-testid=rule-note]", "smaller pipes here")
    await page.click("[data-testid=rule-save]")
    await page.wait_for_selector("[data-testid=rule-said]")
    async with world.http("admin") as http:
        rule = await world.get(http, f"/communities/{world.community.id}/rules/water_meter.burst")
    assert (rule["origin"], rule["change_note"]) == ("own", "smaller pipes here")
    assert "limit: 2.5" in rule["document"]
    watched.assert_clean()
    await page.context.close()


async def test_desk_makes_a_rota_and_a_stand_in(world: World, browser: Browser) -> None:
    watched = await open_page(await new_context(browser), world, "desk", "?theme=light&lang=zh")
    page = watched.page
    await _enter(page, "/rosters")
    await page.click("[data-testid=new-rota]")
    form = page.locator("[data-testid=rota-form]")
    await form.locator("input[pattern]").fill("patrol-day")
    await form.locator("select[multiple]").nth(0).select_option(index=0)
    await form.locator("button[type=submit]").click()
    shift = page.locator("[data-testid=week] [data-shift]")
    await shift.first.wait_for()
    await counted(page, "[data-rota='patrol-day']", 1)
    await _accessible(page, "rosters")
    before = await shift.count()
    await shift.last.locator("button").click()
    await page.fill("form input[maxlength='500']", "外出培训")
    await page.click("form:has(input[maxlength='500']) button[type=submit]")

    async def fewer() -> bool:
        return await shift.count() == before - 1

    await until(fewer)
    watched.assert_clean()
    await page.context.close()


async def test_desk_follows_a_figure_to_the_very_orders(world: World, browser: Browser) -> None:
    connection = await connect(world.database_url)
    await raise_alert(connection, f"{world.community.id}-lamp_post-1")
    await connection.close()
    watched = await open_page(await new_context(browser), world, "desk", "?theme=light&lang=zh")
    page = watched.page
    await _enter(page, "/figures")
    await page.select_option("[data-testid=figures-by]", "team")
    await page.click("form.bar button[type=submit] >> nth=0")
    groups = page.locator("[data-testid=groups]")
    heads, cells = groups.locator("thead th"), groups.locator("tbody tr").first.locator("th, td")
    await cells.first.wait_for()

    async def whole() -> bool:
        """No column without its figures."""
        return await heads.count() == await cells.count()

    await until(whole)
    async with world.http("desk") as http:
        told = await world.get(http, f"/communities/{world.community.id}/kpis")
    shown = await page.eval_on_selector_all("[data-figure]", "(rows) => rows.map((row) => row.dataset.figure)")
    assert shown == [one["name"] for one in told["items"]]
    some = next(one["name"] for one in told["items"] if one["behind"] and one["numerator"])
    await page.click(f"[data-figure='{some}'] button >> nth=0")
    row = page.locator("[data-testid=figure-rows] [data-order]").first
    await row.wait_for()
    await _accessible(page, "figures")
    async with page.expect_download() as taken:
        await page.click("[data-testid=shift-report] button[type=submit]")
        await page.click("[data-testid=shift-csv]")
    lines = (await _content(taken)).decode("utf-8-sig").splitlines()
    assert lines[0].startswith("编号,级别,事由") and len(lines) >= 2
    async with page.expect_download() as taken:
        await page.click("[data-testid=shift-png]")
    assert (await _content(taken)).startswith(b"\x89PNG")
    order = await row.get_attribute("data-order")
    await row.locator("a").click()
    await page.wait_for_selector("[data-testid=order-state]")
    assert order is not None
    watched.assert_clean()
    await page.context.close()
