"""Tasks that are there for ever end, even where a dying connection's error took the place of their cancellation."""

from __future__ import annotations

import asyncio
import contextlib

from services.adapters.ending import ended


async def _outlives(errors: int, begun: asyncio.Event) -> None:
    """A loop as the services have them: an error is waited out. So many cancellations come out as one."""
    while True:
        begun.set()
        try:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if errors:
                    errors -= 1
                    raise ConnectionResetError from None
                raise
        except OSError:
            continue


async def _in_a_group(begun: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_outlives(2, begun))


async def test_a_task_that_lost_its_cancellation_is_told_again() -> None:
    begun = asyncio.Event()
    task = asyncio.create_task(_outlives(3, begun))
    await begun.wait()
    async with asyncio.timeout(60):
        await ended([task], again_s=0.01)
    assert task.cancelled()


async def test_so_is_one_that_a_group_of_the_task_waits_for() -> None:
    begun = asyncio.Event()
    task = asyncio.create_task(_in_a_group(begun))
    await begun.wait()
    async with asyncio.timeout(60):
        await ended([task], again_s=0.01)
    assert task.done()


async def test_what_ended_by_itself_or_by_an_error_is_no_trouble() -> None:
    async def fails() -> None:
        raise ValueError

    tasks = [asyncio.create_task(fails()), asyncio.create_task(asyncio.sleep(0))]
    await asyncio.wait(tasks)
    await ended(tasks)
    await ended([])
    for task in tasks:
        with contextlib.suppress(ValueError):
            task.result()
