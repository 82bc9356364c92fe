"""Reads one partition's log in order, lane by lane, and knows what is missing from it."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog

from services.alerts import metrics
from services.alerts.loading import read_log
from services.domain.engine.entries import LogRow

log = structlog.get_logger(__name__)
_EVENT_ROWS = 256
_TELEMETRY_ROWS = 16
_HOLE_S = 2.0
_KEPT_MS = 48 * 3_600_000


@dataclass(frozen=True, slots=True)
class Gap:
    """Entries that were purged before they were evaluated."""

    lane: int
    missed: int


class LogReader:
    """`checkpoints`: lane → the last seq whose consequences are committed; the owner moves it on after a commit."""

    def __init__(self, partition: int, readings_per_turn: int) -> None:
        self.checkpoints: dict[int, int] = {}
        self._partition = partition
        self._room = readings_per_turn
        self._ahead: deque[LogRow] = deque()
        self._hole_since: dict[int, float] = {}
        self._gaps: list[Gap] = []

    def start(self, checkpoints: dict[int, int]) -> None:
        """From what is committed, with nothing read ahead."""
        self.checkpoints = checkpoints
        self._ahead.clear()
        self._hole_since.clear()
        self._gaps.clear()

    @property
    def waits(self) -> bool:
        """Whether a hole is being waited for: what lies behind it is not read yet."""
        return bool(self._hole_since)

    def gaps(self) -> list[Gap]:
        """Those found since the last call."""
        found, self._gaps = self._gaps, []
        return found

    async def next(self, connection: asyncpg.Connection[Any]) -> list[LogRow]:
        """All waiting events, else as much telemetry as one turn may take; at least one row where there is one."""
        rows = self._whole(await read_log(connection, self._partition, 0, self.checkpoints[0], _EVENT_ROWS))
        return rows or await self._telemetry(connection)

    async def _telemetry(self, connection: asyncpg.Connection[Any]) -> list[LogRow]:
        """What was read beyond one turn waits in memory."""
        if not self._ahead:
            rows = await read_log(connection, self._partition, 1, self.checkpoints[1], _TELEMETRY_ROWS)
            self._ahead.extend(self._whole(rows))
        taken: list[LogRow] = []
        size = 0
        while self._ahead and (not taken or size + self._ahead[0].size <= self._room):
            taken.append(self._ahead.popleft())
            size += taken[-1].size
        return taken

    def _whole(self, rows: list[LogRow]) -> list[LogRow]:
        """The rows up to the first hole. A hole is waited for briefly, then it is one: the log is kept 48 h only.

        Whoever was away for longer must say what it has not seen, and goes on from the oldest there is: an engine that
        stood still before a gap would leave every later call for help unanswered to mourn those it cannot have back.
        """
        if not rows:
            return rows
        lane, before = rows[0].lane, self.checkpoints[rows[0].lane]
        if rows[0].seq != before + 1:
            since = self._hole_since.setdefault(lane, time.monotonic())
            if time.monotonic() - since < _HOLE_S:
                return []
            missed = rows[0].seq - before - 1
            metrics.GAPS.labels(str(self._partition)).inc(missed)
            log.error(
                "log_gap",
                partition=self._partition,
                lane=lane,
                after=before,
                found=rows[0].seq,
                entries_missed=missed,
            )
            self._gaps.append(Gap(lane, missed))
        self._hole_since.pop(lane, None)
        return [row for place, row in enumerate(rows) if row.seq == rows[0].seq + place]


def oldest_received_ms(rows: list[LogRow], otherwise: int) -> int:
    """When the server received what waited longest of these. What says that it is older than the log is kept makes no
    sense and is left out."""
    times = [min(row.received_ms) for row in rows if row.received_ms]
    times += [
        entry["received_ms"]
        for row in rows
        for entry in row.body
        if isinstance(entry, dict) and isinstance(entry.get("received_ms"), int)
    ]
    return min((time_ms for time_ms in times if otherwise - time_ms <= _KEPT_MS), default=otherwise)
