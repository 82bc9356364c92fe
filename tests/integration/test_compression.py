"""Compression of old readings: none on the edition that cannot; of the other, what can be proven without it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from services.adapters.migrate import MIGRATIONS, migrate
from services.cli.checks import judge_compression
from services.cli.survey import SQL

FILE = next(MIGRATIONS.glob("0008_*.sql"))


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(database_url)
    try:
        if await connection.fetchval("SELECT current_setting('timescaledb.license')") != "apache":
            pytest.fail("these tests describe the Apache edition; give them a server of that edition")
        yield connection
    finally:
        await connection.close()


async def test_compression_stays_off_where_the_licence_lacks_it(
    connection: asyncpg.Connection[Any], database_url: str
) -> None:
    assert await connection.fetchval("SELECT storage_compression()") == "not in this edition"
    await migrate(database_url)
    assert dict(await connection.fetchrow(SQL["compression"])) == {"license": "apache", "active": False}
    options = await connection.fetchval("SELECT reloptions::text FROM pg_class WHERE oid = 'reading'::regclass")
    assert "compress" not in (options or "")
    assert not await connection.fetchval("SELECT count(*) FROM timescaledb_information.jobs WHERE job_id >= 1000")


async def test_migration_says_that_compression_stays_off(connection: asyncpg.Connection[Any]) -> None:
    said: list[str] = []
    connection.add_log_listener(lambda _, message: said.append(message.message))
    text = FILE.read_text()
    await connection.execute(text[text.rindex("DO $$") :])
    assert said == ["compression of old readings stays off: not in this edition (timescaledb.license = apache)"]


async def _pretend(connection: asyncpg.Connection[Any]) -> None:
    """The function as a server with the licence would run it: what it asks for its edition is answered first."""
    await connection.execute(
        "CREATE SCHEMA pretended; "
        "CREATE FUNCTION pretended.current_setting(text, boolean) RETURNS text LANGUAGE sql AS $$ SELECT 'timescale' $$"
    )
    await connection.execute("SET search_path = pretended, pg_catalog, public")


async def test_licensed_server_is_given_options_that_timescaledb_knows(connection: asyncpg.Connection[Any]) -> None:
    await _pretend(connection)
    # It knows each option (a wrong one is an error of its own, before the licence is looked at) and refuses them all.
    with pytest.raises(asyncpg.FeatureNotSupportedError, match="functionality not supported under the current"):
        await connection.fetchval("SELECT storage_compression()")
    with pytest.raises(asyncpg.PostgresError, match="unrecognized parameter"):
        await connection.execute("ALTER TABLE reading SET (timescaledb.compress, timescaledb.compress_by = 'ts')")


async def test_licensed_server_is_given_a_policy_that_timescaledb_knows(connection: asyncpg.Connection[Any]) -> None:
    call = re.search(r"PERFORM (add_compression_policy\(.*\));", FILE.read_text())
    assert call is not None
    with pytest.raises(asyncpg.FeatureNotSupportedError, match="add_compression_policy"):
        await connection.execute(f"SELECT {call[1]}")
    with pytest.raises(asyncpg.UndefinedFunctionError):
        await connection.execute("SELECT add_compression_policy('reading', compress_later => interval '8 days')")


async def test_licensed_server_with_a_policy_is_left_alone(connection: asyncpg.Connection[Any]) -> None:
    await _pretend(connection)
    await connection.execute(
        "SELECT _timescaledb_functions.stop_background_workers(); "
        "INSERT INTO _timescaledb_config.bgw_job (application_name, schedule_interval, max_runtime, max_retries, "
        "retry_period, proc_schema, proc_name, owner, scheduled, hypertable_id) "
        "SELECT 'Columnstore Policy', '1 day', '0', -1, '1 h', '_timescaledb_functions', 'policy_compression', "
        "'linhub', false, id FROM _timescaledb_catalog.hypertable WHERE table_name = 'reading'"
    )
    assert await connection.fetchval("SELECT storage_compression()") == "on"
    assert (await connection.fetchrow(SQL["compression"]))["active"]


@pytest.mark.parametrize(
    ("row", "level", "todo"),
    [
        ({"license": "apache", "active": False}, "note", ""),
        ({"license": "timescale", "active": False}, "warning", "linhub migrate"),
        ({"license": "timescale", "active": True}, "ok", ""),
    ],
)
def test_doctor_tells_which_edition_compresses(row: dict[str, Any], level: str, todo: str) -> None:
    found = judge_compression(row)
    assert (found.level, found.todo) == (level, todo)


async def test_log_is_packed_with_lz4_and_states_stay_in_their_pages(connection: asyncpg.Connection[Any]) -> None:
    # A snapshot of the server's own jobs would keep the versions of before from being put away.
    await connection.execute("SELECT _timescaledb_functions.stop_background_workers()")
    rows = await connection.fetch(
        "SELECT attname, attcompression::text AS method FROM pg_attribute WHERE attrelid = 'ingest_log'::regclass "
        "AND attnum > 0 AND NOT attisdropped AND attstorage = 'x' AND attname <> 'worker'"
    )
    assert {row["attname"]: row["method"] for row in rows} == {"packed": "l", "body": "l"}
    await connection.execute(
        "INSERT INTO street VALUES ('s', 'c', 'd', 'n'); "
        "INSERT INTO community (id, street_id, name, partition, latitude, longitude, households, residents) "
        "VALUES ('c', 's', 'n', 0, 30, 120, 1, 1); "
        "INSERT INTO device (id, community_id, kind, name, interval_s) "
        "SELECT 'd' || n, 'c', 'manhole', 'n', 60 FROM generate_series(1, 500) AS n; "
        "INSERT INTO device_state (device_no, last_seen_at, vals) SELECT device_no, now(), '{1,2,3}' FROM device; "
    )
    for _ in range(10):
        await connection.execute("UPDATE device_state SET last_seen_at = clock_timestamp(), vals = '{1,2,4}'")
    await connection.execute("SELECT pg_stat_force_next_flush()")
    found = await connection.fetchrow(
        "SELECT n_tup_upd AS all, n_tup_hot_upd AS here FROM pg_stat_user_tables WHERE relname = 'device_state'"
    )
    assert found["all"] == 5_000 and found["here"] > 0.8 * found["all"]
