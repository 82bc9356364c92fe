"""Plans of a test community, written by one and approved by another."""

from __future__ import annotations

from typing import Any

import asyncpg

from services.adapters.plans.files import load_defaults
from services.adapters.plans.store import approve, write_version
from services.domain.devices import BY_NAME
from tests.integration.alerts_support import COMMUNITY, World


async def put_plan(
    pool: asyncpg.Pool[Any], document: str, plan_id: str, *, approved: bool = True, mode: str = "live"
) -> int:
    async with pool.acquire() as connection, connection.transaction():
        number = await write_version(connection, COMMUNITY, plan_id, mode, document, "author")
        if approved:
            await approve(connection, COMMUNITY, plan_id, number, "approver")
    return number


async def put_default(pool: asyncpg.Pool[Any], plan_id: str) -> int:
    return await put_plan(pool, load_defaults()[plan_id].document, plan_id)


async def reply(world: World, device: str, command: Any, *, ok: bool = True, detail: str = "done", **more: Any) -> None:
    """The device's answer, as ingest logs it."""
    from tests.integration.alerts_support import now_ms

    at = now_ms()
    await world.events(
        {
            "type": "reply",
            "device_no": world.number(device),
            "ts_ms": at,
            "received_ms": at,
            "id": str(command),
            "ok": ok,
            "detail": detail,
            **more,
        }
    )


async def handed_out(world: World, command: Any) -> None:
    """As if the sender had put it to the broker: without that, no reply counts."""
    await world.pool.execute(
        "UPDATE command SET sends = sends + 1, first_put_at = now(), seen_ms = 0 WHERE id = $1", command
    )


async def reads(world: World, device: str, kind: str, **values: float) -> None:
    """The device's newest reading, as the writer of device states leaves it."""
    await world.pool.execute(
        "INSERT INTO device_state (device_no, online, last_seen_at, vals, vals_ts) VALUES ($1, true, now(), $2, now()) "
        "ON CONFLICT (device_no) DO UPDATE SET vals = excluded.vals, vals_ts = excluded.vals_ts",
        world.number(device),
        [values.get(metric.name) for metric in BY_NAME[kind].metrics],
    )


async def steps(pool: asyncpg.Pool[Any]) -> dict[str, str]:
    return {row["step"]: row["state"] for row in await pool.fetch("SELECT step, state FROM plan_step ORDER BY place")}
