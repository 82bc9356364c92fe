"""The API as it is, with a watch on its event loop: the longest that one thing kept all others from their turn.

`python -m bench.loop_watch` runs `services.api.main`. Every 2 ms the loop looks at two clocks. What its own thread
computed between two looks nobody else could have had a turn in; unlike the time that passed, it does not grow with what
else the machine does. Once a second a line says the longest of both. The looks cost half a hundredth of a core.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from services.api import main as api
from services.api.settings import ApiSettings

FILE = "BENCH_LOOP_FILE"
_EVERY_S = 0.002


@dataclass(frozen=True, slots=True)
class Longest:
    """Milliseconds between two looks at the clocks."""

    cpu_ms: float
    wall_ms: float


def longest(file: Path, start: float, end: float) -> Longest:
    """Of the seconds that ended between these times (`time.time()`)."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    within = [(cpu, wall) for at, cpu, wall in lines if start <= at <= end]
    if not within:
        raise RuntimeError("the loop was not watched")
    return Longest(max(cpu for cpu, _ in within), max(wall for _, wall in within))


async def _watch(said: TextIO) -> None:
    began = wall = time.perf_counter()
    cpu = time.thread_time()
    most_cpu = most_wall = 0.0
    while True:
        await asyncio.sleep(_EVERY_S)
        now, computed = time.perf_counter(), time.thread_time()
        most_cpu, most_wall = max(most_cpu, computed - cpu), max(most_wall, now - wall)
        wall, cpu = now, computed
        if now - began >= 1:
            said.write(json.dumps([time.time(), round(1000 * most_cpu, 1), round(1000 * most_wall, 1)]) + "\n")
            said.flush()
            began, most_cpu, most_wall = now, 0.0, 0.0


def main() -> None:
    run = api.run
    with Path(os.environ[FILE]).open("w") as said:

        async def watched(settings: ApiSettings, stop: asyncio.Event, on_ready: api.OnReady) -> None:
            watching = asyncio.create_task(_watch(said))
            try:
                await run(settings, stop, on_ready)
            finally:
                watching.cancel()

        api.run = watched
        api.main()


if __name__ == "__main__":
    main()
