"""What the alert engine lets go of: old notices, links, gaps and the outbox, and never what somebody still needs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from services.adapters.postgres import open_pool
from services.alerts.retention import Kept, sweep
from tests.factory import put_community, small_community

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)
KEPT = Kept(timedelta(days=400), timedelta(days=30))
_OLD = NOW - timedelta(days=401)


async def _notices(connection: asyncpg.Connection[Any], count: int, at: datetime, waits: bool) -> None:
    await connection.execute(
        "INSERT INTO notice (id, seq, community_id, recipient, template, severity, created_at, not_before, expires_at, "
        "state, next_at) SELECT gen_random_uuid(), 1, 'test', 'account:x', 'roster', 'major', $2, $2, $2, 'sent', $3 "
        "FROM generate_series(1, $1)", count, at, at if waits else None
    )  # fmt: skip


async def test_retention_lets_go_in_batches_of_what_nobody_needs_any_more(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await put_community(database_url, small_community())
    pool = await open_pool(database_url, name="test", max_size=2)
    async with pool.acquire() as connection:
        await _notices(connection, 5, _OLD, waits=False)
        await _notices(connection, 1, _OLD, waits=True)
        await _notices(connection, 2, NOW, waits=False)
        await connection.execute(
            "INSERT INTO notice_attempt (notice_id, sort, at, ok, ms) SELECT id, 'sms', created_at, true, 1 FROM notice"
        )
        await connection.execute(
            "INSERT INTO notice_link (token_hash, notice_id, expires_at) SELECT sha256(id::text::bytea), id, "
            "created_at + interval '1 day' FROM notice"
        )
        await connection.execute(
            "INSERT INTO roster_gap (community_id, team, starts_at, ends_at, seen_at, over_at) SELECT 'test', "
            "'patrol', at, at + interval '1 h', at, over FROM (VALUES ($1::timestamptz, $1::timestamptz), ($1, NULL), "
            "($2, $2)) AS g (at, over)", _OLD, NOW
        )  # fmt: skip
        await connection.execute("DELETE FROM outbox")
        await connection.execute(
            "INSERT INTO outbox (seq, at, type, community_id, subject, data) SELECT n, $1::timestamptz + n * interval "
            "'1 day', 'x', 'test', '', '{}' FROM generate_series(1, 40) AS n", NOW - timedelta(days=40)
        )  # fmt: skip
        await connection.execute("UPDATE outbox_reader SET seq = 4")
    none = {"city_attempt": 0, "city_dead_letter": 0, "ngsi_attempt": 0, "stray": 0}
    assert await sweep(pool, KEPT, NOW, batch=2) == {"link": 6, "notice": 5, "gap": 1, "outbox": 4, **none}
    assert "outbox_kept_for_a_reader_that_is_behind" in capsys.readouterr().out
    await pool.execute("UPDATE outbox_reader SET seq = 40")
    assert await sweep(pool, KEPT, NOW, batch=2) == {"link": 0, "notice": 0, "gap": 0, "outbox": 5, **none}
    assert await pool.fetchval("SELECT min(seq) FROM outbox") == 10
    assert await pool.fetchval("SELECT count(*) FROM notice_attempt") == 3
    assert (await sweep(pool, KEPT, NOW + timedelta(days=100)))["outbox"] == 30
    assert await pool.fetchval("SELECT array_agg(seq) FROM outbox") == [40], "the stream's cursor stands on the last"
    await pool.close()
