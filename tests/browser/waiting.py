"""Playwright's `expect`, with the patience that a slow machine needs: it waits for what a page is to say."""

from __future__ import annotations

from playwright.async_api import expect

expect.set_options(timeout=120_000)

__all__ = ["expect"]
