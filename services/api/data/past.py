"""The cockpit's picture at a past time: states from history, alerts and orders folded from their own."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.api.answers import shapes
from services.api.answers.models import AlertOut, DeviceOut, OrderOut
from services.api.answers.moves import actor_of_class
from services.api.answers.shapes import Row
from services.api.data import store
from services.api.data.models import ReplayOut
from services.api.kpis import figures
from services.api.store import work
from services.api.store.database import Connection
from services.domain.access import ReaderClass
from services.domain.kpis import present
from services.domain.orders import Move, OrderState, fold
from services.domain.orders.order import Entry, Order

BACK = timedelta(days=7)
"""So long a device's last word stands; none reports less often than every day."""
_DEEP = 60
_MOST = 1000
_ENDED = frozenset({OrderState.CLOSED, OrderState.CANCELLED, OrderState.FALSE_ALARM, OrderState.MERGED})


async def picture(connection: Connection, community_id: str, reader: ReaderClass, at: datetime) -> ReplayOut:
    devices = await connection.fetch(store.Q["states_at"], community_id, at, BACK, _DEEP)
    alerts = await connection.fetch(store.Q["alerts_at"], community_id, at, _MOST)
    orders = await _orders(connection, community_id, at)
    online = sum(row["online"] for row in devices)
    there = present(open_alerts=len(alerts), devices=len(devices), devices_online=online)
    return ReplayOut(
        at=at,
        kept_from=await connection.fetchval(store.Q["kept_from"]),
        devices=[DeviceOut(**shapes.device(row, reader)) for row in devices],
        alerts=[_alert(row, reader, at) for row in alerts],
        orders=[_shown(row, reader, community_id, at) for row in orders],
        kpis=[figures.out(kpi) for kpi in there],
    )


def _alert(row: Row, reader: ReaderClass, at: datetime) -> AlertOut:
    def by_then(moment: datetime | None) -> bool:
        return moment is not None and moment <= at

    held = by_then(row["held_since"]) and not by_then(row["released_at"])
    then = {
        **dict(row),
        "state": "recovering" if row["then_what"] == "recovering" else "firing",
        "severity": row["then_severity"] or row["severity"],
        "trigger": row["then_trigger"] or row["trigger"],
        "last_at": row["then_at"] or row["fired_at"],
        "occurrences": row["then_occurrences"] or 1,
        "cleared_at": None,
        "order_id": row["order_id"] if by_then(row["order_at"]) else None,
        "held": row["held"] if held else [],
        "held_since": row["held_since"] if held else None,
        "released_at": row["released_at"] if by_then(row["released_at"]) else None,
        "acknowledged_at": row["acknowledged_at"] if by_then(row["acknowledged_at"]) else None,
        "acknowledged_by": row["acknowledged_by"] if by_then(row["acknowledged_at"]) else None,
    }
    return shapes.alert(then, reader)


async def _orders(connection: Connection, community_id: str, at: datetime) -> list[dict[str, Any]]:
    """Rows as they stood, newest first: today's row, with everything that its history says put back."""
    consents = {row["id"]: row["consents"] for row in await connection.fetch(store.Q["orders_at"], community_id, at)}
    histories: dict[UUID, list[Entry]] = defaultdict(list)
    for line in await connection.fetch(store.Q["histories_at"], list(consents), at):
        histories[line["order_id"]].append(_entry(line))
    found = []
    for row in await work.orders_by_ids(connection, list(histories)):
        then = fold(histories[row["id"]])
        if then.state not in _ENDED:
            found.append({**dict(row), **_columns(then), "consents": consents[row["id"]]})
    names = {row["assignee_id"] for row in found if row["assignee_id"]}
    people = await work.people(connection, names)
    for row in found:
        row["assignee"] = people[row["assignee_id"]]["display_name"] if row["assignee_id"] in people else None
    found.sort(key=lambda row: (row["created_at"], row["id"]), reverse=True)
    return found[:_MOST]


def _entry(line: Row) -> Entry:
    return Entry(
        version=line["version"],
        move=Move(line["move"]),
        from_state=OrderState(line["from_state"]) if line["from_state"] else None,
        to_state=OrderState(line["to_state"]),
        at=line["at"],
        actor_id=line["actor_id"],
        actor_role=line["actor_role"],
        reason=line["reason"],
        detail=line["detail"] if isinstance(line["detail"], dict) else json.loads(line["detail"]),
        idempotency_key=line["idempotency_key"],
    )


def _columns(order: Order) -> dict[str, Any]:
    plain = {one.name: getattr(order, one.name) for one in fields(Order) if one.name not in ("title", "terms")}
    return plain | {"title_zh": order.title.zh, "title_en": order.title.en, "terms": order.terms.as_detail()}


def _shown(row: dict[str, Any], reader: ReaderClass, community_id: str, at: datetime) -> OrderOut:
    """Nobody moves the past."""
    values = shapes.order_fields(row, reader, actor_of_class(reader, community_id), at)
    return OrderOut(**{**values, "moves": [], "needs": {}})
