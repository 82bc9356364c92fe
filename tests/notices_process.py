"""Stands ready to be an alerts service that sends notices and dies at a statement: forks one for each line it reads.

A line on standard input is JSON: {"url", "die_at", "after", "for_s", "lease_s", "enough"}. The answer is one line:
how the child ended and the statements it came to. `die_at` 0: it lives, `enough`: until a notice has left.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import asyncpg

from services.adapters.notices.carrier import _apprise
from services.adapters.postgres import _prepare
from services.adapters.steady_clock import SteadyClock
from services.alerts.notify import Notifier
from services.alerts.settings import AlertSettings

NAMES = ("execute", "fetch", "fetchval", "fetchrow")


def _strike(die_at: int, after: bool, seen: list[str]) -> None:
    """Every statement is counted as the service makes it; at the one wanted the process is gone, as by kill -9."""

    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        async def call(self: Any, query: str, *args: Any, **more: Any) -> Any:
            seen.append(" ".join(query.split())[:60])
            mine = len(seen)
            if mine == die_at and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            value = await real(self, query, *args, **more)
            if mine == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return value

        return call

    for name in NAMES:
        setattr(asyncpg.Connection, name, wrapped(getattr(asyncpg.Connection, name)))


async def _live(order: dict[str, Any], seen: list[str]) -> None:
    settings = AlertSettings(
        database_url=order["url"], notices_lease_s=order["lease_s"], alerts_poll_s=0.05, notices_timeout_s=2,
        notices_networks="127.0.0.1/32",
    )  # fmt: skip
    pool = await asyncpg.create_pool(order["url"], min_size=1, max_size=4, init=_prepare)
    _strike(order["die_at"], order["after"], seen)
    one = Notifier(pool, settings, SteadyClock(600, None))
    running = [asyncio.create_task(one.read()), asyncio.create_task(one.send())]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(order["for_s"]):
            await asyncio.gather(*running)
            while not (order["enough"] and any(text.startswith("INSERT INTO notice_attempt") for text in seen)):
                await one.send()
                await asyncio.sleep(0.02)
    await asyncio.gather(*one._sending, return_exceptions=True)
    pool.terminate()


def main() -> None:
    # What a service loads at its first message, once for all children.
    _apprise().Apprise.instantiate("json://127.0.0.1:9/x")
    for line in sys.stdin:
        order = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            seen: list[str] = []
            with contextlib.suppress(BaseException):
                asyncio.run(_live(order, seen))
            os.write(writing, json.dumps(seen).encode())
            os._exit(0)
        os.close(writing)
        _, status = os.waitpid(child, 0)
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.read()
        killed = os.WIFSIGNALED(status)
        print(json.dumps({"killed": killed, "seen": json.loads(said or b"[]")}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
