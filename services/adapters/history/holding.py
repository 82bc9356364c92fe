"""What people decided about sending: silences and maintenance windows of the time of a backtest, caps of now."""

from __future__ import annotations

import json
from datetime import datetime
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
    connection: asyncpg.Connection[Any], community: CommunityRow, begin: datetime, end: datetime
) -> HoldInputs:
    """A silence holds nothing back before it was made, and nothing after it was ended."""
    zone = ZoneInfo(community.timezone)
    silences = [
        silence_of({**row, "matcher": _value(row["matcher"]), "recurs": _value(row["recurs"])}, zone)
        for row in await connection.fetch(Q["held_back"], community.id, begin, end)
    ]
    row = await connection.fetchrow(Q["caps"], community.id)
    own = _value(row["alert_caps"]) if row is not None else {}
    caps = caps_of(row["devices"] if row is not None else 0, own.get("device"), own.get("community"))
    return hold_inputs(silences, {str(community.id): caps})


def _value(stored: Any) -> Any:
    return json.loads(stored) if isinstance(stored, str) else stored
