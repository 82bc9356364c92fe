"""Writes what becomes of what an alert sends: held for other reasons, released, asked about, answered."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import asyncpg

from services.adapters.orders import fetch_order
from services.adapters.outbox import Outgoing
from services.adapters.queries import Queries
from services.alerts.incidents import Written, at, order_for
from services.domain.engine.decisions import Answered, Asked, Hold, Release
from services.domain.vocabulary import Severity

Q = Queries.beside(__file__)
Row = Mapping[str, Any]


async def hold(connection: asyncpg.Connection[Any], decision: Hold) -> Row | None:
    """The alert as it stands; None where it is over or one of life safety."""
    row: Row | None = await connection.fetchrow(Q["hold_alert"], decision.id, list(decision.held), at(decision.at_ms))
    if row is not None:
        await _occurred(
            connection, decision.id, "held", decision.at_ms, decision.severity, decision.correlation, decision.held
        )
    return row


async def release(
    connection: asyncpg.Connection[Any], decision: Release, written: Written, now: datetime
) -> Row | None:
    """Sends what stands. Whoever is at work on this very alert already is left in peace."""
    alert = decision.alert
    row: Row | None = await connection.fetchrow(Q["release_alert"], alert.id, at(decision.at_ms))
    if row is None:
        return None
    written.released += 1
    await _occurred(connection, alert.id, "released", decision.at_ms, alert.severity, alert.correlation, decision.was)
    order = await fetch_order(connection, row["order_id"]) if row["order_id"] is not None else None
    if order is None or order.ended:
        await order_for(connection, alert, written, now)
    return row


async def _occurred(
    connection: asyncpg.Connection[Any],
    alert_id: Any,
    what: str,
    ms: int,
    severity: Severity,
    correlation: str,
    why: tuple[str, ...],
) -> None:
    cause = " ".join(why)
    await connection.fetchval(Q["insert_occurrence"], alert_id, at(ms), what, severity.value, "{}", correlation, cause)


def asked(decision: Asked) -> Outgoing:
    """To the people of the household: what it is about, where, and until when they can say that all is well."""
    alert = decision.alert
    until = at(decision.until_ms)
    data = {
        "id": str(alert.id),
        "household_id": decision.household_id,
        "to": ["resident", "family"],
        "until": until.isoformat(),
        "title": {"zh": alert.title.zh, "en": alert.title.en},
        "why": {"zh": alert.why.zh, "en": alert.why.en},
        "question": {
            "zh": f"{alert.title.zh}。家中一切正常吗？如无回复，网格员将上门查看。",
            "en": f"{alert.title.en}. Is everything all right at home? Without an answer somebody comes by.",
        },
    }
    return Outgoing("alert.ask", alert.community_id, str(alert.id), alert.correlation, data)


async def answered(connection: asyncpg.Connection[Any], decision: Answered) -> Row | None:
    """The answer is taken once. "All is well" acknowledges the alert in the name of who said so."""
    if await connection.execute(Q["take_answer"], decision.answer) != "UPDATE 1":
        return None
    row: Row | None = await connection.fetchrow(
        Q["acknowledge_alert"], decision.id, decision.ok, at(decision.at_ms), decision.by
    )
    if row is not None:
        severity = Severity(row["severity"])
        words = ("well" if decision.ok else "not well", decision.by)
        await _occurred(connection, decision.id, "answered", decision.at_ms, severity, row["correlation"], words)
    return row
