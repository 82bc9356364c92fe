"""Reads of health data leave a trace: who, whose, what for."""

from __future__ import annotations

from collections import OrderedDict

from services.api.answers.shapes import Row
from services.api.identity.auth import Ticket
from services.api.store import system
from services.api.store.database import Connection, Database
from services.domain.access import Principal, reader_class
from services.domain.people.privacy import Purpose

_KEPT = 20_000


async def health_read(
    connection: Connection, who: Principal, device: Row, purpose: Purpose, metric: str | None
) -> None:
    """One row a read of one device, with whose it is. Call it last in the transaction."""
    detail = {"purpose": purpose.value} | ({"metric": metric} if metric else {})
    if device["person_id"] is not None:
        detail["person"] = device["person_id"]
    await system.audit(connection, who, device["community_id"], "health.read", f"device:{device['id']}", detail)


async def person_read(connection: Connection, who: Principal, person: Row, purpose: Purpose, what: str) -> None:
    """The same of one person's health data as a whole."""
    detail = {"purpose": purpose.value, "what": what, "person": person["id"]}
    await system.audit(connection, who, person["community_id"], "health.read", f"person:{person['id']}", detail)


class Watchers:
    """One row a session and community for the pictures that hold everybody's vitals: snapshots and live streams."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    async def watches(self, ticket: Ticket, community_id: str, what: str = "live") -> None:
        """`what`: what is happening now, or the past by its replay."""
        key = (ticket.token_id, community_id, what)
        if key in self._seen or not reader_class(ticket.principal).health:
            return
        async with self._database.write() as connection:
            subject = f"community:{community_id}"
            detail = {"purpose": Purpose.DUTY.value} | ({"what": what} if what != "live" else {})
            await system.audit(connection, ticket.principal, community_id, "health.watch", subject, detail)
        self._seen[key] = None
        while len(self._seen) > _KEPT:
            self._seen.popitem(last=False)
