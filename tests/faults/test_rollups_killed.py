"""Ingest killed in the middle of the roll-up job: nothing half done stands, and the next one goes on.

LINHUB_FAULT_KILLS sets the kill points (default 3), LINHUB_FAULT_SEED repeats a run.
"""

from __future__ import annotations

import asyncio
import random
from uuid import uuid4

from tests.conftest import Mqtt
from tests.factory import put_community, small_community
from tests.fault_kit import KILLS, SEED, IngestProcess, tell
from tests.ingest_kit import Database, Wire, database, now_ms, until

HOUR_MS = 3_600_000


async def differences(db: Database) -> list[str]:
    """Where the answers differ from a plain look at every reading, asked in the same instant."""
    rows = await db.connection.fetch(
        """
        WITH plain AS (
            SELECT r.device_no, date_trunc('hour', r.ts) AS bucket, count(*) AS n, min(r.vals[1]) AS low,
                   max(r.vals[1]) AS high, sum(coalesce(r.vals[1] - r.before, 0)) AS used
            FROM (SELECT *, lag(vals[1]) OVER (PARTITION BY device_no ORDER BY ts) AS before FROM reading) r
            GROUP BY 1, 2
        ), told AS (
            SELECT d.device_no, s.bucket, s.n, s.low, s.high, m.used
            FROM device d
            CROSS JOIN LATERAL rollup_series(d.community_id, d.device_no, 'total_m3', now() - INTERVAL '9 days',
                                             now() + INTERVAL '1 hour', 'hour') s
            JOIN LATERAL meter_series(d.community_id, d.device_no, 'total_m3', now() - INTERVAL '9 days',
                                      now() + INTERVAL '1 hour', 'hour') m USING (bucket)
            WHERE d.kind = 'water_meter'
        )
        SELECT p.*, t.* FROM plain p FULL JOIN told t USING (device_no, bucket)
        WHERE (p.n, p.low, p.high, p.used) IS DISTINCT FROM (t.n, t.low, t.high, t.used)
        """
    )
    return [str(tuple(row)) for row in rows]


async def test_rollups_stay_exact_while_ingest_is_killed_over_and_over(database_url: str, mqtt: Mqtt) -> None:
    tell(f"seed {SEED}, kills {KILLS}")
    chance, home = random.Random(SEED), f"f{uuid4().hex[:10]}"
    await put_community(database_url, small_community(home, prefix=f"{home}-"))
    process = IngestProcess(database_url, mqtt.url, f"t-{home}", rollup_lag_s=0, rollup_every_s=0.01)
    meters = [f"{home}-water_meter-{n}" for n in range(1, 5)]
    first, wire, said, asked = now_ms() - 7 * 24 * HOUR_MS + HOUR_MS, Wire(mqtt.url), 0, 0

    def say(count: int) -> int:
        """Readings of the last week in no order: nearly all late for a closed hour. The register goes up with time."""
        for _ in range(count):
            ts = first + chance.randrange(6 * 24 * 60) * 60_000
            items = [{"device": m, "ts": ts, "values": {"total_m3": (ts - first) / 60_000 / 1024}} for m in meters]
            wire.send(f"sc/{home}/{home}-gateway-1/up/telemetry", items)
        return count

    async with database(database_url) as db:
        await process.start()
        try:
            for _ in range(KILLS):
                await process.ready()
                end = asyncio.get_running_loop().time() + chance.uniform(0.2, 1.0)
                while asyncio.get_running_loop().time() < end:
                    said += say(5)
                    await asyncio.sleep(0.01)
                    assert await differences(db) == []
                    asked += 1
                await process.kill()
                assert await differences(db) == []
                await process.start()
            await process.ready()
            await wire.sent()

            async def worked_off() -> bool:
                left = await db.count("rollup_stale")
                behind = await db.connection.fetchval(
                    "SELECT count(*) FROM rollup_progress p JOIN rollup_boundary b USING (partition) "
                    "WHERE p.filled_to <> b.closed_to AND partition = (SELECT partition FROM community)"
                )
                return left == 0 and behind == 0 and await db.count("meter_hour") > 0

            await until(worked_off)
            assert await differences(db) == []
        finally:
            await process.stop()
            wire.close()
        hours = await db.connection.fetchval("SELECT count(*) FROM meter_hour")
        tell(f"messages {said}, compared {asked + KILLS + 1} times, hours rolled up {hours}, differences 0")
        assert hours > 0
