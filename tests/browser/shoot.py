"""Takes the pictures of docs/ from a running cockpit: `python -m tests.browser.shoot --url … --password …`."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Browser, async_playwright

from tests.browser.kit import REPOSITORY, launch, new_context

DOCS = REPOSITORY / "docs"


@dataclass(frozen=True, slots=True)
class Picture:
    name: str
    size: tuple[int, int]
    query: str
    order: bool = False
    """Opens the first order before the picture is taken."""


PICTURES = (
    Picture("cockpit-wall-1920", (1920, 1080), "?view=wall&theme=dark&lang=zh"),
    Picture("cockpit-390", (390, 844), "?theme=light&lang=zh"),
    Picture("cockpit-390-order", (390, 844), "?theme=light&lang=zh", order=True),
)


async def shoot(browser: Browser, url: str, username: str, password: str, picture: Picture, folder: Path) -> Path:
    """One picture, taken once the page is live and its curve and fonts are there."""
    context = await new_context(browser, picture.size)
    page = await context.new_page()
    await page.goto(f"{url}/login{picture.query}")
    await page.fill("[name=username]", username)
    await page.fill("[name=password]", password)
    await page.click("button[type=submit]")
    await page.wait_for_selector("[data-testid=cockpit][data-status=live]")
    if picture.size[0] >= 720:
        await page.wait_for_selector("[data-testid=curve] canvas")
    if picture.order:
        await page.click("[data-testid=orders] button >> nth=0")
        await page.wait_for_selector("[data-testid=order-state]")
    await page.evaluate("document.fonts.ready")
    await page.wait_for_timeout(1500)
    path = folder / f"{picture.name}.png"
    await page.screenshot(path=path)
    await context.close()
    return path


async def _main(url: str, username: str, password: str, folder: Path) -> None:
    async with async_playwright() as playwright:
        browser = await launch(playwright)
        for picture in PICTURES:
            print(await shoot(browser, url.rstrip("/"), username, password, picture, folder))  # noqa: T201
        await browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="shoot", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--user", default="desk")
    parser.add_argument("--password", required=True)
    parser.add_argument("--folder", type=Path, default=DOCS)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(_main(given.url, given.user, given.password, given.folder))


if __name__ == "__main__":
    main()
