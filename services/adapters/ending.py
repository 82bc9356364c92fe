"""Ends tasks that are there for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_S = 15.0
"""Longer than anything takes that a cancelled task may still bring to its end, as a delivery under way."""


async def ended(tasks: Iterable[asyncio.Task[Any]], again_s: float = AGAIN_S) -> None:
    """Cancels them until they have ended, whatever they ended by.

    Once is not enough: where a connection dies while a cancelled task lets go of it, the driver's error takes the place
    of the cancellation, and a loop that outlives errors goes on.
    """
    left = set(tasks)
    for task in left:
        task.cancel()
    while left:
        _, left = await asyncio.wait(left, timeout=again_s)
        if left:
            cancel_again()


def cancel_again() -> None:
    """Every task that was cancelled and is still there; those that a group of tasks waits for are among them."""
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        if task.cancelling():
            task.cancel()
