"""Alerts, orders, states and readings put into a database as the services would."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from services.adapters.orders import insert_order
from services.adapters.outbox import Outgoing, append
from services.domain.devices import BY_NAME
from services.domain.ids import AlertId, CommunityId, DeviceNo, OrderId
from services.domain.orders import Draft, Source
from services.domain.vocabulary import Label, Severity, Team

_INSERT_ALERT = """
INSERT INTO alert (id, community_id, rule_id, rule_version, family, subject, active_rules, device_no, building_id, kind,
    severity, team, life_safety, state, title_zh, title_en, why_zh, why_en, place, onset_at, fired_at, last_at,
    cleared_at, trigger, correlation)
SELECT $1::uuid, d.community_id, $3::text, 1, $3::text || $9::text, 'device:' || d.device_no, ARRAY[$3::text], d.device_no, d.building_id, d.kind,
    $4::text, $5::text, true, $6::text, '燃气泄漏', 'Gas leak', '浓度', 'level', d.place, $7::timestamptz, $7, $7,
    CASE WHEN $6 = 'cleared' THEN $7::timestamptz END, $8::text::jsonb, d.id || '@1'
FROM device AS d WHERE d.id = $2::text
RETURNING community_id, device_no
"""


async def raise_alert(
    connection: Any,
    device_id: str,
    *,
    rule_id: str = "gas_alarm.alarm",
    severity: Severity = Severity.CRITICAL,
    team: Team = Team.PATROL,
    state: str = "firing",
    at: datetime | None = None,
    trigger: Mapping[str, Any] | None = None,
    family: str = "",
    opens_order: bool = True,
) -> tuple[UUID, UUID | None]:
    """An alert and, by default, its dispatched order, committed together with their outbox rows, as the engine does."""
    at = at or datetime.now(UTC)
    alert_id, order_id = uuid4(), None
    async with connection.transaction():
        row = await connection.fetchrow(
            _INSERT_ALERT, alert_id, device_id, rule_id, severity.value, team.value, state, at,
            json.dumps(trigger or {"value": 23}), family,
        )  # fmt: skip
        leaving: list[Outgoing] = []
        if opens_order:
            order_id = uuid4()
            draft = Draft(
                id=OrderId(order_id),
                community_id=CommunityId(row["community_id"]),
                source=Source.ALERT,
                kind="gas_alarm",
                severity=severity,
                title=Label("燃气泄漏", "Gas leak"),
                team=team,
                correlation=f"{device_id}@1",
                alert_id=AlertId(alert_id),
                device_no=DeviceNo(row["device_no"]),
            )
            _, leaving = await insert_order(connection, draft, at)
            await connection.execute("UPDATE alert SET order_id = $2 WHERE id = $1", alert_id, order_id)
        raised = Outgoing("alert.raised", row["community_id"], str(alert_id), f"{device_id}@1", {"id": str(alert_id)})
        await append(connection, [raised, *leaving])
    return alert_id, order_id


async def set_state(connection: Any, device_id: str, *, online: bool = True, **values: float) -> None:
    """The latest state of a device, as ingest leaves it."""
    kind = BY_NAME[await connection.fetchval("SELECT kind FROM device WHERE id = $1", device_id)]
    vals = [values.get(metric.name) for metric in kind.metrics]
    await connection.execute(
        "INSERT INTO device_state (device_no, online, last_seen_at, vals, vals_ts) "
        "SELECT device_no, $2, now(), $3, now() FROM device WHERE id = $1 "
        "ON CONFLICT (device_no) DO UPDATE SET online = $2, last_seen_at = now(), vals = $3, vals_ts = now()",
        device_id,
        online,
        vals,
    )


async def add_readings(connection: Any, device_id: str, metric: str, points: Sequence[tuple[datetime, float]]) -> None:
    """One metric over time; the others were not sent."""
    row = await connection.fetchrow("SELECT device_no, kind FROM device WHERE id = $1", device_id)
    kind = BY_NAME[row["kind"]]
    position = kind.position(metric)
    assert position is not None
    empty: list[float | None] = [None] * len(kind.metrics)
    rows = [(row["device_no"], at, [*empty[:position], value, *empty[position + 1 :]]) for at, value in points]
    await connection.executemany("INSERT INTO reading (device_no, ts, vals) VALUES ($1, $2, $3)", rows)
