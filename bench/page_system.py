"""What measurements of the cockpit's page look at: a lived-in community of 2,000 devices, and its wall in Chromium."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from bench.cockpit import Q, load
from bench.cockpit_system import CockpitSystem, prepared, running
from bench.fanout import put_alerts
from bench.servers import BenchServers
from deploy.web import COCKPIT, Cockpit
from services.api.data.forecasting import Forecaster
from services.api.store.database import Database
from services.domain.orders import plain_terms
from services.domain.vocabulary import Severity
from tests.browser.kit import launch

Say = Callable[[str], None]
SIZE = (1920, 1080)
LIVE = "[data-testid=cockpit][data-status=live]"
ORDERS, ALERTS = 24, 12
"""Open ones: a bad afternoon, so that lists and plan have something to draw."""
_HISTORY = """
INSERT INTO curve_hour (community_id, curve, bucket, value)
SELECT $1, name, h, 60 + 40 * sin(extract(hour FROM h)::float8 / 3.8) + extract(day FROM h)::float8 / 10
FROM unnest(ARRAY['power', 'water', 'gas', 'pv']) AS name
CROSS JOIN generate_series($2::timestamptz, $3, interval '1 hour') AS h
"""


@dataclass(frozen=True, slots=True)
class Wall:
    system: CockpitSystem
    browser: Browser
    context: BrowserContext
    """Logged in as the desk, which sees what a wall sees and may look back besides."""
    url: str


@asynccontextmanager
async def lived_in(servers: BenchServers, say: Say, **environment: str) -> AsyncIterator[tuple[CockpitSystem, str]]:
    """The API's own process before a community with states, open orders and alerts, curves and their forecasts; and
    the desk's password."""
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(prepared(servers))
        connection, url, home, password = made
        say("a lived-in community is made")
        await load(connection, url, 1, say)
        await connection.execute(Q["load_states"])
        terms = json.dumps(plain_terms(Severity.MINOR).as_detail())
        await connection.execute(Q["load_orders"], home.id, 500, ORDERS, terms, len(home.devices))
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        await connection.execute(_HISTORY, home.id, hour - timedelta(days=40), hour - timedelta(hours=1))
        database = Database(url, connections=2, timeout_s=60)
        await database.open()
        await Forecaster(database, 3600).once(datetime.now(UTC))
        await database.close()
        await connection.execute(Q["settle"])
        system = await stack.enter_async_context(running(connection, url, home, password, environment))
        await put_alerts(system, ALERTS)
        yield system, password


def build_page() -> None:
    """The static files of exactly these sources."""
    Cockpit(COCKPIT, [sys.executable, "-m", "pip"]).build()


@asynccontextmanager
async def wall(system: CockpitSystem, password: str, url: str = "") -> AsyncIterator[Wall]:
    """Chromium, logged in; the page that did so is closed again. `url`: where the API is reached, if not at itself."""
    url = url or f"http://127.0.0.1:{system.port}"
    async with async_playwright() as playwright:
        browser = await launch(playwright)
        context = await browser.new_context(viewport={"width": SIZE[0], "height": SIZE[1]})
        context.set_default_timeout(120_000)
        page = await context.new_page()
        await page.goto(f"{url}/login?view=wall&theme=dark&lang=zh")
        await page.fill("[name=username]", "desk")
        await page.fill("[name=password]", password)
        await page.click("button[type=submit]")
        await page.wait_for_selector(LIVE)
        await page.close()
        try:
            yield Wall(system, browser, context, url)
        finally:
            await browser.close()


async def opened(of: Wall, script: str = "", query: str = "", starts: datetime | None = None) -> Page:
    """The wall, live, with its curves drawn. `script` runs before the page's own; `starts`: on Playwright's clock."""
    page = await of.context.new_page()
    if script:
        await page.add_init_script(script)
    if starts is not None:
        await page.clock.install(time=starts)
    await page.goto(f"{of.url}/?view=wall&theme=dark&lang=zh{query}")
    # By locators: a handle would keep what it points to.
    await page.locator(LIVE).wait_for()
    await page.locator("[data-testid=curve] canvas").first.wait_for()
    return page
