"""Work beside the requests fails by itself: it is said, and begun anew."""

from __future__ import annotations

import asyncio

from services.api.main import _beside


async def test_work_that_fails_begins_anew_and_takes_nothing_down() -> None:
    begun = asyncio.Event()
    times = 0

    async def work() -> None:
        nonlocal times
        times += 1
        if times < 3:
            raise RuntimeError("a fault of ours")
        begun.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(_beside("test", work, again_s=0.01))
        await asyncio.wait_for(begun.wait(), 60)
    assert times == 3
