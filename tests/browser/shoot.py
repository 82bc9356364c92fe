"""Takes the pictures of docs/ from a running cockpit: `python -m tests.browser.shoot --url … --home …`."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Browser, async_playwright

from services.cli.seed import accounts_file
from tests.browser.kit import REPOSITORY, launch, new_context

DOCS = REPOSITORY / "docs"


@dataclass(frozen=True, slots=True)
class Picture:
    """`wait`: what must be there before it is taken; `tap`: what is pressed then, and waited for."""

    name: str
    size: tuple[int, int]
    address: str
    wait: str
    tap: tuple[str, str] | None = None
    staff: bool = False


LIVE = "[data-testid=cockpit][data-status=live] [data-testid=curve] canvas"
LISTED = "[data-testid=phone][data-status=live] [data-testid=my-orders][data-listed=true]"
PICTURES = (
    Picture("cockpit-storm", (1920, 1080), "/?view=wall&theme=dark&lang=zh", LIVE),
    Picture("cockpit-desk-light", (1366, 768), "/?view=desk&theme=light&lang=zh", LIVE),
    Picture("room-people", (1366, 768), "/people?theme=light&lang=zh", "[data-testid=people] tbody tr"),
    Picture("phone-orders", (390, 844), "/m/", LISTED, staff=True),
    Picture(
        "phone-order", (390, 844), "/m/", LISTED, ("[data-testid=my-orders] [data-order]", "[data-testid=act]"), True
    ),
)


async def shoot(browser: Browser, url: str, username: str, password: str, picture: Picture, folder: Path) -> Path:
    """One picture, taken once the page is live and its curve and fonts are there."""
    context = await new_context(browser, picture.size)
    page = await context.new_page()
    await page.goto(url + ("/m/" if picture.staff else "/login"))
    await page.fill("[name=username]", username)
    await page.fill("[name=password]", password)
    await page.click("button[type=submit]")
    await page.wait_for_selector(LISTED if picture.staff else "[data-testid=cockpit][data-status=live]")
    await page.goto(url + picture.address)
    await page.wait_for_selector(picture.wait)
    if picture.tap:
        await page.click(f"{picture.tap[0]} >> nth=0")
        await page.wait_for_selector(picture.tap[1])
    await page.evaluate("document.fonts.ready")
    await page.wait_for_timeout(1500)
    path = folder / f"{picture.name}.png"
    await page.screenshot(path=path)
    await context.close()
    return path


async def _main(url: str, user: str, staff: str, passwords: Mapping[str, str], folder: Path) -> None:
    async with async_playwright() as playwright:
        browser = await launch(playwright)
        for picture in PICTURES:
            who = staff if picture.staff else user
            print(await shoot(browser, url.rstrip("/"), who, passwords[who], picture, folder))  # noqa: T201
        await browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="shoot", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--user", default="desk")
    parser.add_argument("--staff", default="patrol1", help="whose phone it is")
    parser.add_argument(
        "--home", type=Path, default=REPOSITORY / ".linhub", help="whose accounts have a password there"
    )
    parser.add_argument("--folder", type=Path, default=DOCS)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    accounts = json.loads(accounts_file(given.home).read_text())
    passwords = {one["username"]: one["password"] for one in accounts}
    asyncio.run(_main(given.url, given.user, given.staff, passwords, given.folder))


if __name__ == "__main__":
    main()
