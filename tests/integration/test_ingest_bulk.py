"""Bulk comes to what row by row comes to; repeated refusals are kept once; floods cost their sender alone."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from services.adapters.log_rows import unpack
from services.adapters.mqtt import Inbound
from services.adapters.postgres import open_pool
from services.domain.devices import BY_NAME, CATALOGUE
from services.domain.messages import Lane
from services.ingest import store
from services.ingest.checked import Checked
from services.ingest.plain import PlainReader
from services.ingest.readings import Bulk
from services.ingest.registry import kind_spec
from services.ingest.registry_keeper import load_registry
from services.ingest.store import Batch, Owner
from tests.conftest import Mqtt
from tests.factory import put_community, small_community
from tests.ingest_kit import Database, Wire, ingest, lease, now_ms, until

ENVIRONMENT = BY_NAME["environment"]


class Writer:
    """Writes batches of prepared telemetry into one community as a lane does."""

    def __init__(self, connection: Any, registry: Any, name: str, bulk: Bulk | None) -> None:
        self.owner = Owner(name, f"{name}/1", Lane.TELEMETRY.number, tuple(range(16)))
        self.connection, self.registry, self.bulk, self.number = connection, registry, bulk, 0
        self.numbers: dict[int, int] = {}

    async def write(self, messages: list[Inbound]) -> Batch:
        checked = Checked()
        assert not PlainReader().read(checked, messages, 0, len(messages), self.registry)
        self.number += 1
        marker = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.number)
        batch = Batch(messages, checked, marker)
        await store.write(self.connection, self.owner, batch, self.numbers, {}, self.bulk)
        self.numbers.update(batch.written.numbers)
        return batch


def batches(chance: random.Random, now: int) -> list[list[tuple[str, int, bytes]]]:
    """Readings of two kinds, with holes, repeated within and across batches, alike, filling and contradicting."""
    made = []
    for number in range(40):
        batch: list[tuple[str, int, bytes]] = []
        for _ in range(chance.randint(1, 12)):
            # Whole batches without a repetition, so that bulk has its turn; then a few that repeat.
            ts = now - 1_000_000 + (number * 20 + len(batch) if number % 12 < 8 else chance.randint(0, 200))
            kind, names = chance.choice([("environment", ENVIRONMENT.metrics), ("manhole", BY_NAME["manhole"].metrics)])
            values = {m.name: chance.choice([1, 2, 2.5]) for m in names if chance.random() < 0.6} or {names[0].name: 1}
            body = "{" + ",".join(f'"{name}":{value}' for name, value in values.items()) + "}"
            batch.append((kind, ts, f'{{"ts":{ts},"values":{body}}}'.encode()))
        made.append(batch)
    return made


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_bulk_stores_what_row_by_row_stores(database_url: str, seed: int) -> None:
    now, stored = now_ms(), []
    said = batches(random.Random(seed), now)
    pool = await open_pool(database_url, name="test-bulk")
    try:
        async with pool.acquire() as connection:
            for way in ("bulk", "rows"):
                homes = [f"{way}-{n}-{uuid4().hex[:6]}" for n in (1, 2)]
                for one in homes:
                    await put_community(database_url, small_community(one, prefix=f"{one}-"))
                registry = await load_registry(connection, {kind.name: kind_spec(kind) for kind in CATALOGUE})
                bulk = Bulk(1) if way == "bulk" else None
                writer, tried = Writer(connection, registry, way, bulk), 0
                await lease(connection, writer.owner)
                writer.numbers = dict.fromkeys(range(16), 0) if way == "bulk" else await _numbers(connection)
                outcomes = []
                for place, batch in enumerate(said):
                    one = homes[place % 2]
                    messages = [
                        Inbound(f"sc/{one}/{one}-{kind}-1/up/telemetry", body, 1, n, False, now)
                        for n, (kind, _, body) in enumerate(batch)
                    ]
                    tried += bulk is not None and bulk.left == 0
                    written = await writer.write(messages)
                    written.checked.unfold()
                    outcomes.append([reading.outcome for reading in written.checked.readings])
                assert tried > 5 or bulk is None
                stored.append((outcomes, await _everything(connection, homes)))
    finally:
        await pool.close()
    assert stored[0] == stored[1]
    assert len({outcome for batch in stored[0][0] for outcome in batch}) == 3


async def _numbers(connection: Any) -> dict[int, int]:
    rows = await connection.fetch("SELECT partition, max(seq) AS seq FROM ingest_log GROUP BY partition")
    return dict.fromkeys(range(16), 0) | {row["partition"]: row["seq"] for row in rows}


async def _everything(connection: asyncpg.Connection[Any], homes: list[str]) -> Any:
    """All rows and all log entries of these communities, told by kind and time."""
    names = {
        row["device_no"]: f"{homes.index(row['community_id'])}-{row['kind']}"
        for row in await connection.fetch("SELECT * FROM device WHERE community_id = ANY ($1)", homes)
    }
    rows = await connection.fetch("SELECT device_no, ts, vals FROM reading WHERE device_no = ANY ($1)", list(names))
    readings = sorted((names[row["device_no"]], row["ts"], str(row["vals"])) for row in rows)
    logged = []
    for row in await connection.fetch("SELECT readings, packed FROM ingest_log ORDER BY committed_at"):
        back, at = unpack(row["readings"], row["packed"]), 0
        for number, ts, width in zip(back.device_nos, back.ts_ms, back.widths, strict=True):
            if number in names:
                logged.append((names[number], ts, back.vals[at : at + width]))
            at += width
    return readings, logged


async def test_a_message_refused_again_is_kept_once_and_counted(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    topic = f"sc/{home}/{home}-environment-1/up/telemetry"
    for turn in (1, 2):
        async with ingest(database_url, mqtt.url, worker=f"t-{home}"):
            for _ in range(3):
                wire.send(topic, b'{"ts": "yesterday"}')
            await db.received(3 * turn)
    assert await db.ledger() == {"received": 6, "stored": 0, "duplicate": 0, "rejected": 6}
    (row,) = await db.connection.fetch("SELECT reason, times, first_at < received_at AS later FROM quarantine")
    assert tuple(row) == ("malformed", 6, True)


async def test_a_retained_status_of_a_device_that_is_gone_is_refused_once(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    wire.send(f"sc/{home}/{home}-gone/up/status", {"ts": now_ms(), "online": True, "session": 1}, retain=True)
    await wire.sent()
    for turn in (1, 2, 3):
        # Each time another session at the broker, so each time it is heard as retained.
        async with ingest(database_url, mqtt.url, mqtt_client_prefix=f"t-{home}-{turn}"):
            ledger = await db.received(turn)
    assert ledger == {"received": 3, "stored": 0, "duplicate": 2, "rejected": 1}
    assert await db.quarantine() == [("message", "unknown_device", f"{home}-gone")]
    assert await db.connection.fetchval("SELECT times FROM quarantine") == 1


async def early_in_a_minute() -> bool:
    return now_ms() % 60_000 < 40_000


async def test_a_flood_is_refused_counted_and_told_while_calls_for_help_pass(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    await until(early_in_a_minute)  # what is kept of a flood is kept by minutes of the clock
    env, sos, ts = f"{home}-environment-1", f"{home}-sos_button-1", now_ms() - 10_000
    limits = {"flood_rate": 1, "flood_burst": 3, "flood_event_rate": 1, "flood_event_burst": 2}
    async with ingest(database_url, mqtt.url, **limits):
        for n in range(40):
            reading = {"id": f"r{n}", "ts": ts + n, "values": {"temperature": 20}}
            wire.send(f"sc/{home}/{env}/up/telemetry", reading)
        for n in range(10):
            wire.send(f"sc/{home}/{sos}/up/event", {"id": f"e{n}", "ts": ts + n, "event": "pressed"})
        wire.send(f"sc/{home}/{home}-manhole-1/up/telemetry", {"ts": ts, "values": {"tilt": 1}})
        ledger = await db.received(51)
        number = await db.no(env)
        flood = await until(lambda: _flood(db, number))
        stored = len(await db.readings(env))
        await until(lambda: _answered(wire, home, sos, 10))
        await until(lambda: _answered(wire, home, env, stored))
    assert 3 <= stored < 20
    assert ledger == {"received": 51, "stored": stored + 11, "duplicate": 0, "rejected": 40 - stored}
    assert await db.count("device_event") == 10 and await db.readings(f"{home}-manhole-1")
    # A few are kept; none is answered, so that who keeps what it sends offers it again.
    assert await db.connection.fetchval("SELECT sum(times) FROM quarantine WHERE reason = 'flood'") == 5
    assert len(wire.acked(home, env)) == stored and wire.refused(home, env) == {}
    assert flood is not None and 0 < flood["count"] <= 40 - stored


async def _flood(db: Database, number: int) -> dict[str, Any] | None:
    told = [item for item in await db.log_bodies() if item["type"] == "flood"]
    return next((item for item in told if item["device_no"] == number), None)


async def _answered(wire: Wire, home: str, device: str, count: int) -> bool:
    return len(wire.acked(home, device)) >= count
