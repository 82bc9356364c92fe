"""How long a community keeps what, where that is not the default."""

from __future__ import annotations

from pathlib import Path

from services.adapters.queries import Queries
from services.api.store.database import Connection

Q = Queries(Path(__file__).with_name("retention.sql"))


async def kept_days(connection: Connection, community_id: str) -> dict[str, int]:
    return {row["class"]: row["days"] for row in await connection.fetch(Q["kept_days"], community_id)}


async def set_days(connection: Connection, community_id: str, name: str, days: int, by: str) -> None:
    await connection.execute(Q["set_days"], community_id, name, days, by)
