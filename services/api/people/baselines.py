"""Keeps what is usual for each wearer: mean and spread of the days before, from the roll-ups, twice a day."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from zoneinfo import ZoneInfo

import structlog

from services.adapters.steady_clock import SteadyClock
from services.api.people.elders import VITALS
from services.api.store.database import AWAY, Database
from services.api.store.privacy import Q

log = structlog.get_logger(__name__)

EVERY_S = 600.0
FRESH = timedelta(hours=12)
DAYS = 14


class Baselines:
    """Several may run at once: they come to the same."""

    def __init__(self, database: Database, clock: SteadyClock) -> None:
        self._database = database
        self._clock = clock

    async def run(self) -> None:
        """For ever; while the database is away, it is tried again at the next turn."""
        while True:
            try:
                await self.once()
            except AWAY as error:
                log.warning("baselines_wait_for_database", why=str(error) or type(error).__name__)
            await asyncio.sleep(EVERY_S)

    async def once(self) -> int:
        """What is due; of how many communities. Whole days of the community's clock, without the running one."""
        now = self._clock.now()
        async with self._database.hold() as connection:
            await connection.execute(Q["drop_baselines"])
            due = await connection.fetch(Q["stale_communities"], now - FRESH)
            for row in due:
                bands = [one["device_no"] for one in await connection.fetch(Q["bands_of_community"], row["id"])]
                here = now.astimezone(ZoneInfo(row["timezone"])).replace(hour=0, minute=0, second=0, microsecond=0)
                for metric in VITALS:
                    await connection.execute(
                        Q["put_baselines"], row["id"], metric, bands, here - timedelta(days=DAYS), here, now
                    )
        return len(due)
