"""The wall, the desk and the phone in every state: nothing overflows or overlaps, what is shown is what the API says.

By default each size is looked at in two of the four looks; `LINHUB_LOOKS=all` goes through all of them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from playwright.async_api import Browser, BrowserContext, Page

from services.domain.vocabulary import Severity, Team
from tests.api_data import raise_alert
from tests.api_server import connect
from tests.browser.history import fill_tiles
from tests.browser.kit import COCKPIT, World, kpis_equal, new_context, open_page
from tests.browser.waiting import counted, says, until

ALL_LOOKS = (("dark", "zh"), ("light", "en"), ("light", "zh"), ("dark", "en"))
LOOKS = ALL_LOOKS if os.environ.get("LINHUB_LOOKS") == "all" else ALL_LOOKS[:2]

FAULTS = """() => {
    const shown = (item) => item.checkVisibility({visibilityProperty: true}) && !item.closest('.visually-hidden');
    const name = (item) => `${item.tagName}.${item.className} "${item.textContent.trim().slice(0, 30)}"`;
    const faults = [];
    const page = document.documentElement;
    if (page.scrollWidth > innerWidth + 1) faults.push(`page is ${page.scrollWidth} wide in ${innerWidth}`);
    const clipped = 'h1, h2, h3, dt, dd, strong, button, .value, .label, .countdown, .age, .title, .place, .who span';
    for (const item of document.querySelectorAll(clipped)) {
        const style = getComputedStyle(item);
        if (!shown(item) || style.display === 'inline' || style.textOverflow === 'ellipsis') continue;
        if (style.overflowX !== 'visible' && item.scrollWidth > item.clientWidth + 1)
            faults.push('clipped ' + name(item));
    }
    const out = (inner, outer) => inner.right > outer.right + 1 || inner.left < outer.left - 1
        || (inner.bottom > outer.bottom + 1);
    for (const item of document.querySelectorAll('.tile .body > *, [data-kpi], .figure .head > *, .energy > *')) {
        if (shown(item) && out(item.getBoundingClientRect(), item.closest('.body').getBoundingClientRect()))
            faults.push('outside its tile ' + name(item));
    }
    for (const list of ['.tile', 'header.bar > *', 'header.bar .right > *', '[data-kpi]', '.takeover > *']) {
        const boxes = [...document.querySelectorAll(list)].filter(shown)
            .map((item) => [item, item.getBoundingClientRect()]);
        for (const [i, [one, a]] of boxes.entries()) for (const [other, b] of boxes.slice(i + 1)) {
            const w = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const h = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            if (w > 1 && h > 1) faults.push(`${name(one)} overlaps ${name(other)}`);
        }
    }
    for (const bad of ['undefined', 'NaN', 'null', '[object', 'Invalid'])
        if (document.body.innerText.includes(bad)) faults.push('says ' + bad);
    for (const canvas of document.querySelectorAll('[data-testid=curve] canvas')) {
        if (!shown(canvas)) continue;
        if (!canvas.width || !canvas.height) { faults.push('chart without size'); continue; }
        // Of a copy: read twice, the page's own canvas would complain on the console, and it is asked until right.
        const context = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', {willReadFrequently: true});
        context.drawImage(canvas, 0, 0);
        const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
        const colours = new Set();
        for (let i = 0; i < pixels.length; i += 16)
            if (pixels[i + 3] > 0) colours.add(pixels[i] * 65536 + pixels[i + 1]);
        if (colours.size < 3) faults.push('blank chart');
    }
    return faults;
}"""


@dataclass(frozen=True, slots=True)
class Screen:
    size: tuple[int, int]
    view: str
    page: Page
    context: BrowserContext

    @property
    def tabs(self) -> Sequence[str]:
        return ("orders", "alerts", "plan", "overview") if self.size[0] < 720 else ("",)


SCREENS = (((1920, 1080), "wall"), ((3840, 2160), "wall"), ((1366, 768), "desk"), ((390, 844), "desk"))


async def _open(browser: Browser, world: World) -> list[Screen]:
    screens = []
    for size, view in SCREENS:
        context = await new_context(browser, size)
        watched = await open_page(context, world, "desk", f"?view={view}&stale_s=15")
        screens.append(Screen(size, view, watched.page, context))
    return screens


async def _look(screen: Screen, state: str) -> None:
    """In both languages and both themes (or two of the four looks), on every tab of a phone."""
    for theme, language in LOOKS:
        await screen.page.evaluate(
            """([theme, language]) => {
                const html = document.documentElement;
                if (html.dataset.theme !== theme) document.querySelector('[data-testid=theme]').click();
                if (!html.lang.startsWith(language)) document.querySelector('[data-testid=locale]').click();
            }""",
            [theme, language],
        )
        for tab in screen.tabs:
            if tab:
                await screen.page.click(f"[data-tab-name={tab}]")

            async def sound() -> bool:
                found = await screen.page.evaluate(FAULTS)
                sound.found = found  # type: ignore[attr-defined]
                return not found

            try:
                # A chart that was just shown needs a frame to draw itself.
                await until(sound)
            except AssertionError:
                raise AssertionError(f"{state} {screen.size} {theme} {language} {tab}: {sound.found}") from None  # type: ignore[attr-defined]


async def _clean(page: Page) -> None:
    axe = (COCKPIT / "node_modules" / "axe-core" / "axe.min.js").read_text()
    await page.evaluate(axe)
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    said = [f"{rule['id']} {node['target']}" for rule in found["violations"] for node in rule["nodes"]]
    assert said == []


async def _storm(world: World) -> int:
    kinds = (("gas_alarm-1", Severity.CRITICAL), ("bin-1", Severity.MINOR), ("lamp_post-1", Severity.INFO))
    connection = await connect(world.database_url)
    try:
        for round_ in range(12):
            for device, severity in kinds:
                await raise_alert(
                    connection,
                    f"{world.community.id}-{device}",
                    severity=severity,
                    team=Team.PATROL,
                    rule_id=f"storm{round_}",
                )
    finally:
        await connection.close()
    return 12 * len(kinds)


async def test_cockpit_is_sound_in_every_state_and_size(world: World, browser: Browser) -> None:
    await fill_tiles(world)
    screens = await _open(browser, world)
    wall = screens[0].page
    for screen in screens:
        await _look(screen, "empty")
    await counted(wall, "[data-testid=all-well]", 1)
    await _tiles_are_told(wall, world)
    await _clean(wall)

    count = await _storm(world)
    for screen in screens:
        if screen.size[0] > 720:
            await screen.page.wait_for_selector("[data-testid=takeover]")
        await until(partial(_open_alerts, screen.page, count))
        await _look(screen, "storm")
    await kpis_equal(wall, world)
    await _clean(wall)
    await _clean(screens[2].page)

    await _replay(wall)
    await _look(screens[0], "replay")
    await _clean(wall)
    await wall.click("[data-testid=replay-leave]")
    await counted(wall, "[data-testid=replay-banner]", 0)

    world.api.freeze()
    try:
        for screen in screens:
            await screen.page.wait_for_selector("[data-testid=stale-banner]")
            await _look(screen, "stale")
        await counted(wall, ".tile.stale", 6, 1000)
        await _in_chinese(wall)
        await says(wall, ".tile.stale .age >> nth=0", "截至")
    finally:
        world.api.thaw()
    await world.api.kill()
    for screen in screens:
        await screen.page.wait_for_selector("[data-testid=cockpit][data-status=lost]")
        await _look(screen, "disconnected")
    await world.api.start()
    for screen in screens:
        await screen.page.wait_for_selector("[data-testid=cockpit][data-status=live]")
    await until(lambda: _open_alerts(wall, count))
    for screen in screens:
        await screen.context.close()


async def _open_alerts(page: Page, count: int) -> bool:
    counts = await page.eval_on_selector_all(
        "[data-testid=severity-counts] .count", "(items) => items.map((item) => Number(item.textContent))"
    )
    return bool(sum(counts) == count)


async def _in_chinese(page: Page) -> None:
    if await page.evaluate("document.documentElement.lang") == "en":
        await page.click("[data-testid=locale]")


async def _tiles_are_told(page: Page, world: World) -> None:
    """The small tiles say what the API answers, a curve how far off yesterday's forecast was, or why there is none."""
    place = f"/communities/{world.community.id}"
    async with world.http("desk") as http:
        told = await world.get(http, f"{place}/tiles")
        power = await world.get(http, f"{place}/forecasts/power")
        solar = await world.get(http, f"{place}/forecasts/pv")
    expected = {
        "parking": str(told["parking"]["left"]),
        "bins": str(told["bins"]["full"]),
        "facilities": str(told["facilities"]["inside"]),
    }
    assert expected == {"parking": "1", "bins": "1", "facilities": "38"}

    async def shown() -> bool:
        figures = {name: await page.inner_text(f"[data-tile={name}] strong >> nth=0") for name in expected}
        return figures == expected

    await until(shown)
    assert power["status"] == "ready" and solar["status"] == "not_enough_history"
    wrong = f"{power['yesterday']['wape'] * 100:.3g}"

    async def feet_told() -> bool:
        feet = [(await page.inner_text(f"[data-curve={name}] .foot")).replace(" ", "") for name in ("power", "pv")]
        return f"{wrong}%" in feet[0] and "14" in feet[1]

    await until(feet_told)


