"""Forgets names and telephone numbers of reports some time after what they were needed for is over."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from services.adapters.reports import erase_contacts
from services.adapters.steady_clock import SteadyClock
from services.api.store.database import AWAY, Database
from services.api.store.tenancy import SERVICE

log = structlog.get_logger(__name__)

EVERY_S = 3600.0
_AT_ONCE = 500


class Forgetting:
    """Several may run at once: each takes other rows."""

    def __init__(self, database: Database, clock: SteadyClock, kept_days: int) -> None:
        self._database = database
        self._clock = clock
        self._kept = timedelta(days=kept_days)

    async def run(self) -> None:
        """For ever; while the database is away, it is tried again at the next turn."""
        while True:
            try:
                await self.once()
            except AWAY as error:
                log.warning("forgetting_waits_for_database", why=str(error) or type(error).__name__)
            await asyncio.sleep(EVERY_S)

    async def once(self) -> int:
        """All that is due by now; how many."""
        total = 0
        while True:
            now = self._clock.now()
            async with self._database.write(as_=SERVICE) as connection:
                erased = await erase_contacts(connection, now - self._kept, now, _AT_ONCE)
            total += erased
            if erased < _AT_ONCE:
                break
        if total:
            log.info("report_contacts_erased", reports=total)
        return total
