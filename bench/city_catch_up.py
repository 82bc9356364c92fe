"""How fast a subscription catches up from far behind, and what it costs: events a second, memory, the first page.

`LINHUB_BENCH_DATABASE_URL=postgresql://…/scratch python -m bench.city_catch_up --events 1000000` fills the outbox of
that database, which must be migrated and may be thrown away, and reads it as `GET /api/v1/city/events` does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import time
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg

from services.adapters.city.reading import Wanted, made, page
from services.domain.city import EventMark, Filter, Format, SubscriptionState, Way

_FILL = """
INSERT INTO outbox (seq, type, community_id, subject, data)
SELECT nextval('outbox_seq'), (ARRAY['order.note', 'order.dispatch', 'rule.changed', 'order.close'])[1 + n % 4],
       'bench', n::text, jsonb_build_object('order_id', n::text, 'alert_id', NULL, 'state', 'dispatched', 'version', 2,
       'kind', 'bin', 'severity', CASE WHEN n % 1000 = 0 THEN 'critical' ELSE 'minor' END, 'team', 'general',
       'source', 'alert')
FROM generate_series(1, $1::integer) AS n
"""


def _kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def _through(connection: asyncpg.Connection[asyncpg.Record], asked: Wanted, start: int) -> dict[str, object]:
    cursor, events, size, pages = start, 0, 0, 0
    began = time.perf_counter()
    first_s = 0.0
    before = _kib()
    while True:
        found = await page(connection, asked, cursor, 1000)
        for _, event in await made(connection, asked, found.rows, ""):
            if event is not None:
                size += len(event.structured()[1])
                events += 1
        pages += 1
        first_s = first_s or time.perf_counter() - began
        cursor = found.cursor
        if not found.more:
            break
    took = time.perf_counter() - began
    return {
        "events": events,
        "pages": pages,
        "mb": round(size / 1e6, 1),
        "seconds": round(took, 1),
        "events_a_second": round(events / took),
        "first_page_ms": round(first_s * 1000, 1),
        "memory_grew_kib": _kib() - before,
    }


async def main(events: int) -> None:
    connection = await asyncpg.connect(os.environ["LINHUB_BENCH_DATABASE_URL"])
    try:
        start = await connection.fetchval("SELECT coalesce(max(seq), 0) FROM outbox")
        began = time.perf_counter()
        await connection.execute(_FILL, events)
        await connection.execute("ANALYZE outbox")
        print(json.dumps({"at": datetime.now(UTC).isoformat(), "filled_s": round(time.perf_counter() - began, 1)}))
        for name, chosen in (
            ("orders", Filter(("order.*",))),
            ("one in a thousand", Filter(("order.*",), severities=("critical",))),
        ):
            asked = Wanted(
                uuid4(), "bench", name, Way.PULL, None, Format.STRUCTURED, SubscriptionState.ACTIVE, EventMark.ACTUAL,
                frozenset(), chosen, ("bench",),
            )  # fmt: skip
            print(json.dumps({"asked": name} | await _through(connection, asked, start)))
    finally:
        await connection.close()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--events", type=int, default=1_000_000)
    asyncio.run(main(arguments.parse_args().events))