async def _replay(page: Page) -> None:
    """Nothing was open then: the page says so and is framed. The alarm that nobody has now stands above the past."""
    alarm = await page.get_attribute("[data-testid=takeover]", "data-alert")
    await page.eval_on_selector(
        "[data-testid=replay-line]",
        "(line) => { line.value = Number(line.min) + 3600000; line.dispatchEvent(new Event('input')); }",
    )
    await page.wait_for_selector("[data-testid=replay-banner]")
    await page.wait_for_selector("[data-testid=all-well]")
    await page.wait_for_selector("[data-testid=cockpit][data-replay='']")
    await counted(page, ".tile.unable", 8, 1000)
    assert alarm and await page.get_attribute("[data-testid=takeover]", "data-alert") == alarm


async def test_cockpit_sounds_an_alarm_until_somebody_has_it(world: World, browser: Browser) -> None:
    """Again and again, not in quiet hours, and not any more once the order is accepted."""
    context = await new_context(browser, (1920, 1080))
    page = (await open_page(context, world, "desk", "?view=wall")).page
    await page.click("[data-testid=sound]")
    await page.click("[data-testid=sound-test]")

    async def heard() -> bool:
        said = await page.inner_text("[data-testid=sound-voice]")
        return "提示音" in said or "中文语音" in said

    await until(heard)
    await page.keyboard.press("Escape")
    await page.wait_for_selector("[data-testid=sound-dialog]", state="detached")
    connection = await connect(world.database_url)
    try:
        _, order_id = await raise_alert(connection, f"{world.community.id}-gas_alarm-1")
    finally:
        await connection.close()

    async def rounds() -> bool:
        takeover = page.locator("[data-testid=takeover][data-sound=ringing]")
        return await takeover.count() == 1 and int(await takeover.get_attribute("data-rounds") or 0) >= 2

    await until(rounds)
    async with world.http("patrol1") as http:
        order = await world.get(http, f"/orders/{order_id}")
        answer = await http.post(
            f"/orders/{order_id}/moves",
            json={"move": "accept", "version": order["version"]},
            headers={"Idempotency-Key": "got-it"},
        )
        assert answer.status_code == 200, answer.text
    await page.wait_for_selector("[data-testid=takeover]", state="detached")
    await context.close()


async def test_cockpit_shares_one_stream_among_seven_tabs(world: World, browser: Browser) -> None:
    """A browser opens six connections to a host: with a stream each, the seventh tab would never come up."""
    context = await new_context(browser)
    first = (await open_page(context, world, "desk")).page
    pages = [first]
    for _ in range(6):
        page = await context.new_page()
        await page.goto(world.url)
        pages.append(page)
    for page in pages:
        await page.wait_for_selector("[data-testid=cockpit][data-status=live]")
    connection = await connect(world.database_url)
    try:
        await raise_alert(connection, f"{world.community.id}-bin-1", severity=Severity.MINOR, team=Team.CLEANING)
    finally:
        await connection.close()
    for page in pages:
        await page.wait_for_selector("[data-testid=orders] [data-severity=minor]", state="attached")
    await context.close()
