"""How many chunks the roll-ups open: those that hold what was asked for, however long the history is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.adapters.queries import Queries
from tests.factory import put_community, small_community

SERVICES = Path(__file__).resolve().parents[2] / "services"
FILL = Queries(SERVICES / "ingest" / "rollups.sql")
API = Queries(SERVICES / "api" / "store" / "queries.sql")
HOME = "planned"
READING_DAYS, HOUR_DAYS, EVENT_WEEKS = 40, 720, 30
"""Forty chunks of readings, eight or nine of hours, thirty of events."""
PAST_THE_CUSTOM_PLANS = 8
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime.now(UTC)
THIS_HOUR = NOW.replace(minute=0, second=0, microsecond=0)
FILLED = THIS_HOUR - HOUR
LATE = THIS_HOUR - 3 * DAY
MIDNIGHT = (NOW - 5 * DAY).replace(hour=16, minute=0, second=0, microsecond=0)
"""In Shanghai."""
DAWN = (NOW - 5 * DAY).replace(hour=0, minute=0, second=0, microsecond=0)
"""Where a chunk of readings begins: what is looked for further back is looked for in the chunk before."""
MORNING = (DAWN, DAWN + 6 * HOUR)

SERIES = "SELECT * FROM {}_series('planned', 1, $1, $2, $3, $4)"
SUM = "SELECT * FROM {}_sum('planned', 'electricity_meter', $1, $2, $3, $4)"
USED = "energy_kwh"


@dataclass(frozen=True, slots=True)
class Question:
    """The most chunks that may be locked: of readings, of hours or days of each kind, of events."""

    sql: str
    arguments: tuple[Any, ...]
    reading: int
    hours: int
    events: int = 0


def recent(sql: str, metric: str, age: timedelta, bucket: str, hours: int) -> Question:
    """A stretch up to now: the two hours that are not filled may lie in two days, the hours in one chunk more."""
    return Question(sql, (metric, NOW - age, NOW, bucket), 2, hours)


QUESTIONS: Mapping[str, Question] = {
    "consumption of a device, 24 hours": recent(SERIES.format("meter"), USED, DAY, "hour", 2),
    "consumption of a device, 30 days of hours": recent(SERIES.format("meter"), USED, 30 * DAY, "hour", 2),
    "consumption of a device, years of days": recent(SERIES.format("meter"), USED, HOUR_DAYS * DAY, "day", 2),
    "power of a device, 24 hours": recent(SERIES.format("rollup"), "power", DAY, "hour", 2),
    "power of a device, 30 days of hours": recent(SERIES.format("rollup"), "power", 30 * DAY, "hour", 2),
    "power of a device, years of days": recent(SERIES.format("rollup"), "power", HOUR_DAYS * DAY, "day", 2),
    "consumption of all, 24 hours": recent(SUM.format("meter"), USED, DAY, "hour", 2),
    "consumption of all, 30 days": recent(SUM.format("meter"), USED, 30 * DAY, "day", 2),
    "power of all, 24 hours": recent(SUM.format("rollup"), "power", DAY, "hour", 2),
    "power of all, 30 days": recent(SUM.format("rollup"), "power", 30 * DAY, "day", 2),
    "the API's curve of power": Question(
        API["gauge_hours"], (HOME, "electricity_meter", [1, 2, 3, 4], "power", NOW - DAY, NOW, HOUR), 2, 2
    ),
    # Nothing of it is older than what is filled.
    "a day of a month ago": Question(SERIES.format("meter"), (USED, NOW - 31 * DAY, NOW - 30 * DAY, "hour"), 0, 2),
    "a day before there was anything": Question(
        SERIES.format("meter"), (USED, NOW - 2000 * DAY, NOW - 1999 * DAY, "hour"), 0, 0
    ),
    "the job's days": Question(
        FILL["fill_days"], ([1, 2], [MIDNIGHT] * 2, [MIDNIGHT + DAY] * 2, MIDNIGHT, MIDNIGHT + DAY), 0, 2
    ),
    "the job's days of counters": Question(
        FILL["fill_meter_days"], ([1, 2], [MIDNIGHT] * 2, [MIDNIGHT + DAY] * 2, MIDNIGHT, MIDNIGHT + DAY), 0, 2
    ),
    "the job's hours": Question(FILL["fill_hours"], ([1, 2], [LATE] * 2, LATE, LATE + HOUR), 1, 1),
    "the job's hours of counters": Question(FILL["fill_meter_hours"], ([1, 2], [LATE] * 2, LATE, LATE + HOUR), 1, 1),
    "the first hour": Question(FILL["first_hour"], (NOW,), 0, 0),
    "what is covered": Question("SELECT rollup_covers()", (), 0, 0),
    "a device is renamed": Question("UPDATE device SET name = 'renamed' WHERE device_no = $1", (1,), 0, 0),
    "a swap": Question(
        "INSERT INTO meter_swap VALUES (1, 0, $1, 10, 0, 'test') ON CONFLICT DO NOTHING", (NOW - DAY,), 0, 0
    ),
    # As far back as there are readings.
    "another rating": Question("INSERT INTO meter_rating VALUES (1, 0, $1) ON CONFLICT DO NOTHING", (5.0,), 0, 2),
}
IN_READINGS: Mapping[str, Question] = {
    "a curve of a gauge": Question(
        "SELECT * FROM curve_gauge($1, $2, $3, $4, $5, $6)",
        (HOME, "electricity_meter", "power", *MORNING, HOUR), 1, 0,
    ),
    "a curve of a counter": Question(
        "SELECT * FROM curve_counter($1, $2, $3, $4, $5, $6, $7)",
        (HOME, "electricity_meter", USED, *MORNING, HOUR, 2 * HOUR), 2, 0,
    ),
    "a curve of a level": Question(
        "SELECT * FROM curve_level($1, $2, $3, $4, $5, $6, $7, $8)",
        (HOME, "electricity_meter", "power", *MORNING, HOUR, 4 * HOUR, "none"), 2, 0,
    ),
    # A week, whose two ends lie in two chunks; and ninety days of events.
    "states of a time past": Question(
        "SELECT * FROM states_at($1, $2, $3, $4)", (HOME, DAWN + 12 * HOUR, 7 * DAY, 60), 8, 0, events=14
    ),
    "readings as stored": Question(
        "SELECT * FROM readings_of($1, $2, $3, $4, $5, $6)", (HOME, 1, 2, *MORNING, 500), 1, 0
    ),
    "readings in buckets": Question(
        "SELECT * FROM readings_bucketed($1, $2, $3, $4, $5, $6)", (HOME, 1, 2, *MORNING, HOUR), 1, 0
    ),
    "lines of an export": Question(
        "SELECT * FROM readings_lines($1, $2, $3, $4, $5, $6)", (HOME, 1, [1, 2], *MORNING, 500), 1, 0
    ),
    "the mean of some": Question(
        "SELECT * FROM readings_mean($1, $2, $3, $4, $5, $6)", (HOME, [1, 2, 3, 4], *MORNING, HOUR, 2), 1, 0
    ),
    "the use of some": Question(
        "SELECT * FROM readings_used($1, $2, $3, $4, $5, $6, $7)",
        (HOME, [1, 2, 3, 4], *MORNING, HOUR, 1, 4 * HOUR), 2, 0,
    ),
    # Two weeks touch three.
    "events of some": Question(
        "SELECT * FROM device_events($1, $2, $3, $4)", (HOME, [1, 2, 3, 4], NOW - 14 * DAY, 500), 0, 0, events=3
    ),
}  # fmt: skip
"""What asks readings and events by themselves, not the roll-ups."""
MEASURED_THROUGH_ANOTHER = {"rollup_pieces", "meter_pieces", "rollup_moved", "meter_rating_changed"}
"""Functions that name a hypertable, all of them called by a question above."""


@pytest.fixture
async def history(database_url: str) -> Any:
    await put_community(database_url, small_community(HOME))
    # As some other client would come: what is asked for may not hang on its settings. A plan is made for all times
    # sooner or later of what the service sends; the job's own statements are kept from it by open_pool().
    connection = await asyncpg.connect(database_url, server_settings={"timezone": "UTC"})
    try:
        await connection.execute("DELETE FROM device")
        await connection.execute(
            "INSERT INTO device (device_no, id, community_id, kind, name, interval_s, created_at) "
            "OVERRIDING SYSTEM VALUE "
            "SELECT n, 'm' || n, 'planned', 'electricity_meter', 'x', 60, '2020-01-01' FROM generate_series(1, 4) AS n"
        )
        await connection.execute(
            "INSERT INTO reading (device_no, ts, vals) SELECT d, $1::timestamptz - n * INTERVAL '3 hours', "
            "ARRAY[10000 - n * 0.5, 500, 228, 2, 0.9] FROM generate_series(1, 4) AS d, generate_series(0, $2 * 8) AS n",
            NOW, READING_DAYS,
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO device_event (device_no, ts, event, message_id, received_at) "
            "SELECT d, $1::timestamptz - n * INTERVAL '1 day', 'pressed', n::text, now() "
            "FROM generate_series(1, 4) AS d, generate_series(0, $2 * 7) AS n",
            NOW, EVENT_WEEKS,
        )  # fmt: skip
        await connection.execute("UPDATE rollup_boundary SET closed_to = $1", FILLED)
        await connection.execute("UPDATE rollup_progress SET filled_to = $1", FILLED)
        for table in ("rollup_hour", "rollup_day"):
            await connection.execute(
                f"INSERT INTO {table} SELECT d, date_trunc(CASE $3 WHEN 'rollup_day' THEN 'day' ELSE 'hour' END, "
                "$1::timestamptz - n * INTERVAL '1 day', 'Asia/Shanghai'), 1, '{1,1,1,1,1}', '{1,500,228,2,0.9}', "
                "'{1,500,228,2,0.9}', '{1,500,228,2,0.9}', '{1,500,228,2,0.9}' "
                "FROM generate_series(1, 4) AS d, generate_series(1, $2) AS n",
                FILLED, HOUR_DAYS, table,
            )  # fmt: skip
        for table, of in (("meter_hour", "rollup_hour"), ("meter_day", "rollup_day")):
            await connection.execute(
                f"INSERT INTO {table} SELECT device_no, 0, 1, bucket, epoch_ms(bucket), 1, NULL, NULL, NULL, NULL, "
                f"epoch_ms(bucket), 1, 0, 0 FROM {of}"
            )
        await connection.execute("ANALYZE")
        yield connection
    finally:
        await connection.close()


async def locked(connection: Any, question: Question) -> dict[str, int]:
    """Hypertable → its chunks that a run locked, the most of several; what it wrote is taken back."""
    statement = await connection.prepare(question.sql)
    most: dict[str, int] = {}
    for _ in range(PAST_THE_CUSTOM_PLANS):
        transaction = connection.transaction()
        await transaction.start()
        await statement.fetch(*question.arguments)
        rows = await connection.fetch(
            "SELECT c.hypertable_name AS name, count(DISTINCT l.relation) AS n FROM pg_locks l "
            "JOIN timescaledb_information.chunks c "
            "ON l.relation = format('%I.%I', c.chunk_schema, c.chunk_name)::regclass "
            "WHERE l.pid = pg_backend_pid() GROUP BY 1"
        )
        await transaction.rollback()
        for row in rows:
            most[row["name"]] = max(most.get(row["name"], 0), row["n"])
    return most


async def wrong(connection: Any) -> dict[str, dict[str, int]]:
    """The questions that locked more than they may."""
    found = {}
    for name, question in {**QUESTIONS, **IN_READINGS}.items():
        if question.sql in FILL.values():
            await connection.execute("SET plan_cache_mode = force_custom_plan")
        most = await locked(connection, question)
        await connection.execute("RESET plan_cache_mode")
        hours = max((n for table, n in most.items() if table not in ("reading", "device_event")), default=0)
        if (
            most.get("reading", 0) > question.reading
            or most.get("device_event", 0) > question.events
            or hours > question.hours
        ):
            found[name] = most
    return found


@pytest.mark.parametrize("stale", [False, True])
async def test_rollups_open_only_the_chunks_of_what_is_asked(history: Any, stale: bool) -> None:
    assert await history.fetchval("SELECT count(*) FROM show_chunks('reading')") >= READING_DAYS
    assert await history.fetchval("SELECT count(*) FROM show_chunks('meter_hour')") >= HOUR_DAYS // 90
    assert await history.fetchval("SELECT count(*) FROM show_chunks('device_event')") >= EVENT_WEEKS
    if not stale:
        assert await wrong(history) == {}
        return
    # One hour of three days ago is read raw, and its day by hours: one chunk more of each.
    await history.execute("INSERT INTO rollup_stale (device_no, hour) VALUES (1, $1)", LATE)
    for name in ("consumption of a device, years of days", "power of a device, years of days", "power of all, 30 days"):
        most = await locked(history, QUESTIONS[name])
        assert most.pop("reading") <= 3 and max(most.values()) <= 2, name


async def test_rollups_planned_for_all_times_would_be_seen(history: Any) -> None:
    for name in ("rollup_pieces", "meter_pieces"):
        await history.execute(f"ALTER FUNCTION {name} SET plan_cache_mode = force_generic_plan")
    most = await locked(history, QUESTIONS["consumption of all, 24 hours"])
    assert most["reading"] >= READING_DAYS and most["meter_hour"] >= HOUR_DAYS // 90
    assert "power of a device, 24 hours" in await wrong(history)


async def test_rollups_answer_while_a_chunk_is_being_dropped(history: Any, database_url: str) -> None:
    """Its lock is held up to the commit: whoever opened it would wait, and then find it gone."""
    retention = await asyncpg.connect(database_url)
    try:
        asked = {name: q for name, q in {**QUESTIONS, **IN_READINGS}.items() if q.sql.startswith("SELECT * FROM")}
        before = {name: await history.fetch(q.sql, *q.arguments) for name, q in asked.items()}
        await history.execute("SET lock_timeout = '1s'")
        transaction = retention.transaction()
        await transaction.start()
        dropped = await retention.fetch("SELECT drop_chunks('reading', $1::timestamptz)", NOW - 20 * DAY)
        assert len(dropped) >= READING_DAYS // 2 - 2
        for commit in (False, True):
            if commit:
                await transaction.commit()
            for name, question in asked.items():
                assert await history.fetch(question.sql, *question.arguments) == before[name], name
    finally:
        await retention.close()


async def test_every_function_that_reads_a_hypertable_has_its_measure(history: Any) -> None:
    rows = await history.fetch(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
        r"AND prosrc ~* '\m(from|join|into|update)\s+(reading|device_event|rollup_hour|meter_hour|reading_by_metric)\M'"
    )
    asked = {name for q in IN_READINGS.values() for name in re.findall(r"FROM (\w+)\(", q.sql)}
    assert {row["proname"] for row in rows} == MEASURED_THROUGH_ANOTHER | asked


async def test_questions_to_readings_find_what_is_there(history: Any) -> None:
    """A bound that is wrong would open few chunks, too: answers of what is worked out by hand."""
    counts = {name: len(await history.fetch(q.sql, *q.arguments)) for name, q in IN_READINGS.items()}
    assert all(counts.values()), counts
    # Readings are three hours apart, of which each counts half a unit and stays at 500.
    gauge = await history.fetch(*_asked("a curve of a gauge"))
    assert [row["value"] for row in gauge] == [2000.0, 2000.0]
    used = await history.fetch(*_asked("the use of some"))
    assert [row["value"] for row in used] == [2.0, 2.0]
    # Known for four hours, and so in all buckets, from the one before the chunk on.
    level = await history.fetch(*_asked("a curve of a level"))
    assert [row["value"] for row in level] == [2000.0] * 6
    states = await history.fetch(*_asked("states of a time past"))
    before = DAWN + 12 * HOUR
    for row in states:
        assert before - 3 * HOUR < row["vals_ts"] <= before and before - DAY < row["last_event_ts"] <= before
    # A reading that says nothing of one metric leaves what the one before said, within the time that is looked at.
    await history.execute("INSERT INTO reading VALUES (1, $1, ARRAY[1, NULL, 228, 2, 0.9])", before)
    one = next(row for row in await history.fetch(*_asked("states of a time past")) if row["device_no"] == 1)
    assert (one["vals_ts"], one["vals"][:2]) == (before, [1.0, 500.0])


def _asked(name: str) -> tuple[Any, ...]:
    return (IN_READINGS[name].sql, *IN_READINGS[name].arguments)
