"""Waiting for what a page is to say, with the patience of a slow machine: by Playwright's `expect`, or by asking."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from playwright.async_api import Page, expect

T = TypeVar("T")

expect.set_options(timeout=120_000)

__all__ = ["counted", "evaluates", "expect", "says", "until"]


async def until(question: Callable[[], Awaitable[T]], within_s: float = 180) -> T:
    """The first true answer; fails with the last one."""
    end = time.monotonic() + within_s
    while not (answer := await question()):
        assert time.monotonic() < end, f"still {answer!r} after {within_s:g} s"
        await asyncio.sleep(0.05)
    return answer


async def counted(page: Page, selector: str, least: int, most: int | None = None) -> None:
    """Until so many elements are there; `most` is `least` unless it is said."""
    if most is None:
        await expect(page.locator(selector)).to_have_count(least)
        return

    async def there() -> bool:
        return least <= await page.locator(selector).count() <= most

    await until(there)


async def says(page: Page, selector: str, words: str) -> None:
    """Until these words stand there, as they are seen."""
    await expect(page.locator(selector).first).to_contain_text(words, use_inner_text=True)


async def evaluates(page: Page, expression: str, value: Any, within_s: float = 60) -> None:
    """Until the expression, or the function, has this value; fails with the value that it has."""
    found: Any = None

    async def equal() -> bool:
        nonlocal found
        found = await page.evaluate(expression)
        return bool(found == value)

    try:
        await until(equal, within_s)
    except AssertionError:
        raise AssertionError(f"{found!r} is not {value!r} after {within_s:g} s: {expression[:200]}") from None
