"""Loads what people decided about sending: silences that are not long over, and every community's caps."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg

from services.adapters.queries import Queries
from services.domain.engine.hold.caps import caps_of
from services.domain.engine.hold.inputs import HoldInputs, hold_inputs
from services.domain.engine.hold.silences import silence_of
from services.domain.registered import CommunityRow

Q = Queries.beside(__file__)


async def load_holding(
    connection: asyncpg.Connection[Any], partition: int, communities: Iterable[CommunityRow]
) -> HoldInputs:
    zones = {str(community.id): ZoneInfo(community.timezone) for community in communities}
    silences = [
        silence_of(
            {**row, "matcher": _value(row["matcher"]), "recurs": _value(row["recurs"])}, zones[row["community_id"]]
        )
        for row in await connection.fetch(Q["load_silences"], partition)
    ]
    caps = {
        row["id"]: caps_of(row["devices"], own.get("device"), own.get("community"))
        for row in await connection.fetch(Q["load_caps"], partition)
        for own in [_value(row["alert_caps"])]
    }
    return hold_inputs(silences, caps)


def _value(stored: Any) -> Any:
    return json.loads(stored) if isinstance(stored, str) else stored
