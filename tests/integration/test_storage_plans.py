"""How many chunks each question touches: as many as its stretch of time has, however long the history is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.adapters.postgres import open_pool
from services.adapters.queries import Queries

SERVICES = Path(__file__).resolve().parents[2] / "services"
HYPERTABLES = ("reading", "device_event")
HISTORY_DAYS, HISTORY_WEEKS = 40, 30
EVERY_READING, EVERY_EVENT = HISTORY_DAYS + 1, HISTORY_WEEKS + 1
PAST_THE_CUSTOM_PLANS = 8
"""The server plans a prepared statement anew five times before it may settle on one plan for all."""

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = (datetime.now(UTC) - 12 * HOUR).replace(hour=12, minute=0, second=0, microsecond=0)
"""The latest noon: within four hours after midnight the server looks at a day more, as a day may have had 28 hours for
all that it knows of the clock when it bounds `- interval '8 days'` before it runs."""
YESTERDAY = NOW - DAY
LAST_HOUR = (NOW - HOUR).replace(minute=0, second=0)
TWO_DAYS_AGO_MS = round((NOW - 2 * DAY).timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Question:
    """`chunks`: the most that may be looked at, of 40 (reading) or 30 (device_event).

    An UPDATE or DELETE of a hypertable locks all chunks before the server knows which it needs; `reads` is the most
    that its plan may then have.
    """

    arguments: tuple[Any, ...]
    chunks: int
    reads: int | None = None


QUESTIONS: Mapping[str, Mapping[str, Question]] = {
    "ingest/queries.sql": {
        "insert_readings": Question(([1], [TWO_DAYS_AGO_MS + 1], [1], [1.0], [1], [5]), 1),
        "stored_readings": Question(([1, 2], [TWO_DAYS_AGO_MS] * 2, TWO_DAYS_AGO_MS, TWO_DAYS_AGO_MS), 1),
        "fill_reading": Question((1, TWO_DAYS_AGO_MS, [1.0, 2.0]), 1),
        "insert_events": Question(([1], [TWO_DAYS_AGO_MS], ["pressed"], [{}], ["m"], [TWO_DAYS_AGO_MS]), 1),
        "stored_events": Question(([1], [TWO_DAYS_AGO_MS], ["pressed"], TWO_DAYS_AGO_MS, TWO_DAYS_AGO_MS), 1),
        # A week touches two weeks.
        "answered_events": Question(([1], ["pressed"], ["m"]), 2),
        # A device's very first: asked once of a device whose data is let go, and then kept as a mark.
        "first_of": Question((1,), EVERY_READING + EVERY_EVENT),
        "forget_vitals": Question((1, YESTERDAY, NOW), EVERY_READING, reads=2),
        "forget_positions": Question((1, YESTERDAY, NOW, [1]), EVERY_READING, reads=2),
        "forget_health_events": Question((1, YESTERDAY, NOW), EVERY_EVENT, reads=2),
    },
    "ingest/rollups.sql": {
        "fill_hours": Question(([1, 2], [LAST_HOUR] * 2, LAST_HOUR, LAST_HOUR + HOUR), 1),
        "fill_meter_hours": Question(([1, 2], [LAST_HOUR] * 2, LAST_HOUR, LAST_HOUR + HOUR), 1),
    },
    # A week for what may have come late, of forty days and thirty weeks.
    "adapters/history/queries.sql": {
        "readings_on_time": Question(([1, 2], YESTERDAY, NOW, HOUR), 3),
        "readings_late": Question(([1, 2], YESTERDAY, NOW, HOUR), 10),
        "events": Question(([1, 2], YESTERDAY, NOW), 3),
    },
    "api/store/queries.sql": {
        "gauge_sum": Question(([1, 2, 3], YESTERDAY, NOW, HOUR, 1, "c"), 2),
        # The day before is where the first step starts from.
        "counter_sum": Question(([1, 2, 3], YESTERDAY, NOW, HOUR, 1, DAY, "c"), 3),
        "raw_readings": Question((1, YESTERDAY, NOW, 1, 500, "c"), 2),
    },
    # Two days of events, by weeks.
    "adapters/commands/queries.sql": {"confirm": Question(([0], NOW), 2)},
    # All that there is of one person, whenever it was.
    "adapters/privacy/export.sql": {
        "readings": Question((1,), EVERY_READING),
        "events": Question(("p",), EVERY_EVENT),
    },
    "adapters/privacy/erase.sql": {
        "count": Question(([1], [], [], [], "p", "c", [], [], "u"), EVERY_READING + EVERY_EVENT),
        "reading_span": Question((1,), EVERY_READING),
        "readings_gone": Question((1, YESTERDAY, NOW), EVERY_READING, reads=2),
        "telemetry_gone": Question(([1],), EVERY_EVENT),
    },
    # Each asks a function, of which tests/integration/test_rollup_plans.py has the measure as well.
    "api/store/privacy.sql": {
        "life_events": Question(([1, 2], NOW - 14 * DAY, "c"), 3),
        "half_hours": Question((1, YESTERDAY, NOW, 1, "c"), 2),
    },
    "api/data/queries.sql": {
        "curve_gauge": Question(("c", "electricity_meter", "power", YESTERDAY, NOW, HOUR), 2),
        "curve_counter": Question(("c", "electricity_meter", "energy_kwh", YESTERDAY, NOW, HOUR, 2 * HOUR), 3),
        # A bucket may end after the stretch does.
        "curve_level": Question(("c", "electricity_meter", "power", YESTERDAY, NOW, HOUR, 3 * HOUR, "none"), 3),
        "fills": Question(("c", [1, 2], 1, YESTERDAY, NOW), 2),
        "readings_of": Question(("c", 1, 1, YESTERDAY, NOW, 500), 2),
        "readings_bucketed": Question(("c", 1, 1, YESTERDAY, NOW, HOUR), 2),
        "lines": Question(("c", 1, [1, 2], YESTERDAY, NOW, 500, 0), 2),
        # A week of readings, ninety days of events.
        "states_at": Question(("c", NOW - 5 * DAY, 7 * DAY, 60), 8 + 14),
    },
}


@pytest.fixture
async def history(database_url: str) -> Any:
    """Six weeks of readings and thirty weeks of events of a few devices."""
    async with await open_pool(database_url, name="plans") as pool, pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO street VALUES ('s', '', '', ''); "
            "INSERT INTO community (id, street_id, name, partition, latitude, longitude, households, residents) "
            "VALUES ('c', 's', '', 0, 0, 0, 0, 0); "
            "INSERT INTO device (device_no, id, community_id, kind, name, place, x, y, interval_s) "
            "OVERRIDING SYSTEM VALUE SELECT no, 'd' || no, 'c', 'meter', '', '', 0, 0, 60 "
            "FROM generate_series(1, 20) AS no"
        )
        await connection.execute(
            "INSERT INTO reading (device_no, ts, vals) "
            "SELECT device, $1::timestamptz - make_interval(days => day, hours => h), ARRAY[day, h] "
            "FROM generate_series(1, 20) AS device, generate_series(0, $2 - 1) AS day, generate_series(0, 23) AS h",
            NOW,
            HISTORY_DAYS,
        )
        await connection.execute(
            "INSERT INTO device_event (device_no, ts, event, message_id, received_at) "
            "SELECT device, $1::timestamptz - make_interval(days => day), 'pressed', day::text, now() "
            "FROM generate_series(1, 20) AS device, generate_series(0, $2 * 7 - 1) AS day",
            NOW,
            HISTORY_WEEKS,
        )
        await connection.execute("ANALYZE reading")
        await connection.execute("ANALYZE device_event")
        yield connection


async def _touched(connection: asyncpg.Connection[Any], sql: str, arguments: tuple[Any, ...]) -> int:
    """Chunks that the statement locked to plan and run, which are all that it looked at or weighed to look at.

    Run as the services run it, prepared and often; what it wrote is taken back.
    """
    statement = await connection.prepare(sql)
    most = 0
    for _ in range(PAST_THE_CUSTOM_PLANS):
        transaction = connection.transaction()
        await transaction.start()
        await statement.fetch(*arguments)
        most = max(
            most,
            await connection.fetchval(
                "SELECT count(DISTINCT l.relation) FROM pg_locks l "
                "JOIN timescaledb_information.chunks c "
                "ON l.relation = format('%I.%I', c.chunk_schema, c.chunk_name)::regclass "
                "WHERE l.pid = pg_backend_pid() AND c.hypertable_name = ANY ($1)",
                list(HYPERTABLES),
            ),
        )
        await transaction.rollback()
    return most


async def _planned(connection: asyncpg.Connection[Any], sql: str, arguments: tuple[Any, ...]) -> int:
    rows = await connection.fetch(f"EXPLAIN (COSTS OFF) {sql}", *arguments)
    return len({chunk for row in rows for chunk in re.findall(r" on (_hyper_\w+_chunk)\b", row[0])})


async def test_questions_touch_only_the_chunks_of_their_time(history: Any) -> None:
    assert await history.fetchval("SELECT count(*) FROM show_chunks('reading')") >= HISTORY_DAYS
    wrong = {}
    for file, questions in QUESTIONS.items():
        statements = Queries(SERVICES / file)
        for name, question in questions.items():
            touched = await _touched(history, statements[name], question.arguments)
            if touched > question.chunks:
                wrong[f"{file}: {name}"] = f"{touched} chunks, not {question.chunks}"
            if question.reads is not None:
                planned = await _planned(history, statements[name], question.arguments)
                if not 0 < planned <= question.reads:
                    wrong[f"{file}: {name}"] = f"{planned} chunks in the plan, not {question.reads}"
    assert not wrong


async def test_questions_without_bounds_or_with_one_plan_for_all_times_would_be_seen(history: Any) -> None:
    endless = "SELECT max(vals[1]) FROM reading WHERE device_no = $1"
    assert await _touched(history, endless, (1,)) >= HISTORY_DAYS
    await history.execute("SET plan_cache_mode = force_generic_plan")
    bounded = Queries(SERVICES / "ingest/queries.sql")["stored_readings"]
    question = QUESTIONS["ingest/queries.sql"]["stored_readings"]
    assert await _touched(history, bounded, question.arguments) >= HISTORY_DAYS
    await history.execute("RESET plan_cache_mode")
    assert await _planned(history, "DELETE FROM reading WHERE device_no = $1", (1,)) >= HISTORY_DAYS


async def test_questions_find_what_is_there(history: Any) -> None:
    """A bound that is wrong would touch few chunks, too."""
    ingest = Queries(SERVICES / "ingest/queries.sql")
    for name, column in (("stored_readings", "vals"), ("stored_events", "data")):
        rows = await history.fetch(ingest[name], *QUESTIONS["ingest/queries.sql"][name].arguments)
        assert {row["ts_ms"] for row in rows} == {TWO_DAYS_AGO_MS} and all(row[column] is not None for row in rows)
    odd_ms = TWO_DAYS_AGO_MS + 123
    await history.execute("INSERT INTO reading VALUES (1, $1, '{1,NULL}')", NOW - 2 * DAY + timedelta(milliseconds=123))
    assert await history.execute(ingest["fill_reading"], 1, odd_ms, [1.0, 2.0]) == "INSERT 0 1"
    rows = await history.fetch(ingest["stored_readings"], [1], [odd_ms], odd_ms, odd_ms)
    assert [row["vals"] for row in rows] == [[1.0, 2.0]]


def test_every_question_to_a_hypertable_has_its_measure() -> None:
    asked = re.compile(
        rf"\b(?:FROM|JOIN|INTO|UPDATE)\s+(?:LATERAL\s+)?({'|'.join(HYPERTABLES)}|reading_by_metric|readings_\w+"
        r"|device_events|states_at|curve_(?:gauge|counter|level))\b",
        re.I,
    )
    for path in SERVICES.rglob("*.sql"):
        file = path.relative_to(SERVICES).as_posix()
        found = {name for name, sql in Queries(path).items() if asked.search(sql)}
        measured = set(QUESTIONS.get(file, {}))
        assert found == measured, f"{file}: say in QUESTIONS how many chunks these may touch: {found ^ measured}"
