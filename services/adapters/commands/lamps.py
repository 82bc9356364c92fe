"""Lamp schedules in the database, and the batches of commands that they make when the light changes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from services.adapters import outbox
from services.adapters.commands.asking import Asked, Spread, insert
from services.adapters.commands.common import Connection, Row, told
from services.adapters.commands.common import Q as COMMANDS
from services.adapters.queries import Queries
from services.domain.commands.lamps import MINUTE_MS, Lamps, Where, command_for, light_at

Q = Queries(Path(__file__).with_name("lamps.sql"))
KIND = "lamp_post"
PER_SECOND = 20.0
LAMPS_MOST = 5000
_NAMESPACE = UUID("0f6e3f7a-3f0c-5d44-9a60-6c616d707321")


@dataclass(frozen=True, slots=True)
class Schedule:
    """As somebody wrote it. Without tags and grids: all lamps of the community."""

    title_zh: str
    title_en: str
    lamps: Lamps
    tags: Sequence[str] = ()
    grids: Sequence[str] = ()
    enabled: bool = True


def lamps_of(row: Row) -> Lamps:
    dims = tuple((time.fromisoformat(at), int(level)) for at, level in row["dims"])
    return Lamps(row["on_deg"], row["off_deg"], dims)


def where_of(row: Row) -> Where:
    return Where(row["latitude"], row["longitude"], ZoneInfo(row["timezone"]))


async def schedules(connection: Connection, community_id: str, schedule_id: str | None = None) -> list[Row]:
    rows: list[Row] = await connection.fetch(Q["schedules"], community_id, schedule_id)
    return rows


async def version_of(connection: Connection, community_id: str, schedule_id: str) -> int:
    """0: there is none. Held to the end of the transaction."""
    version: int | None = await connection.fetchval(Q["lock"], community_id, schedule_id)
    return version or 0


async def put(
    connection: Connection, community_id: str, schedule_id: str, wanted: Schedule, by: str, now: datetime
) -> int:
    """The new version; the light that it wants is made at the next look."""
    lamps = wanted.lamps
    dims = json.dumps([[at.isoformat("minutes"), level] for at, level in lamps.dims])
    version: int = await connection.fetchval(
        Q["put"], schedule_id, community_id, wanted.title_zh, wanted.title_en, list(wanted.tags), list(wanted.grids),
        lamps.on_deg, lamps.off_deg, dims, wanted.enabled, by, now,
    )  # fmt: skip
    return version


async def remove(connection: Connection, community_id: str, schedule_id: str) -> None:
    await connection.execute(Q["remove"], community_id, schedule_id)


async def make_light(connection: Connection, partitions: Sequence[int], now: datetime) -> int:
    """One look at every schedule of these partitions; how many commands it made. Each in a transaction of its own.

    Where the light is another than at the last look, its lamps are told, once: the look moves on in the same
    transaction. An engine that was away tells them what is so now, and nothing of what it missed.
    """
    minute_ms = round(now.timestamp() * 1000) // MINUTE_MS * MINUTE_MS
    made = 0
    for due in await connection.fetch(Q["due"], list(partitions), minute_ms):
        async with connection.transaction():
            row = await connection.fetchrow(Q["lock_due"], due["community_id"], due["id"], minute_ms)
            if row is not None:
                made += await _look(connection, row, minute_ms, now)
    return made


async def _look(connection: Connection, row: Row, minute_ms: int, now: datetime) -> int:
    lamps, where = lamps_of(row), where_of(row)
    light = light_at(lamps, where, minute_ms)
    new: list[UUID] = []
    if row["done_ms"] == 0 or light_at(lamps, where, row["done_ms"]) != light:
        new = await _tell(connection, row, light, minute_ms, now)
    await connection.execute(Q["done"], row["community_id"], row["id"], minute_ms)
    await outbox.append(connection, await told(connection, new, as_requested=True))
    return len(new)


async def _tell(connection: Connection, row: Row, light: int, minute_ms: int, now: datetime) -> list[UUID]:
    name, params = command_for(light)
    devices = await connection.fetch(
        COMMANDS["targets"], row["community_id"], [KIND], None, [], row["grids"], row["tags"], LAMPS_MOST
    )
    able = [device for device in devices if device["codec"] == "native"]
    if not able:
        return []
    batch = uuid5(_NAMESPACE, f"{row['community_id']}|{row['id']}|{row['version']}|{minute_ms}")
    asked = Asked(name, params, f"{row['title_zh']} · {row['title_en']}")
    made = await connection.fetchval(
        COMMANDS["insert_batch"], batch, row["community_id"], name, _json(params), False, False, asked.why,
        f"{KIND} {row['id']}", len(able), PER_SECOND, row["changed_by"], now, asked.digest,
    )  # fmt: skip
    if made is None:
        return []
    commands = {uuid5(batch, str(device["device_no"])): device for device in able}
    spread, source = Spread(batch, PER_SECOND), f"schedule:{row['id']}"
    return await insert(connection, row["changed_by"], asked, commands, False, now, spread, source)


def _json(params: Mapping[str, Any]) -> str:
    return json.dumps(dict(params))
