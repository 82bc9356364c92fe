"""Says the newest row of the audit trail to the log now and then: a note out of reach of whoever edits the table."""

from __future__ import annotations

import asyncio

import structlog

from services.adapters import audit
from services.api.store.database import AWAY, Database
from services.api.store.tenancy import SERVICE

log = structlog.get_logger(__name__)


class Anchoring:
    """`run` until cancelled; what has not changed is not said again."""

    def __init__(self, database: Database, every_s: float) -> None:
        self._database = database
        self._every_s = every_s
        self._said: audit.Anchor | None = None

    async def run(self) -> None:
        while True:
            try:
                await self.say()
            except AWAY as error:
                log.warning("audit_anchor_waiting", why=str(error) or type(error).__name__)
            await asyncio.sleep(self._every_s)

    async def say(self) -> None:
        async with self._database.read(as_=SERVICE) as connection:
            newest = await audit.head(connection)
        if newest is not None and newest != self._said:
            log.info("audit_anchor", anchor=str(newest))
            self._said = newest
