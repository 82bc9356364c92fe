"""Lets go of what is old: sessions ended long ago, failures nobody repeats."""

from __future__ import annotations

import asyncio

import structlog

from services.api.identity.store import Q
from services.api.store.database import AWAY, Database
from services.api.store.tenancy import SERVICE

log = structlog.get_logger(__name__)

EVERY_S = 3600.0
KEPT_S = 90 * 86400.0
"""An ended session is kept so long: where somebody logged in before is what tells them from a guesser."""


class Upkeep:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> None:
        """For ever; while the database is away, it is tried again at the next turn."""
        while True:
            try:
                await self.once()
            except AWAY as error:
                log.warning("session_upkeep_waits_for_database", why=str(error) or type(error).__name__)
            await asyncio.sleep(EVERY_S)

    async def once(self) -> None:
        """A thousand sessions at a time, so that nobody waits long for their rows."""
        async with self._database.read(as_=SERVICE) as connection:
            await connection.execute(Q["failures_forget"])
        while True:
            async with self._database.read(as_=SERVICE) as connection:
                if await connection.execute(Q["sessions_forget"], KEPT_S) != "DELETE 1000":
                    return
