"""Fault 28: rows of the log that rotted on the disk, and a hole in it, in one partition beside a healthy one."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any

import asyncpg
import pytest
from prometheus_client import REGISTRY

from services.adapters.log_rows import pack
from services.adapters.postgres import open_pool
from services.domain.ids import CommunityId, DeviceId, partition_of
from tests.factory import put_community, small_community
from tests.fault_kit import KILLS, SEED
from tests.fault_rows import CAMPAIGN, note, row
from tests.integration.alerts_support import COMMUNITY, PARTITION, World, engine, now_ms, until

ROUNDS = max(40, KILLS) if CAMPAIGN else 4
NEIGHBOUR = next(f"n{n}" for n in range(99) if partition_of(CommunityId(f"n{n}")) != PARTITION)


class Sick(World):
    """Many SOS buttons and gas alarms, and a neighbour in another partition with as many buttons."""

    async def prepare(self) -> None:
        for name in (COMMUNITY, NEIGHBOUR):
            small = small_community(name, prefix=f"{name}-")
            button = next(device for device in small.devices if device.kind == "sos_button")
            more = tuple(
                replace(button, id=DeviceId(f"{name}-sos_button-r{n}"), name=f"b{n}", person_id=None)
                for n in range(ROUNDS)
            )
            await put_community(self.url, replace(small, devices=(*small.devices, *more)))
        rows = await self.pool.fetch("SELECT id, device_no FROM device")
        self.numbers = {r["id"]: r["device_no"] for r in rows}

    async def neighbour_presses(self, n: int) -> None:
        entry = self.entry("sos_button-1", "pressed", now_ms())
        entry["device_no"] = self.numbers[f"{NEIGHBOUR}-sos_button-r{n}"]
        await self.pool.execute(
            "INSERT INTO ingest_log (partition, lane, seq, worker, readings, packed, body) "
            "SELECT $1, 0, coalesce(max(seq), 0) + 1, 'hand', 0, ''::bytea, jsonb_build_array($2::text::jsonb) "
            "FROM ingest_log WHERE partition = $1 AND lane = 0",
            partition_of(CommunityId(NEIGHBOUR)),
            json.dumps(entry),
        )

    async def rotten(self, chance: random.Random, cut: bool) -> None:
        """A row of readings whose bytes are not what was written: cut short, or some of them flipped."""
        async with self.pool.acquire() as connection, connection.transaction():
            # Nobody reads what is not committed: the damage is there before the row.
            await self._in(connection)
            packed = bytearray(
                await connection.fetchval(
                    "SELECT packed FROM ingest_log WHERE partition = $1 AND lane = 1 ORDER BY seq DESC LIMIT 1",
                    PARTITION,
                )
            )
            if cut:
                del packed[chance.randrange(len(packed)) :]
            else:
                for _ in range(chance.randint(1, 6)):
                    packed[chance.randrange(len(packed))] ^= 1 << chance.randrange(8)
            await connection.execute(
                "UPDATE ingest_log SET packed = $2 WHERE partition = $1 AND lane = 1 "
                "AND seq = (SELECT max(seq) FROM ingest_log WHERE partition = $1 AND lane = 1)",
                PARTITION,
                bytes(packed),
            )

    async def _in(self, connection: asyncpg.Connection[Any]) -> None:
        """A good row of the environment sensor, which no rule has anything to say about."""
        self._seq[1] += 1
        await connection.execute(
            "INSERT INTO ingest_log (partition, lane, seq, worker, readings, packed) VALUES ($1, 1, $2, 'hand', 1, $3)",
            PARTITION,
            self._seq[1],
            pack([self.number("people_counter-1")], [now_ms()], [now_ms()], [[1.0, 2.0]]),
        )


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[Sick]:
    pool = await open_pool(database_url, name="test", max_size=4)
    try:
        one = Sick(database_url, pool)
        await one.prepare()
        yield one
    finally:
        await pool.close()


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"linhub_alerts_{name}_total", labels) or 0.0


@row(28)
async def test_rotten_rows_and_holes_of_one_partition_stop_nobody(world: Sick) -> None:
    """Whatever the bytes are: it is said, the calls after it are answered, and the neighbour notices nothing."""
    chance = random.Random(SEED)
    gaps, rotten = counted("log_gap_entries", partition=str(PARTITION)), counted("unreadable")
    async with engine(world):
        for n in range(ROUNDS):
            await world.rotten(chance, cut=n % 2 == 0)
            if n == ROUNDS // 2:
                world.skip(0, 3)
            await world.event(f"sos_button-r{n}", "pressed")
            await world.neighbour_presses(n)
            await until(partial(helped, world, n))
    rows = await world.pool.fetch(
        "SELECT d.id, count(o.id) AS orders FROM device d JOIN alert a USING (device_no) "
        "JOIN work_order o ON o.alert_id = a.id WHERE d.id LIKE '%sos_button-r%' GROUP BY d.id"
    )
    doubled = sum(r["orders"] - 1 for r in rows)
    said = counted("unreadable") - rotten
    note(sent=2 * ROUNDS, lost=2 * ROUNDS - len(rows), doubled=doubled, kills=ROUNDS, unreadable_said=said)
    assert len(rows) == 2 * ROUNDS and doubled == 0
    assert said > 0
    assert counted("log_gap_entries", partition=str(PARTITION)) - gaps == 3


async def helped(world: Sick, n: int) -> bool:
    count = await world.pool.fetchval(
        "SELECT count(*) FROM work_order JOIN device d USING (device_no) WHERE d.id LIKE '%-r' || $1::text", str(n)
    )
    return bool(count == 2)
