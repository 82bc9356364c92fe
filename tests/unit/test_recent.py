"""What is remembered of rows for a moment, and what is not."""

from __future__ import annotations

import asyncio

from services.api.identity.recent import Recent


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_recent_rows_are_read_once_until_they_are_too_old_or_dropped() -> None:
    clock, asked = Clock(), list[str]()
    recent: Recent[str] = Recent(5.0, clock)

    async def row(name: str) -> str | None:
        async def read() -> str | None:
            asked.append(name)
            return None if name == "nobody" else f"{name}{len(asked)}"

        return await recent.get(name, read)

    assert [await row("a"), await row("a"), await row("nobody"), await row("nobody")] == ["a1", "a1", None, None]
    clock.now = 5.0
    assert await row("a") == "a3"
    recent.drop("a")
    assert [await row("a"), await row("nobody")] == ["a4", None]
    recent.drop_where(lambda one: one == "a4")
    assert [await row("a"), await row("nobody")] == ["a6", None]
    assert asked == ["a", "nobody", "a", "a", "nobody", "a"]


async def test_recent_keeps_nothing_that_was_read_while_something_was_dropped() -> None:
    """A reading that began before a key was revoked comes back after the word of it."""
    recent: Recent[str] = Recent(5.0, Clock())
    reading, goes_on = asyncio.Event(), asyncio.Event()

    async def before() -> str:
        reading.set()
        await goes_on.wait()
        return "alive"

    async def after() -> str:
        return "revoked"

    late = asyncio.create_task(recent.get("key", before))
    await reading.wait()
    recent.drop("key")
    goes_on.set()
    assert await late == "alive"
    assert await recent.get("key", after) == "revoked"
    begun = recent.begin()
    recent.drop_where(lambda _: False)
    recent.keep({"key": "alive"}, begun)
    assert await recent.get("key", before) == "revoked"
