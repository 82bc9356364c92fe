"""What one watched community's readers share: the last known device states, and the last key figures."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from services.api.answers import shapes
from services.api.answers.health import HEALTH_METRICS
from services.api.answers.shapes import Row
from services.api.live.client import Client
from services.api.live.frames import frame
from services.api.store import system
from services.api.store.database import Connection
from services.domain.access import ReaderClass

_OVERLAP = timedelta(seconds=3)
"""How far a poll reaches back behind the last: a commit may come this long after the time it carries."""
_FULL_EVERY = 15
"""Every so many polls compare all devices: catching up after an outage carries older times than the overlap."""


class Channel:
    """The readers of one community. `devices` holds each device's state as the readers have been told it."""

    def __init__(self, community_id: str) -> None:
        self.community_id = community_id
        self.clients: set[Client] = set()
        self.kpis: bytes | None = None
        self.kpis_due = 0
        """The newest event that changed figures."""
        self.kpis_head = -1
        """The newest event that the figures told last are sure to know of."""
        self.kpis_at = 0.0
        self.kpis_of: datetime | None = None
        self.opening = asyncio.Lock()
        self._devices: dict[int, Row] | None = None
        self._polls = 0
        self._polled_at = datetime.now(UTC)

    async def baseline(self, connection: Connection) -> None:
        """Reads all states once, before the first reader is told anything."""
        async with self.opening:
            if self._devices is None:
                rows = await system.device_changes(connection, self.community_id, None)
                self._devices = {row["device_no"]: row for row in rows}

    def since(self, at: datetime | None, reader: ReaderClass) -> bytes:
        """The states a reader whose picture is from `at` may have missed: newer ones, and everything offline."""
        after = at - _OVERLAP if at is not None else None
        rows = [
            row
            for row in (self._devices or {}).values()
            if after is None or not row["online"] or (row["last_seen_at"] is not None and row["last_seen_at"] >= after)
        ]
        return _write(rows, reader) if rows else b""

    async def poll(self, connection: Connection) -> None:
        """Tells every reader which states changed since the last poll."""
        if self._devices is None:
            await self.baseline(connection)
            return
        self._polls += 1
        started = datetime.now(UTC)
        since = None if self._polls % _FULL_EVERY == 0 else self._polled_at - _OVERLAP
        changed = []
        for row in await system.device_changes(connection, self.community_id, since):
            if _state(row) != _state(self._devices.get(row["device_no"])):
                changed.append(row)
                self._devices[row["device_no"]] = row
        self._polled_at = started
        if changed:
            self._tell(changed)

    def _tell(self, changed: list[Row]) -> None:
        private = any(row["kind"] in HEALTH_METRICS for row in changed)
        written: dict[ReaderClass | None, bytes] = {}
        for client in self.clients:
            key = client.reader if private else None
            if key not in written:
                written[key] = _write(changed, client.reader)
            client.put(written[key])


def _state(row: Row | None) -> tuple[Any, ...] | None:
    """What readers are told of a device; being heard from again with nothing new is not news."""
    if row is None:
        return None
    return row["online"], row["vals_ts"], row["vals"], row["last_event"], row["last_event_ts"], row["consents"]


def _write(rows: list[Row], reader: ReaderClass) -> bytes:
    items = [
        {
            "id": row["id"],
            "online": row["online"],
            "ts": row["vals_ts"],
            "values": shapes.values(row["kind"], row["vals"], shapes.shown(reader, row)),
            "last_event": row["last_event"],
            "last_event_at": row["last_event_ts"],
        }
        for row in rows
    ]
    return frame("devices", {"at": datetime.now(UTC), "items": items})
