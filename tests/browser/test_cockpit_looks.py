"""The page at every size, theme and language: nothing overflows, nothing is blank, figures are the API's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from services.domain.devices import BY_NAME
from services.domain.vocabulary import Severity, Team
from tests.api_data import raise_alert
from tests.api_server import connect
from tests.browser.kit import COCKPIT, World, kpis_equal, new_context, open_page
from tests.browser.waiting import evaluates, until

SIZES = ((1920, 1080), (1366, 768), (390, 844))
LOOKS = (("dark", "zh"), ("light", "zh"), ("dark", "en"), ("light", "en"))
TABS = ("orders", "alerts", "plan", "overview")

OVERFLOWING = """() => {
    const wide = document.documentElement.scrollWidth > innerWidth;
    const clipped = [...document.querySelectorAll('h1, h2, button, dd, .value, .label, .countdown, .note, .age')]
        .filter((item) => item.checkVisibility() && getComputedStyle(item).textOverflow !== 'ellipsis')
        .filter((item) => item.scrollWidth > item.clientWidth + 1 && getComputedStyle(item).display !== 'inline'
            && !item.closest('.visually-hidden') && getComputedStyle(item).overflowX !== 'visible')
        .map((item) => item.className + ': ' + item.textContent.trim());
    const outside = [...document.querySelectorAll('.tile .body > *, [data-kpi]')]
        .filter((item) => item.checkVisibility())
        .filter((item) => {
            const own = item.getBoundingClientRect(), body = item.closest('.body').getBoundingClientRect();
            return own.right > body.right + 1 || (own.bottom > body.bottom + 1);
        })
        .map((item) => item.className + ': ' + item.textContent.trim().slice(0, 40));
    return {wide, clipped, outside};
}"""

COLOURS = """(canvas) => {
    // Of a copy: read twice, the page's own canvas would complain on the console, and it is asked until it is drawn.
    const {width, height} = canvas, copy = new OffscreenCanvas(Math.max(1, width), Math.max(1, height));
    const context = copy.getContext('2d', {willReadFrequently: true});
    if (width && height) context.drawImage(canvas, 0, 0);
    const pixels = context.getImageData(0, 0, copy.width, copy.height).data;
    const colours = new Set();
    for (let i = 0; i < pixels.length; i += 4) {
        if (pixels[i + 3] > 0) colours.add((pixels[i] << 16) | (pixels[i + 1] << 8) | pixels[i + 2]);
        if (colours.size > 8) break;
    }
    return colours.size;
}"""

GLYPHS = """async () => {
    const faces = await document.fonts.load("400 48px 'Noto Sans SC'", '告警');
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = 64;
    const context = canvas.getContext('2d', {willReadFrequently: true});
    const draw = (text) => {
        context.clearRect(0, 0, 64, 64);
        context.font = "400 48px 'Noto Sans SC'";
        context.fillText(text, 4, 52);
        return [...context.getImageData(0, 0, 64, 64).data].join();
    };
    return {faces: faces.length, loaded: faces.every((face) => face.status === 'loaded'),
        gao: draw('告'), jing: draw('警'), none: draw('\\u{10ffff}')};
}"""


async def _fill(world: World) -> int:
    """An alert of every severity and a day of power; how many alerts."""
    prefix = world.community.id
    connection = await connect(world.database_url)
    try:
        wanted = (
            ("gas_alarm-3", Severity.CRITICAL, Team.PATROL),
            ("water_meter-1", Severity.MAJOR, Team.MAINTENANCE),
            ("bin-1", Severity.MINOR, Team.CLEANING),
            ("lamp_post-1", Severity.INFO, Team.MAINTENANCE),
        )
        for device, severity, team in wanted:
            await raise_alert(connection, f"{prefix}-{device}", severity=severity, team=team)
        raised = len(wanted)
        kind = BY_NAME["electricity_meter"]
        position = kind.position("power")
        assert position is not None
        meters = await connection.fetch(
            "SELECT device_no FROM device WHERE community_id = $1 AND kind = $2", prefix, kind.name
        )
        now = datetime.now(UTC)
        readings = []
        for row in meters:
            for step in range(96):
                values: list[float | None] = [None] * len(kind.metrics)
                values[position] = 200.0 + 40 * (step % 12)
                readings.append((row["device_no"], now - timedelta(minutes=15 * step), values))
        await connection.copy_records_to_table("reading", records=readings, columns=["device_no", "ts", "vals"])
    finally:
        await connection.close()
    return raised


async def _orders_shown(page: Page, count: int) -> bool:
    return await page.locator("[data-testid=orders] button[data-severity]").count() == count


async def _look(page: Page, size: tuple[int, int]) -> None:
    """What is wrong with the page once everything it shows is there; fonts and charts come a frame or two after."""
    found: dict[str, Any] = {}

    async def sound() -> bool:
        found.update(await page.evaluate(OVERFLOWING))
        return found == {"wide": False, "clipped": [], "outside": []}

    try:
        await page.evaluate("document.fonts.ready.then(() => true)")
        await until(sound)
    except AssertionError:
        raise AssertionError(f"{size}: {found}") from None
    text = await page.inner_text("body")
    for bad in ("undefined", "NaN", "null", "[object", "Invalid"):
        assert bad not in text


async def _drawn(page: Page, selector: str, colours: int) -> None:
    """So many colours at least are on the canvas."""

    async def drawn() -> bool:
        return bool(await page.eval_on_selector(selector, COLOURS) >= colours)

    await page.wait_for_selector(selector)
    await until(drawn)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_cockpit_fits_and_is_true_at(world: World, browser: Browser, size: tuple[int, int]) -> None:
    raised = await _fill(world)
    phone = size[0] < 720
    for theme, language in LOOKS:
        context = await new_context(browser, size)
        watched = await open_page(context, world, "desk", f"?theme={theme}&lang={language}")
        page = watched.page
        assert await page.evaluate("document.documentElement.lang") == ("zh-CN" if language == "zh" else "en")
        assert await page.evaluate("document.documentElement.dataset.theme") == theme
        for tab in TABS if phone else ("",):
            if tab:
                await page.click(f"[data-tab-name={tab}]")
            if tab in ("", "orders"):
                await until(partial(_orders_shown, page, raised))
            if tab in ("", "plan"):
                await _drawn(page, "[data-testid=devices]", 1)
            if tab in ("", "overview"):
                await _drawn(page, "[data-testid=curve] canvas", 3)
                await kpis_equal(page, world)
            await _look(page, size)
        watched.assert_clean()
        await context.close()


async def test_cockpit_ships_its_chinese_glyphs(world: World, browser: Browser) -> None:
    context = await new_context(browser)
    watched = await open_page(context, world, "desk")
    glyphs = await watched.page.evaluate(GLYPHS)
    assert glyphs["faces"] > 0 and glyphs["loaded"]
    assert len({glyphs["gao"], glyphs["jing"], glyphs["none"]}) == 3
    watched.assert_clean()
    await context.close()


@pytest.mark.parametrize("size", [(1366, 768), (390, 844)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_cockpit_is_accessible(world: World, browser: Browser, size: tuple[int, int]) -> None:
    """axe finds nothing on the login page, the cockpit and an open order, in both themes."""
    await _fill(world)
    axe = (COCKPIT / "node_modules" / "axe-core" / "axe.min.js").read_text()
    for theme in ("dark", "light"):
        context = await new_context(browser, size)
        login = await context.new_page()
        await login.goto(f"{world.url}/login?theme={theme}")
        await login.wait_for_selector("[name=username]")
        assert await _violations(login, axe) == ""
        page = (await open_page(context, world, "desk", f"?theme={theme}")).page
        assert await _violations(page, axe) == ""
        await page.click("[data-testid=orders] [data-severity=critical]")
        await page.wait_for_selector("[data-testid=order-state]")
        assert await _violations(page, axe) == ""
        await context.close()


async def _violations(page: Page, axe: str) -> str:
    """One line for each element that breaks a rule."""
    await page.evaluate(axe)
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return "\n".join(
        f"{rule['id']} {node['target']}: {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    )


async def test_cockpit_can_be_worked_by_keyboard(world: World, browser: Browser) -> None:
    await _fill(world)
    context = await new_context(browser)
    page = (await open_page(context, world, "desk")).page
    await page.focus("[data-testid=orders] [data-severity=critical]")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("[data-testid=order-drawer]")
    await evaluates(page, "document.activeElement.dataset.testid", "order-drawer")
    await page.keyboard.press("Escape")
    await page.wait_for_selector("[data-testid=order-drawer]", state="detached")
    await evaluates(page, "document.activeElement.dataset.severity", "critical")
    await context.close()


async def test_cockpit_keeps_the_zoom_while_events_come(world: World, browser: Browser) -> None:
    context = await new_context(browser)
    page = (await open_page(context, world, "desk")).page
    plan = page.locator("[data-testid=plan]")
    await plan.focus()
    for _ in range(3):
        await page.keyboard.press("+")
    zoomed = await page.get_attribute("[data-testid=plan] svg > g", "transform")
    connection = await connect(world.database_url)
    try:
        device = f"{world.community.id}-bin-1"
        await raise_alert(connection, device, severity=Severity.MINOR, team=Team.CLEANING)
    finally:
        await connection.close()
    await page.wait_for_selector("[data-testid=orders] [data-severity=minor]")
    assert await page.get_attribute("[data-testid=plan] svg > g", "transform") == zoomed
    await context.close()
