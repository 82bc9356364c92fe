"""What is too old goes: chunks, the log's tail, the quarantine; ingest never waits, no reader loses unread rows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from structlog.testing import capture_logs

from services.ingest import metrics
from services.ingest.database import TROUBLE
from services.ingest.retention import SWEEP_LOCK, Kept, Swept, keep_swept, sweep
from services.ingest.store import Q
from tests.conftest import Mqtt
from tests.factory import put_community, small_community
from tests.fault_kit import tell
from tests.ingest_kit import Wire, database, ingest, now_ms, until

KEPT = Kept(timedelta(days=30), timedelta(days=60), timedelta(hours=48), timedelta(days=30), 1 << 30)
OLD_DAYS = range(40, 52)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool[Any]]:
    async with asyncpg.create_pool(database_url, min_size=3, max_size=6) as pool:
        yield pool


async def _readings(pool: asyncpg.Pool[Any], days: range) -> None:
    await pool.execute(
        "INSERT INTO reading (device_no, ts, vals) SELECT device, now() - make_interval(days => day), ARRAY[1.0] "
        "FROM generate_series(1, 20) AS device, unnest($1::integer[]) AS day",
        list(days),
    )


async def _chunks(pool: asyncpg.Pool[Any], table: str = "reading") -> int:
    return int(await pool.fetchval("SELECT count(*) FROM show_chunks($1::text::regclass)", table))


async def _log(pool: asyncpg.Pool[Any], partition: int, lane: int, ages_h: list[float]) -> None:
    """Rows 1, 2, … of these ages in hours."""
    await pool.executemany(
        "INSERT INTO ingest_log (partition, lane, seq, worker, committed_at) "
        "VALUES ($1, $2, $3, 'w', now() - make_interval(secs => $4))",
        [(partition, lane, seq, age * 3600) for seq, age in enumerate(ages_h, 1)],
    )


async def _read_up_to(pool: asyncpg.Pool[Any], consumer: str, partition: int, lane: int, seq: int) -> None:
    await pool.execute(
        "INSERT INTO checkpoint (consumer, partition, lane, seq) VALUES ($1, $2, $3, $4) "
        "ON CONFLICT (consumer, partition, lane) DO UPDATE SET seq = excluded.seq",
        consumer,
        partition,
        lane,
        seq,
    )


async def _numbers(pool: asyncpg.Pool[Any], partition: int, lane: int) -> list[int]:
    rows = await pool.fetch(
        "SELECT seq FROM ingest_log WHERE partition = $1 AND lane = $2 ORDER BY seq", partition, lane
    )
    return [row["seq"] for row in rows]


async def _swept(pool: asyncpg.Pool[Any], kept: Kept = KEPT) -> Swept:
    found = await sweep(pool, kept)
    assert found is not None
    return found


async def test_log_loses_what_is_old_and_read_and_keeps_the_last_row(pool: asyncpg.Pool[Any]) -> None:
    await _log(pool, 3, 1, [60.0] * 250 + [49.0, 47.0, 0.1])
    await _log(pool, 4, 0, [100.0, 99.0, 98.0])
    for consumer in ("alerts", "device_state"):
        await _read_up_to(pool, consumer, 3, 1, 253)
    found = await _swept(pool)
    assert found.log_rows == 251 + 2 and not found.unread
    assert await _numbers(pool, 3, 1) == [252, 253]
    # Nobody reads partition 4; its last row tells the next owner where the numbers go on.
    assert await _numbers(pool, 4, 0) == [3]


async def test_log_rows_that_a_consumer_has_not_read_stay_and_are_said(pool: asyncpg.Pool[Any]) -> None:
    await _log(pool, 5, 1, [80.0, 70.0, 60.0, 50.0, 1.0])
    await _read_up_to(pool, "device_state", 5, 1, 5)
    await _read_up_to(pool, "alerts", 5, 1, 2)
    with capture_logs() as said:
        found = await _swept(pool)
    assert await _numbers(pool, 5, 1) == [3, 4, 5]
    assert [(one.consumer, one.partition, one.lane, one.after) for one in found.unread] == [("alerts", 5, 1, 2)]
    assert 59 < found.unread[0].age_s / 3600 < 61
    assert [entry["consumer"] for entry in said if entry["log_level"] == "error"] == ["alerts"]
    assert metrics.LOG_UNREAD.labels("alerts")._value.get() > 59 * 3600
    await _read_up_to(pool, "alerts", 5, 1, 5)
    assert not (await _swept(pool)).unread
    assert await _numbers(pool, 5, 1) == [5]
    (unread,) = metrics.LOG_UNREAD.collect()
    assert not unread.samples


async def test_old_chunks_go_and_young_ones_stay(pool: asyncpg.Pool[Any]) -> None:
    await _readings(pool, range(0, 45))
    await pool.execute(
        "INSERT INTO device_event (device_no, ts, event, received_at) "
        "SELECT 1, now() - make_interval(days => day), 'pressed', now() FROM generate_series(0, 90, 5) AS day"
    )
    before = metrics.DROPPED_CHUNKS.labels("reading")._value.get()
    found = await _swept(pool)
    assert 13 <= len(found.chunks["reading"]) <= 14 and found.chunks["device_event"] and not found.postponed
    assert metrics.DROPPED_CHUNKS.labels("reading")._value.get() - before == len(found.chunks["reading"])
    oldest = await pool.fetchval("SELECT now() - min(ts) FROM reading")
    assert timedelta(days=29) < oldest < timedelta(days=31)
    assert await pool.fetchval("SELECT count(DISTINCT ts) FROM reading WHERE ts > now() - interval '29.5 days'") == 30
    youngest_gone = await pool.fetchval("SELECT now() - min(ts) FROM device_event")
    assert timedelta(days=55) <= youngest_gone < timedelta(days=68)
    again = await _swept(pool)
    assert not again.chunks


async def test_chunk_in_use_is_left_for_another_time_and_holds_nobody_up(pool: asyncpg.Pool[Any]) -> None:
    await _readings(pool, range(40, 43))
    async with pool.acquire() as reader:
        held = reader.transaction()
        await held.start()
        await reader.fetch("SELECT * FROM reading WHERE ts < now() - interval '41.5 days'")
        before = await _chunks(pool)
        found = await _swept(pool)
        assert len(found.postponed) == 1 and await _chunks(pool) == before == 3
        await held.rollback()
    found = await _swept(pool)
    assert len(found.chunks["reading"]) == 3 and not found.postponed


async def test_chunk_that_is_not_rolled_up_yet_stays_and_is_said(pool: asyncpg.Pool[Any], database_url: str) -> None:
    await _readings(pool, range(40, 44))
    home = f"c{uuid4().hex[:10]}"
    await put_community(database_url, small_community(home, prefix=f"{home}-"))
    with capture_logs() as said:
        found = await _swept(pool)
    assert not found.chunks and len(found.postponed) == 1 and await _chunks(pool) == 4
    assert [entry["event"] for entry in said if entry["log_level"] == "error"] == [
        "chunk_kept_for_roll_ups_that_are_behind"
    ]
    await pool.execute("UPDATE rollup_progress SET filled_to = now()")
    await pool.execute("INSERT INTO rollup_stale (device_no, hour) VALUES (1, now() - interval '42 days')")
    assert len((await _swept(pool)).chunks["reading"]) == 1, "only what is older than the hour to be repaired"
    await pool.execute("DELETE FROM rollup_stale")
    assert len((await _swept(pool)).chunks["reading"]) == 3


async def test_storing_goes_on_while_chunks_are_dropped(pool: asyncpg.Pool[Any]) -> None:
    await _readings(pool, OLD_DAYS)
    took: list[float] = []
    done = asyncio.Event()

    async def store() -> None:
        async with pool.acquire() as connection:
            at = time.time_ns() // 1_000_000
            while not done.is_set() or len(took) < 200:
                at += 1000
                began = time.monotonic()
                devices = list(range(1, 101))
                row = await connection.fetchrow(
                    Q["insert_readings"], devices, [at] * 100, [1] * 100, [1.0] * 100, devices, [0] * 100
                )
                took.append(time.monotonic() - began)
                assert row["count"] == 100

    storing = asyncio.create_task(store())
    try:
        dropped = 0
        for _ in range(3):
            await _readings(pool, OLD_DAYS)
            dropped += len((await _swept(pool)).chunks["reading"])
    finally:
        done.set()
        await storing
    stored = await pool.fetchval("SELECT count(*) FROM reading WHERE ts > now() - interval '1 day'")
    tell(f"{dropped} chunks dropped, {len(took)} batches, slowest {max(took) * 1000:.0f} ms")
    assert dropped == 3 * len(OLD_DAYS)
    assert stored == 100 * len(took)


async def test_dropping_takes_no_lock_that_storing_waits_for(pool: asyncpg.Pool[Any]) -> None:
    await _readings(pool, range(40, 41))
    async with pool.acquire() as storing, pool.acquire() as dropping:
        ours, theirs = storing.transaction(), dropping.transaction()
        await ours.start()
        at = time.time_ns() // 1_000_000
        await storing.fetchrow(Q["insert_readings"], [1], [at], [1], [1.0], [1], [0])
        await theirs.start()
        await dropping.execute("SET LOCAL lock_timeout = '1s'")
        # Each before the other has committed: neither waits.
        assert await dropping.fetchval("SELECT count(*) FROM drop_chunks('reading', interval '30 days')") == 1
        await storing.execute("SET LOCAL lock_timeout = '1s'")
        assert (await storing.fetchrow(Q["insert_readings"], [1], [at + 1], [1], [1.0], [1], [0]))["count"] == 1
        next_day = at + 86_400_000
        assert (await storing.fetchrow(Q["insert_readings"], [1], [next_day], [1], [1.0], [1], [0]))["count"] == 1
        await ours.commit()
        await theirs.commit()


async def test_ingest_stores_everything_while_its_own_sweep_drops_chunks(
    pool: asyncpg.Pool[Any], database_url: str, mqtt: Mqtt
) -> None:
    home = f"c{uuid4().hex[:10]}"
    await put_community(database_url, small_community(home, prefix=f"{home}-"))
    # As if the old hours were summed up: a chunk that is not stays.
    await pool.execute("UPDATE rollup_progress SET filled_to = date_trunc('hour', now())")
    wire = Wire(mqtt.url)
    try:
        async with (
            database(database_url) as db,
            pool.acquire() as other,
            ingest(database_url, mqtt.url, purge_every_s=0.02, reading_kept_days=30, rollup_every_s=0.1),
        ):
            began = now_ms()
            for n in range(600):
                if n % 200 == 0:
                    # Nobody sweeps while the old chunks are made: a row for a chunk that is being dropped is refused.
                    await other.execute("SELECT pg_advisory_lock($1)", SWEEP_LOCK)
                    await _readings(pool, OLD_DAYS)
                    await other.execute("SELECT pg_advisory_unlock($1)", SWEEP_LOCK)
                body = {"ts": began - 1000 * n, "values": {"temperature": 20}}
                wire.send(f"sc/{home}/{home}-environment-1/up/telemetry", body)
            told = await db.received(600)
            await until(lambda: _no_more_old(pool))
    finally:
        wire.close()
    assert told == {"received": 600, "stored": 600, "duplicate": 0, "rejected": 0}


async def _no_more_old(pool: asyncpg.Pool[Any]) -> bool:
    return await _chunks(pool) <= 2


async def test_one_sweeps_at_a_time(pool: asyncpg.Pool[Any]) -> None:
    await _log(pool, 0, 0, [100.0] * 2_000)
    found = await asyncio.gather(*(sweep(pool, KEPT) for _ in range(3)))
    assert [one.log_rows for one in found if one is not None] == [1_999]
    assert found.count(None) == 2
    assert await sweep(pool, KEPT) is not None, "the lock was not given back"


async def _refused(pool: asyncpg.Pool[Any], count: int, size: int, age_days: int) -> None:
    await pool.execute(
        "INSERT INTO quarantine (received_at, worker, scope, reason, detail, topic, payload, payload_size) "
        "SELECT now() - make_interval(days => $3), 'w', 'message', 'malformed', 'x', 't', "
        "(SELECT string_agg(sha256(convert_to(n || ':' || i, 'UTF8')), '') FROM generate_series(1, $2 / 32) AS i), $2 "
        "FROM generate_series(1, $1) AS n",
        count,
        size,
        age_days,
    )


async def test_quarantine_is_held_to_an_age_and_to_a_size(pool: asyncpg.Pool[Any]) -> None:
    await _refused(pool, 1_500, 32, age_days=31)
    await _refused(pool, 40, 32_000, age_days=2)
    await _refused(pool, 60, 32_000, age_days=1)
    newest = await pool.fetchval("SELECT max(id) FROM quarantine")
    limited = Kept(KEPT.readings, KEPT.events, KEPT.log, KEPT.quarantine, 1_000_000)
    assert (await _swept(pool)).quarantine_rows == 1_500
    with capture_logs() as said:
        found = await _swept(pool, limited)
    left = [row["id"] for row in await pool.fetch("SELECT id FROM quarantine ORDER BY id DESC")]
    assert left == list(range(newest, newest - len(left), -1)), "the newest stay"
    assert 25 <= len(left) <= 31 and found.quarantine_rows == 100 - len(left)
    assert [entry["rows"] for entry in said if entry["event"] == "quarantine_trimmed"] == [100 - len(left)]
    assert (await _swept(pool, limited)).quarantine_rows == 0


async def test_sweeping_outlives_a_database_that_cuts_it_off(pool: asyncpg.Pool[Any]) -> None:
    await _log(pool, 7, 1, [100.0] * 3)
    await pool.execute("ALTER TABLE ingest_log RENAME TO elsewhere")
    with capture_logs() as said:
        sweeping = asyncio.create_task(keep_swept(pool, KEPT, 0.02))
        try:
            await until(lambda: _true(any(entry["event"] == "sweep_failed" for entry in said)))
            await pool.execute("ALTER TABLE elsewhere RENAME TO ingest_log")
            await until(lambda: _is(pool, 7, [3]))
        finally:
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)
    assert issubclass(asyncpg.UndefinedTableError, TROUBLE)


async def _true(answer: bool) -> bool:
    return answer


async def _is(pool: asyncpg.Pool[Any], partition: int, numbers: list[int]) -> bool:
    return await _numbers(pool, partition, 1) == numbers
