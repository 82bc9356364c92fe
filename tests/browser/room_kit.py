"""Pages behind the wall as their users see them: looked at in both themes, at a desk and on a phone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from playwright.async_api import Locator, Page

from tests.browser.kit import COCKPIT, Watched, World
from tests.browser.waiting import evaluates, until
from tests.factory import PASSWORD

DESK = (1366, 768)
PHONE = (390, 844)

_AXE = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations
    .flatMap((rule) => rule.nodes.map((node) => rule.id + ' ' + node.html.slice(0, 120)))"""
_FAULTS = """() => {
    const faults = [];
    const layer = (one) => one.closest(':is(dialog, [role=dialog], .drawer) .scroll')
        ?? one.closest('dialog, [role=dialog], .drawer');
    if (document.documentElement.scrollWidth > innerWidth) faults.push('wider than the page');
    // What is scrolled out of a box is not there.
    const box = (one) => {
        const {left, top, right, bottom} = one.getBoundingClientRect();
        const seen = {left, top, right, bottom};
        for (let up = one.closest('.scroll'); up; up = up.parentElement?.closest('.scroll')) {
            const clip = up.getBoundingClientRect();
            seen.left = Math.max(seen.left, clip.left), seen.right = Math.min(seen.right, clip.right);
            seen.top = Math.max(seen.top, clip.top), seen.bottom = Math.min(seen.bottom, clip.bottom);
        }
        return seen;
    };
    const shown = [...document.querySelectorAll('button, input, select, textarea')]
        .filter((one) => one.checkVisibility() && !one.closest('.visually-hidden, .toasts'));
    for (const [i, one] of shown.entries()) {
        const a = box(one);
        const hit = (one.closest('label') ?? one).getBoundingClientRect();
        const small = hit.height < 24 || hit.width < 24;
        // A wall hangs out of reach.
        if (one.offsetWidth && small && document.documentElement.dataset.view !== 'wall')
            faults.push('too small to hit: ' + one.outerHTML.slice(0, 80));
        for (const other of shown.slice(i + 1)) {
            const b = box(other);
            const w = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const h = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            // What lies under a drawer or a dialog is covered, and so is what has been scrolled under its head.
            const same = layer(one) === layer(other);
            if (w > 1 && h > 1 && same)
                faults.push(one.outerHTML.slice(0, 60) + ' overlaps ' + other.outerHTML.slice(0, 60));
        }
    }
    for (const bad of ['undefined', 'NaN', '[object', 'Invalid Date'])
        if (document.body.innerText.includes(bad)) faults.push('says ' + bad);
    const han = /\\p{Script=Han}/u;
    for (const one of document.querySelectorAll('body *')) {
        const own = [...one.childNodes].some((node) => node.nodeType === 3 && han.test(node.data));
        if (own && !getComputedStyle(one).fontFamily.includes('Noto Sans SC'))
            faults.push('Chinese in a face that is not ours: ' + one.outerHTML.slice(0, 80));
    }
    return faults;
}"""
_FACES = """() => [...document.fonts].filter((face) => face.status === 'loaded').length"""


async def looked_at(page: Page, name: str, sizes: Sequence[tuple[int, int]] = (DESK,)) -> None:
    """Dark and light at each size: axe, overflow, overlap, blank words, faces; a picture where a folder is named."""
    before = page.viewport_size
    theme = await page.evaluate("document.documentElement.dataset.theme")
    await page.evaluate((COCKPIT / "node_modules" / "axe-core" / "axe.min.js").read_text())
    for size in sizes:
        await page.set_viewport_size({"width": size[0], "height": size[1]})
        for look in ("dark", "light"):
            await page.evaluate("(look) => { document.documentElement.dataset.theme = look }", look)
            await page.evaluate("document.fonts.ready.then(() => null)")
            if folder := os.environ.get("LINHUB_SCREENSHOTS"):
                path = Path(folder) / f"{name}-{size[0]}-{look}.png"
                await page.screenshot(path=path, full_page=True)
            # What turns with its window lays itself out a frame later.
            await evaluates(page, f"/* {name} {size} {look} */ ({_FAULTS})()", [])
            await evaluates(page, f"/* {name} {size} {look} */ ({_AXE})()", [])
    assert await page.evaluate(_FACES) > 0, f"{name}: the page's own faces never came"
    if before:
        await page.set_viewport_size(before)
    await page.evaluate("(look) => { document.documentElement.dataset.theme = look }", theme)


async def enter(page: Page, room: str) -> None:
    if await page.locator("[data-testid=rooms]").is_visible():
        await page.click("[data-testid=rooms]")
    await page.click(f"[data-room='{room}']")


async def log_in(page: Page, username: str, password: str = PASSWORD) -> None:
    """On the login page, by keyboard."""
    await page.fill("[name=username]", username)
    await page.fill("[name=password]", password)
    await page.keyboard.press("Enter")


async def gone(locator: Locator) -> None:
    async def none() -> bool:
        return await locator.count() == 0

    await until(none)


def forgive(watched: Watched, *statuses: int) -> None:
    """Refusals that the test is about: the browser writes each of them to its console."""
    said = tuple(f"status of {status}" for status in statuses)
    watched.complaints = [one for one in watched.complaints if not any(part in one for part in said)]


def forgive_silence(watched: Watched) -> None:
    """Of a wall on a fresh document: whether it tries to sound before our first look, which counts as a press, is
    chance, and the browser says of it that it may not."""
    watched.complaints = [one for one in watched.complaints if "AudioContext was not allowed" not in one]


async def confirmed(page: Page) -> None:
    """The question that is asked before something that cannot be taken back, answered by keyboard."""
    await page.wait_for_selector("[data-testid=confirm]")
    await page.focus("[data-testid=confirm-do]")
    await page.keyboard.press("Enter")
    await gone(page.locator("[data-testid=confirm]"))


async def live(page: Page) -> None:
    await page.wait_for_selector("[data-testid=cockpit][data-status=live]")


def address(world: World, path: str, query: str = "") -> str:
    return f"{world.url}{path}?community={world.community.id}&lang=zh{query}"
