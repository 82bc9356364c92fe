"""Who spends how much CPU while a benchmark runs: processes of ours, the database's backends, the broker."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from typing import Any

import asyncpg
import psutil


class CpuMeter:
    """Seconds of CPU by who spent them, from `begin` to `end`; None for a process of another machine or user.

    `pids`: who → process. `broker_port`: whoever listens there is the broker. Backends of the connection's database are
    found by their titles, for the server may count its processes in a namespace of its own.
    """

    def __init__(self, pids: Mapping[str, int], broker_port: int) -> None:
        self._pids = dict(pids)
        self._broker = listening(broker_port)
        self._before: dict[str, float | None] = {}
        self._children = 0.0

    async def begin(self, connection: asyncpg.Connection[Any]) -> None:
        self._children = children_seconds()
        self._before = await self._now(connection)

    async def end(self, connection: asyncpg.Connection[Any]) -> dict[str, float | None]:
        """`generator` is what children of this process spent that have ended meanwhile."""
        after = await self._now(connection)
        spent: dict[str, float | None] = {"generator": children_seconds() - self._children}
        for who, before in self._before.items():
            now = after[who]
            spent[who] = None if now is None or before is None else now - before
        return spent

    async def _now(self, connection: asyncpg.Connection[Any]) -> dict[str, float | None]:
        name = await connection.fetchval("SELECT current_database()")
        backends = [
            seconds(process.pid)
            for process in psutil.process_iter(["cmdline"])
            if (title := " ".join(process.info["cmdline"] or ())).startswith("postgres:") and f" {name} " in title
        ]
        known = [s for s in backends if s is not None]
        return {
            **{who: seconds(pid) for who, pid in self._pids.items()},
            "postgres": sum(known) if known else None,
            "mosquitto": None if self._broker is None else seconds(self._broker),
        }


def children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def seconds(pid: int) -> float | None:
    """Of the process with all that it started and that still runs."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        times = [member.cpu_times() for member in family]
    except psutil.Error:
        return None
    return float(sum(t.user + t.system for t in times))


def listening(port: int) -> int | None:
    try:
        found = [c.pid for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr[1:] == (port,)]
    except psutil.Error:
        return None
    return next((pid for pid in found if pid), None)
