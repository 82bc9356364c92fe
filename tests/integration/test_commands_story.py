"""A gas leak from the alarm to the valve that reads closed, over a real broker: and with the meter's gateway away."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from device_sim.fleet import Fleet
from device_sim.life import Surroundings
from services.adapters.plans.files import load_defaults
from services.adapters.plans.store import approve, write_version
from services.adapters.postgres import open_pool
from services.domain.registry import GATEWAY_KIND
from tests.conftest import Mqtt
from tests.factory import put_community, secret_of, small_community
from tests.fault_kit import IngestProcess, ServiceProcess
from tests.ingest_kit import until
from tests.sim_kit import broker_of

KINDS = {GATEWAY_KIND, "gas_meter", "gas_alarm", "siren", "loudspeaker"}
STEPS = ("first_put_at", "sent_at", "executed", "ended_at")


@asynccontextmanager
async def lived(
    pool: asyncpg.Pool[Any], database_url: str, mqtt: Mqtt, home: str, tmp_path: Path, *, gateway: bool = True
) -> AsyncIterator[Fleet]:
    """The community's gas devices, sirens and loudspeakers alive, ingest and the engine as processes."""
    community = small_community(home, prefix=f"{home}-")
    await put_community(database_url, community)
    async with pool.acquire() as connection, connection.transaction():
        document = load_defaults()["gas_leak"].document.replace("timeout: 60s", "timeout: 20s")
        number = await write_version(connection, home, "gas_leak", "live", document, "author")
        await approve(connection, home, "gas_leak", number, "approver")
    devices = tuple(
        one
        for one in community.devices
        if one.kind in KINDS and (gateway or (one.kind != GATEWAY_KIND and one.gateway_id is None))
    )
    direct: dict[str, str] = {one.id: secret_of(one.id) for one in devices if one.gateway_id is None}
    mqtt.admit(direct)
    alive = replace(community, devices=devices)
    fleet = Fleet(alive, broker_of(mqtt), direct, Surroundings(alive), home=tmp_path, with_backfill=False)
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        ingest = await stack.enter_async_context(IngestProcess(database_url, mqtt.url, f"t-{home}").running())
        engine = ServiceProcess(
            "alerts", database_url, mqtt_url=mqtt.account_url("svc-alerts"), alerts_lease_s=1, alerts_settling_s=0
        )
        await stack.enter_async_context(engine.running())
        await asyncio.gather(ingest.ready(), engine.ready())
        life = asyncio.create_task(fleet.run(stop))

        async def all_there() -> bool:
            query = (
                "SELECT count(*) FROM device_state s JOIN device d USING (device_no) "
                "WHERE d.community_id = $1 AND s.online AND d.id = ANY ($2)"
            )
            return bool(await pool.fetchval(query, home, list(direct)) == len(direct))

        await until(all_there, 60)
        try:
            yield fleet
        finally:
            stop.set()
            await asyncio.wait_for(life, 30)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool[Any]]:
    pool = await open_pool(database_url, name="test", max_size=4)
    yield pool
    await pool.close()


def alarm(fleet: Fleet, device: str) -> float:
    """The detector goes off; when, in seconds."""
    now = time.time()
    event = {"ts": int(now * 1000), "event": "alarm", "data": {"lel": 20.0}}
    fleet.station_of(device).uplink.send("event", event, urgent=True)
    return now


async def step(pool: asyncpg.Pool[Any], name: str, *states: str) -> str:
    async def there() -> str | None:
        state = await pool.fetchval("SELECT state FROM plan_step WHERE step = $1 LIMIT 1", name)
        return state if state in states else None

    return str(await until(there, 60))


async def test_gas_leak_shuts_the_valve_and_the_meters_own_reading_says_so(
    pool: asyncpg.Pool[Any], database_url: str, mqtt: Mqtt, tmp_path: Path
) -> None:
    home = f"g{uuid4().hex[:8]}"
    async with lived(pool, database_url, mqtt, home, tmp_path) as fleet:
        began = alarm(fleet, f"{home}-gas_alarm-1")
        assert await step(pool, "valve_at_meter", "done", "failed", "timed_out") == "done"
        assert await step(pool, "sound", "done", "failed", "timed_out") == "done"
        row = await pool.fetchrow(
            "SELECT c.*, d.id AS device, (SELECT at FROM command_history h WHERE h.command_id = c.id "
            "AND h.to_state = 'executed') AS executed FROM command c JOIN device d USING (device_no) "
            "WHERE d.kind = 'gas_meter'"
        )
        assert row["state"] == "confirmed" and row["moved_by"] == "telemetry"
        meter = next(life for life in fleet.station_of(row["device"]).lives if life.device.id == row["device"])
        assert meter.forced["valve"] == 1.0

        async def all_confirmed() -> bool:
            query = (
                "SELECT bool_and(c.state = 'confirmed') FROM command c JOIN device d USING (device_no) "
                "WHERE d.kind IN ('siren', 'loudspeaker')"
            )
            return bool(await pool.fetchval(query))

        await until(all_confirmed, 30)
        fired = await pool.fetchval("SELECT fired_at FROM alert ORDER BY fired_at LIMIT 1")
        took = {"alert": fired.timestamp() - began} | {name: row[name].timestamp() - began for name in STEPS}
    sys.stdout.write(f"gas leak, seconds from the alarm: { {name: round(at, 3) for name, at in took.items()} }\n")
    assert list(took.values()) == sorted(took.values())
    moves = await pool.fetch("SELECT move FROM command_history WHERE command_id = $1 ORDER BY version", row["id"])
    assert [one["move"] for one in moves][:2] == ["request", "put"] and moves[-1]["move"] == "confirm"
    assert fleet.progress.traffic.commands == await pool.fetchval("SELECT count(*) FROM command")


async def test_gas_leak_with_the_meters_gateway_away_tells_the_desk_and_shuts_nothing_afterwards(
    pool: asyncpg.Pool[Any], database_url: str, mqtt: Mqtt, tmp_path: Path
) -> None:
    home = f"g{uuid4().hex[:8]}"
    async with lived(pool, database_url, mqtt, home, tmp_path, gateway=False) as fleet:
        alarm(fleet, f"{home}-gas_alarm-1")
        assert await step(pool, "valve_at_meter", "done", "failed", "timed_out") == "timed_out"
        assert await step(pool, "valve_at_alarm", "done", "failed", "timed_out") == "done"
        assert await step(pool, "sound", "done", "failed", "timed_out") == "done"
        row = await pool.fetchrow(
            "SELECT c.state, c.sends FROM command c JOIN device d USING (device_no) WHERE d.kind = 'gas_meter'"
        )
        told = await pool.fetchval(
            "SELECT count(*) FROM outbox WHERE type = 'notice.requested' AND (data->>'escalation')::boolean "
            "AND data->>'step' = 'valve_at_meter'"
        )
    assert row["state"] == "expired" and 1 <= row["sends"] <= 12 and told == 1
