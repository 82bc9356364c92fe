"""A phone in somebody's hand: the page under /m, with its taps counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from playwright.async_api import Browser, BrowserContext, Page

from tests.browser.kit import COCKPIT, Watched, World, new_context
from tests.browser.waiting import evaluates, until
from tests.evidence_kit import jpeg
from tests.factory import PASSWORD

SIZE = (390, 844)
OVERFLOWING = """() => [
    ...(document.documentElement.scrollWidth > innerWidth ? ['page ' + document.documentElement.scrollWidth] : []),
    ...[...document.querySelectorAll('h1, h2, button, .button, dd, strong, p, label, input')]
        .filter((item) => item.checkVisibility() && !item.closest('.visually-hidden'))
        .filter((item) => item.getBoundingClientRect().right > innerWidth + 1)
        .map((item) => item.tagName + ' ' + item.textContent.trim().slice(0, 40)),
]"""
SMALL = """() => [...document.querySelectorAll('button, a, label.button, input, select')]
    .filter((item) => item.checkVisibility() && !item.matches('.visually-hidden') && !item.closest('.toasts'))
    .filter((item) => {
        const box = (item.closest('label') ?? item).getBoundingClientRect();
        return box.width > 0 && (box.height < 38 || box.width < 38);
    })
    .map((item) => item.outerHTML.slice(0, 80))"""
"""What a thumb misses."""


@dataclass
class Phone:
    watched: Watched
    context: BrowserContext
    taps: int = 0
    shot: Path = field(default_factory=Path)

    @property
    def page(self) -> Page:
        return self.watched.page

    async def tap(self, selector: str) -> None:
        self.taps += 1
        await self.page.tap(selector)

    async def step(self, name: str) -> None:
        """Until the large button is this one."""
        await self.page.wait_for_selector(f"[data-testid=act][data-step={name}]")

    async def act(self, name: str) -> None:
        """The large button, once it is this step."""
        await self.step(name)
        if name.startswith("photo"):
            # The tap opens the camera; the file is what the camera hands back.
            async with self.page.expect_file_chooser() as chosen:
                await self.tap(f"[data-act={name}]")
            await (await chosen.value).set_files(self.shot)
        else:
            await self.tap(f"[data-act={name}]")

    async def order(self, number: int) -> None:
        await self.page.tap(f"[data-order='{number}']")
        await self.page.wait_for_selector("[data-testid=order]")

    async def state(self, state: str) -> None:
        await self.page.wait_for_selector(f"[data-testid=order-state][data-state={state}]")

    async def all_sent(self) -> None:
        await self.page.wait_for_selector("[data-testid=queue]", state="detached")

    async def queued(self, count: int) -> None:
        await self.page.wait_for_selector(f"[data-testid=queue][data-waiting='{count}']")


def picture(folder: Path) -> Path:
    path = folder / "shot.jpg"
    if not path.exists():
        path.write_bytes(jpeg(2400, 1800))
    return path


async def fresh(browser: Browser, world: World, folder: Path) -> Phone:
    context = await new_context(browser, SIZE)
    phone = Phone(Watched(await context.new_page(), world.url), context)
    phone.shot = picture(folder)
    return phone


async def log_in(phone: Phone, world: World, username: str, query: str = "") -> None:
    page = phone.page
    await page.goto(f"{world.url}/m/{query}")
    await page.fill("[name=username]", username)
    await page.fill("[name=password]", PASSWORD)
    await page.tap("button[type=submit]")


async def staff(browser: Browser, world: World, username: str, folder: Path, query: str = "") -> Phone:
    """Logged in, live, and ready to open without a network."""
    phone = await fresh(browser, world, folder)
    await log_in(phone, world, username, query)
    await phone.page.wait_for_selector(
        "[data-testid=phone][data-status=live] [data-testid=my-orders][data-listed=true]"
    )

    async def controlled() -> bool:
        return bool(await phone.page.evaluate("navigator.serviceWorker.controller !== null"))

    await until(controlled)
    return phone


async def again(phone: Phone, url: str) -> None:
    """The tab was killed; another one is opened."""
    await phone.page.close()
    phone.watched = Watched(await phone.context.new_page(), phone.watched.origin)
    await phone.page.goto(url)


async def open_order(world: World, **more: Any) -> dict[str, Any]:
    body = {"source": "patrol", "title": "消防通道堆物", "severity": "major", "team": "patrol", "place": "1号楼东侧"}
    async with world.http("desk") as http:
        path = f"/communities/{world.community.id}/orders"
        answer = await http.post(path, json={**body, **more}, headers={"Idempotency-Key": str(uuid4())})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def history(world: World, order_id: str) -> list[dict[str, Any]]:
    async with world.http("desk") as http:
        found: list[dict[str, Any]] = (await world.get(http, f"/orders/{order_id}"))["history"]
    return found


async def moved(world: World, order_id: str, username: str, move: str, **more: Any) -> None:
    async with world.http(username) as http:
        version = (await world.get(http, f"/orders/{order_id}"))["version"]
        answer = await http.post(
            f"/orders/{order_id}/moves",
            json={"move": move, "version": version, **more},
            headers={"Idempotency-Key": str(uuid4())},
        )
    assert answer.status_code == 200, answer.text


async def violations(page: Page) -> str:
    await page.evaluate((COCKPIT / "node_modules" / "axe-core" / "axe.min.js").read_text())
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return "\n".join(
        f"{rule['id']} {node['target']}: {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    )


async def look(page: Page) -> None:
    """Nothing runs over the edge, nothing is too small for a thumb, nothing is blank words, axe is content."""
    await evaluates(page, OVERFLOWING, [])
    await evaluates(page, SMALL, [])
    text = await page.inner_text("body")
    for bad in ("undefined", "NaN", "[object", "Invalid"):
        assert bad not in text
    found = await violations(page)
    assert not found, found
