"""What looking for changes of NGSI-LD entities costs beside 10,000 devices that report once a minute.

`LINHUB_BENCH_DATABASE_URL=postgresql://…/scratch python -m bench.ngsi_notify --devices 10000 --seconds 60` fills that
database, which must be migrated and may be thrown away: 1 % bins, 3 % parking sensors, the rest lamps. Twenty
subscriptions watch how full bins are, one each parking space, and with `--wide` one every attribute of every device.
The receiver is in the same process, so what it takes is counted too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import time
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

import asyncpg

from services.adapters.city.ngsi import subscriptions as rows
from services.adapters.postgres import open_pool
from services.adapters.steady_clock import SteadyClock
from services.alerts.city.ngsi import NgsiDelivery
from services.alerts.settings import AlertSettings
from services.domain.city.ngsi.subscribing import read

_FILL = """
INSERT INTO device (id, community_id, kind, name, place, interval_s, x, y)
SELECT 'bench-' || n, 'bench',
       CASE WHEN n % 100 = 0 THEN 'bin' WHEN n % 100 < 4 THEN 'parking_sensor' ELSE 'lamp_post' END, 'n', 'p', 60, 0, 0
FROM generate_series(1, $1::integer) AS n
"""
_REPORT = """
INSERT INTO device_state (device_no, online, last_seen_at, vals, vals_ts)
SELECT device_no, true, now(), ARRAY[round(CASE kind WHEN 'parking_sensor' THEN random() ELSE random() * 99 END)], now()
FROM device WHERE community_id = 'bench' AND ($1::integer IS NULL OR abs(hashint4(device_no) % 60) = $1)
ON CONFLICT (device_no) DO UPDATE SET last_seen_at = now(), vals = excluded.vals, vals_ts = now(), online = true
"""


class Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)


async def _subscribe(connection: Any, url: str, type: str, watched: list[str]) -> None:
    id, watching = uuid4(), {"watchedAttributes": watched} if watched else {}
    document = {"type": "Subscription", "id": f"urn:x:{id}", "entities": [{"type": type}],
                "notification": {"endpoint": {"uri": url}}} | watching  # fmt: skip
    kinds = rows.touched_by(read(document))
    await connection.execute(
        "INSERT INTO ngsi_subscription (id, account_id, community_id, name, kinds, document, active, created_at,"
        " modified_at) VALUES ($1, 'bench', 'bench', $2, $3, $4::text::jsonb, true, now(), now())",
        id, f"urn:x:{id}", kinds, json.dumps(document),
    )  # fmt: skip
    await connection.execute("INSERT INTO ngsi_progress (subscription_id, next_at) VALUES ($1, now())", id)


async def _prepare(connection: Any, devices: int) -> None:
    await connection.execute(
        "INSERT INTO street (id, city, district, name) VALUES ('bench', 'c', 'd', 's') ON CONFLICT DO NOTHING;"
        "INSERT INTO community (id, street_id, name, partition, latitude, longitude, households, residents) VALUES"
        " ('bench', 'bench', 'c', 0, 29, 116, 1, 1);"
        "INSERT INTO app_user (id, username, password_hash, display_name, role, community_id) VALUES"
        " ('bench', 'bench', '', 'b', 'platform', 'bench');"
        "INSERT INTO city_subscription (id, account_id, community_id, name, way, types, classes, classes_reason,"
        " created_by, idempotency_key) VALUES (gen_random_uuid(), 'bench', 'bench', 'x', 'pull', '{*}',"
        " '{device}', 'x', 'x', 'x')"
    )
    await connection.execute(_FILL, devices)
    await connection.execute(_REPORT, None)
    await connection.execute("ANALYZE")


async def main(devices: int, seconds: int, wide: bool) -> None:
    url = os.environ["LINHUB_BENCH_DATABASE_URL"]
    connection = await asyncpg.connect(url)
    pool = await open_pool(url, name="bench", max_size=4)
    count = {"notifications": 0, "bytes": 0}

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                count["bytes"] += len(await reader.readexactly(length))
                count["notifications"] += 1
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    there = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    try:
        await _prepare(connection, devices)
        for _ in range(20):
            await _subscribe(connection, there, "WasteContainer", ["fillingLevel"])
        await _subscribe(connection, there, "ParkingSpot", ["status"])
        if wide:
            await _subscribe(connection, there, "Device", [])
        settings = AlertSettings(database_url=url, city_networks="127.0.0.0/8")
        engine = NgsiDelivery(pool, settings, cast(SteadyClock, Clock()))
        began = time.perf_counter()
        task = asyncio.create_task(engine.run())
        async with asyncio.timeout(120):
            while await connection.fetchval("SELECT count(*) FROM ngsi_progress WHERE fresh"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        print(json.dumps({"first_s": round(time.perf_counter() - began, 1)} | count))
        count.update(notifications=0, bytes=0)
        used, looks = resource.getrusage(resource.RUSAGE_SELF), []
        began = time.perf_counter()
        for second in range(seconds):
            mark = await rows.mark(connection)
            await connection.execute(_REPORT, second % 60)
            kinds = await rows.wanted(connection, datetime.now(UTC))
            at = time.perf_counter()
            await rows.touched(connection, mark, kinds, datetime.now(UTC))
            looks.append(time.perf_counter() - at)
            await asyncio.sleep(max(0.0, began + second + 1 - time.perf_counter()))
        now = resource.getrusage(resource.RUSAGE_SELF)
        cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
        looks.sort()
        print(json.dumps({
            "seconds": seconds, "cpu_part": round(cpu / (time.perf_counter() - began), 4),
            "look_ms": round(looks[len(looks) // 2] * 1000, 1),
            "look_p95_ms": round(looks[len(looks) * 19 // 20] * 1000, 1),
            "outbox_rows": await connection.fetchval("SELECT count(*) FROM outbox"),
        } | count))  # fmt: skip
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    finally:
        server.close()
        pool.terminate()
        await connection.close()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--devices", type=int, default=10_000)
    arguments.add_argument("--seconds", type=int, default=60)
    arguments.add_argument("--wide", action="store_true")
    given = arguments.parse_args()
    asyncio.run(main(given.devices, given.seconds, given.wide))
