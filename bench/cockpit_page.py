"""What the cockpit's page costs a browser: first paint, repaints with every device changing, heap, bytes.

`python -m bench.cockpit_page --url … --password … --database …` against a running community; prints one table.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import statistics
from pathlib import Path
from typing import Any

import asyncpg
from playwright.async_api import CDPSession, Page, async_playwright
from rich.console import Console
from rich.table import Table

from tests.browser.kit import COCKPIT, launch

TOUCH = """
UPDATE device_state AS s SET vals_ts = now(), last_seen_at = now(), online = ($2 % 40) <> (s.device_no % 40)
FROM device AS d WHERE d.device_no = s.device_no AND d.community_id = $1
"""
"""Every device says something, and one in forty goes and comes: what a repaint cannot skip."""
WATCH = """() => {
    window.repaints = [];
    document.querySelector('[data-testid=devices]').addEventListener('repaint', (event) => repaints.push(event.detail));
}"""
PAINT = """() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"""


async def _heap(session: CDPSession) -> float:
    """Bytes in use after two collections."""
    for _ in range(2):
        await session.send("HeapProfiler.collectGarbage")
    return float((await session.send("Runtime.getHeapUsage"))["usedSize"])


async def _open(page: Page, url: str, user: str, password: str) -> float:
    """Logged in and live; returns the first contentful paint of the loaded page, ms."""
    await page.goto(f"{url}/login?view=wall&theme=dark")
    await page.fill("[name=username]", user)
    await page.fill("[name=password]", password)
    await page.click("button[type=submit]")
    await page.wait_for_selector("[data-testid=cockpit][data-status=live]")
    await page.goto(url)
    await page.wait_for_selector("[data-testid=cockpit][data-status=live]")
    return float(await page.evaluate(PAINT))


def _share(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def bundle() -> dict[str, int]:
    """Gzipped script of the cockpit and of the phone page, bytes, by what each page can load."""
    sizes = {path.name: len(gzip.compress(path.read_bytes(), 9)) for path in (COCKPIT / "dist").rglob("*.js")}
    return {"all": sum(sizes.values()), "chart": sum(n for name, n in sizes.items() if name.startswith("LineChart"))}


async def measure(url: str, user: str, password: str, database: str, community: str, batches: int) -> dict[str, Any]:
    connection = await asyncpg.connect(database)
    async with async_playwright() as playwright:
        browser = await launch(playwright)
        context = await browser.new_context(viewport={"width": 1920, "height": 1080})
        page = await context.new_page()
        paint = await _open(page, url, user, password)
        await page.wait_for_timeout(5000)
        await page.evaluate(WATCH)
        session = await context.new_cdp_session(page)
        before = await _heap(session)
        for batch in range(batches):
            await connection.execute(TOUCH, community, batch)
            await page.wait_for_timeout(400)
        repaints = [float(ms) for ms in await page.evaluate("repaints.splice(0)")]
        after = await _heap(session)
        devices = await connection.fetchval("SELECT count(*) FROM device WHERE community_id = $1", community)
        await browser.close()
    await connection.close()
    return {
        "devices": devices,
        "first paint, ms": paint,
        "repaints": len(repaints),
        "repaint p50, ms": statistics.median(repaints) if repaints else None,
        "repaint p99, ms": _share(repaints, 0.99),
        "changes of devices": devices * batches,
        "heap growth, MB": (after - before) / 1e6,
        "script gzip, kB": bundle()["all"] / 1000,
        "of it charts, lazy, kB": bundle()["chart"] / 1000,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="cockpit_page", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--user", default="desk")
    parser.add_argument("--password", required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--community", default="gongyuan")
    parser.add_argument("--batches", type=int, default=60)
    given = parser.parse_args()
    found = asyncio.run(
        measure(given.url.rstrip("/"), given.user, given.password, given.database, given.community, given.batches)
    )
    table = Table(title=f"cockpit page, {Path(COCKPIT / 'dist').name}")
    table.add_column("what")
    table.add_column("figure", justify="right")
    for name, value in found.items():
        table.add_row(name, f"{value:.2f}" if isinstance(value, float) else str(value))
    Console().print(table)


if __name__ == "__main__":
    main()
