"""Events and replies of a batch: stored once each, told apart from what was stored before."""

from __future__ import annotations

from typing import Any

import asyncpg

from services.adapters.queries import Queries
from services.domain.messages import Reason, Rejected
from services.ingest.checked import Happening, Outcome
from services.ingest.core import DEVICE_TS

Q = Queries.beside(__file__)


async def insert_events(connection: asyncpg.Connection[Any], happenings: list[Happening]) -> None:
    Key = tuple[int, int, str]
    happenings = await _not_answered_before(connection, happenings)
    first: dict[Key, Happening] = {}
    for happening in happenings:
        first.setdefault((happening.device.no, happening.ts_ms, happening.event), happening)
    rows = await connection.fetch(
        Q["insert_events"],
        [no for no, _, _ in first],
        [ts for _, ts, _ in first],
        [event for _, _, event in first],
        [happening.data for happening in first.values()],
        [happening.message_id for happening in first.values()],
        [happening.received_ms for happening in first.values()],
    )
    new = {(row["device_no"], row["ts_ms"], row["event"]) for row in rows}
    again = [h for h in happenings if (key := (h.device.no, h.ts_ms, h.event)) not in new or first[key] is not h]
    if not again:
        return
    keys = list({(h.device.no, h.ts_ms, h.event): None for h in again})
    times = [ts for _, ts, _ in keys]
    rows = await connection.fetch(
        Q["stored_events"], [k[0] for k in keys], times, [k[2] for k in keys], min(times), max(times)
    )
    stored = {(row["device_no"], row["ts_ms"], row["event"]): row["data"] for row in rows}
    for happening in again:
        if stored[happening.device.no, happening.ts_ms, happening.event] == happening.data:
            happening.outcome = Outcome.DUPLICATE
        else:
            detail = f"{happening.event} was stored for this time before with other data; the first stands"
            happening.refuse(Rejected(Reason.CONFLICT, detail, happening.device.id, happening.message_id))


async def _not_answered_before(connection: asyncpg.Connection[Any], happenings: list[Happening]) -> list[Happening]:
    """Events taken at the time of their arrival have another time at each resending; their id tells them apart."""
    timeless = [h for h in happenings if DEVICE_TS in h.data and h.message_id is not None]
    if not timeless:
        return happenings
    rows = await connection.fetch(
        Q["answered_events"],
        [h.device.no for h in timeless],
        [h.event for h in timeless],
        [h.message_id for h in timeless],
    )
    known = {(row["device_no"], row["event"], row["message_id"]) for row in rows}
    fresh = []
    for happening in happenings:
        key = (happening.device.no, happening.event, happening.message_id)
        if DEVICE_TS in happening.data and happening.message_id is not None:
            if key in known:
                happening.outcome = Outcome.DUPLICATE
                continue
            known.add(key)
        fresh.append(happening)
    return fresh
