"""Chromium and a built cockpit for the browser tests."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

from deploy.web import COCKPIT, Cockpit
from tests.browser.kit import World, launch, living_world
from tests.conftest import Mqtt


@pytest.fixture(scope="session")
def built() -> None:
    """The static files of exactly these sources."""
    Cockpit(COCKPIT, [sys.executable, "-m", "pip"]).build()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        chromium = await launch(playwright)
        yield chromium
        await chromium.close()


@pytest.fixture
async def world(built: None, database_url: str, mqtt: Mqtt, tmp_path: Path) -> AsyncIterator[World]:
    async with living_world(database_url, mqtt, tmp_path, LINHUB_HEARTBEAT_S="1") as alive:
        yield alive
