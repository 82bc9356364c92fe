"""Key figures of each community as last counted; counting a hundred thousand orders takes a third of a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from services.api.answers.models import KpisOut
from services.api.kpis import figures
from services.api.store.database import AWAY, Database
from services.api.store.tenancy import SERVICE

log = structlog.get_logger(__name__)

FRESH_S = 30.0
"""Clocks that run out change figures without any event."""
PATIENCE_S = 0.025
"""So long after a count has begun, pictures wait for its figures; then they show those before, with their time."""
_SHARE = 10.0
"""At most a tenth of the time is spent on counting one community."""


@dataclass(slots=True)
class _Counted:
    kpis: KpisOut
    head: int
    at: float
    took_s: float


class KpiBoard:
    """One a process. Figures are counted off the way of whoever asks, once for all."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._counted: dict[str, _Counted] = {}
        self._running: dict[str, tuple[asyncio.Task[None], float]] = {}

    async def get(self, community_id: str, head: int) -> KpisOut:
        """`head`: the newest event that the asker knows of; figures from before it are counted anew, when due."""
        return (await self.latest(community_id, head))[0]

    async def latest(self, community_id: str, head: int) -> tuple[KpisOut, int]:
        """As `get`, and the newest event these figures are sure to know of: one before `head` while they are late."""
        known = self._counted.get(community_id)
        if known is None:
            await asyncio.shield(self._count(community_id, head)[0])
        else:
            age = self._clock() - known.at
            if (known.head < head or age >= FRESH_S) and age >= _SHARE * known.took_s:
                counting, began = self._count(community_id, head)
                patience_s = PATIENCE_S - (self._clock() - began)
                if patience_s > 0:
                    await asyncio.wait({counting}, timeout=patience_s)
        found = self._counted[community_id]
        return found.kpis, found.head

    def _count(self, community_id: str, head: int) -> tuple[asyncio.Task[None], float]:
        """The count that runs, and since when."""
        running = self._running.get(community_id)
        if running is None:
            task = asyncio.create_task(self._work(community_id, head))
            task.add_done_callback(lambda task: self._done(community_id, task))
            running = self._running[community_id] = task, self._clock()
        return running

    def _done(self, community_id: str, task: asyncio.Task[None]) -> None:
        self._running.pop(community_id, None)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, AWAY):
            log.error("kpis_not_counted", community=community_id, why=repr(error))

    async def _work(self, community_id: str, head: int) -> None:
        began = self._clock()
        async with self._database.consistent(as_=SERVICE) as connection:
            kpis = await figures.kpis(connection, community_id)
        now = self._clock()
        self._counted[community_id] = _Counted(kpis, head, now, now - began)
