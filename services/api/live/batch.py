"""A run of outbox rows with the alerts and orders they name as they are now, written once per class of readers."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog

from services.api.answers import shapes
from services.api.answers.moves import actor_of_class
from services.api.answers.shapes import Row
from services.api.live.frames import frame
from services.api.store import work
from services.api.store.database import Connection
from services.api.store.system import OutboxRow
from services.domain.access import ReaderClass
from services.domain.people.privacy import Shown

log = structlog.get_logger(__name__)

Key = tuple[str, UUID]


def named(row: OutboxRow) -> Key | None:
    """Which alert or order a row is about; None for rows about neither."""
    family = row.type.partition(".")[0]
    text = row.data.get("id") if family == "alert" else row.data.get("order_id") if family == "order" else None
    if text is None:
        return None
    try:
        return family, UUID(str(text))
    except ValueError:
        log.error("outbox_row_unreadable", seq=row.seq, type=row.type, named=text)
        return None


def all_named(row: OutboxRow) -> list[Key]:
    """With a change of consent, the order of the alert looks different as well."""
    key = named(row)
    if key is None:
        return []
    order_id = row.data.get("order_id") if row.type == "alert.consent" else None
    return [key, ("order", UUID(str(order_id)))] if order_id else [key]


class Batch:
    """The events of one community for a run of rows. Where rows name the same thing, only the last one stays."""

    def __init__(self, community_id: str, rows: Sequence[OutboxRow], things: dict[Key, Row]) -> None:
        latest: dict[Key, int] = {}
        for row in rows:
            for key in all_named(row):
                if key in things:
                    latest.pop(key, None)
                    latest[key] = row.seq
        self._community_id = community_id
        self._things = [(seq, key, things[key]) for key, seq in latest.items()]
        self._written: dict[ReaderClass, bytes] = {}
        self._alerts: dict[tuple[UUID, Shown], bytes] = {}

    @property
    def count(self) -> int:
        return len(self._things)

    def written_for(self, reader: ReaderClass) -> bytes:
        """All frames, in the order of the outbox."""
        if reader not in self._written:
            self._written[reader] = b"".join(self._write(seq, key, thing, reader) for seq, key, thing in self._things)
        return self._written[reader]

    def _write(self, seq: int, key: Key, thing: Row, reader: ReaderClass) -> bytes:
        family, id = key
        if family == "order":
            return frame("order", shapes.order(thing, reader, actor_of_class(reader, self._community_id)), seq)
        sees = shapes.shown(reader, thing)
        if (id, sees) not in self._alerts:
            self._alerts[id, sees] = frame("alert", shapes.alert(thing, reader), seq)
        return self._alerts[id, sees]


async def load(connection: Connection, rows: Sequence[OutboxRow]) -> dict[Key, Row]:
    """The named alerts and orders as they are now: at least as new as the rows, so a reader can only be ahead."""
    keys = {key for row in rows for key in all_named(row)}
    alerts = [id for family, id in keys if family == "alert"]
    orders = [id for family, id in keys if family == "order"]
    things: dict[Key, Row] = {}
    if alerts:
        things.update({("alert", row["id"]): row for row in await work.alerts_by_ids(connection, alerts)})
    if orders:
        things.update({("order", row["id"]): row for row in await work.orders_by_ids(connection, orders)})
    return things
