"""Chromium, a built cockpit and one running product for all browser tests; a community of its own for each of them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from bench.system import drop_database
from deploy.web import COCKPIT, Cockpit
from tests.browser.kit import Product, World, launch, living_product
from tests.conftest import Mqtt, Servers, _clone, run, with_database

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All on one loop: services and browser live on it between the tests."""
    for item in items:
        if item.path.parent == HERE and item.get_closest_marker("asyncio"):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def built() -> None:
    """The static files of exactly these sources."""
    Cockpit(COCKPIT, [sys.executable, "-m", "pip"]).build()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        started = await launch(playwright)
        yield started
        await started.close()


@pytest_asyncio.fixture(loop_scope="session")
async def browser(chromium: Browser) -> AsyncIterator[Browser]:
    """No page outlives its test: one left open would go on asking for a community that is gone."""
    yield chromium
    for context in chromium.contexts:
        await context.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def product(
    built: None, servers: Servers, database_template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Product]:
    """Database, ingest, alerts and API of all browser tests."""
    name = run(_clone(servers.database_url, database_template))
    try:
        url = with_database(servers.database_url, name)
        # Curves and forecasts are made by the tests that look at them: made beside, they would get in between.
        quick = {"LINHUB_HEARTBEAT_S": "1", "LINHUB_CURVES_EVERY_S": "86400"}
        async with living_product(url, servers.mqtt, tmp_path_factory.mktemp("api"), **quick) as alive:
            yield alive
    finally:
        run(drop_database(servers.database_url, name))


@pytest_asyncio.fixture(loop_scope="session")
async def world(product: Product, mqtt: Mqtt) -> AsyncIterator[World]:
    """A community that nobody else has, with the accounts of the tests' names."""
    await product.api.ensure()
    yield await product.community()
