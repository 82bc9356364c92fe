"""Commands over the real broker: where they go, how often, and until when."""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from services.adapters.commands import sending
from services.adapters.mqtt import Address
from services.adapters.postgres import open_pool
from services.domain.commands.asking import proof_of
from services.domain.ids import DeviceNo
from services.domain.rules.evaluation import Reply
from tests.conftest import Mqtt
from tests.integration.alerts_support import PARTITION, World, engine, until
from tests.integration.plans_support import put_default, reads, reply

SECOND = timedelta(seconds=1)


@dataclass
class Ear:
    """Hears every command there is."""

    client: paho.Client
    heard: list[tuple[str, dict[str, Any], Any]] = field(default_factory=list)

    def of(self, command: Any) -> list[dict[str, Any]]:
        return [body for _, body, _ in self.heard if body["id"] == str(command)]


@pytest.fixture
def ear(mqtt: Mqtt) -> Iterator[Ear]:
    address, ready = Address.parse(mqtt.url), queue.Queue[str]()
    client = paho.Client(CallbackAPIVersion.VERSION2, f"ear-{uuid4().hex[:8]}", protocol=paho.MQTTv5)
    found = Ear(client)

    def heard(_c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        expiry = getattr(message.properties, "MessageExpiryInterval", None)
        found.heard.append((message.topic, json.loads(message.payload), expiry))

    client.username_pw_set(address.username, address.password)
    client.on_message = heard
    client.on_connect = lambda c, *_: c.subscribe("sc/+/+/down/command", qos=1)
    client.on_subscribe = lambda *_: ready.put("yes")
    client.connect(address.host, address.port)
    client.loop_start()
    ready.get(timeout=60)
    yield found
    client.disconnect()
    client.loop_stop()


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    pool = await open_pool(database_url, name="test", max_size=4)
    found = World(database_url, pool)
    await found.prepare()
    yield found
    await pool.close()


async def ask(world: World, device: str, name: str, lives_s: float, *, since_s: float = 0.0) -> Any:
    return await world.pool.fetchval(
        "INSERT INTO command (id, community_id, partition, device_no, name, source, requested_by, dangerous,"
        " requested_at, expires_at, send_at)"
        " VALUES (gen_random_uuid(), 'test', $1, $2, $3, 'user:user-desk', 'user-desk', false,"
        " now() - make_interval(secs => $5), now() + make_interval(secs => $4), now()) RETURNING id",
        PARTITION,
        world.number(device),
        name,
        lives_s,
        since_s,
    )


async def state(world: World, command: Any) -> str:
    found: str = await world.pool.fetchval("SELECT state FROM command WHERE id = $1", command)
    return found


async def in_state(world: World, command: Any, name: str) -> bool:
    return await state(world, command) == name


async def test_gas_alarm_on_the_wire_shuts_the_valve_at_the_meter_behind_its_gateway(
    world: World, mqtt: Mqtt, ear: Ear
) -> None:
    await put_default(world.pool, "gas_leak")
    async with engine(world, mqtt_url=mqtt.account_url("svc-alerts")):
        await world.event("gas_alarm-1", "alarm", lel=30.0)
        query = (
            "SELECT c.id FROM command c JOIN device d USING (device_no) WHERE d.kind = 'gas_meter' AND c.state = 'sent'"
        )
        command = await until(lambda: world.pool.fetchval(query))
        await until(lambda: asyncio.sleep(0, ear.of(command)))
        (heard,) = [one for one in ear.heard if one[1]["id"] == str(command)]
        topic, body, expiry = heard
        assert topic == "sc/test/test-gateway-1/down/command"
        assert body["device"] == "test-gas_meter-1" and body["command"] == "valve_close"
        assert 50_000 < body["expires"] - body["ts"] <= 60_000
        assert expiry is not None and 50 <= expiry <= 60
        await reply(world, "gateway-1", command)
        await until(lambda: in_state(world, command, "executed"))
        assert await world.pool.fetchval("SELECT state FROM plan_step WHERE step = 'valve_at_meter'") == "requested"
        await reads(world, "gas_meter-1", "gas_meter", valve=1.0)
        await until(lambda: in_state(world, command, "confirmed"))


async def test_history_goes_forwards_where_each_was_timed_before_the_one_it_follows(world: World) -> None:
    """The mark of the broker, the answer and the proof each took their time before they got to the row."""
    command, now = await ask(world, "charger-1", "stop", 60), datetime.now(UTC)
    await world.pool.execute("UPDATE command SET proof = $2 WHERE id = $1", command, proof_of("charger", "stop", {}))
    now_ms = round(now.timestamp() * 1000)
    answer = Reply(DeviceNo(world.number("charger-1")), now_ms, now_ms, str(command))
    async with world.pool.acquire() as connection:
        async with connection.transaction():
            await sending.hand_out(connection, [PARTITION], now)
        await sending.mark_sent(connection, [command], now - SECOND)
        async with connection.transaction():
            await sending.replied(connection, [answer], now - 2 * SECOND)
        await reads(world, "charger-1", "charger", power=0.0)
        assert await sending.prove(connection, [PARTITION], now - 3 * SECOND) == [command]
    history = await world.pool.fetch(
        "SELECT to_state, at FROM command_history WHERE command_id = $1 ORDER BY version", command
    )
    assert [row["to_state"] for row in history] == ["queued", "queued", "sent", "executed", "confirmed"]
    assert {row["at"] for row in history[1:]} == {now}
    assert await world.pool.fetchval("SELECT ended_at FROM command WHERE id = $1", command) == now


async def test_command_is_repeated_under_one_id_until_it_is_answered_and_not_after(
    world: World, mqtt: Mqtt, ear: Ear
) -> None:
    async with engine(world, mqtt_url=mqtt.account_url("svc-alerts")):
        command = await ask(world, "charger-1", "stop", 60)

        async def sent() -> bool:
            return len(ear.of(command)) == 1

        await until(sent)
        await world.pool.execute("UPDATE command SET send_at = now() WHERE id = $1", command)

        async def again() -> bool:
            return len(ear.of(command)) == 2

        await until(again)
        assert ear.of(command)[0] == ear.of(command)[1]
        await reply(world, "charger-1", command, ok=False, detail="plug jammed")
        await until(lambda: world.pool.fetchval("SELECT true FROM command WHERE id = $1 AND state = 'failed'", command))
        assert await world.pool.fetchval("SELECT send_at FROM command WHERE id = $1", command) is None


async def test_command_that_expired_before_the_broker_was_there_is_never_sent(
    world: World, mqtt: Mqtt, ear: Ear
) -> None:
    stale = await ask(world, "charger-1", "stop", -1, since_s=10)
    async with engine(world, mqtt_url=mqtt.account_url("svc-alerts")):
        fresh = await ask(world, "charger-1", "stop", 30)

        async def sent() -> bool:
            return await state(world, fresh) == "sent" and await state(world, stale) == "expired"

        await until(sent)
        assert ear.of(stale) == []


async def test_engine_without_a_broker_lets_commands_expire_and_says_so(world: World) -> None:
    async with engine(world):
        command = await ask(world, "charger-1", "stop", 0.5)

        async def over() -> bool:
            return await state(world, command) == "expired"

        await until(over)


async def test_two_engines_send_a_command_once(world: World, mqtt: Mqtt, ear: Ear) -> None:
    url = mqtt.account_url("svc-alerts")
    async with engine(world, "one", mqtt_url=url), engine(world, "two", mqtt_url=url):
        commands = [await ask(world, "charger-1", "stop", 60) for _ in range(20)]

        async def all_sent() -> bool:
            query = "SELECT count(*) = 20 FROM command WHERE state = 'sent'"
            return bool(await world.pool.fetchval(query)) and all(ear.of(one) for one in commands)

        await until(all_sent)
    rows = await world.pool.fetch(
        "WITH p AS (SELECT command_id, at - lag(at) OVER (PARTITION BY command_id ORDER BY version) AS apart "
        "FROM command_history WHERE move = 'put') "
        "SELECT command_id, count(*) AS puts, coalesce(min(apart), '1 h') AS apart FROM p GROUP BY 1"
    )
    # What nobody answers is put again after three seconds; two engines would do so within milliseconds.
    assert len(rows) == 20 and all(row["apart"] > timedelta(seconds=2.5) for row in rows)
    assert all(1 <= len(ear.of(row["command_id"])) <= row["puts"] for row in rows)
