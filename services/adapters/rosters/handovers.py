"""Hand-overs (交接班), and where people on duty say they are."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from math import cos, radians
from typing import Any
from uuid import UUID

from services.adapters.rosters.common import Connection, Q, RosterRefused, Row, json_of
from services.adapters.rules.privacy import about_health
from services.domain.notices.templates import MASKED_TITLE
from services.domain.vocabulary import Label, Team

POSITION_KEPT = timedelta(hours=2)
"""A shared position is forgotten after this, whatever happens; when its shift ends, at once."""
_METRES_A_DEGREE = 111_195.0
"""Of latitude, on a sphere of 6,371 km."""


async def hand_over(
    connection: Connection, handover_id: UUID, community_id: str, team: Team, note: str, by: str, now: datetime
) -> Row:
    """With the open orders of the team as they stand. The same id again changes nothing."""
    known: Row | None = await connection.fetchrow(Q["handover"], handover_id)
    if known is not None:
        return known
    current = await connection.fetchrow(Q["current_shift"], community_id, team.value, by, now)
    if current is None:
        raise RosterRefused(Label("您当前不在该队伍的班上", "you stand no shift of this team, nor did within the hour"))
    following = await connection.fetchrow(Q["next_shift"], community_id, team.value, by, current["ends_at"])
    rows = await connection.fetch(Q["open_orders_of_team"], community_id, team.value)
    orders = [_listed(row) for row in rows]
    await connection.execute(
        Q["insert_handover"],
        handover_id,
        community_id,
        team.value,
        current["id"],
        following["id"] if following else None,
        note,
        json.dumps(orders, ensure_ascii=False),
        now,
        by,
    )
    row: Row = await connection.fetchrow(Q["handover"], handover_id)
    return row


def _listed(row: Row) -> dict[str, Any]:
    """As every team may read it: what is about somebody's health says only that."""
    private = row["rule_id"] is not None and any(about_health(one) for one in (row["rule_id"], *row["active_rules"]))
    shown = {name: row[name] for name in ("number", "state", "severity", "title_zh", "place")}
    return shown | {"id": str(row["id"])} | ({"title_zh": MASKED_TITLE.zh} if private else {})


async def handover(connection: Connection, handover_id: UUID) -> Row | None:
    row: Row | None = await connection.fetchrow(Q["handover"], handover_id)
    return row


async def confirm(connection: Connection, row: Row, by: str, now: datetime) -> Row:
    """By somebody else who is on duty in that team, or is about to be. Again by the same person changes nothing."""
    if row["confirmed_by"] == by:
        return row
    if row["confirmed_at"] is not None:
        raise RosterRefused(Label("该交接已由他人确认", "somebody else has confirmed it already"))
    if row["by"] == by:
        raise RosterRefused(Label("须由接班人确认", "whoever takes over confirms it, not who hands over"))
    soon = now + timedelta(hours=1)
    if await connection.fetchrow(Q["current_shift"], row["community_id"], row["team"], by, soon) is None:
        raise RosterRefused(Label("您不在该队伍的下一班", "you do not stand the next shift of this team"))
    confirmed: Row | None = await connection.fetchrow(Q["confirm_handover"], row["id"], now, by)
    if confirmed is None:
        raise RosterRefused(Label("该交接已由他人确认", "somebody else has confirmed it already"))
    return confirmed


async def handovers(
    connection: Connection, community_id: str, team: Team | None, after: tuple[datetime, UUID] | None, limit: int
) -> list[Any]:
    at, last = after or (None, None)
    rows: list[Any] = await connection.fetch(
        Q["handovers"], community_id, team.value if team else None, at, last, limit
    )
    return rows


async def share_position(
    connection: Connection, user_id: str, x: float, y: float, accuracy_m: float, now: datetime
) -> None:
    """Replaces what was known."""
    await connection.execute(Q["put_position"], user_id, x, y, accuracy_m, now)


async def forget_position(connection: Connection, user_id: str) -> None:
    await connection.execute(Q["forget_position"], user_id)


async def on_plan(connection: Connection, community_id: str, latitude: float, longitude: float) -> tuple[float, float]:
    """Metres on the plan, y downwards; the community's own coordinates are those of the middle of its plan."""
    row = await connection.fetchrow(Q["plan_of"], community_id)
    plan = json_of(row["plan"])
    east = (longitude - row["longitude"]) * _METRES_A_DEGREE * cos(radians(row["latitude"]))
    south = (row["latitude"] - latitude) * _METRES_A_DEGREE
    return plan.get("width", 0.0) / 2 + east, plan.get("height", 0.0) / 2 + south
